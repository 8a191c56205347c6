"""Forgetting a landed file: what it said is retracted, and it stays forgotten while its content is the same.

What belongs here: the change to the manifest and what follows for copies of the file. What does not: showing
it, which is the publication of the units returned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pipeline_assets.compute.context import Context
from pipeline_assets.storage import control
from pipeline_assets.storage.duplicates import settle
from pipeline_assets.storage.manifests import FileRecord, read_manifest, swap_manifest
from pipeline_assets.storage.store import SwapConflictError
from pipeline_assets.storage.units import Unit, daily_unit, landing_lane

_TRIES: Final = 20


class ForgetError(Exception):
    """The file can't be forgotten; the message says why, and what to do."""


class UnknownPathError(ForgetError):
    """The path names no file that was ever read; the message says how paths are written."""


class RetiredRowsError(ForgetError):
    """Retention has deleted the rows by which the file could be told from others of its days."""


def forget(context: Context, path: str) -> Unit:
    """Retract a landed file; its unit, which is then to be published.

    Raises `UnknownPathError` where no such file was read, and `RetiredRowsError` where its days can't be
    merged without it any more; nothing has changed then.
    """
    store = context.store
    lane = landing_lane(path)
    unit = daily_unit(path) if lane == "daily" else control.claimed_by(store, path)
    for _ in range(_TRIES):
        stored = read_manifest(store, "bronze", unit) if unit else None
        record = stored.value.by_path.get(path) if stored else None
        if unit is None or stored is None or record is None:
            raise UnknownPathError(
                f"{path}: no such file was read; paths look like logs/2024-01-15/access.log, and the ledger"
                " (serving/ledger) has them all"
            )
        if record.status == "forgotten":
            return unit
        _refuse_retired(context, unit, record)
        control.mark_pending(store, unit)
        others = [file for file in stored.value.files if file.path != path]
        manifest = stored.value.with_files([*others, replace(record, status="forgotten")])
        try:
            swap_manifest(store, unit, manifest, stored.etag)
        except SwapConflictError:
            continue
        # A copy that did not count because of this file counts now.
        settle(store, [record.head])
        return unit
    raise RuntimeError(f"{unit}: lost {_TRIES} races for its manifest")


def _refuse_retired(context: Context, unit: Unit, record: FileRecord) -> None:
    removed = read_manifest(context.store, "gold", unit).value.removed
    if record.attempt in removed and record.status == "counted" and record.days:
        raise RetiredRowsError(
            f"{record.path}: can't be forgotten, because retention has deleted the gold of {unit}, and its"
            " days hold nothing but sums. If all that landed on these days is still there, run"
            " pipeline-assets full first"
        )
