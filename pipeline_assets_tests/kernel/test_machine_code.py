"""Machine code: who compiles it, and what of the compiler stays. Each asks a process of its own, which asserts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_it_is_compiled_by_a_process_of_its_own(tmp_path: Path) -> None:
    code = """
import sys
from pipeline_assets.kernel import machine_code
machine_code.loaded()
assert machine_code.is_kept()
assert "numba" not in sys.modules
"""
    found = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240, env=found)


@pytest.mark.skipif(sys.platform != "linux", reason="asked of /proc")
def test_the_compilers_library_is_not_kept_in_memory() -> None:
    code = """
from pathlib import Path
from pipeline_assets.kernel import machine_code
machine_code.loaded()
sizes, name = {True: 0, False: 0}, ""
for line in Path("/proc/self/smaps").read_text().splitlines():
    fields = line.split()
    if not fields[0].endswith(":"):
        name = line
    elif fields[0] == "Rss:":
        sizes["libllvmlite" in name] += int(fields[1])
assert 0 < sizes[True] < 8_000, sizes
# It is still there for whoever needs it.
machine_code.loaded.cache_clear()
machine_code.loaded()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)
