"""What Dagster is told of serving days: each table and day once, and the hours' table every time.

What belongs here: which events there are. What does not: what they say (`test_metadata`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.automation.requests import range_tags
from pipeline_assets.definitions import build_defs
from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets_tests.world import World

DAY = "2024-01-15"
EVERY_TIME = {"traffic_hourly", "traffic_scores"}


def line(host: int) -> bytes:
    return f'192.0.2.{host} - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()


def test_a_day_is_told_once_for_each_table_and_every_time_for_the_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "storage")
    monkeypatch.setenv("PIPELINE_STORAGE", str(world.root))
    tables = {f"{table.layer}/{name}": name for name, table in (SERVING | MODEL).items()}
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs().resolve_job_def("daily_job")
        told = []
        for run in (1, 2):
            world.land(f"logs/{DAY}/{run}.log", line(run))
            result = job.execute_in_process(instance=instance, tags=range_tags(DAY, DAY))
            events = [
                event.step_materialization_data.materialization
                for event in result.all_events
                if event.is_step_materialization
            ]
            told.append(Counter(tables.get(event.asset_key.to_user_string(), "") for event in events))
            for name, table in (SERVING | MODEL).items():
                shown = instance.get_materialized_partitions(dg.AssetKey([table.layer, name]))
                assert shown == {DAY}, name
    for name in tables.values():
        assert (told[0][name], told[1][name]) == (1, 1 if name in EVERY_TIME else 0), name
    assert [row[5] for row in world.table("traffic_hourly")] == [2]


def test_a_day_that_only_a_log_in_another_zone_writes_is_told_for_its_visitors_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "storage")
    monkeypatch.setenv("PIPELINE_STORAGE", str(world.root))
    late = '192.0.2.1 - - [16/Jan/2024:00:30:00 +0100] "GET / HTTP/1.1" 200 5 "-" "x"\n'
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs().resolve_job_def("daily_job")
        for run in (1, 2):
            world.land(f"logs/{DAY}/{run}.log", late.encode() + line(run))
            job.execute_in_process(instance=instance, tags=range_tags(DAY, DAY))
            for name in SERVING:
                shown = instance.get_materialized_partitions(dg.AssetKey(["serving", name]))
                assert shown == ({DAY, "2024-01-16"} if name == "visitors_daily" else {DAY}), name
