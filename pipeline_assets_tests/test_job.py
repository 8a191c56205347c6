"""The plain job: the same tables as every other way of running, step by step or at once, and no Dagster.

What belongs here: the job as a process or a command. What does not: what its steps do (`compute`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from pipeline_assets import job
from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets.settings import project_root
from pipeline_assets.storage import control
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.units import Unit
from pipeline_assets.versions import code_version
from pipeline_assets_tests.azurite import Azurite
from pipeline_assets_tests.spark_here import spark_environment
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.wheels import InstalledWheel
from pipeline_assets_tests.world import World

Run = Callable[..., int]
STEPS = ("bronze", "silver", "gold", "publish")
# What a task of a cluster does: it looks the console script up by its name, and calls it.
TOLD = (
    'print("modules of Dagster:", [name for name in sys.modules if name.split(".")[0].startswith("dagster")])'
)
TASK = f"""
import importlib.metadata, sys
found = importlib.metadata.distribution("pipeline_assets").entry_points
(script,) = found.select(group="console_scripts", name="pipeline-assets-job")
script.load()()
{TOLD}
"""


def line(host: int, day: int = 15, path: str = "/") -> bytes:
    return (
        f'192.0.2.{host} - - [{day}/Jan/2024:01:00:00 +0000] "GET {path} HTTP/1.1" 200 5 "-" "x"\n'.encode()
    )


def land(world: World) -> World:
    """Two days and a batch, with a copy that counts once and a rotated log that is continued elsewhere."""
    first = b"".join(line(host) for host in range(1, 40))
    world.land("logs/2024-01-15/access.log", first)
    world.land("logs/2024-01-16/access.log.1", first + line(40) + line(41, 16))
    world.land(
        "logs/2024-01-16/other.log.gz", b"".join(line(host, 16, "/a") for host in range(9)) + b"noise\n"
    )
    world.land("logs/incremental/copy.log", first)
    world.land("logs/incremental/new.log", line(50, 15, "/b") + line(51, 17))
    return world


def tables(world: World) -> dict[str, list[tuple[object, ...]]]:
    return {name: world.table(name) for name in (*SERVING, *MODEL)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return land(World(tmp_path / "storage"))


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, list[tuple[object, ...]]]:
    other = land(World(tmp_path / "other"))
    other.catch_up()
    return tables(other)


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the job over the world in this process; its exit code."""
    for name, value in world.storage.environment.items():
        monkeypatch.setenv(name, value)

    def called(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["pipeline-assets-job", *arguments])
        try:
            job.main()
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            return ended.code
        return 0

    return called


def test_one_task_for_each_step_makes_the_tables_of_every_other_way(
    world: World, run: Run, expected: dict[str, list[tuple[object, ...]]]
) -> None:
    for step in STEPS:
        assert run("--steps", step, "--more-follows") == 0
    assert tables(world) == expected
    assert world.catch_up() == 0


def test_one_task_does_all_and_full_changes_nothing(
    world: World,
    run: Run,
    expected: dict[str, list[tuple[object, ...]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run() == 0
    assert tables(world) == expected
    capsys.readouterr()
    assert run() == 0
    version, nothing, *_ = capsys.readouterr().out.splitlines()
    assert (version, nothing) == (f"pipeline-assets {code_version()}", "nothing is new, changed or behind")
    for step in STEPS:
        assert run("--steps", step, "--what", "full") == 0
    told = capsys.readouterr().out
    assert all(f"{layer}: 3 made" in told for layer in STEPS[:-1])
    assert tables(world) == expected
    assert run("--steps", "check,maintain") == 0


def test_a_step_that_was_lost_is_done_by_the_next_job(
    world: World, run: Run, expected: dict[str, list[tuple[object, ...]]]
) -> None:
    assert run("--steps", "bronze,silver", "--more-follows") == 0
    assert run("--steps", "check") == job.FAILED
    assert run() == 0
    assert run("--steps", "check") == 0
    assert tables(world) == expected


def test_what_is_behind_without_a_new_file_goes_through_all_tasks(
    world: World, run: Run, expected: dict[str, list[tuple[object, ...]]]
) -> None:
    assert run() == 0
    for layer in ("silver", "gold"):
        world.context.store.delete(f"{layer}/daily/2024-01-16/_manifest.json")
    for step in STEPS:
        assert run("--steps", step, "--more-follows") == 0
    assert tables(world) == expected
    assert world.context.store.stat("silver/daily/2024-01-16/_manifest.json") is not None


def test_a_bad_delivery_fails_the_last_task_after_the_others_are_shown(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "logs/2024-01-18/\u202ebad.log"
    world.land(bad, line(1, 18))
    opened = FolderStore.open

    def refuse(self: FolderStore, path: str) -> BinaryIO:
        if path == bad:
            raise OSError(5, "Input/output error", path)
        return opened(self, path)

    monkeypatch.setattr(FolderStore, "open", refuse)
    for step in STEPS[:-1]:
        assert run("--steps", step, "--more-follows") == 0
    assert run("--steps", "publish") == job.FAILED
    told = capsys.readouterr().out
    assert "quarantined daily/2024-01-18: " in told and "\\u202ebad" in told and "\u202e" not in told
    assert len(world.table("visitors_daily")) == 3


def test_units_are_chosen_by_name(world: World, run: Run) -> None:
    assert run("--units", " daily/2024-01-15,") == 0
    assert {row[0].isoformat() for row in world.table("visitors_daily")} == {"2024-01-15"}
    assert control.batches(world.context.store) == []


def test_a_named_delivery_that_is_not_there_leaves_nothing_behind(world: World, run: Run) -> None:
    assert run("--units", "daily/2024-03-01") == 0
    assert Unit("daily", "2024-03-01") not in control.pending_markers(world.context.store)
    assert run() == 0
    assert run("--steps", "check") == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--steps", "bronze,golden"], "'golden'"),
        (["--steps", "bronze,gold"], "silver"),
        (["--units", "daily/15"], "daily/15"),
        (["--units", "incremental/2024-01-01-0000"], "no batch"),
        (["--what", "old"], "old"),
    ],
)
def test_wrong_use_is_said_and_does_nothing(
    arguments: list[str], told: str, world: World, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == job.WRONG_USE
    assert told in capsys.readouterr().err
    assert control.pending_markers(world.context.store) == {}


@pytest.mark.slow
def test_the_installed_job_imports_no_dagster(installed_wheel: InstalledWheel, world: World) -> None:
    done = installed_wheel.python("-c", TASK, env=world.storage.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("modules of Dagster: []\n")
    assert world.catch_up() == 0


@pytest.mark.slow
def test_spark_makes_the_same_tables_and_imports_no_dagster(
    world: World, expected: dict[str, list[tuple[object, ...]]], tmp_path: Path
) -> None:
    environment = world.storage.environment | spark_environment()
    environment |= {
        "PYSPARK_SUBMIT_ARGS": "--master local[1] pyspark-shell",
        "PYTHONPATH": str(project_root()),
    }
    script = f"import sys; from pipeline_assets import job; job.main(); {TOLD}"
    command = [sys.executable, "-c", script, "--place", "spark"]
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "bronze, silver, gold: 3 made in " in done.stdout
    assert done.stdout.endswith("modules of Dagster: []\n")
    assert tables(world) == expected


def test_the_place_is_spark_on_databricks_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    assert [job._place(said) for said in ("auto", "spark", "here")] == ["here", "spark", "here"]
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    assert [job._place(said) for said in ("auto", "spark", "here")] == ["spark", "spark", "here"]


@pytest.mark.slow
def test_nor_does_it_in_an_account_whose_containers_it_creates(
    installed_wheel: InstalledWheel, azurite: Azurite
) -> None:
    storage = Storage.in_account(azurite.new_account())
    done = installed_wheel.python("-c", TASK, env=storage.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("modules of Dagster: []\n")
