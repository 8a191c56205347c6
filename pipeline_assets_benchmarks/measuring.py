"""What a process takes, from its start to its end: wall and CPU time, and memory.

What belongs here: starting one and asking the system. What does not: what it does.

CPU seconds are the user and system time of the process and of all that it started and waited for. Peak memory
is the largest resident set of any one of them. On a machine that others use too, CPU seconds can be compared,
and the time that passes can't.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
_LAUNCHER: Final = CHECKOUT / "pipeline_assets_benchmarks" / "launcher.py"
# Linux says kilobytes, macOS bytes.
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


class ContestantError(Exception):
    """A process failed; the message is the end of what it said."""


@dataclass(frozen=True)
class Run:
    """One run: seconds that passed, CPU seconds, and peak memory in bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def measure_module(module: str, *arguments: str | Path) -> Run:
    """Run a module of this package in a fresh interpreter. Raises `ContestantError`."""
    return _measure("-m", f"{__package__}.{module}", *map(str, arguments))


def measure_code(code: str) -> Run:
    """Run a line of Python in a fresh interpreter. Raises `ContestantError`."""
    return _measure("-c", code)


def median(runs: Iterable[Run]) -> Run:
    """The median of each figure by itself."""
    listed = list(runs)
    return Run(
        statistics.median(run.wall_s for run in listed),
        statistics.median(run.cpu_s for run in listed),
        int(statistics.median(run.peak_bytes for run in listed)),
    )


def _measure(*arguments: str) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note.json"
        launcher = (sys.executable, "-S", "-E", str(_LAUNCHER), str(note))
        done = subprocess.run(
            [*launcher, sys.executable, *arguments],
            check=False,
            cwd=CHECKOUT,
            env=environment(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            said = done.stdout[-2000:].decode(errors="replace")
            raise ContestantError(f"{' '.join(arguments)}: {said}")
        passed, cpu, peak = json.loads(note.read_bytes())
    return Run(passed, cpu, peak * _RSS_UNIT)


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The environment without the settings of a pipeline that is in use, and with Python as it is installed.

    Where it is told not to keep what it has compiled, it would compile this checkout for each run, but not
    what is installed.
    """
    settings = ("PIPELINE_", "AZURE_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in ours.items() if not name.startswith(settings)}
