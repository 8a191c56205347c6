"""Bronze, silver and gold of one lane: one multi-asset a layer, the same definition for both lanes.

What belongs here: which assets there are, and running a layer for the partitions of a run. What does not:
what a layer is (`compute`, `kernel`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Final

import dagster as dg

from pipeline_assets.assets.metadata import (
    column_schema,
    delivery_metadata,
    lineage_metadata,
    reject_reasons,
)
from pipeline_assets.assets.metered import record_run, recording_failure
from pipeline_assets.assets.resources import PipelineResource, compute_of, reuses
from pipeline_assets.checks.completeness import HITS_EQUAL_ROWS, hits_equal_rows_result
from pipeline_assets.checks.conservation import CONSERVATION, conservation_result
from pipeline_assets.checks.deliveries import (
    COPIES,
    DELIVERY_GAPS,
    EVENT_TIMES,
    REJECT_RATE,
    copies_result,
    delivery_gaps_result,
    event_times_result,
    reject_rate_result,
)
from pipeline_assets.checks.results import Check
from pipeline_assets.compute.engine import Refreshed, Request
from pipeline_assets.escaping import plain
from pipeline_assets.kernel.schemas import LAYERS
from pipeline_assets.storage.io_manager import CommittedLayer
from pipeline_assets.storage.manifests import LAYER_NAMES, Layer, Manifest
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Lane, Unit

Partitions = dg.PartitionsDefinition[Any]

_SHARED_CHECKS: Final = {
    CONSERVATION: "requests",
    COPIES: "requests",
    EVENT_TIMES: "requests",
    REJECT_RATE: "rejected",
}
_BRONZE_CHECKS: Final[Mapping[Lane, Mapping[Check, str]]] = {
    "daily": {**_SHARED_CHECKS, DELIVERY_GAPS: "requests"},
    "incremental": _SHARED_CHECKS,
}


@dataclass(frozen=True)
class _Done:
    """What became of the units of a run, in their order."""

    manifests: dict[Unit, Manifest]
    quarantined: dict[Unit, str]
    shown: dict[Unit, Mapping[str, dg.MetadataValue]]


def landing_spec(lane: Lane, partitions: Partitions) -> dg.AssetSpec:
    """The landed files of a lane: not ours to make, but where lineage begins."""
    where = "logs/YYYY-MM-DD/" if lane == "daily" else "logs/incremental/"
    return dg.AssetSpec(
        ["landing", lane],
        description=f"Log files as they land in `{where}`, plain or compressed, under any names.",
        partitions_def=partitions,
        group_name="landing",
        kinds={"file"},
    )


def bronze_assets(lane: Lane, partitions: Partitions) -> dg.AssetsDefinition:
    """Landed files, read line by line: requests, errors, and what was rejected."""

    @dg.multi_asset(
        name=f"bronze_{lane}",
        outs=_outs("bronze", lane),
        deps=[dg.AssetKey(["landing", lane])],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        check_specs=[check.spec(["bronze", lane, table]) for check, table in _BRONZE_CHECKS[lane].items()],
        group_name="bronze",
    )
    def bronze(
        context: dg.AssetExecutionContext, pipeline: PipelineResource
    ) -> Iterator[dg.Output[CommittedLayer] | dg.AssetCheckResult]:
        done = _refresh_all(context, pipeline, "bronze", lane)
        if done.quarantined and not done.manifests and _blocks(context, lane):
            # Conservation blocks what follows, so nothing later can record this run.
            record_run(context, pipeline, lane, done.quarantined, done.quarantined, failed=True)
        reasons = {unit: reject_reasons(manifest) for unit, manifest in done.manifests.items()}
        yield from _outputs(context, pipeline.context.store, "bronze", lane, done, reasons)
        yield from _selected(context, _bronze_results(pipeline, lane, done, reasons))

    return bronze


def silver_assets(lane: Lane, partitions: Partitions) -> dg.AssetsDefinition:
    """Bronze rows, cleaned and enriched."""
    return _derived_assets("silver", "bronze", lane, partitions)


def gold_assets(lane: Lane, partitions: Partitions) -> dg.AssetsDefinition:
    """Silver rows, rolled up so that deliveries can be merged by event day."""
    return _derived_assets("gold", "silver", lane, partitions)


def _derived_assets(layer: Layer, source: Layer, lane: Lane, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=f"{layer}_{lane}",
        outs=_outs(layer, lane),
        deps=[dg.AssetKey([source, lane, table]) for table in LAYERS[source] if table != "rejected"],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        check_specs=[HITS_EQUAL_ROWS.spec(["gold", lane, "traffic"])] if layer == "gold" else [],
        group_name=layer,
    )
    def derived(
        context: dg.AssetExecutionContext, pipeline: PipelineResource
    ) -> Iterator[dg.Output[CommittedLayer] | dg.AssetCheckResult]:
        done = _refresh_all(context, pipeline, layer, lane)
        store = pipeline.context.store
        if layer == "gold" and dg.AssetKey(["publish", lane]) in _selected_in_run(context):
            pipeline.here.fold_ahead(done.manifests)
        yield from _outputs(context, store, layer, lane, done, {})
        if layer == "gold":
            key = ["gold", lane, "traffic"]
            yield from _selected(context, [hits_equal_rows_result(key, store, done.manifests)])

    return derived


def _outs(layer: Layer, lane: Lane) -> Mapping[str, dg.AssetOut]:
    return {
        name: dg.AssetOut(
            key=[layer, lane, name],
            description=table.description,
            io_manager_key="io_manager",
            metadata={"dagster/column_schema": column_schema(table)},
            kinds={"polars", "parquet"},
            is_required=False,
        )
        for name, table in LAYERS[layer].items()
    }


def _outputs(
    context: dg.AssetExecutionContext,
    store: Store,
    layer: Layer,
    lane: Lane,
    done: _Done,
    reasons: Mapping[Unit, Mapping[str, int]],
) -> Iterator[dg.Output[CommittedLayer]]:
    """The tables that were asked for. A layer is made whole whatever was: it is one manifest."""
    for name in LAYERS[layer]:
        key = dg.AssetKey([layer, lane, name])
        if key not in context.selected_asset_keys:
            continue
        for unit, manifest in done.manifests.items():
            shown = delivery_metadata(store, layer, name, unit, manifest, reasons.get(unit, {}))
            context.add_asset_metadata({**shown, **done.shown[unit]}, asset_key=key, partition_key=unit.key)
        context.add_asset_metadata(
            lineage_metadata(layer, name, lane), asset_key=key, partition_key=context.partition_keys[-1]
        )
        yield dg.Output(CommittedLayer(done.manifests), output_name=name)


def _bronze_results(
    pipeline: PipelineResource, lane: Lane, done: _Done, reasons: Mapping[Unit, Mapping[str, int]]
) -> list[dg.AssetCheckResult]:
    requests, rejected = ["bronze", lane, "requests"], ["bronze", lane, "rejected"]
    limit = pipeline.settings.reject_rate_limit
    results = [
        conservation_result(requests, done.manifests, done.quarantined),
        copies_result(requests, done.manifests),
        event_times_result(requests, done.manifests, reasons, datetime.now(UTC)),
        reject_rate_result(rejected, done.manifests, reasons, limit),
    ]
    if lane == "daily":
        results.append(delivery_gaps_result(requests, pipeline.context.store, done.manifests))
    return results


def _selected(
    context: dg.AssetExecutionContext, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """The results of the checks that were asked for."""
    for result in results:
        assert result.asset_key is not None and result.check_name is not None
        if dg.AssetCheckKey(result.asset_key, result.check_name) in context.selected_asset_check_keys:
            yield result


def _blocks(context: dg.AssetExecutionContext, lane: Lane) -> bool:
    key = dg.AssetCheckKey(dg.AssetKey(["bronze", lane, "requests"]), CONSERVATION.name)
    return key in context.selected_asset_check_keys


def progress_log(context: dg.AssetExecutionContext) -> Callable[[str], None]:
    """A logger of progress. Messages name files, and a file's name may be written to be clicked on."""
    return lambda message: context.log.info(plain(message))


def _refresh_all(
    context: dg.AssetExecutionContext, pipeline: PipelineResource, layer: Layer, lane: Lane
) -> _Done:
    """Refresh every unit of the run, wherever that is; a bad one is set aside so that the others go on."""
    units = [Unit(lane, key) for key in context.partition_keys]
    request = Request(layer, tuple(units), reuses(context.run), _later(context, layer, lane))
    refreshed: dict[Unit, Refreshed] = {}
    with recording_failure(context, pipeline, lane, units):
        for one in compute_of(pipeline, context).refresh(request, progress_log(context)):
            refreshed[one.unit] = one
            if one.quarantined:
                context.log.error("quarantined %s: %s", one.unit, plain(one.quarantined))
            if one.gone_files:
                context.log.info(
                    "%s: kept %d files whose sources are gone, such as %s",
                    one.unit,
                    len(one.gone_files),
                    plain(one.gone_files[0]),
                )
    done = _Done({}, {}, {})
    empty = []
    for unit in units:
        one = refreshed[unit]
        if one.quarantined:
            done.quarantined[unit] = one.quarantined
        elif one.manifest is None:
            empty.append(unit)
        else:
            done.manifests[unit] = one.manifest
            done.shown[unit] = {name: dg.MetadataValue.url(url) for name, url in one.shown.items()}
    if empty:
        context.log.info("no delivery, skipped: %s", _some(empty))
    return done


def _later(context: dg.AssetExecutionContext, layer: Layer, lane: Lane) -> tuple[Layer, ...]:
    """The layers right after this one that this run makes of its units too."""
    selected = {tuple(key.path[:2]) for key in _selected_in_run(context)}
    after = LAYER_NAMES[LAYER_NAMES.index(layer) + 1 :]
    return tuple(takewhile(lambda name: (name, lane) in selected, after))


def _selected_in_run(context: dg.AssetExecutionContext) -> AbstractSet[dg.AssetKey]:
    return context.job_def.asset_layer.selected_asset_keys


def _some(units: list[Unit]) -> str:
    listed = ", ".join(str(unit) for unit in units[:10])
    return listed if len(units) <= 10 else f"{listed} and {len(units) - 10} more"
