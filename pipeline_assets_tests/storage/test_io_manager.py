"""The Parquet IO manager: tables of a lane as lazy frames, and tables of your own.

What belongs here: storing and loading through real assets. What does not: the manifests' rules.
"""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.storage.io_manager import ParquetIOManager
from pipeline_assets_tests.world import World

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")
FIRST, SECOND = "2024-01-15", "2024-01-16"


def line(host: int, day: int) -> bytes:
    return f'192.0.2.{host} - - [{day}/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()


@dg.asset(
    key=["silver", "daily", "hosts"],
    ins={"requests": dg.AssetIn(["silver", "daily", "requests"])},
    partitions_def=DAYS,
    io_manager_key="io_manager",
)
def hosts(requests: pl.LazyFrame) -> pl.LazyFrame:
    return requests.select("remote_host").unique()


@dg.asset(
    key=["gold", "daily", "host_count"],
    ins={"hosts": dg.AssetIn(["silver", "daily", "hosts"])},
    partitions_def=DAYS,
    io_manager_key="io_manager",
)
def host_count(hosts: pl.LazyFrame) -> pl.DataFrame:
    return hosts.select(pl.len().alias("hosts")).collect()


REQUESTS = dg.AssetSpec(["silver", "daily", "requests"], partitions_def=DAYS).with_io_manager_key(
    "io_manager"
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "storage")
    world.land(f"logs/{FIRST}/access.log", line(1, 15) + line(2, 15))
    world.land(f"logs/{SECOND}/access.log", line(3, 16))
    world.land(f"logs/{SECOND}/copy.log", line(1, 15) + line(2, 15))
    world.catch_up()
    return world


def materialize(world: World, *assets: dg.AssetsDefinition, **options: object) -> dg.ExecuteInProcessResult:
    manager = ParquetIOManager(world.context.store)
    return dg.materialize(
        [*assets, REQUESTS],
        selection=list(assets),
        resources={"io_manager": manager},
        raise_on_error=False,
        **options,  # type: ignore[arg-type]
    )


def test_an_asset_of_ones_own_takes_a_table_and_is_taken_by_another(world: World) -> None:
    assert materialize(world, hosts, host_count, partition_key=FIRST).success
    (part,) = (world.root / "gold" / "daily" / FIRST).glob("host_count-*.parquet")
    assert pl.read_parquet(part)["hosts"].to_list() == [2]


def test_rows_of_files_that_do_not_count_are_left_out(world: World) -> None:
    assert materialize(world, hosts, host_count, partition_key=SECOND).success
    (part,) = (world.root / "silver" / "daily" / SECOND).glob("hosts-*.parquet")
    assert pl.read_parquet(part)["remote_host"].to_list() == ["192.0.2.3"]


def test_many_partitions_load_as_one_frame_and_days_without_a_delivery_have_no_rows(world: World) -> None:
    seen: list[int] = []

    @dg.asset(
        ins={"requests": dg.AssetIn(["silver", "daily", "requests"])},
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def all_of_them(requests: pl.LazyFrame) -> None:
        seen.append(requests.collect().height)

    tags = {"dagster/asset_partition_range_start": "2024-01-10", "dagster/asset_partition_range_end": SECOND}
    assert materialize(world, all_of_them, tags=tags).success
    assert seen == [3]


def test_a_key_in_no_lane_is_refused_with_what_to_write(world: World) -> None:
    @dg.asset(key=["elsewhere"], partitions_def=DAYS, io_manager_key="io_manager")
    def elsewhere() -> pl.DataFrame:
        return pl.DataFrame({"a": [1]})

    result = materialize(world, elsewhere, partition_key=FIRST)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "layer/lane/table" in str(failure.step_failure_data.error)


def test_the_pipelines_own_tables_cant_be_overwritten(world: World) -> None:
    @dg.asset(key=["silver", "daily", "errors"], partitions_def=DAYS, io_manager_key="io_manager")
    def errors() -> pl.DataFrame:
        return pl.DataFrame({"a": [1]})

    result = materialize(world, errors, partition_key=FIRST)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "the pipeline's own" in str(failure.step_failure_data.error)
