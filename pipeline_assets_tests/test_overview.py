"""The status: what a person sees at a glance is what is there, and what a program reads stays.

What belongs here: facts and how they are printed. What does not: the command's exit codes (`cli`).
"""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from rich.console import Console

from pipeline_assets.overview import Overview, StorageUse, overview, storage_use
from pipeline_assets.storage import control
from pipeline_assets.storage.manifests import new_attempt
from pipeline_assets.storage.units import Unit
from pipeline_assets.terminal import print_status
from pipeline_assets_tests.older import kernel
from pipeline_assets_tests.world import World


def line(day: int, host: int = 1) -> bytes:
    return f'192.0.2.{host} - - [{day}/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "storage")
    world.land("logs/2024-01-12/access.log", line(12) + line(13) + b"no log line\n\n")
    world.land("logs/2024-01-15/access.log", line(15))
    world.land("logs/2024-01-15/copy.log", line(15))
    world.land("logs/incremental/batch.log", line(15, 2))
    world.catch_up()
    return world


def seen(world: World) -> Overview:
    return overview(world.context, world.settings)


def printed(world: World) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    print_status(console, seen(world), storage_use(world.context, world.settings))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lanes_days_and_gaps_are_as_they_landed(world: World) -> None:
    state = seen(world)
    daily, incremental = state.lanes["daily"], state.lanes["incremental"]
    assert (daily.deliveries, daily.last_delivery, daily.files) == (2, "2024-01-15", 2)
    assert (incremental.deliveries, incremental.files) == (1, 1)
    assert state.missing_days == ["2024-01-13", "2024-01-14"]
    assert state.newest_event == datetime(2024, 1, 15, 1, tzinfo=UTC)
    assert state.reject_rate == 1 / 6
    assert [(day.day.day, day.hits, day.deliveries, day.state) for day in state.recent_days] == [
        (15, 2, 2, "shown"),
        (13, 1, 1, "shown"),
        (12, 1, 1, "shown"),
    ]
    assert state.recent_days[-1].lines == {
        "lines": 4,
        "parsed": 2,
        "continuation": 0,
        "rejected": 1,
        "blank": 1,
        "comment": 0,
    }
    assert state.is_current


def test_a_day_says_where_it_stands(world: World) -> None:
    from pipeline_assets.compute.bronze import refresh_bronze
    from pipeline_assets.storage.manifests import read_day, swap_day

    world.land("logs/2024-01-15/more.log", line(15, 3))
    refresh_bronze(world.context, Unit("daily", "2024-01-15"), reuse=True)
    stored = read_day(world.context.store, "2024-01-13", "")
    swap_day(world.context.store, dataclasses.replace(stored.value, units={}), stored.etag)
    states = {day.day.day: day.state for day in seen(world).recent_days}
    assert states == {15: "behind", 13: "disagrees", 12: "shown"}
    assert not seen(world).is_current


def test_a_file_in_an_old_folder_that_has_changed_is_behind(world: World) -> None:
    world.land("logs/2024-01-12/access.log", line(12))
    assert seen(world).behind == ["daily/2024-01-12"]


def test_what_an_older_kernel_wrote_is_told_from_what_can_stay_no_other_way(world: World) -> None:
    world.remove("logs/2024-01-12/access.log")
    with kernel("next"):
        state = seen(world)
        assert len(state.other_kernel) == 3 and state.older_days == ["2024-01-12", "2024-01-13", "2024-01-15"]
        assert {day.state for day in state.recent_days} == {"of an older kernel"}
        assert "runs rebuild those of an older kernel" in " ".join(printed(world).split())
        world.catch_up()
        state = seen(world)
        assert (state.other_kernel, state.older_days) == ([], [])
        assert state.kept_as_read == ["daily/2024-01-12"]
        assert state.is_current


def test_leftovers_and_the_last_maintenance_are_shown(world: World) -> None:
    assert "never; the schedules do it weekly" in printed(world)
    leftover = world.root / "silver/daily/2024-01-15" / f"requests-{new_attempt()}-0000.parquet"
    leftover.write_bytes(b"x" * 1000)
    chosen = world.settings.model_copy(update={"sweep_grace_hours": -1.0})
    use = storage_use(world.context, chosen)
    assert (use.leftover_files, use.leftover_bytes) == (1, 1000)
    assert use.stored_bytes["logs"] == sum(map(len, world.landed.values()))
    world.maintain()
    assert "1 file deleted" in printed(world)


def test_names_from_outside_cant_write_to_the_terminal(world: World) -> None:
    world.land("logs/incremental/\x1b[31m[bold red]evil.part", b"x")
    world.land("logs/incremental/[link=evil]x.log", line(15, 9))
    control.quarantine(world.context.store, Unit("daily", "2024-01-15"), "\x1b]0;title\x07[bold]")
    shown = printed(world)
    assert "\x1b" not in shown and "\x07" not in shown
    for text in ("\\x1b[31m[bold red]evil.part", "[link=evil]x.log", "\\x1b]0;title\\x07[bold]"):
        assert text in shown


def test_an_empty_storage_has_a_status(tmp_path: Path) -> None:
    world = World(tmp_path / "storage")
    state = seen(world)
    assert (state.is_current, state.lanes, state.recent_days, state.reject_rate) == (True, {}, [], 0.0)
    assert "up to date" in printed(world)


def test_what_programs_read_stays() -> None:
    """A key may be added; one that is taken away breaks somebody's monitoring."""
    keys = {field.name for field in (*dataclasses.fields(Overview), *dataclasses.fields(StorageUse))}
    assert keys >= {
        *("root", "landed_files", "landed_bytes", "ignored", "out_of_range", "units", "lanes", "files"),
        *("lines", "reject_rate", "newest_event", "days", "first_day", "last_day", "recent_days"),
        *("missing_days", "hits", "behind", "new_files", "disagreeing", "closed", "quarantined"),
        *("other_kernel", "older_days", "kept_as_read", "last_maintenance"),
        *("stored_bytes", "leftover_files", "leftover_bytes"),
    }


def test_only_the_last_days_are_listed(tmp_path: Path) -> None:
    world = World(tmp_path / "storage", look_back_days=100_000)
    for day in range(10, 20):
        world.land(f"logs/2024-01-{day}/access.log", line(day))
    world.catch_up()
    assert [day.day for day in seen(world).recent_days] == [date(2024, 1, day) for day in range(19, 12, -1)]


def test_days_are_those_with_events_and_not_those_that_another_zone_writes(tmp_path: Path) -> None:
    world = World(tmp_path / "storage")
    world.land(
        "logs/2024-01-15/access.log",
        b'192.0.2.1 - - [16/Jan/2024:00:30:00 +0100] "GET / HTTP/1.1" 200 5 "-" "x"\n',
    )
    world.land("logs/2024-01-15/error.log", b"2024/01/14 10:00:00 [error] 1#1: worker 7 exited\n")
    world.catch_up()
    state = seen(world)
    assert (state.days, state.first_day, state.last_day) == (2, date(2024, 1, 14), date(2024, 1, 15))
    assert [day.day for day in state.recent_days] == [date(2024, 1, 15), date(2024, 1, 14)]
