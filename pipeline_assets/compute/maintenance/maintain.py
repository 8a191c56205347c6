"""Maintenance as a whole: what is done, in which order, and the note that it leaves.

What belongs here: the order. What does not: any of the work, and when it is done (`automation`).

It takes no lock and stops nobody. Two at once, and one killed at any point, leave nothing that the next does
not put right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.maintenance.erasure import erase
from pipeline_assets.compute.maintenance.records import sweep_claims, sweep_heads, sweep_markers
from pipeline_assets.compute.maintenance.report import Report
from pipeline_assets.compute.maintenance.retention import retire
from pipeline_assets.compute.maintenance.sweep import sweep_parts, sweep_temporaries
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control, ledger
from pipeline_assets.storage.table_care import care_for_table, exists
from pipeline_assets.storage.tables import TABLES

Progress = Callable[[str], None]


def maintain(
    context: Context,
    settings: Settings,
    *,
    deep: bool = False,
    dry_run: bool = False,
    now: float | None = None,
    progress: Progress = lambda message: None,
) -> Report:
    """Put the storage in order, and say what was done; with `dry_run`, what would be.

    `deep` also reads every claim and every head, of which there is one for each file that ever landed. `now`
    is in seconds since the epoch.
    """
    moment = time.time() if now is None else now
    cutoff = moment - settings.sweep_grace_hours * 3600
    report = Report(dry_run=dry_run, deep=deep)
    progress("comparing deliveries with days")
    state = sweep_markers(context, report, cutoff)
    today = datetime.fromtimestamp(moment, UTC).date()
    retire(context, settings, state, report, today=today, progress=progress)
    erase(context, state, report, progress)
    sweep_parts(context, report, cutoff, progress)
    sweep_temporaries(context, report, cutoff)
    if deep:
        progress("looking at claims and first lines")
        sweep_claims(context, report, cutoff)
        sweep_heads(context, report, cutoff)
    _care_for_tables(context, settings, report, cutoff, progress)
    if not dry_run:
        control.note_maintenance(context.store, summary(report))
    return report


def summary(report: Report) -> dict[str, object]:
    """What a report comes to, as it is kept and shown."""
    return {
        "at": report.started_at.isoformat(timespec="seconds"),
        "deep": report.deep,
        "files_deleted": report.files,
        "bytes_freed": report.bytes,
        "deleted": {kind: {"files": files, "bytes": size} for kind, (files, size) in report.deleted.items()},
        "done": report.done,
        "left": len(report.left),
        "failed": len(report.failed),
    }


def _care_for_tables(
    context: Context, settings: Settings, report: Report, cutoff: float, progress: Progress
) -> None:
    progress("folding the ledger")
    store = context.store
    if exists(store, "ledger") and exists(store, "unit_days"):
        folded = ledger.fold(store, dry_run=report.dry_run)
        report.note_done("superseded rows of the ledger left out", "serving/ledger", folded)
    for name in TABLES:
        if not exists(store, name):
            continue
        progress(f"table {name}")
        done = care_for_table(
            store,
            name,
            history=timedelta(days=settings.table_history_days),
            quiet=cutoff,
            dry_run=report.dry_run,
        )
        report.note_done("small files of tables merged", name, done.merged_files)
        report.note_done("tables with a new checkpoint", name, int(done.checkpointed))
        for entry in done.deleted:
            report.note_deleted("files of older versions of tables", entry)
        report.left += done.left
