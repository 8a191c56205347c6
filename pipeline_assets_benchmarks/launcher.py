"""Starts one process, waits for it, and writes what it took: `launcher.py FILE COMMAND...`.

What belongs here: as little as can be. A process is said to have had at least the memory of the one that
started it, because that is what it is until it becomes itself; so a small one must do it. What does not: any
import that isn't Python's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main(note: str, command: list[str]) -> int:
    """Run the command, note its seconds, CPU seconds and peak resident set, and pass on how it ended."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    passed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    with open(note, "w") as out:  # noqa: PTH123  (pathlib is no small import)
        json.dump([passed, used.ru_utime + used.ru_stime, used.ru_maxrss], out)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
