"""What comes costs the same however much is behind it: storage requests, bytes and rows, never seconds.

What belongs here: the counts of an incremental run and of a look of the sensor. What does not: how long they
take, which `make bench` shows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import polars as pl
import pytest

from pipeline_assets.automation.arrivals import look
from pipeline_assets.storage.store import Entry
from pipeline_assets.storage.tables import open_table, read_table
from pipeline_assets_benchmarks.history import Cost, History
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts are the Linux kernel's")

MORE = 1.1
OLD_LINE = b'192.0.2.1 - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Cost, Cost]]]:
    yield costs(History(tmp_path_factory.mktemp("short"), days=10, batches=10))


def costs(history: History) -> list[tuple[Cost, Cost]]:
    """Of two runs one after the other, and of the looks before them."""
    found = []
    for _ in range(2):
        looked = history.look()
        history.land_batch(history.last)
        found.append((looked, history.run()))
    return found


def check_flat(longer: list[tuple[Cost, Cost]], shorter: list[tuple[Cost, Cost]]) -> None:
    for (long_look, long_run), (short_look, short_run) in zip(longer, shorter, strict=True):
        # A page of a listing holds 5,000 landed files.
        assert long_look.requests <= short_look.requests + 2
        assert long_run.requests <= short_run.requests * MORE
        assert long_run.reads + long_look.reads <= (short_run.reads + short_look.reads) * MORE
        assert long_run.bytes + long_look.bytes <= (short_run.bytes + short_look.bytes) * MORE
        assert long_run.rows <= short_run.rows * MORE


@pytest.mark.slow
def test_a_year_behind_costs_a_run_no_more_than_ten_days(
    tmp_path: Path, short: list[tuple[Cost, Cost]]
) -> None:
    check_flat(costs(History(tmp_path, days=366, batches=400)), short)


@pytest.mark.long
def test_ten_years_behind_cost_a_run_no_more_than_ten_days(
    tmp_path: Path, short: list[tuple[Cost, Cost]]
) -> None:
    check_flat(costs(History(tmp_path, days=3650, batches=10_000)), short)


@pytest.mark.long
def test_the_three_thousandth_batch_of_a_day_costs_no_more_than_the_tenth(tmp_path: Path) -> None:
    def runs() -> list[Cost]:
        found = []
        for _ in range(10):
            # The sensor's looks are its own: they read what was recorded within the last hour, and here that
            # is everything.
            history.look()
            history.land_batch(history.last)
            found.append(history.run())
        return found

    history = History(tmp_path, days=10, batches=10)
    history.make_busy(0)
    before = runs()
    history.make_busy(3000)
    after = runs()
    # Medians: one run in sixty merges the small files of the ledger.
    for name in ("requests", "reads", "bytes", "rows"):
        later, sooner = (median(getattr(cost, name) for cost in costs) for costs in (after, before))
        assert later <= MORE * sooner, name


def test_an_old_file_that_grows_is_seen_though_its_record_is_older_than_the_look_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.land("logs/incremental/old.log", OLD_LINE)
    world.catch_up()
    entry = world.context.store.stat("logs/incremental/old.log")
    assert entry is not None and entry.modified < time.time() - 100 * 86400 < entry.placed
    assert look(world.context, world.settings, everything=False).plan.is_empty
    _record_long_ago(world)
    assert look(world.context, world.settings, everything=False).plan.is_empty
    world.land("logs/incremental/old.log", OLD_LINE * 2)
    plan = look(world.context, world.settings, everything=False).plan
    assert [unit.lane for unit in plan.units] == ["incremental"] and not plan.new_files


def test_a_file_that_lies_there_for_longer_than_the_look_back_is_left_to_the_schedules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.land("logs/incremental/old.log", OLD_LINE)

    def lying_there_for_long(path: str, size: int, etag: str, modified: float, *, placed: float) -> Entry:
        assert placed > modified
        return Entry(path, size, etag, modified)

    monkeypatch.setattr("pipeline_assets.storage.folder_store.Entry", lying_there_for_long)
    assert look(world.context, world.settings, everything=False).plan.is_empty
    assert look(world.context, world.settings, everything=True).plan.new_files


def _record_long_ago(world: World) -> None:
    from deltalake import write_deltalake

    rows = read_table(world.context.store, "ledger").collect()
    older = rows.with_columns(recorded_at=pl.lit(datetime(2024, 1, 15, tzinfo=UTC)).dt.cast_time_unit("us"))
    write_deltalake(open_table(world.context.store, "ledger"), older, mode="overwrite")
