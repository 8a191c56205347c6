"""The stamp tells other code from the same code, wherever it is installed."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.settings import project_root
from pipeline_assets.versions import code_version, sources_digest
from pipeline_assets_tests.wheels import InstalledWheel


def _copy(tmp_path: Path) -> Path:
    package = project_root() / "pipeline_assets"
    return shutil.copytree(package, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))


def test_a_copy_of_the_package_has_the_digest_of_the_package(tmp_path: Path) -> None:
    assert code_version().endswith(f"+kernel{KERNEL_VERSION}.{sources_digest(_copy(tmp_path))}")


def test_what_is_no_source_and_how_lines_end_change_nothing(tmp_path: Path) -> None:
    package = _copy(tmp_path)
    before = sources_digest(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "planning.cpython-311.pyc").write_bytes(b"\0")
    (package / "notes.txt").write_text("x")
    module = package / "planning.py"
    module.write_bytes(module.read_bytes().replace(b"\n", b"\r\n"))
    assert sources_digest(package) == before


def test_a_changed_line_a_renamed_and_a_new_module_are_other_code(tmp_path: Path) -> None:
    package = _copy(tmp_path)
    seen = [sources_digest(package)]
    module = package / "kernel" / "parse.py"
    module.write_text(module.read_text() + "\nX = 1\n")
    seen.append(sources_digest(package))
    module.rename(module.with_name("parsing.py"))
    seen.append(sources_digest(package))
    (package / "new.py").touch()
    seen.append(sources_digest(package))
    assert len(set(seen)) == 4


def test_text_moved_from_one_module_to_the_next_is_other_code(tmp_path: Path) -> None:
    for name, first, second in (("a", "x = 1\ny = 2\n", "z = 3\n"), ("b", "x = 1\n", "y = 2\nz = 3\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.py").write_text(first)
        (tmp_path / name / "two.py").write_text(second)
    assert sources_digest(tmp_path / "a") != sources_digest(tmp_path / "b")


@pytest.mark.slow
def test_the_wheel_says_what_the_checkout_says(installed_wheel: InstalledWheel) -> None:
    said = installed_wheel.python(
        "-c",
        "import pipeline_assets, pipeline_assets.versions as v; print(pipeline_assets.__file__, v.code_version())",
    )
    where, stamp = said.stdout.split()
    assert Path(where).is_relative_to(installed_wheel.target)
    assert stamp == code_version()
    # A cluster may be given the wheel as an archive on the path.
    assert stamp.endswith(sources_digest(zipfile.Path(installed_wheel.wheel, "pipeline_assets/")))
