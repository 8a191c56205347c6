"""Pages of a library that were needed to load it, and count as memory of the process for as long as it lives.

What belongs here: letting go of them. What does not: memory that libraries ask for (`storage.memory`).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Its number in Linux's mman-common.h. Of a file's pages that nobody has written to it undoes the mapping, and
# whoever asks for one has it mapped again (https://man7.org/linux/man-pages/man2/madvise.2.html).
_MADV_DONTNEED: Final = 4


def let_go_of(library: str) -> None:
    """Let go of the unchanged pages of a library with this in its name, where the system is Linux."""
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    for begin, end in _unchanged(library):
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED)


def _unchanged(library: str) -> Iterator[tuple[int, int]]:
    """Where the library's file is mapped, nobody may write, and nobody has: not the loader either."""
    try:
        lines = Path("/proc/self/smaps").read_text(errors="replace").splitlines()
    except OSError:
        return
    # A line of up to six fields, then one for each count
    # (https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html).
    mapped: tuple[int, int] | None = None
    changed = 0
    for line in lines:
        fields = line.split(maxsplit=5)
        if not fields[0].endswith(":"):
            is_wanted = len(fields) == 6 and library in fields[5] and "w" not in fields[1]
            begin, _, end = fields[0].partition("-")
            mapped, changed = (int(begin, 16), int(end, 16)) if is_wanted else None, 0
        elif mapped is not None and fields[0] in {"Private_Dirty:", "Shared_Dirty:", "Anonymous:", "Swap:"}:
            changed += int(fields[1])
        elif mapped is not None and fields[0] == "VmFlags:":
            if not changed:
                yield mapped
            mapped = None
