"""A landed file to bronze: every line of it becomes a row, part of one, a reject, or a count.

What belongs here: which formats a file has, the site, the window of accepted times, the reasons for rejects,
and the accounting. What does not: cutting lines (`lines`), and reading them (`readers`).

What a file yields does not depend on where its chunks are cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel import accelerator
from pipeline_assets.kernel.combined_lines import CombinedReader, CombinedRows, Given, QuickReader
from pipeline_assets.kernel.continuations import MAX_ENTRY_BYTES, MAX_ENTRY_LINES, join_continuations
from pipeline_assets.kernel.decompress import ByteSource, open_decompressed
from pipeline_assets.kernel.definitions import Definition
from pipeline_assets.kernel.detection import SAMPLE_LINES, Sample, sample_of
from pipeline_assets.kernel.error_lines import with_whole_context
from pipeline_assets.kernel.file_facts import FileFacts
from pipeline_assets.kernel.formats import ACCESS_WITHOUT_TIME, SHORT_FORMATS, RejectReason, site_from_name
from pipeline_assets.kernel.heads import content_head, line_head
from pipeline_assets.kernel.left_over import LeftOver
from pipeline_assets.kernel.lines import (
    CHUNK_BYTES,
    FRAME_LINES,
    LINES_SCHEMA,
    MAX_LINE_BYTES,
    Block,
    Directive,
    LineReader,
)
from pipeline_assets.kernel.readers import Formats, read_texts
from pipeline_assets.kernel.schemas import BRONZE_ERRORS, BRONZE_REJECTED, BRONZE_REQUESTS
from pipeline_assets.kernel.texts import with_text
from pipeline_assets.kernel.words import bytes_copied

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DEFAULT_SITE: Final = "default"
# What is read by expressions is read a chunk at a time, what is read quickly by smaller blocks, whose arrays
# fit into the processor's cache. The lines that those leave over wait for many chunks, because every format
# is tried on them: that takes 30 ms, however few they are. While they view their blocks, fewer wait.
_BLOCKS_IN_CHUNK: Final = 4
_CHUNKS_AT_ONCE: Final = 64
_CHUNKS_VIEWED: Final = 4
# gzip makes a log a tenth or a twentieth, and seldom more than an eighth.
_SHRUNK: Final = 8
# What a row takes beside its text.
_ROW_BYTES: Final = 200
_NO_ROWS: Final = (BRONZE_REQUESTS.empty(), BRONZE_ERRORS.empty(), BRONZE_REJECTED.empty())


@dataclass(frozen=True)
class ReadOptions:
    """What of the configuration decides what a line becomes.

    `timezone` is that of logs that name none, `site` the name of logs that name none. Events before
    `earliest`, or on or after `latest` (days, UTC), are rejected. `formats` are the user's own. `accelerate`
    lets compiled code read large logs where it is installed; the rows are the same.
    """

    timezone: str = "UTC"
    site: str | None = None
    earliest: date = date(2015, 1, 1)
    latest: date = date(2100, 1, 1)
    formats: tuple[Definition, ...] = ()
    accelerate: bool = True


@dataclass(frozen=True)
class Beginning:
    """What a file's first lines decide of all of it: the sample, and whether any of its lines is known."""

    sample: Sample
    knows_the_sample: bool


@dataclass(frozen=True)
class Start:
    """Where in a file a stretch of it begins, and what is to be known there of what comes before.

    `formats` says of each format how many rows come before, and which line is the first of them. It is asked
    for only where the file's last line has no line feed.
    """

    beginning: Beginning
    offset: int
    lines_before: int
    directives: tuple[Directive, ...] = ()
    formats: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ParsedChunk:
    """Rows of some lines in the catalogue's columns: requests (`combined`, `others`), `errors`, `rejected`.

    Each of the four is in line order; `combined` rows may come some chunks before lines in front of them.
    """

    combined: CombinedRows | None
    others: pl.DataFrame
    errors: pl.DataFrame
    rejected: pl.DataFrame

    @property
    def requests(self) -> pl.DataFrame:
        """All requests, in line order."""
        if self.combined is None:
            return self.others
        rows = self.combined.frame()
        return pl.concat([rows, self.others]).sort("line_number") if self.others.height else rows

    def request_times(self) -> Iterator[pl.DataFrame]:
        """`timestamp` and `utc_offset_minutes` of all requests."""
        if self.combined is not None:
            yield self.combined.frame("timestamp", "utc_offset_minutes")
        if self.others.height:
            yield self.others.select("timestamp", "utc_offset_minutes")

    def tables(self) -> Iterator[tuple[str, Any, int]]:
        """What there is: a table's name, rows (a frame or an Arrow table), and how many bytes they keep.

        Columns share the memory of the stretch of the file that they view, so a frame's own estimate counts
        it several times.
        """
        if self.combined is not None:
            yield "requests", self.combined.table, self.combined.size
        for name, rows in (("requests", self.others), ("errors", self.errors), ("rejected", self.rejected)):
            if rows.height:
                offsets = rows["byte_offset"]
                viewed = offsets.item(-1) - offsets.item(0) + _ROW_BYTES * rows.height
                yield name, rows, min(int(rows.estimated_size()), viewed)


class FileReader:
    """Reads one landed file; to be iterated once, after which `facts` is complete.

    Bytes never make it raise; errors of the stream itself (`OSError`) pass through. `quick` is as in
    `Formats`. With `start`, the stream is a stretch of a plain file from there on, and `facts` are the
    stretch's (`file_facts.joined`); where stretches may begin is for `stretches` to say. `to_read` is how
    many bytes the caller reads, of this file and others, as far as is known: many are worth an accelerator.
    """

    def __init__(
        self,
        stream: ByteSource,
        source_file: str,
        options: ReadOptions,
        *,
        chunk_bytes: int = CHUNK_BYTES,
        max_line_bytes: int = MAX_LINE_BYTES,
        to_read: int = 0,
        quick: bool = True,
        start: Start | None = None,
    ) -> None:
        self.facts = FileFacts()
        self._start = start
        self._options = options
        self._source_file = source_file
        self._site = options.site or site_from_name(source_file) or _DEFAULT_SITE
        source: ByteSource = stream
        self._log_bytes = to_read
        if start is None:
            source = plain = open_decompressed(stream)
            self._log_bytes *= _SHRUNK if plain.is_compressed else 1
        self._lines = LineReader(
            source,
            chunk_bytes=max(1, chunk_bytes // _BLOCKS_IN_CHUNK),
            max_line_bytes=max_line_bytes,
            offset=start.offset if start else 0,
            lines_before=start.lines_before if start else 0,
            directives=start.directives if start else (),
        )
        self._formats = Formats(options.timezone, quick=quick)
        self._begin = datetime.combine(options.earliest, time(), UTC)
        self._end = datetime.combine(options.latest, time(), UTC)
        self._given = Given(self._begin, self._end, self._site, source_file)
        self._quick: QuickReader = CombinedReader(self._given)
        self._chunk_bytes = chunk_bytes
        self._table_bytes = chunk_bytes
        self._sample = Sample()
        self._knows_the_sample = False
        self._known = 0
        self._known_in_sample = 0
        # The first line of each format.
        self._first_lines: dict[str, int] = {}

    @property
    def beginning(self) -> Beginning:
        """What the first lines decide; complete with the first chunk."""
        return Beginning(self._sample, self._knows_the_sample)

    @property
    def formats_seen(self) -> dict[str, tuple[int, int]]:
        """How many rows of each format there are, and which line is the first of them."""
        return {name: (count, self._first_lines[name]) for name, count in self.facts.formats.items()}

    @property
    def site(self) -> str:
        """The site of lines that name none."""
        return self._site

    def __iter__(self) -> Iterator[ParsedChunk]:
        blocks = self._lines.blocks()
        first = self._begin_with(blocks)
        self._formats = replace(self._formats, own=self._sample.own)
        if self._may_be_quick:
            self._quick.attach(self._lines)
        held = LINES_SCHEMA.to_frame()
        left = LeftOver()
        waiting = viewed = quick = last = 0
        for some in chain((first,), ([block] for block in blocks)):
            for block in some:
                lines = left.add(block, self._read_quickly(block))
                viewed += 0 if block.are_few(lines) else block.size
                waiting += block.size
                quick += block.size
                last = block.last_number
            if (
                some is first
                or left.bytes >= self._chunk_bytes
                or left.lines >= FRAME_LINES
                or viewed >= _CHUNKS_VIEWED * self._chunk_bytes
                or waiting >= _CHUNKS_AT_ONCE * self._chunk_bytes
            ):
                chunk, held = self._read(left.frame(held), last=last)
                if some is first:
                    self._accelerate(chunk)
                yield chunk
                # Its rows' memory is used again when nobody looks at it any more.
                del chunk
                waiting = viewed = quick = 0
            elif quick >= self._table_bytes:
                quick = 0
                if rows := self._quick_rows():
                    yield ParsedChunk(rows, *_NO_ROWS)
                del rows
        if held.height or waiting:
            chunk, _ = self._read(left.frame(held), last=None)
            yield chunk
        self._complete_facts()

    def _begin_with(self, blocks: Iterator[Block]) -> list[Block]:
        """The first blocks; what a file's first lines decide is known then."""
        if self._start is not None:
            self._sample = self._start.beginning.sample
            self._knows_the_sample = self._start.beginning.knows_the_sample
            return list(islice(blocks, 1))
        first = sample_of(blocks)
        sample = pl.concat([LINES_SCHEMA.to_frame(), *(block.frame(most=SAMPLE_LINES) for block in first)])
        readable = sample.filter(pl.col("fault").is_null()).head(SAMPLE_LINES)
        self._sample = Sample.of(with_text(readable), self._options.formats, self._options.timezone)
        return first

    def _accelerate(self, first: ParsedChunk) -> None:
        """Read on by compiled code if that is there, and worth it for such a log."""
        lines = first.combined.height if first.combined else 0
        besides = int((first.others["format"] == accelerator.FORMAT_BESIDES).sum())
        are_most = lines + besides > first.others.height - besides
        if self._options.accelerate and self._may_be_quick and are_most:
            reader = accelerator.quick_reader(self._given, self._log_bytes)
            if reader is not None:
                self._quick = reader
                self._table_bytes = max(self._table_bytes, reader.table_bytes)
                reader.attach(self._lines)

    @property
    def _may_be_quick(self) -> bool:
        """Whether no format of the user's own comes first."""
        return self._formats.quick and not self._formats.own

    def _read_quickly(self, block: Block) -> npt.NDArray[np.bool_] | None:
        """Which lines of a block wait as rows now; None if none does, and the expressions must read them all.

        Those could be read by the expressions too, so another format comes first where it does there.
        """
        if self._may_be_quick and not self._lines.directives:
            return self._quick.take(block)
        return None

    def _quick_rows(self) -> CombinedRows | None:
        """The rows that wait, counted."""
        found = self._quick.rows()
        if found is None:
            return None
        facts = self.facts
        facts.requests += found.height
        self._known += found.height
        sampled = 0
        times = found.frame("timestamp", "line_number")
        if times["line_number"].item(0) <= self._sample.last_line:
            sampled = times.filter(pl.col("line_number") <= self._sample.last_line).height
        self._known_in_sample += sampled
        self._knows_the_sample |= sampled > 0
        facts.note_times(times["timestamp"], facts.event_days)
        for name, (count, line) in found.formats.items():
            self._account_format(name, count, line)
        return found

    def _read(self, lines: pl.DataFrame, *, last: int | None) -> tuple[ParsedChunk, pl.DataFrame]:
        """Rows of these lines and of those that wait, and the lines to be read again with what follows them.

        `last` is the number of the last of all lines so far, those left out included, and None where no line
        follows.
        """
        combined = self._quick_rows()
        faulty = lines.filter(pl.col("fault").is_not_null())
        texts = with_text(lines.filter(pl.col("fault").is_null()) if faulty.height else lines)
        reading = read_texts(texts, self._formats, self._lines.directives)
        requests, bad_requests = self._judge(self._without_cut_line(reading.requests))
        errors, bad_errors = self._judge(reading.errors)
        rest = reading.rest
        held = lines.clear()
        if last is not None and errors.height:
            first = _first_held(lines, errors, rest, last)
            if first is not None:
                held = lines.filter(pl.col("line_number") >= first)
                errors = errors.filter(pl.col("line_number") < first)
                rest = rest.filter(pl.col("line_number") < first)
        continued = join_continuations(errors, rest)
        entries = with_whole_context(continued.errors, self._options.timezone)
        self._note_known(texts, reading.rest, held, continued.rest)
        unread = continued.rest.with_columns(reason=self._reason())
        rejects = [
            frame.select("line_number", "byte_offset", "line", "reason")
            for frame in (bad_requests, bad_errors, unread, faulty.rename({"fault": "reason"}))
        ]
        rejected = pl.concat(rejects).sort("line_number")
        if rejected.height:
            # They are views of whole blocks, which would be kept for as long as a single reject waits.
            rejected = rejected.with_columns(bytes_copied(rejected["line"]))
        chunk = ParsedChunk(
            combined,
            self._shaped(requests, "requests"),
            self._shaped(entries, "errors"),
            rejected.with_columns(source_file=pl.lit(self._source_file)).select(BRONZE_REJECTED.column_names),
        )
        self._account(chunk)
        return chunk, held

    def _note_known(
        self, texts: pl.DataFrame, unread: pl.DataFrame, held: pl.DataFrame, left: pl.DataFrame
    ) -> None:
        """How many lines are in a format, or continue one: all but `left`. `held` lines come again."""
        self._known += texts.height - held.height - left.height
        if not texts.height or texts["line_number"].item(0) > self._sample.last_line:
            return
        heights = [
            frame.filter(pl.col("line_number") <= self._sample.last_line).height
            for frame in (texts, unread, held, left)
        ]
        self._known_in_sample += heights[0] - heights[2] - heights[3]
        # A held entry is known too. The first lines read hold the whole sample, so this is decided at once.
        self._knows_the_sample |= heights[1] < heights[0]

    def _without_cut_line(self, requests: pl.DataFrame) -> pl.DataFrame:
        """The last line, where its end is missing and it is shorter than the file's others, is no row.

        `… 200 12` may be the beginning of `… 200 1234 "-" "Mozilla"`: its number would be an invention.
        """
        unterminated = self._lines.unterminated
        if unterminated is None or not requests.height or requests["line_number"].item(-1) != unterminated:
            return requests
        counts, firsts = Counter(self.facts.formats), dict(self._first_lines)
        before = self._start.formats if self._start else {}
        more = [(name, *seen) for name, seen in before.items()]
        for name, count, line in (*more, *_formats(requests.head(requests.height - 1))):
            counts[name] += count
            firsts[name] = min(line, firsts.get(name, line))
        usual = min(counts, key=lambda name: (-counts[name], firsts[name]), default="")
        if requests["format"].item(-1) not in SHORT_FORMATS or usual in {*SHORT_FORMATS, ""}:
            return requests
        is_cut = pl.col("line_number") == unterminated
        return requests.with_columns(
            reason=pl.when(is_cut).then(pl.lit(RejectReason.TRUNCATED.value)).otherwise("reason")
        )

    def _reason(self) -> pl.Expr:
        """Why a line in no format is rejected."""
        if self._sample.is_utf_16:
            return pl.lit(RejectReason.UTF_16.value)
        other = pl.lit(
            (RejectReason.UNRECOGNISED if self._knows_the_sample else RejectReason.UNKNOWN_FORMAT).value
        )
        is_cut = pl.lit(value=False)
        if self._knows_the_sample and self._lines.unterminated is not None:
            is_cut = pl.col("line_number") == self._lines.unterminated
        return (
            pl.when(pl.col("line").bin.contains(b"\0"))
            .then(pl.lit(RejectReason.BINARY.value))
            .when(pl.col("text").str.contains(ACCESS_WITHOUT_TIME))
            .then(pl.lit(RejectReason.INVALID_TIME.value))
            .when(is_cut)
            .then(pl.lit(RejectReason.TRUNCATED.value))
            .otherwise(other)
        )

    def _judge(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows to keep, and rows whose time or numbers make them rejects."""
        timestamp = pl.col("timestamp")
        judged = rows.with_columns(
            reason=pl.when(pl.col("reason").is_not_null())
            .then("reason")
            .when((timestamp < self._begin) | (timestamp >= self._end))
            .then(pl.lit(RejectReason.OUTSIDE_WINDOW.value))
        )
        if judged["reason"].null_count() == judged.height:
            return judged, judged.clear()
        is_good = pl.col("reason").is_null()
        return judged.filter(is_good), judged.filter(~is_good)

    def _shaped(self, rows: pl.DataFrame, table: str) -> pl.DataFrame:
        catalogued = BRONZE_REQUESTS if table == "requests" else BRONZE_ERRORS
        name = pl.col("vhost") if table == "requests" else pl.col("server")
        said = pl.when(~name.is_in(["", "_", "-"])).then(name)
        return rows.with_columns(
            site=pl.coalesce(said, pl.lit(self._site)), source_file=pl.lit(self._source_file)
        ).select(catalogued.column_names)

    def _account(self, chunk: ParsedChunk) -> None:
        """Count a chunk but for its combined rows, which were counted when they were taken."""
        facts = self.facts
        facts.requests += chunk.others.height
        facts.errors += chunk.errors.height
        facts.rejected += chunk.rejected.height
        facts.continuation += int(chunk.errors["line_count"].sum()) - chunk.errors.height
        for rows, days in ((chunk.others, facts.event_days), (chunk.errors, facts.error_days)):
            if rows.height:
                facts.note_times(rows["timestamp"], days)
                for name, count, line in _formats(rows):
                    self._account_format(name, count, line)

    def _account_format(self, name: str, count: int, line: int) -> None:
        formats = self.facts.formats
        formats[name] = formats.get(name, 0) + count
        self._first_lines[name] = min(line, self._first_lines.get(name, line))

    def _complete_facts(self) -> None:
        facts, lines = self.facts, self._lines
        facts.parsed = facts.requests + facts.errors
        facts.formats = dict(sorted(facts.formats.items()))
        facts.bytes, facts.digest = lines.bytes, lines.digest
        facts.lines = lines.lines - (self._start.lines_before if self._start else 0)
        facts.blank, facts.comment = lines.blank, lines.comment
        facts.damaged = lines.damaged
        if self._sample.lines:
            facts.confidence = round(self._known_in_sample / self._sample.lines, 3)
        facts.unknown_format = self._known == 0 and self._sample.lines > 0
        first = lines.first_line
        facts.head = content_head(lines.digest) if first is None else line_head(first)


def _formats(rows: pl.DataFrame) -> Iterator[tuple[str, int, int]]:
    """The formats of some rows: name, how many they are, and the first line."""
    return rows.group_by("format").agg(pl.len(), pl.col("line_number").min()).iter_rows()


def _first_held(lines: pl.DataFrame, errors: pl.DataFrame, rest: pl.DataFrame, last: int) -> int | None:
    """The line of the last error entry, if what follows line `last` may continue it; else None."""
    entry = int(errors["line_number"].item(-1))
    following = last - entry
    if following >= MAX_ENTRY_LINES or rest.filter(pl.col("line_number") > entry).height != following:
        return None
    size = int(lines.filter(pl.col("line_number") >= entry)["line"].bin.size().sum()) + following + 1
    return entry if size <= MAX_ENTRY_BYTES else None
