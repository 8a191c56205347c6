"""The jobs: one for each partitioned lane, and one that rebuilds event days.

What belongs here: which assets run together and how. What does not: when (`schedules`, `sensors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

from pipeline_assets.storage.units import Lane

JOB_NAMES: Final[dict[Lane, str]] = {"daily": "daily_job", "incremental": "incremental_job"}
SERVING_JOB_NAME: Final = "serving_job"
MAINTENANCE_JOB_NAME: Final = "maintenance_job"
REPORT_JOB_NAME: Final = "report_job"


def lane_job(lane: Lane, owners: Sequence[str] = ()) -> Any:
    """Bronze to publish of one lane, in one process: its steps are short, and each process costs seconds."""
    return dg.define_asset_job(
        JOB_NAMES[lane],
        selection=dg.AssetSelection.key_prefixes(
            *(["bronze", lane], ["silver", lane], ["gold", lane], ["publish", lane])
        ),
        executor_def=dg.in_process_executor,
        description=(
            "Brings daily deliveries up to date."
            if lane == "daily"
            else "Brings incremental batches up to date."
        ),
        metadata=owned(owners),
    )


def serving_job(owners: Sequence[str] = ()) -> Any:
    """Rebuilds days of serving and model from gold: for repair, and by hand."""
    return dg.define_asset_job(
        SERVING_JOB_NAME,
        selection=dg.AssetSelection.groups("serving", "model"),
        executor_def=dg.in_process_executor,
        description="Rebuilds event days of serving and model from the gold of all deliveries.",
        metadata=owned(owners),
    )


def report_job(owners: Sequence[str] = ()) -> Any:
    """Makes the reports of days: each night, and by hand."""
    return dg.define_asset_job(
        REPORT_JOB_NAME,
        selection=dg.AssetSelection.groups("report"),
        executor_def=dg.in_process_executor,
        description="Makes the pages of event days from serving.",
        metadata=owned(owners),
    )


def owned(owners: Sequence[str]) -> dict[str, str]:
    """Who looks after a job, a schedule or a sensor, as its metadata says."""
    # Their own `owners` are in beta and warn wherever one is made.
    return {"owners": ", ".join(owners)} if owners else {}
