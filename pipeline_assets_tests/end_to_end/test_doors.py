"""The commands that a person, cron or CI types, as processes: what serving says after them, and exit codes.

What belongs here: each door once, from the outside. What does not: what happens by itself (`test_daemon`),
and the many cases of a command, which are cheaper in one process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from blake3 import blake3

from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.end_to_end.services import (
    CHECKOUT,
    Ended,
    environment,
    finish,
    run,
    serving_is_true,
    start,
    wait_for,
)
from pipeline_assets_tests.test_graph import SNAPSHOT
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.slow

DAYS = [date(2024, 1, 15), date(2024, 1, 16), date(2024, 1, 17)]
MODULE = "pipeline_assets.definitions"


@dataclass(frozen=True)
class Place:
    """A storage folder of the test's own, and commands over it."""

    world: World
    env: dict[str, str]
    folder: Path

    def run(self, *arguments: str) -> Ended:
        return run(arguments, self.env, self.folder / "command.log")

    def well(self, *arguments: str) -> str:
        """What a command that must succeed has written to its standard output."""
        ended = self.run(*arguments)
        assert ended.code == 0, f"{arguments}: {ended.code}\n{ended.out[-3000:]}\n{ended.err[-3000:]}"
        return ended.out

    def land_days(self) -> None:
        for day in DAYS:
            self.world.land(f"logs/{day}/access.log", access_lines([day], 60, seed=f"day-{day}"))

    def is_true(self) -> bool:
        return serving_is_true(self.world)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One history for the module: making it takes seconds."""
    folder = tmp_path_factory.mktemp("home")
    made = run(["pipeline-assets", "init"], environment(folder / "storage", folder), folder / "init.log")
    assert made.code == 0, made.err
    return folder


@pytest.fixture
def place(tmp_path: Path, home: Path) -> Place:
    world = World(tmp_path / "storage")
    return Place(world, environment(world.root, home), tmp_path)


def test_dg_checks_and_lists_the_definitions(place: Place) -> None:
    assert "All definitions loaded successfully" in place.well("dg", "check", "defs")
    listed = json.loads(place.well("dg", "list", "defs", "--json"))
    reviewed = json.loads(SNAPSHOT.read_text())
    layers = {asset["asset_key"].split("/")[0] for asset in listed["assets"]}
    assert layers == {key.split("/")[0] for key in reviewed["assets"]}
    for kind in ("jobs", "schedules", "sensors"):
        assert {one["name"] for one in listed[kind]} == set(reviewed[kind])


def test_both_deployment_files_point_to_the_definitions() -> None:
    workspace = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())
    (loaded,) = [one["python_module"] for one in workspace["load_from"]]
    cloud = yaml.safe_load((CHECKOUT / "dagster_cloud.yaml").read_text())
    (location,) = cloud["locations"]
    assert loaded["module_name"] == location["code_source"]["module_name"] == MODULE
    assert loaded["location_name"] == location["location_name"]


def test_dg_launches_a_day_from_bronze_to_publish(place: Place) -> None:
    place.world.land(f"logs/{DAYS[0]}/access.log", access_lines(DAYS[:1], 60, seed="launch"))
    place.well("dg", "launch", "--assets", '+key:"publish/daily"', "--partition", str(DAYS[0]))
    assert place.is_true()


def test_dagster_materialises_one_table_and_run_does_the_rest(place: Place) -> None:
    day = str(DAYS[0])
    place.world.land(f"logs/{day}/access.log", access_lines(DAYS[:1], 60, seed="materialise"))
    chosen = ("--select", "bronze/daily/requests", "--partition", day)
    place.well("dagster", "asset", "materialize", "-m", MODULE, *chosen)
    assert (place.world.root / f"bronze/daily/{day}/_manifest.json").exists()
    assert not place.world.table("traffic_hourly")
    place.well("pipeline-assets", "run")
    assert place.is_true()


def test_dagster_backfills_a_job_over_days_through_the_workspace(place: Place) -> None:
    place.land_days()
    span = ("--from", str(DAYS[0]), "--to", str(DAYS[-1]), "--noprompt")
    command = ["dagster", "job", "backfill", "-w", "workspace.yaml", "-j", "daily_job", *span]
    log = place.folder / "backfill.log"
    process = start(command, place.env, log)
    try:
        # The command itself waits for its runs for half a minute only.
        wait_for("the backfill to be served", place.is_true)
    finally:
        ended = finish(process, log)
    assert ended.code == 0, ended.err


def test_run_status_full_and_forget_do_what_they_say_and_exit_accordingly(place: Place) -> None:
    place.land_days()
    place.world.land("logs/incremental/more.log", access_lines(DAYS, 60, seed="more"))
    assert place.run("pipeline-assets", "status").code == 1
    place.well("pipeline-assets", "run")
    assert place.is_true()
    state = json.loads(place.well("pipeline-assets", "status", "--json"))
    assert state["is_current"] and state["hits"] == 240
    assert "up to date" in place.well("pipeline-assets", "run")

    path = f"logs/{DAYS[1]}/access.log"
    place.well("pipeline-assets", "forget", path)
    place.world.forgotten.add((path, blake3(place.world.landed[path]).hexdigest()))
    assert place.is_true()
    place.well("pipeline-assets", "full")
    assert place.is_true()
    place.well("pipeline-assets", "status")


def test_wrong_use_is_told_by_its_exit_code(place: Place) -> None:
    assert place.run("pipeline-assets", "forget", "logs/2024-01-15/never.log").code == 2
    assert place.run("pipeline-assets", "no-such-command").code == 2
    place.env["PIPELINE_TIMEZONE"] = "Nowhere/Atlantis"
    wrong = place.run("pipeline-assets", "run")
    assert wrong.code == 2
    assert "PIPELINE_TIMEZONE" in wrong.err
    del place.env["PIPELINE_TIMEZONE"]


def test_two_runs_at_once_on_a_fresh_storage_and_a_fresh_home_both_succeed(tmp_path: Path) -> None:
    world = World(tmp_path / "storage")
    place = Place(world, environment(world.root, tmp_path / "home"), tmp_path)
    place.land_days()
    world.land("logs/incremental/more.log", access_lines(DAYS, 60, seed="more"))
    logs = [tmp_path / f"run-{number}.log" for number in range(2)]
    both = [start(["pipeline-assets", "run"], place.env, log) for log in logs]
    for process, log in zip(both, logs, strict=True):
        ended = finish(process, log)
        assert ended.code == 0, f"{ended.out[-3000:]}\n{ended.err[-3000:]}"
    assert place.is_true()
    assert place.run("pipeline-assets", "status").code == 0
