"""A storage that an older version wrote, under this one: read, shown, and rebuilt until it tells the truth.

What belongs here: added columns and tables, and another kernel. What does not: the rest of what goes wrong
around the data (`compute/test_repair`).
"""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.reconcile import reconcile
from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.storage import tables
from pipeline_assets.storage.layers import scan_units
from pipeline_assets.storage.manifests import read_day
from pipeline_assets.storage.tables import (
    TableConflictError,
    TableShapeError,
    open_for_writing,
    overwrite_days,
    read_table,
)
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.older import drop_columns, kernel, older_version, write_digests_of_before
from pipeline_assets_tests.test_promises import check_serving
from pipeline_assets_tests.world import World

FIRST, SECOND, THIRD = (Unit("daily", f"2024-01-{day}") for day in (15, 16, 17))


def line(host: int, day: int = 15) -> bytes:
    return f'192.0.2.{host} - - [{day}/Jan/2024:01:00:00 +0000] "GET /?q HTTP/1.1" 200 5 "-" "x"\n'.encode()


def older_world(root: Path, **settings: Any) -> World:
    """Three chained deliveries and a batch, published by the older version."""
    world = World(root, look_back_days=100_000, **settings)
    with older_version():
        world.land("logs/2024-01-15/access.log", line(1) + line(2) + b"no log line\n")
        world.land("logs/2024-01-16/access.log", line(3) + line(4, 16))
        world.land("logs/2024-01-17/access.log", line(5, 16) + line(6, 17))
        world.land("logs/incremental/batch.log", line(7, 15))
        world.catch_up()
    drop_columns(world.root)
    return world


def kernels_of_days(context: Context) -> dict[int, str]:
    found = {day: read_day(context.store, f"2024-01-{day}", "none").value for day in (15, 16, 17)}
    return {day: state.kernel for day, state in found.items()}


def test_what_an_older_version_wrote_can_be_read_before_anything_is_rebuilt(tmp_path: Path) -> None:
    world = older_world(tmp_path / "storage")
    traffic = read_table(world.context.store, "traffic_hourly").collect()
    assert traffic["hits"].sum() == 7 and traffic["visitors"].null_count() == traffic.height
    for layer, column in (("bronze", "extra"), ("silver", "query")):
        rows = scan_units(world.context.store, layer, "requests", [FIRST]).collect()  # type: ignore[arg-type]
        assert rows.height == 2 and rows[column].null_count() == 2


@pytest.mark.parametrize("sources", ["there", "gone"])
def test_the_next_run_rebuilds_what_an_older_kernel_wrote(sources: str, tmp_path: Path) -> None:
    world = older_world(tmp_path / "storage")
    if sources == "gone":
        world.remove("logs/2024-01-16/access.log")
        world.remove("logs/incremental/batch.log")
    state = reconcile(world.context)
    assert len(state.other_kernel) == 4 and len(state.older_days) == 3 and not state.disagreeing
    assert world.catch_up() > 0
    check_serving(world)
    assert set(kernels_of_days(world.context).values()) == {KERNEL_VERSION}
    assert not reconcile(world.context).older_days
    assert world.catch_up() == 0


def test_a_full_run_rebuilds_what_an_older_kernel_wrote(tmp_path: Path) -> None:
    world = older_world(tmp_path / "storage", rebuild_units=0)
    assert world.catch_up() == 0
    assert len(reconcile(world.context).older_days) == 3
    world.full()
    check_serving(world)
    state = reconcile(world.context)
    assert not state.other_kernel and not state.older_days and not state.disagreeing


def test_a_run_rebuilds_a_portion_at_a_time_the_newest_first(tmp_path: Path) -> None:
    world = older_world(tmp_path / "storage", rebuild_units=1)
    from pipeline_assets.automation.arrivals import look

    plan = look(world.context, world.settings, everything=True).plan
    (newest,) = plan.units
    assert newest.lane == "incremental"  # its day is that of the batch, today
    world.process([newest], reuse=True)
    (following,) = look(world.context, world.settings, everything=True).plan.units
    assert following == THIRD


@pytest.mark.parametrize("touched", [False, True])
def test_what_was_forgotten_stays_so_where_contents_were_known_by_another_digest(
    touched: bool, tmp_path: Path
) -> None:
    world = World(tmp_path / "storage", look_back_days=100_000)
    secret = "logs/2024-01-15/secret.log"
    world.land("logs/2024-01-15/access.log", line(1))
    world.land(secret, line(2))
    world.catch_up()
    world.forget(secret)
    write_digests_of_before(world.context.store, FIRST, world.landed)
    if touched:
        world.land(secret, line(2))
    assert world.catch_up() > 0
    check_serving(world)
    # Another content is no more forgotten than one under this kernel.
    write_digests_of_before(world.context.store, FIRST, world.landed)
    world.land(secret, line(3))
    world.catch_up()
    check_serving(world)


def test_a_new_delivery_is_never_merged_with_rows_of_an_older_kernel(tmp_path: Path) -> None:
    """The deliveries that share its days are brought to this kernel; days it does not touch wait for a run."""
    world = older_world(tmp_path / "storage", rebuild_units=0)
    world.land("logs/incremental/late.log", line(8, 17))
    world.catch_up(everything=False)
    assert kernels_of_days(world.context) == {15: "0", 16: "0", 17: KERNEL_VERSION}
    truth = [row for row in world.truth().traffic_hourly if row[0] == date(2024, 1, 17)]
    assert [row for row in world.table("traffic_hourly") if row[0] == date(2024, 1, 17)] == truth
    assert not reconcile(world.context).disagreeing
    world.full()
    check_serving(world)


def test_days_published_before_a_table_was_added_are_behind_until_the_next_run(tmp_path: Path) -> None:
    world = World(tmp_path / "storage", look_back_days=100_000)
    with older_version(), kernel(KERNEL_VERSION):
        world.land("logs/2024-01-15/access.log", line(1))
        world.catch_up()
    assert list(reconcile(world.context).disagreeing) == [date(2024, 1, 15)]


def test_a_table_deleted_under_an_older_kernel_is_made_anew_at_once(tmp_path: Path) -> None:
    import shutil

    world = older_world(tmp_path / "storage", rebuild_units=0)
    shutil.rmtree(world.root / "serving" / "traffic_hourly")
    assert len(reconcile(world.context).disagreeing) == 3
    world.catch_up()
    check_serving(world)


def test_two_processes_that_add_a_column_at_once_both_go_on(tmp_path: Path) -> None:
    world = older_world(tmp_path / "storage")
    gate = threading.Barrier(4)
    opened: list[pl.Schema] = []

    def add() -> None:
        gate.wait()
        opened.append(pl.scan_delta(open_for_writing(world.context.store, "traffic_hourly")).collect_schema())

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4 and all("visitors" in schema for schema in opened)


def test_a_publisher_that_opened_before_a_column_was_added_starts_over(tmp_path: Path) -> None:
    world = older_world(tmp_path / "storage")
    with older_version():
        handle = open_for_writing(world.context.store, "traffic_hourly")
        rows = read_table(world.context.store, "traffic_hourly", handle).collect()
        rows = rows.filter(pl.col("event_date") == date(2024, 1, 15))
    open_for_writing(world.context.store, "traffic_hourly")
    with older_version(), pytest.raises(TableConflictError):
        overwrite_days(handle, "traffic_hourly", [date(2024, 1, 15)], rows)


def test_a_column_that_was_dropped_is_kept_and_null_in_new_rows(tmp_path: Path) -> None:
    world = World(tmp_path / "storage", look_back_days=100_000)
    world.land("logs/2024-01-15/access.log", line(1))
    world.catch_up()
    with older_version():
        world.land("logs/2024-01-15/access.log", line(1) + line(2))
        world.catch_up()
        stored = pl.read_delta(str(world.root / "serving" / "traffic_hourly"))
    assert stored["hits"].sum() == 2 and stored["visitors"].null_count() == stored.height
    world.catch_up()
    check_serving(world)


def test_a_column_of_another_type_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    world = World(tmp_path / "storage", look_back_days=100_000)
    world.land("logs/2024-01-15/access.log", line(1))
    world.catch_up()
    table = tables.TABLES["status_daily"]
    columns = [replace(c, dtype=pl.String()) if c.name == "hits" else c for c in table.columns]
    monkeypatch.setitem(tables.TABLES, "status_daily", replace(table, columns=tuple(columns)))
    for use in (read_table, open_for_writing):
        with pytest.raises(
            TableShapeError, match=r"serving/status_daily.*column hits is Int64.*Move the folder"
        ):
            use(world.context.store, "status_daily")


@pytest.mark.parametrize("retired", [("bronze", "silver"), ("bronze", "silver", "gold")])
def test_days_whose_sources_were_retired_before_an_upgrade_lose_nothing(
    retired: tuple[str, ...], tmp_path: Path
) -> None:
    """This version's rollups can't be made of them any more, so they stay as the older version showed them."""
    world = older_world(tmp_path / "storage")
    kept: dict[str, Any] = {f"retention_days_{layer}": 30 for layer in retired}
    with older_version():
        for _ in range(2):
            world.maintain(**kept)
        before = world.table("traffic_hourly")
    for day in (15, 16, 17):
        world.remove(f"logs/2024-01-{day}/access.log")
    world.land("logs/incremental/late.log", line(8, 17))
    world.land("logs/2024-01-20/access.log", line(9, 20))
    world.catch_up()
    world.full()
    state = reconcile(world.context)
    assert set(state.closed) >= {date(2024, 1, 16), date(2024, 1, 17)} and not state.disagreeing
    with older_version():
        after = [row for row in world.table("traffic_hourly") if row[0] != date(2024, 1, 20)]
    assert after == before
    truth = [row for row in world.truth().traffic_hourly if row[0] == date(2024, 1, 20)]
    assert [row for row in world.table("traffic_hourly") if row[0] == date(2024, 1, 20)] == truth
    assert world.catch_up() == 0
