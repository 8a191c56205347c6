"""Maintenance as Dagster runs it: the job, its two schedules, and the keys of old batches.

What belongs here: when the storage is put in order, and what of Dagster's own is. What does not: the work on
the storage (`compute.maintenance`).
"""

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import dagster as dg

from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.automation.jobs import MAINTENANCE_JOB_NAME, owned
from pipeline_assets.automation.requests import units_in_flight
from pipeline_assets.compute.maintenance.maintain import maintain, summary
from pipeline_assets.escaping import plain
from pipeline_assets.partitions import INCREMENTAL_PARTITIONS_NAME
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit

# After the night's runs, on the quietest day.
_WEEKLY: Final = "0 4 * * 0"
_MONTHLY: Final = "0 5 1 * *"


class MaintenanceConfig(dg.Config):
    """How thorough a maintenance is, and whether it only says what it would do."""

    deep: bool = True
    dry_run: bool = False


def keys_to_retire(keys: Iterable[str], in_use: Collection[Unit], oldest: date) -> list[str]:
    """Keys of batches made before `oldest` that nothing needs; one that is no batch's name is left. Pure."""
    retired = []
    for key in keys:
        try:
            unit = Unit.parse(f"incremental/{key}")
        except ValueError:
            continue
        if date.fromisoformat(key[:10]) < oldest and unit not in in_use:
            retired.append(key)
    return retired


def retire_keys(
    instance: dg.DagsterInstance, store: Store, settings: Settings, *, dry_run: bool = False
) -> list[str]:
    """Take the keys of old batches off Dagster's list, and off the pages that grow slow with it.

    The batches stay, with all that was made of them, and `full` lists them again. A batch with a run in
    flight keeps its key, and so does one that is pending or quarantined, as it is to run again.
    """
    oldest = datetime.now(UTC).date() - timedelta(weeks=settings.batch_key_weeks)
    in_use = {*units_in_flight(instance), *control.pending_markers(store), *control.all_quarantined(store)}
    keys = keys_to_retire(instance.get_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME), in_use, oldest)
    if dry_run:
        return keys
    for key in keys:
        instance.delete_dynamic_partition(INCREMENTAL_PARTITIONS_NAME, key)
    # A run that was asked for in between needs its key.
    in_flight = units_in_flight(instance) if keys else set()
    asked = [key for key in keys if Unit("incremental", key) in in_flight]
    if asked:
        instance.add_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME, asked)
    return [key for key in keys if key not in asked]


def maintenance_job(settings: Settings) -> dg.JobDefinition:
    """Puts the storage in order, beside whatever else is running."""

    @dg.op(name="maintenance", out=dg.Out(dg.Nothing))
    def maintenance(
        context: dg.OpExecutionContext, config: MaintenanceConfig, pipeline: PipelineResource
    ) -> None:
        work = pipeline.context
        report = maintain(work, settings, deep=config.deep, dry_run=config.dry_run, progress=context.log.info)
        keys = retire_keys(context.instance, work.store, settings, dry_run=config.dry_run)
        for left in report.left:
            context.log.warning("left for the next time: %s", plain(left))
        for listed in report.listed:
            context.log.info("would %s", plain(listed))
        context.add_output_metadata(
            {
                "files_deleted": report.files,
                "bytes_freed": report.bytes,
                "retired_batch_keys": len(keys),
                "summary": dg.MetadataValue.json(summary(report)),
            }
        )
        if report.failed:
            raise dg.Failure(
                description=plain("; ".join(report.failed)),
                metadata={"failed": len(report.failed)},
                allow_retries=False,
            )

    @dg.job(
        name=MAINTENANCE_JOB_NAME,
        executor_def=dg.in_process_executor,
        description=(
            "Merges small files, deletes what nobody can need any more, and keeps what the retention settings"
            " say. Runs go on meanwhile, and readers notice nothing."
        ),
        metadata=owned(settings.owner_list),
    )
    def job() -> None:
        maintenance()

    return job


def weekly_maintenance_schedule(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Everything but the reading of every claim and head."""
    return _schedule("weekly_maintenance_schedule", _WEEKLY, settings, job, deep=False)


def monthly_maintenance_schedule(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Everything."""
    return _schedule("monthly_maintenance_schedule", _MONTHLY, settings, job, deep=True)


def _schedule(
    name: str, cron: str, settings: Settings, job: dg.JobDefinition, *, deep: bool
) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=settings.schedule_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        metadata=owned(settings.owner_list),
        run_config={"ops": {"maintenance": {"config": {"deep": deep}}}},
        tags={"pipeline/door": name},
        description=(
            "Sundays at 04:00: the storage is put in order."
            if not deep
            else "On the first of a month at 05:00: the storage is put in order, thoroughly."
        ),
    )
