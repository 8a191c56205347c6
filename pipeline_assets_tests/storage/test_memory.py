"""Memory that libraries keep: how much of it, asked of the C library in a process of its own.

What belongs here: from how many places the threads of a process take it, when circles are looked for, and of
which processes. What does not: how much memory a log takes, which `make bench` measures.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's alone")

_OF_TESTS = {"MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "OPENBLAS_NUM_THREADS"}
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

# What is in a circle, and when memory is given back.
_CIRCLES = """
import gc, sys, weakref
from pipeline_assets.storage.memory import give_back, own_process
if sys.argv[1:] == ["own"]:
    own_process()
class Circle:
    def __init__(self):
        self.itself = self
def is_let_go_of():
    circle = weakref.ref(Circle())
    give_back()
    return circle() is None
print(is_let_go_of(), is_let_go_of(), gc.get_freeze_count() > 0)
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


def _run(code: str, *arguments: object, **variables: str) -> str:
    known = {name: value for name, value in os.environ.items() if name not in _OF_TESTS}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, env=known | variables, check=True, timeout=60, stdout=subprocess.PIPE, text=True
    ).stdout


def _places(report: Path, *kind: str, **variables: str) -> int:
    _run(_THREADS, report, *kind, **variables)
    return report.read_text().count("<heap ")


def test_all_threads_of_a_program_take_memory_from_one_place(tmp_path: Path) -> None:
    assert _places(tmp_path / "report.xml", "own") == 1


def test_what_people_have_set_holds(tmp_path: Path) -> None:
    assert _places(tmp_path / "report.xml", "own", MALLOC_ARENA_MAX="4") == 4


def test_programs_look_at_what_is_there_once_and_at_what_comes_each_time() -> None:
    assert _run(_CIRCLES, "own").split() == ["True", "True", "True"]
    assert _run(_CIRCLES).split() == ["True", "True", "False"]


def test_to_import_the_package_changes_nothing(tmp_path: Path) -> None:
    assert _places(tmp_path / "report.xml") > 1


def test_programs_set_up_their_process_before_libraries_are_imported() -> None:
    _run(_PROGRAMS)
