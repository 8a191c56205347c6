"""Retention: deleting landed files and the rows of old deliveries, layer by layer, and nothing said of them.

What belongs here: which deliveries are old enough, and taking their parts out of their manifests. What does
not: deleting the parts, which is left to the sweep, so that whoever is reading them can finish.

A manifest stays, with its files, its counts and their digests: what a delivery was, which copies count and
where each line went can be answered for ever. Serving days stay as they are. Before a delivery's gold goes,
each of its days keeps apart what it gave (`days.close_day`), so that the day can take in later deliveries,
and be merged again, without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.days import UnitView, close_day, view_unit
from pipeline_assets.compute.maintenance.report import Report
from pipeline_assets.compute.reconcile import Reconciliation
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control
from pipeline_assets.storage.manifests import LAYER_NAMES, Layer, read_manifest, swap_manifest
from pipeline_assets.storage.store import SwapConflictError
from pipeline_assets.storage.units import Unit

Progress = Callable[[str], None]


def retire(
    context: Context,
    settings: Settings,
    state: Reconciliation,
    report: Report,
    *,
    today: date,
    progress: Progress,
) -> None:
    """Delete what is older than the settings keep, of deliveries that are shown as they are."""
    days_kept: dict[Layer, int | None] = {
        "bronze": settings.retention_days_bronze,
        "silver": settings.retention_days_silver,
        "gold": settings.retention_days_gold,
    }
    if settings.retention_days_logs is None and not any(days_kept.values()):
        return
    pending = control.pending_markers(context.store).keys()
    for unit, view in sorted(state.views.items()):
        if unit in state.to_repair or unit in pending:
            continue
        progress(f"retention of {unit}")
        if _is_older(unit, today, settings.retention_days_logs):
            _delete_landed(context, view, report, today - timedelta(days=settings.retention_days_logs or 0))
        for layer in LAYER_NAMES:
            if _is_older(unit, today, days_kept[layer]):
                _retire_layer(context, unit, layer, report)


def delivered_on(unit: Unit) -> date:
    """The day from which a delivery's age is counted: that of its folder, or on which its batch was made."""
    return date.fromisoformat(unit.key[:10])


def _is_older(unit: Unit, today: date, days: int | None) -> bool:
    return days is not None and delivered_on(unit) < today - timedelta(days=days)


def _delete_landed(context: Context, view: UnitView, report: Report, since: date) -> None:
    """Delete a delivery's landed files that were read as they are, and have not changed for as long."""
    for record in view.bronze.files:
        entry = context.store.stat(record.path)
        if entry is None or entry.etag != record.etag or date.fromtimestamp(entry.modified) >= since:
            continue
        report.delete(context.store, "landed files", entry)


def _retire_layer(context: Context, unit: Unit, layer: Layer, report: Report) -> None:
    store = context.store
    stored = read_manifest(store, layer, unit)
    if not stored.value.parts:
        return
    size = sum(part.size for part in stored.value.parts)
    subject = f"{layer}/{unit}, {size:,} bytes"
    if not report.dry_run:
        days = view_unit(context, unit).touched_days if layer == "gold" else ()
        if not all(close_day(context, day, unit) for day in sorted(days)):
            report.left.append(f"gold/{unit}: kept, its days do not show it as it is")
            return
        following = replace(stored.value, parts=(), removed=tuple(sorted(stored.value.attempts)))
        try:
            swap_manifest(store, unit, following, stored.etag)
        except SwapConflictError:
            report.left.append(f"{layer}/{unit}: kept, it has changed meanwhile")
            return
    report.note_done(f"deliveries whose {layer} was retired", subject)
