"""The file-arrival sensor: what a tick asks for, and what it never does.

What belongs here: the pure decision, and real ticks over a storage folder. What does not: the daemon that ticks
(`end_to_end`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.automation.sensors import MAX_RETRIES, Cursor, arrival
from pipeline_assets.definitions import build_defs
from pipeline_assets.planning import Plan
from pipeline_assets.storage import control
from pipeline_assets.storage.store import Entry
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.world import World

UNIT = Unit("daily", "2024-01-15")
FILE = Entry("logs/2024-01-15/access.log", 10, "e1", 0.0)
LINE = b'192.0.2.1 - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'


def test_a_file_is_taken_once_it_has_kept_its_version_for_long_enough() -> None:
    plan = Plan({}, (FILE,))
    first = arrival(plan, Cursor(), set(), now=100.0, settle_s=2.0)
    assert first.is_empty
    assert arrival(plan, first.cursor, set(), now=101.0, settle_s=2.0).is_empty
    assert arrival(plan, first.cursor, set(), now=102.0, settle_s=2.0).plan.new_files == (FILE,)
    grown = Plan({}, (Entry(FILE.path, 20, "e2", 0.0),))
    assert arrival(grown, first.cursor, set(), now=102.0, settle_s=2.0).is_empty


def test_a_unit_in_flight_is_left_to_its_run() -> None:
    plan = Plan({UNIT: ()})
    assert arrival(plan, Cursor(), {UNIT}, now=0.0, settle_s=0.0).is_empty


def test_a_unit_that_stays_pending_is_asked_for_a_few_times_and_again_when_it_changes() -> None:
    cursor = Cursor()
    keys: list[str] = []
    for _ in range(MAX_RETRIES + 3):
        found = arrival(Plan({UNIT: (FILE,)}), cursor, set(), now=0.0, settle_s=0.0)
        keys += found.versions.values()
        cursor = Cursor.read(found.cursor.write())
    assert len(keys) == len(set(keys)) == MAX_RETRIES
    changed = Plan({UNIT: (Entry(FILE.path, 11, "e2", 0.0),)})
    assert not arrival(changed, cursor, set(), now=0.0, settle_s=0.0).is_empty


@given(st.text())
def test_a_cursor_that_cant_be_read_starts_over(text: str) -> None:
    assert isinstance(Cursor.read(text), Cursor)


def test_the_cursor_forgets_what_is_finished() -> None:
    busy = arrival(Plan({UNIT: (FILE,)}), Cursor(), set(), now=0.0, settle_s=5.0).cursor
    assert busy.waiting and busy.asked
    assert arrival(Plan(), busy, set(), now=1.0, settle_s=5.0).cursor == Cursor()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path / "storage", settle_seconds=0, look_back_days=100_000, batch_max_files=2)
    monkeypatch.setenv("PIPELINE_STORAGE", str(world.root))
    return world


def tick(world: World, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    defs = build_defs(settings=world.settings, sensor_wait_s=0)
    sensor = defs.resolve_sensor_def("file_arrival_sensor")
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        resources={"pipeline": PipelineResource()},
        repository_def=defs.get_repository_def(),
    )
    with context:
        return sensor(context)


def test_new_incremental_files_become_one_batch_within_its_limits(world: World) -> None:
    for number in range(3):
        world.land(f"logs/incremental/{number}.log", LINE)
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(world, instance)
    (request,) = result.run_requests
    (added,) = result.dynamic_partitions_requests
    assert request.job_name == "incremental_job"
    assert added.partition_keys == [request.partition_key]
    paths = control.batch_paths(world.context.store, Unit("incremental", request.partition_key))
    assert paths == ["logs/incremental/0.log", "logs/incremental/1.log"]


def test_changed_daily_folders_without_a_gap_are_one_run(world: World) -> None:
    for day in (14, 15, 18):
        world.land(f"logs/2024-01-{day}/access.log", LINE)
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(world, instance)
    assert [request.job_name for request in result.run_requests] == ["daily_job", "daily_job"]
    first, second = result.run_requests
    assert first.tags["dagster/asset_partition_range_start"] == "2024-01-14"
    assert first.tags["dagster/asset_partition_range_end"] == "2024-01-15"
    assert second.partition_key == "2024-01-18"


def test_a_repeated_tick_asks_with_the_same_run_keys(world: World) -> None:
    world.land("logs/2024-01-14/access.log", LINE)
    with dg.DagsterInstance.ephemeral() as instance:
        once, again = tick(world, instance), tick(world, instance)
    assert [r.run_key for r in once.run_requests] == [r.run_key for r in again.run_requests]


def test_nothing_new_is_a_skip(world: World) -> None:
    world.land("logs/2024-01-14/access.log", LINE)
    world.catch_up()
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(tick(world, instance), dg.SkipReason)


def test_a_listing_that_fails_is_not_an_empty_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land("logs/2024-01-14/access.log", LINE)
    resource = PipelineResource()
    assert resource.context.store.children("logs")
    shutil.move(world.root, world.root.with_name("gone"))
    monkeypatch.setattr("pipeline_assets.assets.resources.Context.of", lambda settings: world.context)
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(world, instance)
    assert isinstance(result, dg.SkipReason)
    assert "nothing is assumed" in str(result.skip_message)
