"""Memory that libraries keep for later: as little as may be, and given back to the system.

What belongs here: how it is kept, given back, or left to the system. What does not: when, or how much work is
done at a time.

Each library has an allocator of its own, and none uses what another one keeps. A process that works for long
with one of them and then with the next would need the most of each, all at once.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
from typing import Any, Final

# `M_ARENA_MAX` of glibc's malloc.h, and the variables by which people set it.
_MOST_ARENAS: Final = -8
_SET_BY: Final = frozenset({"MALLOC_ARENA_MAX", "GLIBC_TUNABLES"})
# The process that does nothing but this package's work, if this is one, until it has given memory back once.
_new: Final[set[int]] = set()


def own_process() -> None:
    """Set up a process that does nothing but this package's work; for programs, before they import libraries.

    Nobody else's process is changed so: to import the package does none of it.
    """
    _new.add(os.getpid())
    _use_one_arena()
    # The library for matrices of NumPy, of which there are none here, starts a thread a processor when it is
    # imported, and they spin: some 50 ms of CPU time a process.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _use_one_arena() -> None:
    """Let all threads that come to be take the C library's memory from one place, where that is glibc.

    By itself it has a place for each thread, up to eight a processor, and what was freed in one the others
    don't use: with a log of 4 GB that comes to 60 MB. Polars and Arrow have allocators of their own. What is
    left are arrays of NumPy's, which are few and large, and Python's objects, so hardly a thread waits for
    another. Whoever has set it for the process is not overruled.
    """
    if _SET_BY.isdisjoint(os.environ) and (choose := _of_c_library("mallopt")) is not None:
        choose(_MOST_ARENAS, 1)


def end_quickly() -> None:
    """Let this process end without a last look for what refers to itself in a circle, which takes 0.1 s.

    For programs that are whole processes: what a circle has left unwritten in a file would stay so.
    """
    atexit.register(gc.freeze)


def give_back() -> None:
    """Give back what Arrow and the C library keep; it takes some 50 ms where that is much."""
    # Frames that lazy queries and their errors refer to in a circle are let go of by this alone: some 20 MB.
    gc.collect()
    # What is there by now are modules, half a million objects: to look at them each time takes some 35 ms.
    if os.getpid() in _new:
        _new.clear()
        gc.freeze()
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    # glibc's alone: what numpy and Python have let go of. Other systems' libraries give back by themselves.
    if (trim := _of_c_library("malloc_trim")) is not None:
        trim(0)


def _of_c_library(name: str) -> Any:
    """A function of the C library, or None where that has none of this name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
