"""The quick way for the lines that most logs consist of: Combined and Common, just as servers write them.

What belongs here: which lines of a block are such, and their rows. What does not: any other line. Those go to
the expressions of `formats`, and so does a line of this kind with anything rare about it. A line gives the
same row either way.

The expressions take every line byte by byte. Here whole arrays are looked at: where a line's quotes and
blanks are (`marks`) tells whether it is of this kind, and where its fields begin and end. Columns of text are
views into the block, so no text is copied. What is done for each block is numpy alone, for its arrays stay in
the processor's cache; tables are made of many blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from pipeline_assets.kernel.lines import Block
from pipeline_assets.kernel.marks import MarkFinder, Marks
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS
from pipeline_assets.kernel.words import (
    Text,
    Texts,
    eight_at,
    known_words,
    size_in,
    status_in,
    time_in,
    validity,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]
    Words = npt.NDArray[np.uint64]

_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C

# Other methods are read by the expressions. A longer word than eight bytes doesn't fit into what is compared.
_METHODS: Final = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "CONNECT", "TRACE")
_PROTOCOLS: Final = ("HTTP/1.1", "HTTP/2.0", "HTTP/1.0", "HTTP/3.0")
_TEXT_COLUMNS: Final = ("remote_host", "identity", "user", "request", "target", "referer", "user_agent")
# Views of seven texts, and the numbers.
ROW_BYTES: Final = 200


@dataclass(frozen=True)
class Given:
    """What the lines don't say, and the accepted times: `begin` <= time < `end`."""

    begin: datetime
    end: datetime
    site: str
    source_file: str


@dataclass(frozen=True)
class CombinedRows:
    """Rows of bronze `requests`, in line order, as an Arrow table of the catalogue's columns.

    Columns with few values are dictionaries. `formats` says of each format how many rows there are, and which
    line is the first of them; `size` about how many bytes of memory they keep.
    """

    table: Any
    size: int
    formats: dict[str, tuple[int, int]]

    @property
    def height(self) -> int:
        """How many rows there are."""
        return int(self.table.num_rows)

    def frame(self, *columns: str) -> pl.DataFrame:
        """These columns, or all, as a frame of the catalogue's types."""
        table = self.table.select(list(columns)) if columns else self.table
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame.cast({pl.Categorical: pl.String})


class QuickReader(Protocol):
    """Takes blocks, and gives the rows of all lines in them that can be read in the quick way."""

    def take(self, block: Block) -> Mask | None:
        """Which of the block's lines are rows now; None if none of them is."""
        ...

    def rows(self) -> CombinedRows | None:
        """The rows of the blocks taken since this was last asked; None if there are none."""
        ...


class CombinedReader:
    """The `QuickReader` that needs NumPy alone."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._first = int(given.begin.timestamp())
        self._end = int(given.end.timestamp())
        self._blocks: list[Any] = []
        self._taken: list[_Columns] = []
        self._marks = MarkFinder()

    def take(self, block: Block) -> Mask | None:
        """Which of the block's lines are rows now; None if none of them is."""
        import numpy as np
        import pyarrow as pa

        if not block.is_whole or not len(block.starts):
            return None
        codes = block.codes
        marks = self._marks.find(codes, block)
        text = Texts(codes, codes[: len(codes) // 8 * 8].view(np.uint64), len(self._blocks))
        read = np.zeros(len(block.starts), np.bool_)
        taken = []
        for find in (_combined, _common):
            fields = find(codes, block, marks)
            columns = None if fields is None else self._typed(text, block, fields)
            if columns is not None:
                taken.append(columns)
                read[columns.lines] = True
        if not taken:
            return None
        self._taken += taken
        self._blocks.append(pa.py_buffer(codes))
        return read

    def rows(self) -> CombinedRows | None:
        """The rows of the blocks taken since this was last asked; None if there are none."""
        taken, blocks = self._taken, self._blocks
        if not taken:
            return None
        self._taken, self._blocks = [], []
        return _rows_of(taken, blocks, self._given)

    def _typed(self, text: Texts, block: Block, fields: _Fields) -> _Columns | None:
        """The columns of these lines, but for those that the expressions must read."""
        import numpy as np

        words = text.words
        method = known_words(_METHODS, words, fields.request, fields.method_end - fields.request)
        protocol = known_words(_PROTOCOLS, words, fields.target_end + 1, None)
        status, is_status = status_in(eight_at(words, fields.request_end + 2))
        size, is_size, is_dash = size_in(words, fields.request_end + 6, fields.bytes_end)
        moments, offset, is_time = self._moments(text.codes, words, fields.user_end + 2)
        good = is_status & is_size & is_time & (method >= 0) & (protocol >= 0)
        if not good.all():
            kept = np.flatnonzero(good)
            if not len(kept):
                return None
            fields = fields.only(kept)
            method, protocol, moments, offset = method[kept], protocol[kept], moments[kept], offset[kept]
            status, size, is_dash = status[kept], size[kept], is_dash[kept]
        lines = fields.lines
        texts = {
            "remote_host": text.column(block.starts[lines], fields.host_end),
            "identity": text.column(fields.host_end + 1, fields.identity_end, dash=True),
            "user": text.column(fields.identity_end + 1, fields.user_end, dash=True),
            "request": text.column(fields.request, fields.request_end),
            "target": text.column(fields.method_end + 1, fields.target_end),
        }
        if fields.quoted is not None:
            referer, referer_end, agent, agent_end = fields.quoted
            texts["referer"] = text.column(referer, referer_end, dash=True)
            texts["user_agent"] = text.column(agent, agent_end, dash=True)
        return _Columns(
            fields.format,
            lines,
            block.numbers[lines],
            block.offsets[lines],
            moments,
            offset,
            method,
            protocol,
            status.astype(np.int16),
            size,
            is_dash,
            texts,
        )

    def _moments(
        self, codes: npt.NDArray[np.uint8], words: Words, at: Positions
    ) -> tuple[Positions, npt.NDArray[np.int16], Mask]:
        """Microseconds since 1970, minutes east of UTC, and whether the time is one that the row can have.

        Of neighbouring lines with one and the same time only the first is looked at.
        """
        import numpy as np

        parts = [
            eight_at(words, at),
            eight_at(words, at + 8),
            eight_at(words, at + 16),
            eight_at(words, at + 24),
        ]
        parts[3] &= np.uint64(0xFFFF)
        differs = np.zeros(len(at), np.bool_)
        differs[0] = True
        for part in parts:
            differs[1:] |= part[1:] != part[:-1]
        seconds, offset, good = time_in([part[differs] for part in parts])
        good &= (seconds >= self._first) & (seconds < self._end)
        run = np.cumsum(differs) - 1
        return (seconds * 1_000_000)[run], offset.astype(np.int16)[run], good[run]


@dataclass(frozen=True)
class _Columns:
    """Rows as arrays: those of a format in one block. `lines` says which of the block's lines they are.

    A text that is None, or missing, is null in all of them.
    """

    format: str
    lines: Positions
    numbers: Positions
    offsets: Positions
    moments: Positions
    minutes: npt.NDArray[np.int16]
    method: npt.NDArray[np.int8]
    protocol: npt.NDArray[np.int8]
    status: npt.NDArray[np.int16]
    size: Positions
    no_size: Mask
    texts: dict[str, Text | None]


def _rows_of(taken: list[_Columns], buffers: list[Any], given: Given) -> CombinedRows:
    import numpy as np
    import pyarrow as pa

    sizes = [len(each.lines) for each in taken]
    count = sum(sizes)
    names = tuple(dict.fromkeys(each.format for each in taken))
    numbers = np.concatenate([each.numbers for each in taken])
    order = np.argsort(numbers, kind="stable") if len(names) > 1 else None

    def joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        whole = np.concatenate(parts)
        return whole if order is None else whole[order]

    def text(name: str) -> Any:
        parts = [each.texts.get(name) for each in taken]
        if all(part is None for part in parts):
            return pa.nulls(count, pa.string_view())
        views = joined(
            [
                part.views if part else np.zeros((size, 2), np.uint64)
                for part, size in zip(parts, sizes, strict=True)
            ]
        )
        bitmap, nulls = None, 0
        if not all(part and part.is_null is None for part in parts):
            masks = (
                np.True_ if part is None else np.False_ if part.is_null is None else part.is_null
                for part in parts
            )
            is_null = joined([np.broadcast_to(mask, size) for mask, size in zip(masks, sizes, strict=True)])
            bitmap, nulls = validity(is_null), int(np.count_nonzero(is_null))
        return pa.Array.from_buffers(pa.string_view(), count, [bitmap, pa.py_buffer(views), *buffers], nulls)

    columns: dict[str, Any] = {name: text(name) for name in _TEXT_COLUMNS}
    columns |= {
        "timestamp": arrow(pa.timestamp("us", "UTC"), joined([each.moments for each in taken])),
        "utc_offset_minutes": arrow(pa.int16(), joined([each.minutes for each in taken])),
        "method": _dictionary(_METHODS, joined([each.method for each in taken])),
        "protocol": _dictionary(_PROTOCOLS, joined([each.protocol for each in taken])),
        "status": arrow(pa.int16(), joined([each.status for each in taken])),
        "bytes": arrow(
            pa.int64(), joined([each.size for each in taken]), joined([each.no_size for each in taken])
        ),
        "format": _dictionary(
            names,
            joined(
                [np.full(size, names.index(each.format)) for each, size in zip(taken, sizes, strict=True)]
            ),
        ),
        "line_number": arrow(pa.int64(), numbers if order is None else numbers[order]),
        "byte_offset": arrow(pa.int64(), joined([each.offsets for each in taken])),
    }
    table = bronze_table(columns, count, given)
    formats: dict[str, tuple[int, int]] = {}
    for each in taken:
        many, first = formats.get(each.format, (0, int(each.numbers[0])))
        formats[each.format] = (many + len(each.lines), first)
    size = sum(buffer.size for buffer in buffers) + ROW_BYTES * count
    return CombinedRows(table, size, formats)


def bronze_table(columns: dict[str, Any], count: int, given: Given) -> Any:
    """An Arrow table in the catalogue's order: these columns, those the same in all rows, and nulls."""
    import numpy as np
    import pyarrow as pa

    columns = {
        "site": _dictionary((given.site,), np.zeros(count, np.int32)),
        "source_file": _dictionary((given.source_file,), np.zeros(count, np.int32)),
        "vhost": pa.nulls(count, pa.string()),
        "port": pa.nulls(count, pa.int32()),
        "duration_us": pa.nulls(count, pa.int64()),
        "extra": pa.nulls(count, pa.string()),
        "raw": pa.nulls(count, pa.binary()),
        **columns,
    }
    return pa.table({name: columns[name] for name in BRONZE_REQUESTS.column_names})


def joined_rows(parts: list[CombinedRows]) -> CombinedRows:
    """Rows of one table after the other."""
    import pyarrow as pa

    formats: dict[str, tuple[int, int]] = {}
    for part in parts:
        for name, (many, first) in part.formats.items():
            before, at = formats.get(name, (0, first))
            formats[name] = (before + many, at)
    table = pa.concat_tables([part.table for part in parts])
    return CombinedRows(table, sum(part.size for part in parts), formats)


@dataclass(frozen=True)
class _Fields:
    """Lines of one format (indices into the block's), and where their fields stand.

    `…_end` is the byte behind a field. `quoted` has where the referrer begins and ends, and the user agent.
    """

    format: str
    lines: Positions
    host_end: Positions
    identity_end: Positions
    user_end: Positions
    request: Positions
    method_end: Positions
    target_end: Positions
    request_end: Positions
    bytes_end: Positions
    quoted: tuple[Positions, ...] | None = None

    def only(self, kept: Mask | Positions) -> _Fields:
        """Those lines alone."""
        arrays = {name: value[kept] for name, value in vars(self).items() if name not in ("format", "quoted")}
        quoted = None if self.quoted is None else tuple(each[kept] for each in self.quoted)
        return _Fields(self.format, **arrays, quoted=quoted)


def _combined(codes: npt.NDArray[np.uint8], block: Block, marks: Marks) -> _Fields | None:
    """Lines `host identity user [time] "request" status bytes "referer" "user_agent"`."""
    lines = _chosen(marks.quotes == 6, marks)
    if not len(lines):
        return None
    quote, at = marks.quote, marks.at
    first, last, first_quote = (values[lines] for values in (marks.first, marks.last, marks.first_quote))
    third, fourth, fifth, sixth = (quote.take(first_quote + number) for number in (2, 3, 4, 5))
    sound = (third == first + 12) & (fifth == fourth + 2) & (sixth == last - 1)
    found = _head(codes, block, marks, lines, sound, "combined")
    if found is None:
        return None
    fields, kept = found
    if len(kept) < len(lines):
        third, fourth, fifth = third[kept], fourth[kept], fifth[kept]
    referer, closing, opening = at.take(third) + 1, at.take(fourth), at.take(fifth)
    end = block.ends[fields.lines] - 1
    fits = (
        (referer == fields.bytes_end + 2)
        & (opening == closing + 2)
        & (codes.take(end) == _QUOTE)
        # A quote behind a backslash is part of the text.
        & (codes.take(closing - 1) != _BACKSLASH)
        & (codes.take(end - 1) != _BACKSLASH)
    )
    fields = replace(fields, quoted=(referer, closing, opening + 1, end))
    return fields if fits.all() else fields.only(fits) if fits.any() else None


def _common(codes: npt.NDArray[np.uint8], block: Block, marks: Marks) -> _Fields | None:
    """Lines `host identity user [time] "request" status bytes`."""
    lines = _chosen(marks.quotes == 2, marks)
    if not len(lines):
        return None
    found = _head(codes, block, marks, lines, marks.last[lines] == marks.first[lines] + 11, "common")
    return found[0] if found else None


def _chosen(chosen: Mask, marks: Marks) -> Positions:
    import numpy as np

    return np.flatnonzero(chosen if marks.plain is None else chosen & marks.plain)


def _head(
    codes: npt.NDArray[np.uint8], block: Block, marks: Marks, lines: Positions, sound: Mask, name: str
) -> tuple[_Fields, Positions] | None:
    """What both formats begin with, of those `lines` that are `sound` so far; and which of them it fits."""
    import numpy as np

    at, quote = marks.at, marks.quote
    first, first_quote = marks.first[lines], marks.first_quote[lines]
    sound &= (quote.take(first_quote) == first + 5) & (quote.take(first_quote + 1) == first + 8)
    kept = np.flatnonzero(sound)
    if not len(kept):
        return None
    if len(kept) < len(lines):
        lines, first = lines[kept], first[kept]
    start = block.starts[lines]
    host, identity, user, time, zone, request, method, target, closed, space, status, end = (
        at.take(first + number) for number in range(12)
    )
    fits = (
        (host > start)
        & (identity > host + 1)
        & (user > identity + 1)
        & (time == user + 22)
        & (zone == user + 29)
        & (request == user + 30)
        & (method > request + 1)
        & (target > method + 1)
        & (closed == target + 9)
        & (space == closed + 1)
        & (status == closed + 5)
        & (end > status + 1)
        & (codes.take(user + 1) == ord("["))
        & (codes.take(zone - 1) == ord("]"))
        & (codes.take(target - 1) != _BACKSLASH)
    )
    fields = _Fields(name, lines, host, identity, user, request + 1, method, target, closed, end)
    if fits.all():
        return fields, kept
    return (fields.only(fits), kept[fits]) if fits.any() else None


def arrow(kind: Any, values: npt.NDArray[Any], is_null: Mask | None = None) -> Any:
    """Numbers as an Arrow array of this type, which views them.

    `pyarrow.array` would do as well, but imports pandas where that is installed: half a second.
    """
    import numpy as np
    import pyarrow as pa

    nulls = 0 if is_null is None else int(np.count_nonzero(is_null))
    bitmap = validity(is_null) if is_null is not None and nulls else None
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(values)], nulls)


def dictionary(values: Sequence[str], index: Any) -> Any:
    """The values at these indices (an Arrow array) as an Arrow dictionary."""
    import numpy as np
    import pyarrow as pa

    texts = [value.encode() for value in values]
    bounds = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    known = pa.StringArray.from_buffers(len(texts), pa.py_buffer(bounds), pa.py_buffer(b"".join(texts)))
    return pa.DictionaryArray.from_arrays(index, known)


def _dictionary(values: tuple[str, ...], index: npt.NDArray[Any]) -> Any:
    import numpy as np
    import pyarrow as pa

    return dictionary(values, arrow(pa.int32(), index.astype(np.int32, copy=False)))
