"""Measuring runs: what Dagster knows of a run goes to its report, also where the run fails.

What belongs here: the bridge from a Dagster run to its record in `serving/runs`. What does not: what is in
the record (`compute.run_report`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.compute.costs import Prices
from pipeline_assets.compute.run_report import RunFacts, run_rows, shown
from pipeline_assets.storage.quarantine import QuarantinedError
from pipeline_assets.storage.run_records import append_runs
from pipeline_assets.storage.units import Lane, Unit

# Runs in the command line's own process carry it (`automation.requests`); others have a process of their own.
_SHARED_PROCESS_TAG: Final = "pipeline/process"


def record_run(
    context: dg.AssetExecutionContext,
    pipeline: PipelineResource,
    lane: Lane | None,
    units: Iterable[Unit],
    quarantined: Mapping[Unit, str],
    *,
    failed: bool = False,
) -> dict[str, Any]:
    """Record what the run took until now; the numbers to show of it.

    A record that can't be written is said in the run's log and fails nothing: it is a record and no result.
    """
    run = context.run
    record = context.instance.get_run_record_by_id(run.run_id)
    start = record.start_time if record and record.start_time else pipeline.meter.started
    facts = RunFacts(
        run.run_id,
        run.job_name,
        _door(run),
        lane,
        datetime.fromtimestamp(start, UTC),
        None if _SHARED_PROCESS_TAG in run.tags else time.process_time(),
    )
    settings = pipeline.settings
    rows = run_rows(
        pipeline.context.store,
        pipeline.meter,
        facts,
        units,
        quarantined,
        Prices.of(settings),
        settings.currency,
        failed=failed,
    )
    try:
        append_runs(pipeline.context.store, rows)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has done its work
        context.log.warning("the run's times and costs could not be recorded: %s", type(error).__name__)
    return shown(rows[0])


@contextmanager
def recording_failure(
    context: dg.AssetExecutionContext, pipeline: PipelineResource, lane: Lane, units: Iterable[Unit]
) -> Iterator[None]:
    """Record the run as failed where the block raises, and let it raise; a bad delivery fails no run yet."""
    try:
        yield
    except QuarantinedError:
        raise
    except Exception:
        record_run(context, pipeline, lane, units, {}, failed=True)
        raise


def _door(run: dg.DagsterRun) -> str:
    """What asked for the run."""
    tags = run.tags
    known = (
        tags.get("pipeline/door"),
        tags.get("dagster/sensor_name"),
        tags.get("dagster/schedule_name"),
        "backfill" if "dagster/backfill" in tags else None,
    )
    return next((door for door in known if door), "by hand")
