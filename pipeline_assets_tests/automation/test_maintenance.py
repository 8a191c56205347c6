"""Maintenance by Dagster: its schedules ask for it, its job does it, and old batches' keys are retired.

What belongs here: real evaluations and runs in this process. What does not: what maintenance does to the
storage (`compute/test_maintenance`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.automation.maintenance import keys_to_retire, retire_keys
from pipeline_assets.definitions import build_defs
from pipeline_assets.partitions import INCREMENTAL_PARTITIONS_NAME
from pipeline_assets.storage import control
from pipeline_assets.storage.manifests import new_attempt
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.world import World

LINE = b'192.0.2.1 - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'
OLD, FLYING, PENDING, BAD = (f"2024-01-1{number}-0000" for number in range(4))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path / "storage", look_back_days=100_000)
    monkeypatch.setenv("PIPELINE_STORAGE", str(world.root))
    world.land("logs/2024-01-15/access.log", LINE)
    world.catch_up()
    return world


@pytest.mark.parametrize(
    ("name", "moment", "deep"),
    [
        ("weekly_maintenance_schedule", datetime(2024, 1, 14, 4, tzinfo=UTC), False),
        ("monthly_maintenance_schedule", datetime(2024, 2, 1, 5, tzinfo=UTC), True),
    ],
)
def test_a_tick_asks_for_the_job_and_the_job_puts_the_storage_in_order(
    world: World, name: str, moment: datetime, deep: bool
) -> None:
    leftover = world.root / "bronze/daily/2024-01-15" / f"requests-{new_attempt()}-0000.parquet"
    leftover.write_bytes(b"left behind")
    chosen = world.settings.model_copy(update={"sweep_grace_hours": 0.0})
    defs = build_defs(settings=chosen)
    schedule = defs.resolve_schedule_def(name)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=moment,
            resources={"pipeline": PipelineResource()},
            repository_def=defs.get_repository_def(),
        )
        with context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        instance.add_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME, [OLD])
        result = defs.resolve_job_def(schedule.job_name).execute_in_process(
            instance=instance, run_config=request.run_config, tags=request.tags
        )
        assert result.success
        assert instance.get_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME) == []
    noted = control.last_maintenance(world.context.store)
    assert noted is not None and noted["deep"] is deep
    assert not leftover.exists()


def test_only_keys_of_old_batches_that_nothing_needs_are_retired() -> None:
    keys = [OLD, FLYING, "2024-03-01-0000", "somebody's own", "2024-01-10-0000-2"]
    in_use = {Unit("incremental", FLYING)}
    assert keys_to_retire(keys, in_use, date(2024, 2, 1)) == [OLD, "2024-01-10-0000-2"]


def test_a_key_in_flight_pending_or_quarantined_is_kept(world: World) -> None:
    store = world.context.store
    control.mark_pending(store, Unit("incremental", PENDING))
    control.quarantine(store, Unit("incremental", BAD), "broken")
    young = f"{datetime.now(UTC):%Y-%m-%d}-0000"
    keys = [OLD, FLYING, PENDING, BAD, young]
    defs = build_defs(settings=world.settings)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME, keys)
        instance.create_run_for_job(
            defs.resolve_job_def("incremental_job"),
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": FLYING},
        )
        assert retire_keys(instance, store, world.settings, dry_run=True) == [OLD]
        assert retire_keys(instance, store, world.settings) == [OLD]
        assert set(instance.get_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME)) == set(keys) - {OLD}


def test_a_key_whose_run_is_asked_for_meanwhile_is_put_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    defs = build_defs(settings=world.settings)
    job = defs.resolve_job_def("incremental_job")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME, [OLD])
        deleted = instance.delete_dynamic_partition

        def meanwhile(name: str, key: str) -> None:
            instance.create_run_for_job(
                job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": key}
            )
            deleted(name, key)

        monkeypatch.setattr(instance, "delete_dynamic_partition", meanwhile)
        assert retire_keys(instance, world.context.store, world.settings) == []
        assert instance.get_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME) == [OLD]
