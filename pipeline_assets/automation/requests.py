"""Run requests: from planned units to what Dagster is asked to run.

What belongs here: tags, partition ranges and run keys, and reading them back from runs in flight. What does
not: planning.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from pipeline_assets.assets.resources import REUSE_TAG
from pipeline_assets.automation.jobs import JOB_NAMES
from pipeline_assets.partitions import INCREMENTAL_PARTITIONS_NAME
from pipeline_assets.planning import contiguous_days, days_between
from pipeline_assets.storage.units import Lane, Unit, is_date

# Runs in the command line's own process carry it: no launcher watches them, so whoever looks can tell whether
# they are still alive.
PROCESS_TAG: Final = "pipeline/process"


def this_process() -> str:
    """This process, as a run's tag names it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags of a run over a range of partitions."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def run_range(run: dg.DagsterRun) -> tuple[str, str]:
    """The first and last partition of a run; twice the same of one, and empty of a run without."""
    first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG, run.tags.get(PARTITION_NAME_TAG, ""))
    return first, run.tags.get(ASSET_PARTITION_RANGE_END_TAG, first)


def run_requests(versions: Mapping[Unit, str], door: str) -> list[dg.RunRequest]:
    """A request for each range of days without a gap, and one for each batch.

    `versions` says what was seen of each unit. It is in the run key, so a tick that is repeated asks once, a
    file that changes asks again, and one that can't be read doesn't ask for ever.
    """
    requests = []
    for first, last in contiguous_days(versions):
        seen = [version for unit, version in sorted(versions.items()) if _within(unit, first, last)]
        requests.append(_request("daily", first, last, seen, door))
    for unit, version in sorted(versions.items()):
        if unit.lane == "incremental":
            requests.append(_request("incremental", unit.key, unit.key, [version], door))
    return requests


def units_in_flight(instance: dg.DagsterInstance) -> set[Unit]:
    """Units of runs that have not finished, whoever asked for them and under whatever job."""
    units: set[Unit] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        if _was_killed(run):
            instance.report_run_failed(run, "the process of this run is gone")
            continue
        first, last = run_range(run)
        if is_date(first) and is_date(last):
            units.update(Unit("daily", day) for day in days_between(first, last))
        elif first:
            batches = instance.get_dynamic_partitions(INCREMENTAL_PARTITIONS_NAME) if first != last else []
            inside = first in batches and last in batches
            keys = batches[batches.index(first) : batches.index(last) + 1] if inside else [first, last]
            units.update(Unit("incremental", key) for key in keys)
    return units


def _was_killed(run: dg.DagsterRun) -> bool:
    host, _, number = run.tags.get(PROCESS_TAG, "").rpartition(":")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _within(unit: Unit, first: str, last: str) -> bool:
    return unit.lane == "daily" and first <= unit.key <= last


def _request(lane: Lane, first: str, last: str, seen: list[str], door: str) -> dg.RunRequest:
    digest = sha256("\x1f".join(seen).encode()).hexdigest()[:16]
    tags = {REUSE_TAG: "true", "pipeline/door": door}
    name = JOB_NAMES[lane]
    run_key = f"{door}:{lane}/{first}:{last}:{digest}"
    if first == last:
        return dg.RunRequest(run_key=run_key, job_name=name, partition_key=first, tags=tags)
    return dg.RunRequest(run_key=run_key, job_name=name, tags=tags | range_tags(first, last))
