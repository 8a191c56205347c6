"""Erasure: rows of forgotten and replaced files, which no reader sees any more, are taken out of the parts.

What belongs here: finding such rows and writing a delivery's parts without them. What does not: what is
forgotten (`compute.forget`), and deleting the parts they were in, which is left to the sweep.

The parts are written anew under the attempt that they are of, so what the delivery gives to its days is the
same, and no day changes. Gold goes first and bronze last: bronze tells what is left to be done, also after a
kill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import polars as pl

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.maintenance.report import Report
from pipeline_assets.compute.reconcile import Reconciliation
from pipeline_assets.kernel.schemas import LAYERS
from pipeline_assets.storage import control
from pipeline_assets.storage.manifests import (
    Layer,
    Manifest,
    Part,
    paths_by_attempt,
    read_manifest,
    swap_manifest,
)
from pipeline_assets.storage.parts import PartWriter, part_paths, row_count, rows_by_file, scan_table
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.store import Store, SwapConflictError
from pipeline_assets.storage.units import Unit

Progress = Callable[[str], None]
_INNERMOST_LAST: Final[tuple[Layer, ...]] = ("gold", "silver", "bronze")


def erase(context: Context, state: Reconciliation, report: Report, progress: Progress) -> None:
    """Write the parts of deliveries that hold rows of forgotten or replaced files without them."""
    pending = control.pending_markers(context.store).keys()
    for unit in sorted(state.views.keys() - pending - state.to_repair):
        bronze = read_manifest(context.store, "bronze", unit).value
        silver = read_manifest(context.store, "silver", unit).value
        suspects = _attempts_with_more(bronze, bronze) | _attempts_with_more(silver, bronze)
        suspects |= {file.attempt for file in bronze.files if file.status == "forgotten"}
        if not suspects:
            continue
        progress(f"looking for rows of forgotten files in {unit}")
        for layer in _INNERMOST_LAST:
            try:
                _erase_in_layer(context.store, unit, layer, suspects, report)
            except (SwapConflictError, InvalidRowsError) as error:
                report.left.append(f"{layer}/{unit}: rows of forgotten files kept ({error})")


def live_files(manifest: Manifest, bronze: Manifest) -> dict[str, set[str]]:
    """Files of a layer whose rows may still be asked for, by attempt: neither forgotten nor replaced."""
    latest = bronze.by_path
    return paths_by_attempt(
        file
        for file in manifest.files
        if (now := latest.get(file.path)) is None or now.attempt != file.attempt or now.status != "forgotten"
    )


def _attempts_with_more(manifest: Manifest, bronze: Manifest) -> set[str]:
    """Attempts whose parts hold more rows than their files have lines that became one."""
    live = live_files(manifest, bronze)
    found = set()
    for attempt in manifest.attempts - set(manifest.removed):
        files = [f for f in manifest.files if f.attempt == attempt and f.path in live.get(attempt, set())]
        wanted = sum(file.parsed + (file.rejected if manifest.layer == "bronze" else 0) for file in files)
        if sum(part.rows for part in manifest.parts if part.attempt == attempt) > wanted:
            found.add(attempt)
    return found


def _erase_in_layer(store: Store, unit: Unit, layer: Layer, suspects: set[str], report: Report) -> None:
    stored = read_manifest(store, layer, unit)
    live = live_files(stored.value, read_manifest(store, "bronze", unit).value)
    parts: list[Part] = []
    changed = 0
    for part in stored.value.parts:
        wanted = live.get(part.attempt, set())
        if part.attempt not in suspects or not _holds_others(store, layer, unit, part, wanted):
            parts.append(part)
            continue
        changed += 1
        if not report.dry_run:
            parts += _rewritten(store, layer, unit, part, wanted)
    if changed and not report.dry_run:
        following = replace(stored.value, parts=tuple(sorted(parts, key=lambda part: part.name)))
        swap_manifest(store, unit, following, stored.etag)
    report.note_done("parts freed of forgotten rows", f"{layer}/{unit}", changed)


def _holds_others(store: Store, layer: Layer, unit: Unit, part: Part, wanted: set[str]) -> bool:
    return bool(rows_by_file(store, part_paths(layer, unit, [part])).keys() - wanted)


def _rewritten(store: Store, layer: Layer, unit: Unit, part: Part, wanted: set[str]) -> list[Part]:
    """The part without rows of other files; nothing where none is left."""
    paths = part_paths(layer, unit, [part])
    kept = sum(rows for path, rows in rows_by_file(store, paths).items() if path in wanted)
    rows = scan_table(store, paths, LAYERS[layer][part.table].schema, paths[0])
    writer = PartWriter(store, layer, unit, part.attempt)
    writer.write(part.table, rows.filter(pl.col("source_file").is_in(sorted(wanted))))
    written = writer.close()
    held = row_count(store, part_paths(layer, unit, written))
    if held != kept:
        raise InvalidRowsError(f"{paths[0]}: {kept} rows to keep, but {held} were written")
    return written
