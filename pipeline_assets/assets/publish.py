"""The end of each lane: the units of a run are published to serving and model.

What belongs here: calling the publication and telling Dagster which event days it wrote. What does not: how
days are merged and written (`compute.publish`).
"""

from collections.abc import Iterator

import dagster as dg

from pipeline_assets.assets.layers import Partitions, progress_log
from pipeline_assets.assets.metered import record_run, recording_failure
from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.assets.served import (
    already_shown,
    batching,
    hits_by_day,
    materializations,
    parsed_lines,
    published_metadata,
    served_hours,
)
from pipeline_assets.checks.completeness import COMPLETENESS, MALFORMED, completeness_result, malformed_result
from pipeline_assets.compute.publish import publish_units
from pipeline_assets.escaping import plain
from pipeline_assets.kernel.schemas import GOLD
from pipeline_assets.storage import control
from pipeline_assets.storage.units import Lane, Unit


def publish_asset(lane: Lane, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset that ends a lane's run."""

    @dg.asset(
        key=["publish", lane],
        deps=[dg.AssetKey(["gold", lane, table]) for table in GOLD],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="publish",
        kinds={"deltalake"},
        check_specs=[check.spec(["publish", lane]) for check in (COMPLETENESS, MALFORMED)],
        description=(
            "The event days that these deliveries touch, brought up to date in `serving` and `model`: whoever"
            " reads them sees a day as it was or as it is."
        ),
    )
    def publish(
        context: dg.AssetExecutionContext, pipeline: PipelineResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        work = pipeline.context
        units = [Unit(lane, key) for key in context.partition_keys]
        # Copies in other deliveries may have begun or ceased to count because of these.
        others = [unit for unit in control.flipped(work.store) if unit not in units]
        with recording_failure(context, pipeline, lane, units), pipeline.meter.measuring("publish"):
            done = publish_units(
                work,
                [*units, *others],
                progress=progress_log(context),
                until_folded=pipeline.here.until_folded,
            )
        served = served_hours(work.store, done.days)
        shown = already_shown(context.instance)
        with batching(context.instance):
            for event in materializations(work.store, done, served, shown=shown):
                context.log_event(event)
        bad = {unit: reason for unit in units if (reason := control.quarantined(work.store, unit))}
        took = record_run(context, pipeline, lane, units, bad)
        if context.selected_asset_check_keys:
            yield completeness_result(
                ["publish", lane],
                done.days,
                hits_by_day(served),
                incomplete=done.incomplete,
                closed=done.closed,
                quarantined=bad,
            )
            parsed = parsed_lines(work.store, done.days)
            yield malformed_result(["publish", lane], parsed, pipeline.settings.reject_rate_limit)
        if bad:
            raise dg.Failure(
                description=plain(
                    "published what is sound; quarantined: "
                    + "; ".join(f"{unit} ({reason})" for unit, reason in sorted(bad.items()))
                ),
                metadata={str(unit): plain(reason) for unit, reason in sorted(bad.items())},
                allow_retries=False,
            )
        yield dg.MaterializeResult(metadata=published_metadata(work.store, done) | took)

    return publish
