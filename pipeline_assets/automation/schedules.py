"""The schedules: at 02:00 each lane is brought up to date, whatever was missed before.

What belongs here: when, and which runs follow. What does not: the plan (`planning`).
"""

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import dagster as dg

from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.automation.arrivals import look, open_batches
from pipeline_assets.automation.jobs import owned
from pipeline_assets.automation.requests import range_tags, run_requests
from pipeline_assets.partitions import INCREMENTAL_PARTITIONS_NAME
from pipeline_assets.planning import version_of
from pipeline_assets.settings import Settings
from pipeline_assets.storage.units import Unit

_AT_TWO: Final = "0 2 * * *"
_HALF_AN_HOUR_LATER: Final = "30 2 * * *"
# Days whose pages are made again each night: what is delivered late changes them.
_REPORTED_DAYS: Final = 7

_Decorator = Callable[[Callable[..., Any]], dg.ScheduleDefinition]


def daily_schedule(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """The day before, and every daily delivery that is new, changed, behind, or disagrees with serving."""

    @_nightly(
        settings,
        job,
        "daily_schedule",
        _AT_TWO,
        "At 02:00: the delivery of the day before, and whatever else is behind.",
    )
    def schedule(context: dg.ScheduleEvaluationContext, pipeline: PipelineResource) -> list[dg.RunRequest]:
        moment = context.scheduled_execution_time
        plan = look(pipeline.context, settings, everything=True).plan
        versions = {unit: version_of(news) for unit, news in plan.units.items() if unit.lane == "daily"}
        local = moment.astimezone(ZoneInfo(settings.schedule_timezone)).date()
        versions.setdefault(Unit("daily", (local - timedelta(days=1)).isoformat()), "")
        return run_requests(versions, f"daily_schedule {moment.isoformat()}")

    return schedule


def incremental_schedule(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """Every incremental file that no batch has claimed, and every batch that is behind or disagrees."""

    @_nightly(
        settings,
        job,
        "incremental_schedule",
        _AT_TWO,
        "At 02:00: incremental deliveries that the arrival sensor missed.",
    )
    def schedule(
        context: dg.ScheduleEvaluationContext, pipeline: PipelineResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        plan = look(pipeline.context, settings, everything=True).plan
        versions = {unit: version_of(news) for unit, news in plan.units.items() if unit.lane == "incremental"}
        for unit in open_batches(pipeline.context, settings, plan.new_files):
            versions.setdefault(unit, "new")
        if not versions:
            return dg.SkipReason("no batch is behind")
        keys = sorted(unit.key for unit in versions)
        context.instance.add_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME, keys)
        return run_requests(versions, f"incremental_schedule {context.scheduled_execution_time.isoformat()}")

    return schedule


def report_schedule(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """The pages of the last days, made again from what serving knows of them by now."""

    @_nightly(
        settings,
        job,
        "report_schedule",
        _HALF_AN_HOUR_LATER,
        f"At 02:30: the reports of the last {_REPORTED_DAYS} days.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        # The day that is over in UTC, whose days the tables have.
        last = context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)
        first = max(last - timedelta(days=_REPORTED_DAYS - 1), settings.start_date)
        return dg.RunRequest(
            run_key=f"report_schedule {context.scheduled_execution_time.isoformat()}",
            tags={"pipeline/door": "report_schedule", **range_tags(first.isoformat(), last.isoformat())},
        )

    return schedule


def _nightly(settings: Settings, job: Any, name: str, cron: str, description: str) -> _Decorator:
    """What all of them have in common, as a decorator."""
    return dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=settings.schedule_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        metadata=owned(settings.owner_list),
        description=description,
    )
