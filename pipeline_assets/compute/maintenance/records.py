"""Sweeping the small objects by which processes tell each other what they are at.

What belongs here: markers, claims and heads that speak of nothing any more. What does not: parts (`sweep`).
Each of these objects is created before the work that it stands for, so here too only what is older than the
grace period goes, and what is then found to be in use is put back.
"""

from __future__ import annotations

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.maintenance.report import Report
from pipeline_assets.compute.reconcile import Reconciliation, reconcile
from pipeline_assets.storage import control
from pipeline_assets.storage.landing import daily_files
from pipeline_assets.storage.manifests import read_manifest
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit


def sweep_markers(context: Context, report: Report, cutoff: float) -> Reconciliation:
    """Delete the pending markers of units that are shown as they are, or that there are none of.

    Returns the look at everything that this takes. Markers are listed before it, so that one of work that
    begins meanwhile stays.
    """
    markers = control.old_markers(context.store, cutoff)
    state = reconcile(context)
    for unit, entries in markers.items():
        if control.quarantined(context.store, unit) is not None or unit in state.to_repair:
            continue
        if unit in state.views or not _is_anything(context.store, unit):
            for entry in entries:
                report.delete(context.store, "markers of work that is done", entry)
    return state


def sweep_claims(context: Context, report: Report, cutoff: float) -> None:
    """Delete the claims of files that are gone, for batches of which nothing is left."""
    for entry, path, unit in control.old_claims(context.store, cutoff):
        if context.store.stat(path) is None and not _is_anything(context.store, unit):
            report.delete(context.store, "claims for batches that do not exist", entry)


def sweep_heads(context: Context, report: Report, cutoff: float) -> None:
    """Delete what says that a file begins with a line with which it does not begin any more.

    A file is put there before its manifest says so. Whoever is about to say so has marked the unit pending,
    so that is looked at again after a deletion, and the entry is put back, with a marker to have it seen.
    """
    store = context.store
    for entry, path, unit in control.old_heads(store, cutoff):
        head = control.head_of(entry)
        if _is_in_use(store, head, path, unit):
            continue
        report.delete(store, "first lines that no file has", entry)
        if not report.dry_run and _is_in_use(store, head, path, unit):
            control.register_head(store, head, path, unit)
            control.mark_pending(store, unit)


def _is_in_use(store: Store, head: str, path: str, unit: Unit) -> bool:
    if control.pending_markers(store, unit):
        return True
    record = read_manifest(store, "bronze", unit).value.by_path.get(path)
    return record is not None and record.head == head


def _is_anything(store: Store, unit: Unit) -> bool:
    """Whether anything is known of a unit: its batch, its bronze, or files that landed for it."""
    if read_manifest(store, "bronze", unit).etag is not None or control.has_batch(store, unit):
        return True
    return unit.lane == "daily" and bool(daily_files(store, unit))
