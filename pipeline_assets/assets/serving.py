"""Serving and model tables as assets by event day: what people query, and how a day of it is rebuilt.

What belongs here: their specs and the rebuild. What does not: the everyday way, which is the lanes' publish.
"""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from pipeline_assets.assets.layers import Partitions, progress_log
from pipeline_assets.assets.metadata import column_schema
from pipeline_assets.assets.metered import record_run
from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.assets.served import hits_by_day, materializations, served_hours
from pipeline_assets.checks.completeness import COMPLETENESS, completeness_result
from pipeline_assets.compute.publish import rebuild_days
from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets.storage.units import LANES

_COMPLETE = ["serving", "traffic_hourly"]


def serving_assets(partitions: Partitions) -> dg.AssetsDefinition:
    """Every serving and model table, rebuilt day by day from the gold of all deliveries."""
    # A delivery holds events of several days and a day's events come in several deliveries: which in which
    # is in the ledger, and no mapping of partition keys could say it.
    deps = [dg.AssetDep(["publish", lane], partition_mapping=dg.AllPartitionMapping()) for lane in LANES]

    @dg.multi_asset(
        name="serving",
        specs=[
            dg.AssetSpec(
                [table.layer, table.name],
                deps=deps if table.layer == "serving" else [["serving", "traffic_hourly"]],
                description=table.description,
                metadata={"dagster/column_schema": column_schema(table)},
                group_name=table.layer,
                kinds={"deltalake"},
                partitions_def=partitions,
            )
            for table in (*SERVING.values(), *MODEL.values())
        ],
        check_specs=[COMPLETENESS.spec(_COMPLETE)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def serving(
        context: dg.AssetExecutionContext, pipeline: PipelineResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        store = pipeline.context.store
        days = [date.fromisoformat(key) for key in context.partition_keys]
        with pipeline.meter.measuring("publish"):
            done = rebuild_days(pipeline.context, days, progress=progress_log(context))
        record_run(context, pipeline, None, [], {})
        served = served_hours(store, days)
        for event in materializations(store, done, served):
            if event.asset_key in context.selected_asset_keys and event.partition in context.partition_keys:
                context.add_asset_metadata(event.metadata, event.asset_key, event.partition)
        for table in (*SERVING.values(), *MODEL.values()):
            key = dg.AssetKey([table.layer, table.name])
            if key in context.selected_asset_keys:
                yield dg.MaterializeResult(asset_key=key)
        if context.selected_asset_check_keys:
            yield completeness_result(_COMPLETE, done.days, hits_by_day(served), closed=done.closed)

    return serving
