"""Maintenance: what goes, what stays, and that nothing anybody can ask for changes.

What belongs here: each kind of work by itself. What does not: maintenance beside running work
(`test_interleavings`), and among random histories (`test_promises`).
"""

from __future__ import annotations

import os
import threading
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.compute.forget import RetiredRowsError, forget
from pipeline_assets.compute.maintenance.maintain import maintain
from pipeline_assets.compute.publish import rebuild_days
from pipeline_assets.compute.reconcile import reconcile
from pipeline_assets.storage import control, ledger
from pipeline_assets.storage.layers import scan_own_table, write_own_table
from pipeline_assets.storage.manifests import Layer, new_attempt, read_day, read_manifest
from pipeline_assets.storage.table_care import care_for_table
from pipeline_assets.storage.tables import TableConflictError, open_table, overwrite_days, read_table
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.compute.three_deliveries import FIRST, SECOND, line
from pipeline_assets_tests.storages import Storage, on_both
from pipeline_assets_tests.test_promises import check_serving
from pipeline_assets_tests.world import World


def parts(world: World, layer: str) -> list[Path]:
    return sorted((world.root / layer).rglob("*.parquet"))


def named_bytes(world: World) -> bytes:
    """Everything below the layers, as one text to look for a name in."""
    found = b""
    for layer in ("bronze", "silver", "gold"):
        for path in parts(world, layer):
            found += repr(pl.read_parquet(path).rows()).encode()
    return found


def test_a_storage_in_order_is_left_as_it_is(world: World) -> None:
    before = sorted(path for path in world.root.rglob("*.parquet"))
    report = world.maintain()
    assert (report.files, report.left) == (0, [])
    assert sorted(path for path in world.root.rglob("*.parquet") if "ledger" not in str(path)) == [
        path for path in before if "ledger" not in str(path)
    ]
    check_serving(world)
    assert world.catch_up() == 0


def test_parts_that_no_manifest_names_go_and_named_ones_stay(world: World) -> None:
    named = {layer: parts(world, layer) for layer in ("bronze", "silver", "gold")}
    for folder in ("bronze/daily/2024-01-15", "silver/incremental/2024-01-15-0000", "gold/days/2024-01-15"):
        (world.root / folder).mkdir(parents=True, exist_ok=True)
        (world.root / folder / f"requests-{new_attempt()}-0000.parquet").write_bytes(b"left behind")
        (world.root / folder / "notes.parquet").write_bytes(b"somebody's own")
    report = world.maintain()
    assert report.deleted == {"parts that no manifest names": (3, 33)}
    assert {layer: [p for p in parts(world, layer) if p.name != "notes.parquet"] for layer in named} == named
    assert world.maintain().files == 0


def test_what_is_younger_than_the_grace_period_stays_even_with_an_old_name(world: World) -> None:
    young = world.root / "bronze/daily/2024-01-15" / "requests-20200101T000000-0123456789-0000.parquet"
    young.write_bytes(b"being written")
    old = world.root / "bronze/daily/2024-01-15" / f"requests-{new_attempt()}-0000.parquet"
    old.write_bytes(b"a copying tool kept the time of change")
    os.utime(old, (1, 1))
    assert maintain(world.context, world.settings, deep=True).files == 0
    assert young.exists() and old.exists()


def test_parts_of_a_manifest_that_has_just_been_replaced_stay_for_its_readers(world: World) -> None:
    import time

    before = parts(world, "silver")
    since = time.time()
    world.land("logs/2024-01-15/access.log", line(1) + line(2) + line(5))
    world.catch_up()
    world.maintain(since=since)
    assert set(before) < set(parts(world, "silver"))
    world.maintain()
    assert not set(before) <= set(parts(world, "silver"))
    check_serving(world)


def test_unfinished_files_of_killed_processes_go(world: World) -> None:
    mine = world.root / "bronze/daily/2024-01-15/.requests.parquet.0123456789ab"
    upload = world.root / "logs/2024-01-15/.access.log.x8Yz2Q"
    for path in (mine, upload):
        path.write_bytes(b"half")
    assert world.maintain().deleted == {"unfinished files of killed processes": (1, 4)}
    assert upload.exists()


def test_tables_of_the_users_own_stay(world: World) -> None:
    store = world.context.store
    for rows in ([1], [2, 3]):
        write_own_table(store, "silver", FIRST, "sessions", pl.DataFrame({"n": rows}))
    world.maintain(retention_days_silver=1)
    world.maintain()
    assert scan_own_table(store, "silver", FIRST, "sessions").collect()["n"].to_list() == [2, 3]
    assert sum("sessions" in path.name for path in parts(world, "silver")) == 1


def test_a_dry_run_lists_what_would_go_and_touches_nothing(world: World) -> None:
    leftover = world.root / "bronze/daily/2024-01-15" / f"requests-{new_attempt()}-0000.parquet"
    leftover.write_bytes(b"left behind")
    world.forget("logs/2024-01-15/access.log")
    before = {path: path.stat().st_mtime_ns for path in world.root.rglob("*") if path.is_file()}
    import time

    chosen = world.settings.model_copy(update={"retention_days_logs": 30, "retention_days_gold": 30})
    report = maintain(world.context, chosen, deep=True, dry_run=True, now=time.time() + 90_000)
    assert {path: path.stat().st_mtime_ns for path in world.root.rglob("*") if path.is_file()} == before
    listed = "\n".join(report.listed)
    for wanted in (leftover.name, "delete logs/2024-01-16/access.log", "gold/daily/2024-01-15", "forgotten"):
        assert wanted in listed
    assert control.last_maintenance(world.context.store) is None


def test_the_last_maintenance_is_noted(world: World) -> None:
    world.maintain()
    noted = control.last_maintenance(world.context.store)
    assert noted is not None and noted["files_deleted"] == 0


def test_markers_of_work_that_is_done_go_and_those_of_work_that_is_not_stay(world: World) -> None:
    store = world.context.store
    control.mark_pending(store, FIRST)
    control.mark_pending(store, Unit("incremental", "2020-01-01-0000"))
    world.land("logs/2024-01-17/broken.log", line(9, 17))
    control.mark_pending(store, Unit("daily", "2024-01-17"))
    control.mark_pending(store, SECOND)
    control.quarantine(store, SECOND, "broken")
    report = world.maintain()
    assert report.deleted == {"markers of work that is done": (2, 0)}
    assert set(control.pending_markers(store)) == {Unit("daily", "2024-01-17"), SECOND}


def test_claims_and_heads_that_speak_of_nothing_go(world: World) -> None:
    store = world.context.store
    nowhere = Unit("incremental", "2020-01-01-0000")
    control.claim(store, "logs/incremental/gone.log", nowhere)
    control.register_head(store, "ab" * 8, "logs/2024-01-15/access.log", FIRST)
    report = world.maintain()
    assert {kind: files for kind, (files, _) in report.deleted.items()} == {
        "claims for batches that do not exist": 1,
        "first lines that no file has": 1,
    }
    assert control.claimed_by(store, "logs/incremental/batch.log") is not None
    world.land("logs/incremental/again.log", line(10) + line(11, 16))
    world.catch_up()
    check_serving(world)


def test_a_claim_of_a_file_that_is_still_there_stays_and_brings_its_batch_back(world: World) -> None:
    import shutil

    shutil.rmtree(world.root / "bronze/incremental")
    world.maintain()
    world.catch_up()
    check_serving(world)


def test_the_ledger_says_the_same_with_fewer_rows(world: World) -> None:
    store = world.context.store
    for host in range(20, 25):
        world.land("logs/2024-01-15/access.log", b"".join(line(n) for n in range(host)))
        world.catch_up()
    world.forget("logs/2024-01-16/access.log")
    days = [date(2024, 1, day) for day in (14, 15, 16)]

    def answers() -> tuple[Any, ...]:
        return (
            ledger.latest(store).rows(),
            ledger.known_files(store),
            {day: sorted(units) for day, units in ledger.units_of_days(store, days).items()},
            ledger.days_of_unit(store, SECOND),
        )

    before, rows = answers(), read_table(store, "ledger").collect().height
    report = world.maintain()
    assert answers() == before
    left = read_table(store, "ledger").collect().height
    assert left == ledger.latest(store).height < rows
    assert report.done["superseded rows of the ledger left out"] > rows - left
    assert ledger.fold(store) == 0


def test_rows_appended_while_the_ledger_is_folded_stay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store = world.context.store
    world.land("logs/2024-01-15/access.log", line(1) + line(2) + line(3))
    world.catch_up()
    judged = ledger._still_asked_for

    def meanwhile(rows: pl.DataFrame) -> pl.DataFrame:
        if "logs/2024-01-17/access.log" not in ledger.known_files(store):
            world.land("logs/2024-01-17/access.log", line(7, 17))
            world.catch_up(everything=False)
        return judged(rows)

    monkeypatch.setattr(ledger, "_still_asked_for", meanwhile)
    assert ledger.fold(store) > 0
    assert "logs/2024-01-17/access.log" in ledger.known_files(store)
    assert world.catch_up() == 0


def small_files(world: World) -> None:
    """Days in several files each, as another writer may leave them."""
    from deltalake import write_deltalake

    world.land("logs/2024-01-15/hours.log", line(40, hour=5) + line(41, hour=6))
    world.catch_up()
    for name in ("traffic_hourly", "status_daily"):
        rows = read_table(world.context.store, name).collect()
        handle = open_table(world.context.store, name)
        handle.delete()
        for row in rows.iter_slices(1):
            write_deltalake(open_table(world.context.store, name), row, mode="append")


def test_small_files_of_a_day_are_merged_and_a_day_at_work_is_not(world: World) -> None:
    small_files(world)
    store = world.context.store
    files = len(open_table(store, "traffic_hourly").file_uris())
    quiet = care_for_table(store, "traffic_hourly", history=timedelta(days=7), quiet=0, dry_run=False)
    assert quiet.merged_files == 0
    world.maintain()
    assert len(open_table(store, "traffic_hourly").file_uris()) < files
    check_serving(world)


def test_a_publisher_that_meets_a_compaction_writes_its_day_all_the_same(world: World) -> None:
    small_files(world)
    handle = open_table(world.context.store, "traffic_hourly")
    rows = read_table(world.context.store, "traffic_hourly", handle).collect()
    world.maintain()
    with pytest.raises(TableConflictError):
        day = rows.filter(pl.col("event_date") == date(2024, 1, 15))
        overwrite_days(handle, "traffic_hourly", [date(2024, 1, 15)], day)
    world.land("logs/2024-01-15/access.log", line(1) + line(2) + line(5))
    world.catch_up()
    check_serving(world)


def test_a_reader_keeps_its_version_within_the_history_and_no_longer(world: World) -> None:
    store = world.context.store
    reader = read_table(store, "traffic_hourly", open_table(store, "traffic_hourly"))
    before = reader.collect()
    world.land("logs/2024-01-15/access.log", line(1) + line(2) + line(5))
    world.catch_up()
    world.maintain()
    assert reader.collect().equals(before)
    done = care_for_table(store, "traffic_hourly", history=timedelta(0), quiet=0, dry_run=False)
    assert len(done.deleted) > 0
    with pytest.raises((OSError, pl.exceptions.PolarsError)):
        reader.collect()
    check_serving(world)


def test_files_that_a_writer_has_not_committed_yet_stay(world: World) -> None:
    from datetime import UTC, datetime

    folder = world.root / "serving/traffic_hourly"
    fresh, old = folder / "part-fresh.parquet", folder / "part-old.parquet"
    for path in (fresh, old):
        path.write_bytes(b"rows")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    os.utime(old, (long_ago, long_ago))
    unfinished = world.root / "serving/traffic_hourly/_delta_log/_commit_01234567-89ab.json.tmp"
    unfinished.write_bytes(b"{}")
    report = world.maintain()
    assert report.deleted == {"files of older versions of tables": (2, 6)}
    assert fresh.exists() and not old.exists() and not unfinished.exists()


def test_rows_of_forgotten_files_are_erased_and_no_day_changes(world: World) -> None:
    world.land("logs/2024-01-15/secret.log", line(77) + line(78) + b"no log line of 192.0.2.79\n")
    world.land("logs/2024-01-15/copy.log", line(1) + line(2))
    world.catch_up()
    world.forget("logs/2024-01-15/secret.log")
    states = {day: read_day(world.context.store, day, "").etag for day in ("2024-01-15", "2024-01-16")}
    assert b"secret.log" in named_bytes(world)
    report = world.maintain()
    assert report.done["parts freed of forgotten rows"] >= 3
    assert {day: read_day(world.context.store, day, "").etag for day in states} == states
    world.maintain()
    assert b"secret.log" not in named_bytes(world) and b"192.0.2.77" not in named_bytes(world)
    assert "parts freed of forgotten rows" not in world.maintain().done
    # A copy that did not count keeps its rows: it counts when the other is forgotten.
    world.forget("logs/2024-01-15/access.log")
    world.catch_up()
    check_serving(world)
    assert rebuild_days(world.context, [date(2024, 1, 15)]).days == {date(2024, 1, 15): 4}
    world.full()
    check_serving(world)


def test_rows_of_replaced_files_are_erased(world: World) -> None:
    world.land("logs/2024-01-17/a.log", line(30, 17))
    world.land("logs/2024-01-17/b.log", line(31, 17))
    world.catch_up()
    world.land("logs/2024-01-17/a.log", line(32, 17))
    world.catch_up()
    assert b"192.0.2.30" in named_bytes(world)
    for _ in range(2):
        world.maintain()
    assert b"192.0.2.30" not in named_bytes(world)
    check_serving(world)
    assert world.catch_up() == 0


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_retired_rows_go_and_everything_said_of_them_stays(world: World, layer: Layer) -> None:
    said = ledger.latest(world.context.store).drop("recorded_at").rows()
    for _ in range(2):
        kept: dict[str, Any] = {f"retention_days_{layer}": 30}
        world.maintain(**kept)
    assert not list((world.root / layer / "daily").rglob("*.parquet"))
    assert parts(world, layer), "a batch of today stays"
    assert ledger.latest(world.context.store).drop("recorded_at").rows() == said
    check_serving(world)
    state = reconcile(world.context)
    assert not (state.behind or state.disagreeing or state.closed or state.other_kernel)
    assert world.catch_up() == 0
    # From the landed bytes everything can be made again, and is.
    world.full()
    check_serving(world)
    assert len(read_manifest(world.context.store, layer, FIRST).value.parts) > 0


def test_landed_files_go_only_where_they_were_read_as_they_are(world: World) -> None:
    world.land("logs/2024-01-16/access.log", line(3) + line(4, 16) + line(5, 16))
    world.land("logs/2024-01-14/new.log", line(6))
    report = world.maintain(retention_days_logs=30)
    assert report.deleted == {"landed files": (1, len(line(1) + line(2)))}
    assert not (world.root / "logs/2024-01-15/access.log").exists()
    assert (world.root / "logs/incremental/batch.log").exists()
    world.catch_up()
    check_serving(world)
    world.full()
    check_serving(world)


def test_a_file_that_still_changes_is_no_old_delivery(world: World) -> None:
    os.utime(world.root / "logs/2024-01-15/access.log")
    world.catch_up()
    report = world.maintain(retention_days_logs=30)
    assert report.deleted["landed files"] == (1, len(line(3) + line(4, 16)))
    assert (world.root / "logs/2024-01-15/access.log").exists()


def retire_everything_but_logs(world: World) -> None:
    for _ in range(2):
        world.maintain(retention_days_bronze=30, retention_days_silver=30, retention_days_gold=30)
    for layer in ("bronze", "silver", "gold"):
        assert not list((world.root / layer / "daily").rglob("*.parquet"))


def test_a_retired_day_takes_in_later_deliveries_and_their_changes(world: World) -> None:
    retire_everything_but_logs(world)
    for path in ("logs/2024-01-15/access.log", "logs/2024-01-16/access.log"):
        world.remove(path)
    world.land("logs/incremental/late.log", line(20))
    world.catch_up()
    check_serving(world)
    world.land("logs/incremental/late.log", line(20) + line(21))
    world.land("logs/2024-01-15/late.log", line(22))
    world.catch_up()
    check_serving(world)
    retire_everything_but_logs(world)
    world.forget("logs/incremental/late.log")
    world.catch_up()
    check_serving(world)
    rebuild_days(world.context, [date(2024, 1, 15), date(2024, 1, 16)])
    check_serving(world)
    assert world.catch_up() == 0


def test_a_retired_day_outlives_a_new_kernel(world: World) -> None:
    from pipeline_assets_tests.older import kernel

    retire_everything_but_logs(world)
    for path in ("logs/2024-01-15/access.log", "logs/2024-01-16/access.log"):
        world.remove(path)
    with kernel("next"):
        world.land("logs/incremental/late.log", line(20))
        world.catch_up(everything=False)
        check_serving(world)
        world.catch_up()
        check_serving(world)
        assert not reconcile(world.context).older_days
        assert world.catch_up() == 0


def test_a_change_that_a_retired_day_cant_follow_is_named_and_shrinks_nothing(world: World) -> None:
    retire_everything_but_logs(world)
    before = world.table("traffic_hourly")
    with pytest.raises(RetiredRowsError, match="retention has deleted the gold of daily/2024-01-15"):
        forget(world.context, "logs/2024-01-15/access.log")
    world.land("logs/2024-01-15/access.log", line(99))
    world.catch_up()
    assert world.table("traffic_hourly") == before
    state = reconcile(world.context)
    assert state.closed == {date(2024, 1, 15): {FIRST}}
    assert not (state.disagreeing or state.behind)
    assert world.catch_up() == 0
    # Everything that landed is still there, so it can be read again, and then the day follows.
    world.full()
    check_serving(world)
    assert not reconcile(world.context).closed


def test_a_day_whose_state_is_lost_after_its_gold_was_retired_keeps_what_people_see(world: World) -> None:
    import shutil

    retire_everything_but_logs(world)
    shutil.rmtree(world.root / "gold/days/2024-01-15")
    before = world.table("traffic_hourly")
    world.catch_up()
    world.process([FIRST], reuse=True)
    assert world.table("traffic_hourly") == before
    assert FIRST in reconcile(world.context).closed[date(2024, 1, 15)]
    world.full()
    check_serving(world)


def test_two_maintenances_at_once_do_no_harm(world: World) -> None:
    small_files(world)
    world.land("logs/2024-01-15/secret.log", line(77))
    world.catch_up()
    world.forget("logs/2024-01-15/secret.log")
    failures: list[Exception] = []
    begun = world.moment()

    def work() -> None:
        try:
            for _ in range(3):
                world.maintain(since=begun, retention_days_silver=30, retention_days_gold=30)
        except Exception as error:  # noqa: BLE001 - a thread's error is lost unless it is handed over
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check_serving(world)
    assert world.catch_up() == 0
    retire_everything_but_logs(world)
    check_serving(world)


@on_both
def test_every_kind_of_work_is_done_on_every_kind_of_storage(storage: Storage) -> None:
    world = World(storage, look_back_days=100_000)
    store = world.context.store
    for number in range(4):
        world.land("logs/2024-01-15/access.log", b"".join(line(host) for host in range(1, 4 + number)))
        world.land("logs/2024-01-15/secret.log", line(77))
        world.catch_up()
    world.forget("logs/2024-01-15/secret.log")
    store.create(f"silver/daily/2024-01-15/requests-{new_attempt()}-0000.parquet", b"left behind")
    before = world.table("traffic_hourly")
    reports = [
        world.maintain(retention_days_bronze=30, retention_days_silver=30, retention_days_gold=30)
        for _ in range(2)
    ]
    kinds = {kind for report in reports for kind in report.deleted}
    assert "parts that no manifest names" in kinds
    done = {what for report in reports for what in report.done}
    assert done >= {"deliveries whose gold was retired", "superseded rows of the ledger left out"}
    assert [report.left + report.failed for report in reports] == [[], []]
    for layer in ("bronze", "silver", "gold"):
        assert [e.path for e in store.list(f"{layer}/daily") if e.path.endswith(".parquet")] == []
    assert world.table("traffic_hourly") == before
    world.land("logs/incremental/late.log", line(20))
    world.catch_up()
    check_serving(world)
    world.full()
    check_serving(world)
    assert world.catch_up() == 0


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["daily", "batch", "grow", "retire"]), st.integers(1, 30)),
        min_size=3,
        max_size=9,
    )
)
def test_whatever_lands_between_retentions_is_counted(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Old deliveries are retired again and again, while files of their days keep coming, and batches grow."""
    world = World(tmp_path_factory.mktemp("retention") / "storage", look_back_days=100_000)
    contents: dict[str, bytes] = {}
    for number, (step, host) in enumerate(steps):
        day = 15 + host % 3
        if step == "daily":
            contents[f"logs/2024-01-{day}/{number}.log"] = line(100 + number, day) + line(
                host, 15 + number % 3
            )
        elif step == "batch":
            contents[f"logs/incremental/{number}.log"] = line(100 + number, day) + line(host, day)
        elif step == "grow":
            batches = sorted(path for path in contents if "incremental" in path)
            if batches:
                contents[batches[host % len(batches)]] += line(host, day)
        for path, content in contents.items():
            if world.landed.get(path) != content:
                world.land(path, content)
        world.catch_up(everything=host % 2 == 0)
        if step == "retire":
            world.maintain(retention_days_bronze=30, retention_days_silver=30, retention_days_gold=30)
    check_serving(world)
    assert not reconcile(world.context).closed
    assert world.catch_up() == 0
