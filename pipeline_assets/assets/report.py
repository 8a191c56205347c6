"""The daily report as an asset: a page for each event day, beside the tables it is made from.

What belongs here: the asset. What does not: what is on the page (`report`), which is imported only when one
is made: drawing costs seconds to start, and no other run should pay for it.
"""

from datetime import date

import dagster as dg

from pipeline_assets.assets.layers import Partitions, progress_log
from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.kernel.schemas import MODEL, SERVING

REPORT_KEY = ["report", "daily"]


def report_asset(partitions: Partitions) -> dg.AssetsDefinition:
    """A self-contained page for each event day."""

    @dg.asset(
        key=REPORT_KEY,
        deps=[dg.AssetKey([table.layer, table.name]) for table in (*SERVING.values(), *MODEL.values())],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="report",
        kinds={"html"},
        description=(
            "A page for each event day that needs nothing else, in `serving/reports/`: traffic, content,"
            " visitors, errors, rejected lines, and what has changed. Days that serving knows nothing of have"
            " none."
        ),
    )
    def report(context: dg.AssetExecutionContext, pipeline: PipelineResource) -> dg.MaterializeResult[None]:
        from pipeline_assets.report.facts import known_days
        from pipeline_assets.report.publish import INDEX, report_path, write_reports

        store = pipeline.context.store
        wanted = {date.fromisoformat(key) for key in context.partition_keys}
        sizes = write_reports(store, wanted & set(known_days(store)), progress=progress_log(context))
        for day, size in sizes.items():
            page = {"page": dg.MetadataValue.path(store.uri(report_path(day))), "bytes": size}
            context.add_asset_metadata(page, partition_key=day.isoformat())
        if wanted - sizes.keys():
            context.log.info("serving knows nothing of %d of these days", len(wanted - sizes.keys()))
        return dg.MaterializeResult(
            metadata={"pages": len(sizes), "list_of_days": dg.MetadataValue.path(store.uri(INDEX))}
        )

    return report
