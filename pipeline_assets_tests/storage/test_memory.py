"""Memory that libraries keep: how much of it, asked of the C library in a process of its own.

What belongs here: from how many places the threads of a process take it. What does not: how much memory a
log takes, which `make bench` measures.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's alone")

# Several threads at once take memory and keep it, as those of a run do.
_THREADS = """
import ctypes, sys, threading
import pipeline_assets
library = ctypes.CDLL(None)
library.malloc.restype = library.fopen.restype = ctypes.c_void_p
there = threading.Barrier(6)
def take():
    there.wait()
    library.malloc(5_000)
    there.wait()
threads = [threading.Thread(target=take) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
out = ctypes.c_void_p(library.fopen(sys.argv[1].encode(), b"w"))
library.malloc_info(0, out)
library.fclose(out)
"""


def _places(report: Path, **variables: str) -> int:
    known = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    subprocess.run([sys.executable, "-c", _THREADS, report], env=known | variables, check=True, timeout=60)
    return report.read_text().count("<heap ")


def test_all_threads_take_memory_from_one_place(tmp_path: Path) -> None:
    assert _places(tmp_path / "report.xml") == 1


def test_what_people_have_set_holds(tmp_path: Path) -> None:
    assert _places(tmp_path / "report.xml", MALLOC_ARENA_MAX="4") == 4
