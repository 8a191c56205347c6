"""Memory that libraries keep: how much of it, asked of the C library in a process of its own.

What belongs here: from how many places the threads of a process take it, and of which processes. What does not:
how much memory a log takes, which `make bench` measures.
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
from pipeline_assets.storage.memory import own_process
if sys.argv[2:] == ["own"]:
    own_process()
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


# What programs are made of is imported before the library is, which counts processors when it is.
_PROGRAMS = """
import os, sys
from pipeline_assets import cli, job, warm_runs
assert "OPENBLAS_NUM_THREADS" not in os.environ
assert "numpy" not in sys.modules
cli.main(["runs", "--help"], standalone_mode=False)
assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
"""


def _run(code: str, *arguments: object, **variables: str) -> None:
    of_tests = {"MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS"}
    known = {name: value for name, value in os.environ.items() if name not in of_tests}
    subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=known | variables, check=True, timeout=60
    )


def _places(report: Path, *kind: str, **variables: str) -> int:
    _run(_THREADS, report, *kind, **variables)
    return report.read_text().count("<heap ")


def test_all_threads_of_a_program_take_memory_from_one_place(tmp_path: Path) -> None:
    assert _places(tmp_path / "report.xml", "own") == 1


def test_what_people_have_set_holds(tmp_path: Path) -> None:
    assert _places(tmp_path / "report.xml", "own", MALLOC_ARENA_MAX="4") == 4


def test_to_import_the_package_changes_nothing(tmp_path: Path) -> None:
    assert _places(tmp_path / "report.xml") > 1


def test_programs_set_up_their_process_before_libraries_are_imported() -> None:
    _run(_PROGRAMS)
