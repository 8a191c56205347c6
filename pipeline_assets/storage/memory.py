"""Memory that libraries keep for later, given back to the system.

What belongs here: how it is given back. What does not: when, or how much work is done at a time.

Each library has an allocator of its own, and none uses what another one keeps. A process that works for long
with one of them and then with the next would need the most of each, all at once.
"""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Give back what Arrow and the C library keep; it takes some 50 ms where that is much."""
    # Frames that lazy queries and their errors refer to in a circle are let go of by this alone: some 20 MB.
    gc.collect()
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    # glibc's alone: what numpy and Python have let go of. Other systems' libraries give back by themselves.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
