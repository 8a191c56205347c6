"""Landing to bronze: read the landed files of one unit and commit what they hold.

What belongs here: deciding which files must be read, and the commit. What does not: reading them (`reading`),
and which copies count (`storage.duplicates`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.reading import Progress, read_files
from pipeline_assets.kernel.digests import is_of_before
from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.storage import control
from pipeline_assets.storage.duplicates import begins_with, settle
from pipeline_assets.storage.landing import daily_files, why_ignored
from pipeline_assets.storage.manifests import (
    FileRecord,
    Manifest,
    Part,
    read_manifest,
    swap_manifest,
)
from pipeline_assets.storage.quarantine import quarantining
from pipeline_assets.storage.store import Entry, Store, SwapConflictError
from pipeline_assets.storage.units import Unit

# A lost swap means that another process has just committed this unit, and what it read is then reused.
_TRIES: Final = 20

# Reads versions of a unit's files into parts of one new attempt, as `reading.read_files` does.
ReadFiles = Callable[[Context, Unit, list[Entry]], tuple[list[FileRecord], list[Part]]]


@dataclass(frozen=True)
class BronzeResult:
    """What became of a unit: its manifest (None: nothing has landed), and what was done."""

    manifest: Manifest | None
    read_files: int = 0
    kept_files: int = 0
    gone_files: tuple[str, ...] = ()
    flipped: frozenset[Unit] = frozenset()


def refresh_bronze(
    context: Context,
    unit: Unit,
    *,
    reuse: bool,
    progress: Progress = lambda message: None,
    read: ReadFiles | None = None,
) -> BronzeResult:
    """Bring a unit's bronze up to its landed files, which are read by `read` (by default, in this process).

    With `reuse`, files that have not changed since they were read are kept; without, every file that is
    still there is read again. Files that are gone are always kept: deleting a landed file is retention.

    Raises `QuarantinedError`, with a note left for `status`, where the unit can't be committed.
    """
    with quarantining(context.store, unit):
        result = _refresh(context, unit, reuse, read or partial(read_files, progress=progress))
    control.release(context.store, unit)
    return result


def _refresh(context: Context, unit: Unit, reuse: bool, read: ReadFiles) -> BronzeResult:
    store = context.store
    reader = _UnitReader(context, unit, read)
    for _ in range(_TRIES):
        # The version is taken before the listing: whoever lists later wins, so an older view can't replace
        # a newer one.
        stored = read_manifest(store, "bronze", unit)
        landed = landed_files(context, unit)
        if not landed and stored.etag is None:
            return BronzeResult(None)
        previous = stored.value.by_path
        changed = changed_files(context, landed, previous, reuse=reuse)
        records = reader.read(changed, previous) if changed else {}
        if records or stored.etag is None:
            control.mark_pending(store, unit)
            manifest = _next_manifest(context, stored.value, records, reader.parts)
            for record in records.values():
                control.register_head(store, record.head, record.path, unit)
            try:
                manifest = swap_manifest(store, unit, manifest, stored.etag)
            except SwapConflictError:
                continue
        else:
            manifest = stored.value
        heads = {record.head for record in (*manifest.files, *previous.values())}
        flipped = settle(store, heads)
        present = {entry.path for entry in landed}
        return BronzeResult(
            read_manifest(store, "bronze", unit).value,
            read_files=len(records),
            kept_files=len(landed) - len(changed),
            gone_files=tuple(sorted(set(previous) - present)),
            flipped=frozenset(flipped - {unit}),
        )
    raise RuntimeError(f"{unit}: lost {_TRIES} races for its manifest")


@dataclass
class _UnitReader:
    """Reads files of one unit, each version of a file once; an attempt for all that are read together."""

    context: Context
    unit: Unit
    read_files: ReadFiles
    parts: list[Part] = field(default_factory=list)
    _done: dict[tuple[str, str], FileRecord] = field(default_factory=dict)

    def read(self, entries: list[Entry], previous: dict[str, FileRecord]) -> dict[str, FileRecord]:
        """Records of the files, by path, read now unless this version was read by this reader already."""
        todo = [entry for entry in entries if (entry.path, entry.etag) not in self._done]
        if todo:
            # An attempt's files are replaced together or not at all, so a second round is a new attempt.
            fresh, written = self.read_files(self.context, self.unit, todo)
            self._done.update({(record.path, record.etag): record for record in fresh})
            self.parts.extend(written)
        found = (self._done.get((entry.path, entry.etag)) for entry in entries)
        store = self.context.store
        return {
            record.path: _inheriting(store, record, previous.get(record.path)) for record in found if record
        }


def changed_files(
    context: Context, landed: Iterable[Entry], known: Mapping[str, FileRecord], *, reuse: bool
) -> list[Entry]:
    """The files that must be read: all, or with `reuse` those that have changed.

    A file has not if it is known in this very version, as this kernel and configuration read it.
    """
    if not reuse:
        return list(landed)
    return [entry for entry in landed if not _is_current(context, entry, known.get(entry.path))]


def _is_current(context: Context, entry: Entry, record: FileRecord | None) -> bool:
    return (
        record is not None
        and record.etag == entry.etag
        and record.kernel == KERNEL_VERSION
        and record.config == context.config
    )


def landed_files(context: Context, unit: Unit) -> list[Entry]:
    """The unit's files as they have landed by now."""
    if unit.lane == "daily":
        return daily_files(context.store, unit)
    paths = control.batch_paths(context.store, unit)
    found = (context.store.stat(path) for path in paths if not why_ignored(path))
    return [entry for entry in found if entry]


def _inheriting(store: Store, record: FileRecord, previous: FileRecord | None) -> FileRecord:
    """What was decided about a content holds as long as the path has that content."""
    if previous is None or not _has_content_of(store, record, previous):
        return record
    return replace(record, status=previous.status, begins_with=previous.begins_with)


def _has_content_of(store: Store, record: FileRecord, previous: FileRecord) -> bool:
    if previous.digest == record.digest or not is_of_before(previous.digest):
        return previous.digest == record.digest
    if previous.bytes != record.bytes:
        return False
    return previous.etag == record.etag or bool(begins_with(store, record, record.bytes, previous.digest))


def _next_manifest(
    context: Context, previous: Manifest, records: dict[str, FileRecord], fresh: list[Part]
) -> Manifest:
    manifest = previous.with_files({**previous.by_path, **records}.values())
    parts = {part.name: part for part in (*previous.parts, *fresh) if part.attempt in manifest.attempts}
    days = {day for record in (*previous.files, *manifest.files) for day in record.days}
    return replace(
        manifest,
        kernel=KERNEL_VERSION,
        config=context.config,
        inputs=hashlib.sha256(
            "\x1f".join(f"{file.path} {file.etag} {file.digest}" for file in manifest.files).encode()
        ).hexdigest(),
        parts=tuple(sorted(parts.values(), key=lambda part: part.name)),
        touched_days=tuple(sorted({*previous.touched_days, *days})),
        removed=tuple(attempt for attempt in previous.removed if attempt in manifest.attempts),
    )
