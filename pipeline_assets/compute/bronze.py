"""Landing to bronze: read the landed files of one unit and commit what they hold.

What belongs here: deciding which files must be read, reading them, proving that no line was lost, and the
commit. What does not: how a line is parsed (`kernel.parse`), and which copies count (`storage.duplicates`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final

from pipeline_assets.compute.context import Context
from pipeline_assets.kernel.clean import count_written_days
from pipeline_assets.kernel.file_facts import FileFacts
from pipeline_assets.kernel.parse import FileReader, ParsedChunk
from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.storage import control
from pipeline_assets.storage.duplicates import settle
from pipeline_assets.storage.landing import daily_files, why_ignored
from pipeline_assets.storage.manifests import (
    FileRecord,
    Manifest,
    Part,
    new_attempt,
    read_manifest,
    swap_manifest,
)
from pipeline_assets.storage.parts import PartWriter, part_paths, rows_by_file
from pipeline_assets.storage.quarantine import InvalidRowsError, UnreadableFileError, quarantining
from pipeline_assets.storage.store import Entry, SwapConflictError
from pipeline_assets.storage.units import Unit

# A lost swap means that another process has just committed this unit, and what it read is then reused.
_TRIES: Final = 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BronzeResult:
    """What became of a unit: its manifest (None: nothing has landed), and what was done."""

    manifest: Manifest | None
    read_files: int = 0
    kept_files: int = 0
    gone_files: tuple[str, ...] = ()
    flipped: frozenset[Unit] = frozenset()


def refresh_bronze(
    context: Context, unit: Unit, *, reuse: bool, progress: Progress = lambda message: None
) -> BronzeResult:
    """Bring a unit's bronze up to its landed files.

    With `reuse`, files that have not changed since they were read are kept; without, every file that is
    still there is read again. Files that are gone are always kept: deleting a landed file is retention.

    Raises `QuarantinedError`, with a note left for `status`, where the unit can't be committed.
    """
    with quarantining(context.store, unit):
        result = _refresh(context, unit, reuse, progress)
    control.release(context.store, unit)
    return result


def _refresh(context: Context, unit: Unit, reuse: bool, progress: Progress) -> BronzeResult:
    store = context.store
    reader = _UnitReader(context, unit, progress)
    for _ in range(_TRIES):
        # The version is taken before the listing: whoever lists later wins, so an older view can't replace
        # a newer one.
        stored = read_manifest(store, "bronze", unit)
        landed = _landed_files(context, unit)
        if not landed and stored.etag is None:
            return BronzeResult(None)
        previous = stored.value.by_path
        current = [entry for entry in landed if reuse and reader.is_current(entry, previous.get(entry.path))]
        changed = [entry for entry in landed if entry not in current]
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
            kept_files=len(current),
            gone_files=tuple(sorted(set(previous) - present)),
            flipped=frozenset(flipped - {unit}),
        )
    raise RuntimeError(f"{unit}: lost {_TRIES} races for its manifest")


@dataclass
class _UnitReader:
    """Reads files of one unit into parts of one attempt, each version of a file once."""

    context: Context
    unit: Unit
    progress: Progress
    attempt: str = field(default_factory=new_attempt)
    parts: list[Part] = field(default_factory=list)
    _done: dict[tuple[str, str], FileRecord] = field(default_factory=dict)

    def is_current(self, entry: Entry, record: FileRecord | None) -> bool:
        """Whether the file is known in this very version, as this kernel and configuration read it."""
        return (
            record is not None
            and record.etag == entry.etag
            and record.kernel == KERNEL_VERSION
            and record.config == self.context.config
        )

    def read(self, entries: list[Entry], previous: dict[str, FileRecord]) -> dict[str, FileRecord]:
        """Records of the files, by path, read now unless this version was read by this reader already."""
        todo = [entry for entry in entries if (entry.path, entry.etag) not in self._done]
        if todo:
            # An attempt's files are replaced together or not at all, so a second round is a new attempt.
            self.attempt = new_attempt()
            writer = PartWriter(self.context.store, "bronze", self.unit, self.attempt)
            fresh: list[FileRecord] = []
            for number, entry in enumerate(todo, 1):
                self.progress(f"{self.unit}: reading {entry.path} ({number} of {len(todo)})")
                record = self._read_file(entry, writer)
                if record is not None:
                    self._done[entry.path, entry.etag] = record
                    fresh.append(record)
            written = writer.close()
            _prove(self.context, self.unit, fresh, written)
            self.parts.extend(written)
        found = (self._done.get((entry.path, entry.etag)) for entry in entries)
        return {record.path: _inheriting(record, previous.get(record.path)) for record in found if record}

    def _read_file(self, entry: Entry, writer: PartWriter) -> FileRecord | None:
        try:
            raw = self.context.store.open(entry.path)
        except FileNotFoundError:  # deleted since the listing
            return None
        except OSError as error:
            raise UnreadableFileError(entry.path, error) from error
        with raw:
            try:
                # The first bytes are read here already: they say how the file is compressed.
                reader = FileReader(raw, entry.path, self.context.options)
            except OSError as error:
                raise UnreadableFileError(entry.path, error) from error
            rejects: Counter[str] = Counter()
            written_days: Counter[date] = Counter()
            for chunk in _readable(entry.path, reader):
                for table, rows, size in chunk.tables():
                    writer.add(table, rows, size)
                rejects.update(dict(chunk.rejected["reason"].value_counts().iter_rows()))
                for times in chunk.request_times():
                    for day, count in count_written_days(times).iter_rows():
                        written_days[day] += count
        record = _record(entry, reader.facts, self.attempt, self.context.config)
        return replace(
            record,
            site=reader.site,
            rejects=dict(sorted(rejects.items())),
            written_days=_by_day(written_days),
        )


def _readable(path: str, reader: FileReader) -> Iterator[ParsedChunk]:
    try:
        yield from reader
    except OSError as error:
        raise UnreadableFileError(path, error) from error


def _landed_files(context: Context, unit: Unit) -> list[Entry]:
    if unit.lane == "daily":
        return daily_files(context.store, unit)
    paths = control.batch_paths(context.store, unit)
    found = (context.store.stat(path) for path in paths if not why_ignored(path))
    return [entry for entry in found if entry]


def _inheriting(record: FileRecord, previous: FileRecord | None) -> FileRecord:
    """What was decided about a content holds as long as the path has that content."""
    if previous is None or previous.sha256 != record.sha256:
        return record
    return replace(record, status=previous.status, begins_with=previous.begins_with)


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
            "\x1f".join(f"{file.path} {file.etag} {file.sha256}" for file in manifest.files).encode()
        ).hexdigest(),
        parts=tuple(sorted(parts.values(), key=lambda part: part.name)),
        touched_days=tuple(sorted({*previous.touched_days, *days})),
        removed=tuple(attempt for attempt in previous.removed if attempt in manifest.attempts),
    )


def _prove(context: Context, unit: Unit, records: list[FileRecord], parts: list[Part]) -> None:
    """Conservation of lines: every file's counts add up, and its rows are really in the written parts."""
    for record in records:
        if not record.conserved:
            raise InvalidRowsError(
                f"{record.path}: {record.lines} lines read, but {record.parsed} parsed"
                f" + {record.continuation} continuation + {record.rejected} rejected"
                f" + {record.blank} blank + {record.comment} comment"
            )
    held = {
        table: rows_by_file(
            context.store, part_paths("bronze", unit, (part for part in parts if part.table == table))
        )
        for table in ("requests", "errors", "rejected")
    }
    for record in records:
        rows = held["requests"].get(record.path, 0) + held["errors"].get(record.path, 0)
        rejects = held["rejected"].get(record.path, 0)
        if (rows, rejects) != (record.parsed, record.rejected):
            raise InvalidRowsError(
                f"{record.path}: {record.parsed} lines parsed and {record.rejected} rejected, but the parts"
                f" hold {rows} rows and {rejects} rejects"
            )


def _record(entry: Entry, facts: FileFacts, attempt: str, config: str) -> FileRecord:
    return FileRecord(
        path=entry.path,
        etag=entry.etag,
        size=entry.size,
        sha256=facts.sha256,
        head=facts.head,
        attempt=attempt,
        kernel=KERNEL_VERSION,
        config=config,
        bytes=facts.bytes,
        lines=facts.lines,
        parsed=facts.parsed,
        continuation=facts.continuation,
        rejected=facts.rejected,
        blank=facts.blank,
        comment=facts.comment,
        first_event=_iso(facts.first_event),
        last_event=_iso(facts.last_event),
        request_days=_by_day(facts.event_days),
        error_days=_by_day(facts.error_days),
        damaged=facts.damaged,
        formats=facts.formats,
        confidence=facts.confidence,
        unknown_format=facts.unknown_format,
    )


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _by_day(days: dict[date, int]) -> dict[str, int]:
    return {day.isoformat(): rows for day, rows in sorted(days.items())}
