"""The one place that wires: assets, jobs, schedules, the sensor and their resources.

What belongs here: putting together. What does not: anything that does. Importing it reads settings and
touches no storage.
"""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg
from dagster_shared.utils.warnings import BetaWarning

from pipeline_assets.assets.evaluation import evaluation_asset
from pipeline_assets.assets.freshness import with_freshness
from pipeline_assets.assets.layers import bronze_assets, gold_assets, landing_spec, silver_assets
from pipeline_assets.assets.publish import publish_asset
from pipeline_assets.assets.report import report_asset
from pipeline_assets.assets.resources import PipelineResource, azure_blob_storage, parquet_io_manager
from pipeline_assets.assets.serving import serving_assets
from pipeline_assets.automation.alert_sensor import alert_sensor
from pipeline_assets.automation.jobs import lane_job, report_job, serving_job
from pipeline_assets.automation.maintenance import (
    maintenance_job,
    monthly_maintenance_schedule,
    weekly_maintenance_schedule,
)
from pipeline_assets.automation.schedules import daily_schedule, incremental_schedule, report_schedule
from pipeline_assets.automation.sensors import WAIT_S, file_arrival_sensor
from pipeline_assets.partitions import daily_partitions, incremental_partitions
from pipeline_assets.settings import Settings, load_settings
from pipeline_assets.storage.units import LANES, Lane


def build_defs(
    *,
    settings: Settings | None = None,
    resources: dict[str, Any] | None = None,
    loggers: dict[str, dg.LoggerDefinition] | None = None,
    sensor_wait_s: float = WAIT_S,
) -> dg.Definitions:
    """Everything Dagster needs to know; any part can be replaced.

    Raises `SettingsError` where the environment holds a setting that can't be used.
    """
    with warnings.catch_warnings():
        # `backfill_policy` is in beta; the locked version is the one it is tested with.
        warnings.simplefilter("ignore", BetaWarning)
        return _build(settings or load_settings(), resources or {}, loggers, sensor_wait_s)


def _build(
    chosen: Settings,
    resources: dict[str, Any],
    loggers: dict[str, dg.LoggerDefinition] | None,
    sensor_wait_s: float,
) -> dg.Definitions:
    daily = daily_partitions(chosen)
    lanes: dict[Lane, dg.PartitionsDefinition[Any]] = {
        "daily": daily,
        "incremental": incremental_partitions(),
    }
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        serving_assets(daily),
        report_asset(daily),
        evaluation_asset(),
    ]
    for lane, partitions in lanes.items():
        assets += [
            landing_spec(lane, partitions),
            bronze_assets(lane, partitions),
            silver_assets(lane, partitions),
            gold_assets(lane, partitions),
            publish_asset(lane, partitions),
        ]
    jobs = {lane: lane_job(lane, chosen.owner_list) for lane in lanes}
    upkeep = maintenance_job(chosen)
    reporting = report_job(chosen.owner_list)
    return dg.Definitions(
        assets=dg.map_asset_specs(lambda spec: with_freshness(_described(spec, chosen), chosen), assets),
        jobs=[*jobs.values(), serving_job(chosen.owner_list), reporting, upkeep],
        schedules=[
            daily_schedule(chosen, jobs["daily"]),
            incremental_schedule(chosen, jobs["incremental"]),
            report_schedule(chosen, reporting),
            weekly_maintenance_schedule(chosen, upkeep),
            monthly_maintenance_schedule(chosen, upkeep),
        ],
        sensors=[
            file_arrival_sensor(chosen, list(jobs.values()), wait_s=sensor_wait_s),
            alert_sensor(chosen),
        ],
        resources={
            "pipeline": PipelineResource(),
            "io_manager": parquet_io_manager,
            "azure_blob_storage": azure_blob_storage,
            **resources,
        },
        loggers=loggers,
        # Everything in one process unless a job says otherwise: each further process imports Dagster anew.
        executor=dg.in_process_executor,
    )


def _described(spec: dg.AssetSpec, chosen: Settings) -> dg.AssetSpec:
    """The asset with what all of them have: owners, and its layer and lane as tags to search by."""
    layer, *rest = spec.key.path
    tags = {"layer": layer} | ({"lane": rest[0]} if rest and rest[0] in LANES else {})
    return spec.merge_attributes(owners=chosen.owner_list, tags=tags)


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions that `dg`, `dagster`, the webserver and the daemon load."""
    return build_defs()
