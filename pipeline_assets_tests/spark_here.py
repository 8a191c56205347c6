"""Spark on this machine: whether it can run, and what its processes need.

What belongs here: finding Java, and the environment of a process that starts Spark. What does not: what Spark
is given to do.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def has_java() -> bool:
    """Whether a Java is found where Spark looks for it."""
    home = os.environ.get("JAVA_HOME")
    return bool((home and (Path(home) / "bin/java").is_file()) or shutil.which("java"))


def spark_environment() -> dict[str, str]:
    """What a process of Spark needs: workers of this very Python, and loopback alone.

    Without Java the test is skipped, except in CI, where that would hide that Spark was not tried.
    """
    if not has_java():
        if os.environ.get("CI"):
            raise RuntimeError("no Java is installed; in CI Spark must be tried")
        pytest.skip("no Java is installed")
    return {
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
