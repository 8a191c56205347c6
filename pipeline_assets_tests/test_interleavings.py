"""Every moment of one run: killed there, overtaken there by another run of the same day, or maintained there.

What belongs here: a small run, stopped at each of its moments in turn. What does not: long random histories
(`test_promises`).

A step is before or after one touch of the storage. A killed process leaves the storage and nothing else, so a
kill is tried at the first step of each state that the storage goes through (42 in the 238 steps of a run).
What overtakes a run meets what that has read too, so it is tried before each touch; after it nothing happens
that the next touch doesn't see.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.storages import AZURITE, NewStorage, Storage
from pipeline_assets_tests.test_promises import check_serving
from pipeline_assets_tests.world import AtStep, Killed, World, hook_storage, kill

DAY = "15/Jan/2024"


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


def steps_of(first: World, work: Callable[[World], None]) -> tuple[list[int], list[int]]:
    """The steps before each touch of the storage, and the first step of each state that it is in."""
    counted = first.copy_to(first.root.with_name("counted"))
    names: list[str] = []
    states: list[int] = []
    last: set[tuple[Path, int, int, int]] = set()

    def note(name: str) -> None:
        nonlocal last
        found = {(path, *_version(path)) for path in counted.root.rglob("*") if path.is_file()}
        if found != last:
            states.append(len(names))
        last = found
        names.append(name)

    with hook_storage(note):
        work(counted)
    assert len(names) > 100 and len(states) > 20
    return [step for step, name in enumerate(names) if name.startswith("before ")], states


def _version(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def copies_at(
    first: World,
    steps: Iterable[int],
    work: Callable[[World], None],
    action: Callable[[World], Callable[[], None]],
) -> Iterator[World]:
    """Copies of a world in which something happens at one step of the work, and which are caught up."""
    for step in steps:
        world = first.copy_to(first.root.with_name(str(step)))
        interrupt(world, step, work, action)
        yield world
        shutil.rmtree(world.root)


def interrupt(
    world: World, step: int, work: Callable[[World], None], action: Callable[[World], Callable[[], None]]
) -> None:
    with hook_storage(AtStep(step, action(world))), contextlib.suppress(Killed):
        work(world)
    # Without reconciliation: markers alone must lead to what is left to do.
    world.catch_up(everything=False)
    check_serving(world)
    assert world.catch_up() == 0, f"step {step}: the manifests and the days disagree"


def dies(world: World) -> Callable[[], None]:
    return kill


def is_overtaken(world: World) -> Callable[[], None]:
    def other() -> None:
        world.land("logs/incremental/second.log", line(5, 5))
        world.land("logs/incremental/access.log.1", line(1, 1) + line(2, 2) + line(4, 4) + line(6, 6))
        world.catch_up(everything=False)

    return other


@pytest.mark.long
def test_a_run_killed_at_any_moment_is_put_right_by_the_next(tmp_path: Path) -> None:
    first = world_with_a_published_day(Storage.in_folder(tmp_path / "first"))
    _, states = steps_of(first, run_the_day)
    for _ in copies_at(first, states, run_the_day, dies):
        pass


@pytest.mark.long
@pytest.mark.parametrize("shard", range(3))
def test_a_run_overtaken_at_any_step_loses_nothing(shard: int, tmp_path: Path) -> None:
    first = world_with_a_published_day(Storage.in_folder(tmp_path / "first"))
    touches, _ = steps_of(first, run_the_day)
    for _ in copies_at(first, touches[shard::3], run_the_day, is_overtaken):
        pass


# An account can't be copied, and its steps are the same: one in so many.
@pytest.mark.long
@pytest.mark.parametrize("kind", [AZURITE])
@pytest.mark.parametrize("action", [dies, is_overtaken])
def test_so_it_is_in_an_account(
    action: Callable[[World], Callable[[], None]], new_storage: NewStorage
) -> None:
    for step in range(3, 230, 32):
        interrupt(world_with_a_published_day(new_storage()), step, run_the_day, action)


# Maintenance takes seconds and has hundreds of steps, so these tests take some of them; which, is the same in
# every process.
@pytest.mark.long
@pytest.mark.parametrize("shard", range(2))
def test_maintenance_at_any_step_of_a_run_takes_nothing_that_it_needs(shard: int, tmp_path: Path) -> None:
    """What was there before the run is old enough to be swept, and what the run writes is not."""

    def maintenance_in(world: World) -> Callable[[], None]:
        begun = world.moment()
        # Tables are written by threads, of which one may show the day while another waits for maintenance.
        known = (world.table("traffic_hourly"), world.truth().traffic_hourly)

        def maintenance() -> None:
            world.maintain(since=begun, retention_days_bronze=30, retention_days_silver=30)
            assert world.table("traffic_hourly") in known

        return maintenance

    first = world_with_a_published_day(Storage.in_folder(tmp_path / "first"))
    leave_some(first)
    touches, _ = steps_of(first, run_the_day)
    for _ in copies_at(first, touches[3 * shard :: 6], run_the_day, maintenance_in):
        pass


@pytest.mark.long
@pytest.mark.parametrize("shard", range(2))
def test_maintenance_killed_at_any_moment_leaves_all_right(shard: int, tmp_path: Path) -> None:
    first = world_to_maintain(tmp_path)
    _, states = steps_of(first, put_in_order)
    for world in copies_at(first, states[shard::2], put_in_order, dies):
        check_maintained(world)


@pytest.mark.long
@pytest.mark.parametrize("shard", range(2))
def test_a_run_at_any_step_of_maintenance_loses_nothing(shard: int, tmp_path: Path) -> None:
    def run(world: World) -> Callable[[], None]:
        def other() -> None:
            world.land("logs/incremental/second.log", line(5, 5))
            world.land("logs/2024-01-15/access.log", line(1, 1) + line(7, 7))
            world.catch_up(everything=False)

        return other

    first = world_to_maintain(tmp_path)
    touches, _ = steps_of(first, put_in_order)
    for world in copies_at(first, touches[3 * shard :: 6], put_in_order, run):
        check_maintained(world)


def world_to_maintain(folder: Path) -> World:
    first = world_with_a_published_day(Storage.in_folder(folder / "first"))
    first.land("logs/2024-01-14/old.log", line(6, 6))
    first.catch_up()
    leave_some(first)
    first.catch_up()
    return first


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


def check_maintained(world: World) -> None:
    for _ in range(2):
        put_in_order(world)
    assert not list((world.root / "silver" / "daily").rglob("*.parquet"))
    check_serving(world)
    assert world.catch_up() == 0
