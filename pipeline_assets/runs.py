"""Runs from the command line: planned units as real Dagster runs in this process.

What belongs here: launching and waiting. What does not: planning, and what is printed (`cli`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import dagster as dg

from pipeline_assets.assets.resources import REUSE_TAG
from pipeline_assets.automation.failures import was_interrupted, why_failed
from pipeline_assets.automation.jobs import JOB_NAMES
from pipeline_assets.automation.requests import PROCESS_TAG, range_tags, this_process
from pipeline_assets.definitions import build_defs
from pipeline_assets.home import prepare_home
from pipeline_assets.partitions import INCREMENTAL_PARTITIONS_NAME
from pipeline_assets.planning import contiguous_days
from pipeline_assets.storage.units import Lane, Unit

Progress = Callable[[str], None]


@dataclass(frozen=True)
class RunOutcome:
    """A finished run: its id, what it was for, and why it failed, if it did."""

    run_id: str
    what: str
    failure: str | None


def run_units(units: Iterable[Unit], *, reuse: bool, door: str, progress: Progress) -> list[RunOutcome]:
    """Run both lanes' jobs for these units: a run for each range of days, then one for the batches.

    Raises `KeyboardInterrupt` where somebody has ended a run: they want no other one after it.
    """
    prepare_home()
    listed = sorted(set(units))
    outcomes: list[RunOutcome] = []
    with dg.DagsterInstance.get() as instance:
        defs = build_defs(loggers={"progress": _progress_logger(progress)})

        def run(lane: Lane, first: str, last: str) -> None:
            what = f"{lane}/{first}" + (f" to {last}" if last != first else "")
            outcomes.append(_run(defs, instance, lane, first, last, what, reuse, door))

        for first, last in contiguous_days(listed):
            run("daily", first, last)
        batches = [unit.key for unit in listed if unit.lane == "incremental"]
        if batches:
            instance.add_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME, batches)
            for first, last in _stretches(
                batches, instance.get_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME)
            ):
                run("incremental", first, last)
    return outcomes


def _stretches(keys: list[str], registered: Iterable[str]) -> list[tuple[str, str]]:
    """Keys as ranges without a gap in the order that Dagster has them in."""
    stretches: list[tuple[str, str]] = []
    wanted = set(keys)
    open_stretch = False
    for key in registered:
        if key in wanted:
            stretches = (
                [*stretches[:-1], (stretches[-1][0], key)] if open_stretch else [*stretches, (key, key)]
            )
        open_stretch = key in wanted
    return stretches


def _run(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    lane: Lane,
    first: str,
    last: str,
    what: str,
    reuse: bool,
    door: str,
) -> RunOutcome:
    job = defs.resolve_job_def(JOB_NAMES[lane])
    tags = {"pipeline/door": door, REUSE_TAG: "true" if reuse else "false", PROCESS_TAG: this_process()}
    if first != last:
        tags |= range_tags(first, last)
    result = job.execute_in_process(
        instance=instance,
        partition_key=first if first == last else None,
        tags=tags,
        raise_on_error=False,
        run_config={"loggers": {"progress": {}}},
    )
    if not result.success and was_interrupted(result.all_events):
        raise KeyboardInterrupt(
            f"{what}: interrupted; what was committed stays, and `pipeline-assets run` does the rest"
        )
    return RunOutcome(result.run_id, what, None if result.success else why_failed(result.all_events))


def _progress_logger(progress: Progress) -> dg.LoggerDefinition:
    """A logger that passes the assets' own messages on, and none of Dagster's events."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            meta = getattr(record, "dagster_meta", {})
            if not meta.get("dagster_event"):
                progress(str(meta.get("orig_message", record.getMessage())))

    @dg.logger
    def logger(init_context: dg.InitLoggerContext) -> logging.Logger:
        made = logging.Logger("progress", logging.INFO)
        made.addHandler(Handler())
        return made

    return logger
