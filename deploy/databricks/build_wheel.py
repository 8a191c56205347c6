"""The wheel as a cluster gets it: this checkout's code, with the requirements of a job and no others.

What belongs here: which requirements a job has. What does not: the code, which is the same as everywhere
(`pipeline_assets.versions` tells). Run it as `python build_wheel.py FOLDER`.

dagster-databricks would install a pyspark over the cluster's own, and orchestrator, alerts and report add a
hundred packages to each start of a cluster. What is left is pinned as locked, so that a job computes with the
versions that the tests did.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {
    *("dagster", "dagster-webserver", "dagster-dg-cli", "dagster-azure", "dagster-databricks"),
    *("apprise", "altair", "vl-convert-python", "jinja2", "azure-storage-queue"),
}
# Messages from a job to the run that submitted it, and what Spark hands batches over with.
ADDED = ("dagster-pipes", "pandas")
_REQUIREMENT = re.compile(r'^    "([A-Za-z0-9-]+)(\[[a-z]+\])?[^"]*",$')


def job_requirements(pyproject: str, lock: str) -> list[str]:
    """What a job needs, in the versions that the lock names: by Python's version, where there are several."""
    locked: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)(==[^\\]+?) *\\?$", lock, flags=re.M):
        locked.setdefault(name, set()).add(version.replace('"', "'"))
    block = pyproject.partition("dependencies = [\n")[2].partition("\n]")[0]
    found = [match.groups(default="") for match in map(_REQUIREMENT.match, block.split("\n")) if match]
    kept = [(name, extra) for name, extra in found if name not in LEFT_OUT]
    return [
        f"{name}{extra}{version}"
        for name, extra in [*kept, *((name, "") for name in ADDED)]
        for version in sorted(locked[name])
    ]


def build(target: Path, *options: str) -> Path:
    """Build the wheel into a folder, which then holds it alone; `options` are those of `pip wheel`."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    # pandas is in the second, because Spark is an extra.
    locks = [
        (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements-dev.lock")
    ]
    requirements = job_requirements(pyproject, "\n".join(locks))
    head, _, rest = pyproject.partition("dependencies = [\n")
    listed = "".join(f'    "{requirement}",\n' for requirement in requirements)
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "pipeline_assets", source / "pipeline_assets", ignore=skipped)
        for name in ("README.md", "LICENSE"):
            shutil.copy(ROOT / name, source / name)
        changed = f"{head}dependencies = [\n{listed}]{rest.partition(chr(10) + ']')[2]}"
        (source / "pyproject.toml").write_text(changed, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        command = [*pip, "wheel", "--no-deps", *options, "-w", str(target), str(source)]
        subprocess.run(command, check=True)  # noqa: S603
    (wheel,) = target.glob("*.whl")
    return wheel


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
