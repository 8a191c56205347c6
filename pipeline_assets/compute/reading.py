"""Landed files into parts of bronze: reading one, or a stretch of one, and proving that no line was lost.

What belongs here: what is written and what is put on record of a file. What does not: which files must be
read, and the commit (`bronze`), and how a line is parsed (`kernel.parse`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import BinaryIO

from pipeline_assets.compute.context import Context
from pipeline_assets.kernel.clean import count_written_days
from pipeline_assets.kernel.file_facts import FileFacts, joined
from pipeline_assets.kernel.parse import FileReader, ParsedChunk, Start
from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.kernel.stretches import Stretch
from pipeline_assets.storage.manifests import FileRecord, Part, new_attempt
from pipeline_assets.storage.parts import PartWriter, part_paths, rows_by_file
from pipeline_assets.storage.quarantine import InvalidRowsError, UnreadableFileError
from pipeline_assets.storage.store import Entry, Store
from pipeline_assets.storage.units import Unit

Progress = Callable[[str], None]


@dataclass(frozen=True)
class FileRead:
    """What was found in a file, or in a stretch of one: facts, and rows counted as `FileRecord` has them.

    `formats` says of each format how many rows there are, and which line is the first of them.
    """

    facts: FileFacts
    site: str
    rejects: Mapping[str, int]
    written_days: Mapping[date, int]
    formats: Mapping[str, tuple[int, int]]

    @classmethod
    def joined(cls, reads: Sequence[FileRead], digest: str) -> FileRead:
        """What was found in a file that was read in stretches, given in their order."""
        rejects: Counter[str] = Counter()
        written_days: Counter[date] = Counter()
        for read in reads:
            rejects.update(read.rejects)
            written_days.update(read.written_days)
        return cls(
            joined([read.facts for read in reads], digest),
            reads[0].site,
            rejects,
            written_days,
            formats_of(reads),
        )


def formats_of(reads: Iterable[FileRead]) -> dict[str, tuple[int, int]]:
    """The formats of some stretches together."""
    found: dict[str, tuple[int, int]] = {}
    for read in reads:
        for name, (count, line) in read.formats.items():
            others, first = found.get(name, (0, line))
            found[name] = (others + count, min(first, line))
    return found


def read_files(
    context: Context, unit: Unit, entries: Sequence[Entry], progress: Progress
) -> tuple[list[FileRecord], list[Part]]:
    """Read these versions of a unit's landed files into parts of one new attempt.

    One that is gone by now has no record. Raises `BadDataError` where the rows can't be committed.
    """
    attempt = new_attempt()
    writer = PartWriter(context.store, "bronze", unit, attempt)
    records: list[FileRecord] = []
    to_read = sum(entry.size for entry in entries)
    for number, entry in enumerate(entries, 1):
        progress(f"{unit}: reading {entry.path} ({number} of {len(entries)})")
        read = read_file(context, entry, writer, to_read=to_read)
        if read is not None:
            records.append(record_of(entry, read, attempt, context.config))
    parts = writer.close()
    prove(records, held_rows(context.store, unit, parts))
    return records, parts


def read_file(
    context: Context,
    entry: Entry,
    writer: PartWriter,
    start: Start | None = None,
    end: int = 0,
    *,
    to_read: int = 0,
) -> FileRead | None:
    """Read a landed file, or with `start` its stretch up to offset `end`; None where it is gone by now.

    `to_read` is how many bytes of landed files are read together, as in `FileReader`.

    Raises `UnreadableFileError` where the file can't be read to its end.
    """
    try:
        raw = open_landed(context.store, entry)
    except FileNotFoundError:  # deleted since the listing
        return None
    with raw:
        try:
            # The first bytes of a file are read here already: they say how it is compressed.
            if start is None:
                reader = FileReader(raw, entry.path, context.options, to_read=to_read)
            else:
                raw.seek(start.offset)
                stretch = Stretch(raw, end - start.offset)
                reader = FileReader(stretch, entry.path, context.options, start=start)
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
    return FileRead(reader.facts, reader.site, rejects, written_days, reader.formats_seen)


def open_landed(store: Store, entry: Entry) -> BinaryIO:
    """A stream of a landed file. Raises `UnreadableFileError`, or `FileNotFoundError` where it is gone."""
    try:
        return store.open(entry.path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableFileError(entry.path, error) from error


def _readable(path: str, reader: FileReader) -> Iterator[ParsedChunk]:
    try:
        yield from reader
    except OSError as error:
        raise UnreadableFileError(path, error) from error


def held_rows(store: Store, unit: Unit, parts: Iterable[Part]) -> dict[str, Counter[str]]:
    """Rows that the parts really hold, by table and landed file."""
    listed = list(parts)
    held = {table: Counter[str]() for table in ("requests", "errors", "rejected")}
    for table, rows in held.items():
        mine = part_paths("bronze", unit, (part for part in listed if part.table == table))
        rows.update(rows_by_file(store, mine))
    return held


def prove(records: Iterable[FileRecord], held: Mapping[str, Mapping[str, int]]) -> None:
    """Conservation of lines: every file's counts add up, and its rows are really in the written parts.

    `held` is as `held_rows` has it. Raises `InvalidRowsError`.
    """
    for record in records:
        if not record.conserved:
            raise InvalidRowsError(
                f"{record.path}: {record.lines} lines read, but {record.parsed} parsed"
                f" + {record.continuation} continuation + {record.rejected} rejected"
                f" + {record.blank} blank + {record.comment} comment"
            )
        rows = held["requests"].get(record.path, 0) + held["errors"].get(record.path, 0)
        rejects = held["rejected"].get(record.path, 0)
        if (rows, rejects) != (record.parsed, record.rejected):
            raise InvalidRowsError(
                f"{record.path}: {record.parsed} lines parsed and {record.rejected} rejected, but the parts"
                f" hold {rows} rows and {rejects} rejects"
            )


def record_of(entry: Entry, read: FileRead, attempt: str, config: str) -> FileRecord:
    """What is put on record of a file that was read as this version, into parts of this attempt."""
    facts = read.facts
    return FileRecord(
        path=entry.path,
        etag=entry.etag,
        size=entry.size,
        digest=facts.digest,
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
        site=read.site,
        rejects=dict(sorted(read.rejects.items())),
        written_days=_by_day(read.written_days),
    )


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _by_day(days: Mapping[date, int]) -> dict[str, int]:
    return {day.isoformat(): rows for day, rows in sorted(days.items())}
