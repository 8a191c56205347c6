"""The machine and the versions that figures belong to.

What belongs here: what one must know to compare figures. What does not: what only tells whose machine it is.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pipeline_assets_benchmarks.contestants import CONTESTANTS

_PACKAGES: Final = ("polars", "pyarrow", "deltalake", "dagster", "numpy")


def machine() -> list[tuple[str, str]]:
    """Processor, cores, memory and system, each with its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        ("processor", _processor()),
        ("cores", str(cores)),
        ("memory", f"{memory / 1e9:.0f} GB"),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
    ]


def load() -> str:
    """How busy the machine is: processes that wanted to run in the last minute, on average."""
    return f"{os.getloadavg()[0]:.1f}"


def versions() -> list[tuple[str, str]]:
    """Versions of all that takes part; who is not installed is left out."""
    found = {it.package: it.version for it in CONTESTANTS.values()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return [(name, number) for name, number in found.items() if number]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
