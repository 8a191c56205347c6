"""The wheel of this checkout, built and installed as a user would.

What belongs here: building, installing, and running Python with what was installed. What does not: what the wheel
must do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.settings import project_root

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")


@dataclass(frozen=True)
class InstalledWheel:
    """A wheel, and the folder it was installed in; its dependencies are those of this environment."""

    wheel: Path
    target: Path

    def python(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Python with the installed package before everything else, away from the checkout."""
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **(env or {}), "PYTHONPATH": str(self.target)},
            cwd=self.target.parent,
            capture_output=True,
            text=True,
            timeout=120,
        )


def build_and_install(where: Path) -> InstalledWheel:
    """Build the checkout's wheel and install it under `where`. Sources are copied: a build leaves things behind."""
    source = where / "source"
    checkout = project_root()
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(checkout / "pipeline_assets", source / "pipeline_assets", ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, source / name)
    dist, target = where / "dist", where / "installed"
    build = [*_PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", str(dist), str(source)]
    subprocess.run(build, check=True, timeout=120)
    (wheel,) = dist.glob("*.whl")
    install = [*_PIP, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, timeout=120)
    return InstalledWheel(wheel, target)
