"""Every moment of one run: killed there, overtaken there by another run of the same day, or maintained there.

What belongs here: a small run, stopped at each of its steps in turn. What does not: long random histories
(`test_promises`).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.storages import NewStorage, Storage
from pipeline_assets_tests.test_promises import check_serving
from pipeline_assets_tests.world import AtStep, Killed, World, hook_storage, kill

DAY = "15/Jan/2024"
SHARDS = 8


def line(host: int, hour: int) -> bytes:
    return f'192.0.2.{host} - - [{DAY}:{hour:02}:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()


def world_with_a_published_day(storage: Storage) -> World:
    """A day that two deliveries are folded into, and news for one of them that has not been run."""
    world = World(storage, look_back_days=100_000)
    world.land("logs/2024-01-15/access.log", line(1, 1) + line(2, 2))
    world.land("logs/incremental/first.log", line(3, 3))
    world.catch_up()
    world.land("logs/2024-01-15/access.log", line(1, 1) + line(2, 2) + line(4, 4))
    world.land("logs/2024-01-15/copy.log", line(3, 3))
    return world


def run_the_day(world: World) -> None:
    world.process([Unit("daily", "2024-01-15")], reuse=True)


def steps_of_a_run(storage: Storage) -> int:
    world = world_with_a_published_day(storage)
    steps: list[str] = []
    with hook_storage(steps.append):
        run_the_day(world)
    return len(steps)


def at_each_step(
    new_storage: NewStorage, shard: int, shards: int, action: Callable[[World], Callable[[], None]]
) -> None:
    count = steps_of_a_run(new_storage())
    assert count > 100
    for step in range(shard, count, shards):
        world = world_with_a_published_day(new_storage())
        with hook_storage(AtStep(step, action(world))), contextlib.suppress(Killed):
            run_the_day(world)
        world.catch_up(everything=False)
        check_serving(world)
        assert world.catch_up() == 0, f"step {step}: the manifests and the days disagree"


# On a folder every step; on Azurite, whose steps are the same and take longer, one in so many.
each_step = pytest.mark.parametrize(
    ("kind", "shard", "shards"),
    [*(("folder", shard, SHARDS) for shard in range(SHARDS)), ("azurite", 3, SHARDS * 4)],
)


@pytest.mark.long
@each_step
def test_a_run_killed_at_any_step_is_put_right_by_the_next(
    shard: int, shards: int, new_storage: NewStorage
) -> None:
    at_each_step(new_storage, shard, shards, lambda world: kill)


@pytest.mark.long
@each_step
def test_a_run_overtaken_at_any_step_loses_nothing(shard: int, shards: int, new_storage: NewStorage) -> None:
    def overtake(world: World) -> Callable[[], None]:
        def other() -> None:
            world.land("logs/incremental/second.log", line(5, 5))
            world.land("logs/incremental/access.log.1", line(1, 1) + line(2, 2) + line(4, 4) + line(6, 6))
            world.catch_up(everything=False)

        return other

    at_each_step(new_storage, shard, shards, overtake)


# The storage is put in order on a folder. A world takes a second and there are hundreds of steps, so these tests
# take one step in six; which, is the same in every process.
STRIDE = 24
on_a_folder = pytest.mark.parametrize("shard", range(0, STRIDE, 6))


@pytest.mark.long
@on_a_folder
def test_maintenance_at_any_step_of_a_run_takes_nothing_that_it_needs(shard: int, tmp_path: Path) -> None:
    """What was there before the run is old enough to be swept, and what the run writes is not."""

    def maintenance_in(world: World) -> Callable[[], None]:
        begun = world.moment()

        def maintenance() -> None:
            before = world.table("traffic_hourly")
            world.maintain(since=begun, retention_days_bronze=30, retention_days_silver=30)
            assert world.table("traffic_hourly") == before

        return maintenance

    first = world_with_a_published_day(Storage.in_folder(tmp_path / "first"))
    leave_some(first)
    for world in copies_at_each_step(first, shard, run_the_day, maintenance_in):
        assert world.catch_up() == 0, "the manifests and the days disagree"


@pytest.mark.long
@on_a_folder
def test_maintenance_killed_at_any_step_leaves_all_right(shard: int, tmp_path: Path) -> None:
    maintained_at_each_step(tmp_path, shard, lambda world: kill)


@pytest.mark.long
@on_a_folder
def test_a_run_at_any_step_of_maintenance_loses_nothing(shard: int, tmp_path: Path) -> None:
    def run(world: World) -> Callable[[], None]:
        def other() -> None:
            world.land("logs/incremental/second.log", line(5, 5))
            world.land("logs/2024-01-15/access.log", line(1, 1) + line(7, 7))
            world.catch_up(everything=False)

        return other

    maintained_at_each_step(tmp_path, shard, run)


def leave_some(world: World) -> None:
    """Leftovers of every kind: of forgotten and of replaced files, and of a killed run."""
    world.land("logs/2024-01-15/secret.log", line(9, 9))
    world.catch_up()
    world.forget("logs/2024-01-15/secret.log")
    world.land("logs/2024-01-15/access.log", line(1, 1) + line(8, 8))
    with hook_storage(AtStep(60, kill)), contextlib.suppress(Killed):
        run_the_day(world)


def put_in_order(world: World) -> None:
    world.maintain(retention_days_bronze=30, retention_days_silver=30)


def copies_at_each_step(
    first: World, shard: int, work: Callable[[World], None], action: Callable[[World], Callable[[], None]]
) -> Iterator[World]:
    """Copies of a world in which something happens at one step of the work, and which are caught up."""
    counted = first.copy_to(first.root.with_name("counted"))
    steps: list[str] = []
    with hook_storage(steps.append):
        work(counted)
    assert len(steps) > 100
    for step in range(shard, len(steps), STRIDE):
        world = first.copy_to(first.root.with_name(str(step)))
        with hook_storage(AtStep(step, action(world))), contextlib.suppress(Killed):
            work(world)
        world.catch_up(everything=False)
        check_serving(world)
        yield world
        shutil.rmtree(world.root)


def maintained_at_each_step(folder: Path, shard: int, action: Callable[[World], Callable[[], None]]) -> None:
    first = world_with_a_published_day(Storage.in_folder(folder / "first"))
    first.land("logs/2024-01-14/old.log", line(6, 6))
    first.catch_up()
    leave_some(first)
    first.catch_up()
    for world in copies_at_each_step(first, shard, put_in_order, action):
        assert world.catch_up() == 0, "the manifests and the days disagree"
        for _ in range(2):
            put_in_order(world)
        assert not list((world.root / "silver" / "daily").rglob("*.parquet"))
        check_serving(world)
        assert world.catch_up() == 0
