"""What runs take and cost: the sums, and the records that real runs leave.

What belongs here: metering, prices and `serving/runs`. What does not: how it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.compute.costs import Prices, estimate
from pipeline_assets.compute.metering import Meter, Usage
from pipeline_assets.definitions import build_defs
from pipeline_assets.kernel.schemas import RUNS
from pipeline_assets.storage.counting import Requests, counting
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.run_records import append_runs, last_runs
from pipeline_assets.storage.tables import open_table, read_table
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.world import World

DAY = "2024-01-15"
LINE = b'192.0.2.1 - - [%s:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'


def lines(day: str, count: int = 1) -> bytes:
    return LINE % f"{date.fromisoformat(day):%d/%b/%Y}".encode() * count


def test_a_cost_is_the_sum_of_its_parts() -> None:
    usage = Usage(99.0, 1800.0, Requests(20_000, 5_000, 5_000, 1_000_000, 2_000_000_000))
    assert estimate(usage, Prices(cpu_hour=0.1)) == pytest.approx(0.05)
    assert estimate(usage, Prices(gb_month=0.02)) == pytest.approx(0.04)
    assert estimate(usage, Prices(writes_10k=0.05)) == pytest.approx(0.05)
    assert estimate(usage, Prices(reads_10k=0.004)) == pytest.approx(0.008)
    assert estimate(usage, Prices(0.1, 0.02, 0.05, 0.004)) == pytest.approx(0.148)


def test_without_prices_nothing_is_estimated() -> None:
    assert estimate(Usage(1, 1, Requests(1, 1, 1, 1, 1)), Prices()) is None


USAGES = st.builds(
    Usage,
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.builds(Requests, *[st.integers(0, 10**9)] * 5),
)


@given(USAGES, USAGES, st.builds(Prices, *[st.floats(0, 100)] * 4))
def test_two_runs_cost_what_each_of_them_costs(one: Usage, other: Usage, prices: Prices) -> None:
    parts = [estimate(one, prices), estimate(other, prices)]
    whole = estimate(one + other, prices)
    if whole is None:
        assert parts == [None, None]
    else:
        assert whole == pytest.approx(sum(part or 0.0 for part in parts))


def test_a_meter_tells_the_work_of_units_apart(tmp_path: Path) -> None:
    store, counted = counting(FolderStore(tmp_path))
    meter = Meter(counted)
    a, b = Unit("daily", "2024-01-14"), Unit("daily", DAY)
    with meter.measuring("bronze", a):
        store.create("x", b"123")
        time.sleep(0.02)
    with meter.measuring("bronze", b):
        store.read("x")
    with meter.measuring("silver", a):
        store.read("x")
    with meter.measuring("publish"):
        store.delete("x")
    with pytest.raises(ValueError, match="broken"), meter.measuring("gold", b):
        store.list("")
        raise ValueError("broken")
    assert meter.of_unit(a).requests == Requests(reads=1, writes=1, bytes_written=3)
    assert meter.of_unit(b).requests == Requests(reads=1, lists=1)
    assert meter.total.requests == Requests(reads=2, writes=1, lists=1, deletes=1, bytes_written=3)
    assert (meter.seconds("bronze", a) or 0) >= 0.02
    assert meter.seconds("gold", a) is None
    assert meter.total.seconds >= (meter.seconds("bronze") or 0)


# Records of real runs.


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PIPELINE_STORAGE", str(tmp_path))
    return World(tmp_path)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(instance: dg.DagsterInstance, first: str, last: str, **tags: str) -> dg.ExecuteInProcessResult:
    return (
        build_defs()
        .resolve_job_def("daily_job")
        .execute_in_process(
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
                "pipeline/reuse": "true",
                "pipeline/process": "here:1",
                **tags,
            },
            raise_on_error=False,
        )
    )


def records(world: World) -> dict[str | None, dict[str, Any]]:
    """The records of the last run, by unit."""
    rows = read_table(world.context.store, "runs").collect().sort("recorded_at")
    last = rows.filter(pl.col("run_id") == rows["run_id"][-1])
    return {row["unit"]: row for row in last.to_dicts()}


def test_a_run_and_each_of_its_deliveries_are_on_record(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_PRICE_CPU_HOUR", "3600")
    monkeypatch.setenv("PIPELINE_CURRENCY", "EUR")
    world.land("logs/2024-01-14/access.log", lines("2024-01-14", 30) + b"garbage\n\n")
    world.land(f"logs/{DAY}/access.log.gz", lines(DAY, 500))
    began = datetime.now(UTC)
    result = run(instance, "2024-01-14", DAY, **{"pipeline/door": "run"})
    assert result.success
    found = records(world)
    assert set(found) == {None, "daily/2024-01-14", f"daily/{DAY}"}
    whole, one, other = found[None], found["daily/2024-01-14"], found[f"daily/{DAY}"]
    assert {row["run_id"] for row in found.values()} == {result.run_id}
    assert {(row["job"], row["door"], row["lane"], row["status"]) for row in found.values()} == {
        ("daily_job", "run", "daily", "done")
    }
    assert (one["lines"], one["rows"], one["landed_bytes"]) == (32, 30, 30 * len(lines(DAY)) + 9)
    assert (other["lines"], other["rows"]) == (500, 500)
    assert other["landed_bytes"] == len(world.landed[f"logs/{DAY}/access.log.gz"])
    assert (whole["lines"], whole["rows"], whole["units"]) == (532, 530, 2)
    written = sum(
        path.stat().st_size
        for layer in ("bronze", "silver", "gold")
        for path in world.root.glob(f"{layer}/daily/{DAY}/*.parquet")
    )
    assert other["bytes_written"] >= written > 0
    for name in ("bytes_written", "storage_reads", "storage_writes", "storage_lists", "cpu_seconds"):
        assert whole[name] >= one[name] + other[name], name
        assert one[name] > 0, name
    for layer in ("bronze", "silver", "gold"):
        assert whole[f"{layer}_seconds"] == pytest.approx(one[f"{layer}_seconds"] + other[f"{layer}_seconds"])
    assert whole["publish_seconds"] > 0 and one["publish_seconds"] is None
    layers = sum(whole[f"{layer}_seconds"] for layer in ("bronze", "silver", "gold", "publish"))
    assert layers < whole["seconds"] < (datetime.now(UTC) - began).total_seconds() + 1
    assert whole["peak_memory_bytes"] > 10_000_000
    # At one euro a second.
    assert whole["cost"] == pytest.approx(whole["cpu_seconds"])
    assert one["cost"] == pytest.approx(one["cpu_seconds"])
    assert whole["currency"] == "EUR"


def test_a_delivery_that_was_alone_knows_its_publishing_too(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.land(f"logs/{DAY}/access.log", lines(DAY))
    assert run(instance, DAY, DAY).success
    found = records(world)
    assert found[f"daily/{DAY}"]["publish_seconds"] == found[None]["publish_seconds"] > 0
    assert found[None]["cost"] is found[None]["currency"] is None


def test_what_was_not_read_again_is_not_counted_again(world: World, instance: dg.DagsterInstance) -> None:
    world.land(f"logs/{DAY}/old.log", lines(DAY, 100))
    assert run(instance, DAY, DAY).success
    time.sleep(1.1)  # an attempt is named by the second
    world.land(f"logs/{DAY}/new.log", lines(DAY, 7))
    assert run(instance, DAY, DAY).success
    assert records(world)[None]["lines"] == 7


def test_a_publication_shows_its_numbers(world: World, instance: dg.DagsterInstance) -> None:
    world.land(f"logs/{DAY}/access.log", lines(DAY, 3))
    assert run(instance, DAY, DAY).success
    event = instance.get_latest_materialization_event(dg.AssetKey(["publish", "daily"]))
    assert event is not None and event.asset_materialization is not None
    shown: dict[str, Any] = {
        name: value.value for name, value in event.asset_materialization.metadata.items()
    }
    assert shown["lines"] == 3
    for name in ("seconds", "cpu_seconds", "bronze_seconds", "bytes_written", "storage_reads"):
        assert isinstance(shown[name], (int, float)) and shown[name] > 0, name


def test_a_quarantined_delivery_is_on_record_beside_the_sound_ones(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("2024-01-14", DAY):
        world.land(f"logs/{day}/access.log", lines(day))
    _break(monkeypatch, f"logs/{DAY}/access.log")
    assert not run(instance, "2024-01-14", DAY).success
    found = records(world)
    assert {unit: row["status"] for unit, row in found.items()} == {
        None: "quarantined",
        "daily/2024-01-14": "done",
        f"daily/{DAY}": "quarantined",
    }


def test_a_run_that_ends_at_bronze_is_on_record(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.land(f"logs/{DAY}/access.log", lines(DAY))
    _break(monkeypatch, f"logs/{DAY}/access.log")
    assert not run(instance, DAY, DAY).success
    found = records(world)
    assert {unit: row["status"] for unit, row in found.items()} == {None: "failed", f"daily/{DAY}": "failed"}
    assert found[None]["bronze_seconds"] > 0 and found[None]["publish_seconds"] is None


def test_a_run_that_breaks_half_way_is_on_record(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of luck")

    world.land(f"logs/{DAY}/access.log", lines(DAY, 4))
    monkeypatch.setattr("pipeline_assets.assets.publish.publish_units", broken)
    result = run(instance, DAY, DAY)
    assert not result.success
    found = records(world)
    assert found[None]["status"] == "failed"
    assert found[None]["run_id"] == result.run_id
    assert found[f"daily/{DAY}"]["lines"] == 4
    assert found[None]["gold_seconds"] > 0


def test_a_record_that_cant_be_written_fails_no_run(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    world.land(f"logs/{DAY}/access.log", lines(DAY))
    monkeypatch.setattr("pipeline_assets.assets.metered.append_runs", broken)
    assert run(instance, DAY, DAY).success


def test_a_rebuild_is_on_record(world: World, instance: dg.DagsterInstance) -> None:
    world.land(f"logs/{DAY}/access.log", lines(DAY))
    world.catch_up()
    job = build_defs().resolve_job_def("serving_job")
    assert job.execute_in_process(instance=instance, partition_key=DAY).success
    found = records(world)
    assert set(found) == {None}
    assert (found[None]["job"], found[None]["door"], found[None]["lane"]) == ("serving_job", "by hand", None)
    assert found[None]["publish_seconds"] > 0


def test_many_records_stay_few_files(world: World) -> None:
    store = world.context.store
    row = dict.fromkeys(RUNS.column_names) | {
        "job": "j",
        "door": "d",
        "status": "done",
        "started": datetime.now(UTC),
    }
    row |= {
        column.name: 0 for column in RUNS.columns if not column.nullable and column.dtype == pl.Int64()
    } | {"seconds": 1.0, "cpu_seconds": 1.0}
    for number in range(70):
        append_runs(store, [row | {"run_id": f"r{number}", "recorded_at": datetime.now(UTC)}])
    # Nearly all of a file of one row is its footer, so some four of them fill one.
    assert len(open_table(store, "runs").file_uris()) < 35
    assert last_runs(store, 3)["run_id"].to_list() == ["r69", "r68", "r67"]


def _break(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    original = FolderStore.open

    def failing(self: FolderStore, wanted: str) -> Any:
        if wanted == path:
            raise OSError(5, "Input/output error")
        return original(self, wanted)

    monkeypatch.setattr(FolderStore, "open", failing)
