"""The quick way for the lines that most logs consist of: Combined and Common, just as servers write them.

What belongs here: which lines of a block are such, and their rows. What does not: any other line. Those go to
the expressions of `formats`, and so does a line of this kind with anything rare about it. A line gives the
same row either way.

The expressions take every line byte by byte. Here whole arrays are looked at: where a line's quotes are
(`marks`) tells where its fields must begin and end, and what stands there whether it is of this kind. All is
done block by block, for its arrays stay in the processor's cache: texts are copied out of it while they are
there, since to look for them in a log of 32 MB when they are encoded takes five times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from pipeline_assets.kernel.lines import Block
from pipeline_assets.kernel.marks import MarkFinder, Marks
from pipeline_assets.kernel.scan_layout import METHODS, PROTOCOLS
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS
from pipeline_assets.kernel.words import (
    Text,
    Texts,
    copied,
    known_words,
    several_at,
    size_in,
    status_in,
    time_in,
    validity,
    word_of,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]
    Words = npt.NDArray[np.uint64]

_BLANK: Final = 0x20
_BACKSLASH: Final = 0x5C

# So many quotes are in a line of each format.
_IN_COMBINED: Final = 6
_IN_COMMON: Final = 2
# `h i u [` and the time with what stands behind it: so many bytes at least come before the first quote.
_SHORTEST_HEAD: Final = 35
# Of the eight bytes from the request's last quote on, those in front of the status and behind it.
_BLANKS_OF_STATUS: Final = 0xFF000000FF00
_AROUND_STATUS: Final = 0x200000002000

_TEXT_COLUMNS: Final = ("remote_host", "identity", "user", "request", "target", "referer", "user_agent")
# Seven texts' places, and the numbers.
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
        self._rows: list[CombinedRows] = []
        self._marks = MarkFinder()

    def take(self, block: Block) -> Mask | None:
        """Which of the block's lines are rows now; None if none of them is."""
        import numpy as np
        import pyarrow as pa

        if not block.is_whole or not len(block.starts):
            return None
        codes = block.codes
        marks = self._marks.find(block)
        text = Texts(codes, codes[: len(codes) // 8 * 8].view(np.uint64), 0)
        read = np.zeros(len(block.starts), np.bool_)
        taken = []
        for quotes in (_IN_COMBINED, _IN_COMMON):
            columns = self._columns(quotes, text, block, marks)
            if columns is not None:
                taken.append(columns)
                read[columns.lines] = True
        if not taken:
            return None
        self._rows.append(_rows_of(taken, pa.py_buffer(codes), self._given))
        return read

    def rows(self) -> CombinedRows | None:
        """The rows of the blocks taken since this was last asked; None if there are none."""
        some, self._rows = self._rows, []
        return some[0] if len(some) == 1 else joined_rows(some) if some else None

    def _columns(self, quotes: int, text: Texts, block: Block, marks: Marks) -> _Columns | None:
        """The columns of the lines that are in the format with so many quotes, as servers write it.

        `host identity user [time] "request" status bytes "referer" "user_agent"`, or without the last two.
        The quotes tell where all else must stand.
        """
        import numpy as np

        codes, words = text.codes, text.words
        is_combined = quotes == _IN_COMBINED
        chosen = marks.count == quotes
        if marks.plain is not None:
            chosen &= marks.plain
        lines = np.flatnonzero(chosen)
        quote = [marks.quote.take(marks.first[lines] + number) for number in range(quotes)]
        start, end = block.starts[lines], block.ends[lines]
        sound = quote[0] - start >= _SHORTEST_HEAD
        if is_combined:
            sound &= (quote[4] == quote[3] + 2) & (quote[5] == end - 1)
        if not sound.all():
            lines, start, end = lines[sound], start[sound], end[sound]
            quote = [each[sound] for each in quote]
        if not len(lines):
            return None
        opening, closing = quote[0], quote[1]
        before, *time, after = several_at(words, opening - 36, 6)
        method, method_size = _method_at(
            codes, opening + 1, (time[3] >> np.uint64(40)) | (after << np.uint64(24))
        )
        last_of_time = time[3] & np.uint64(0xFFFFFFFF)
        time[3] = last_of_time & np.uint64(0xFFFF)
        target, target_end = opening + method_size + 2, closing - 9
        before_protocol, protocol_word, status_word = several_at(words, closing - 16, 3)
        protocol = known_words(PROTOCOLS, protocol_word)
        status, is_status = status_in(status_word >> np.uint64(16))
        bytes_end = quote[2] - 1 if is_combined else end
        size, is_size, is_dash = size_in(words, closing + 6, bytes_end)
        moments, offset, is_time = self._moments(time)
        host_end, identity_end, good = _head(marks, start, opening, before)
        good &= is_status & is_size & is_time & (method >= 0) & (protocol >= 0)
        good &= (last_of_time >> 16 == word_of("] ")) & (status_word & _BLANKS_OF_STATUS == _AROUND_STATUS)
        before_protocol >>= 48
        good &= (target_end > target) & (before_protocol >> 8 == _BLANK) & (bytes_end > closing + 6)
        # A blank or a quote behind a backslash is part of the text.
        good &= before_protocol != _BLANK << 8 | _BACKSLASH
        good &= ~marks.has_blank(codes, start, host_end) & ~marks.has_blank(codes, target, target_end)
        if is_combined:
            good &= (codes.take(bytes_end) == _BLANK) & (codes.take(quote[3] + 1) == _BLANK)
            good &= (codes.take(quote[3] - 1) != _BACKSLASH) & (codes.take(end - 2) != _BACKSLASH)
        kept = slice(None) if good.all() else np.flatnonzero(good)
        lines = lines[kept]
        if not len(lines):
            return None
        opening, closing, host_end, identity_end = (
            values[kept] for values in (opening, closing, host_end, identity_end)
        )
        texts = {
            "remote_host": text.column(start[kept], host_end),
            "identity": text.column(host_end + 1, identity_end, dash=True),
            "user": text.column(identity_end + 1, opening - 30, dash=True),
            "request": text.column(opening + 1, closing),
            "target": text.column(target[kept], target_end[kept]),
        }
        if is_combined:
            third, fourth, fifth, sixth = (each[kept] for each in quote[2:])
            texts["referer"] = text.column(third + 1, fourth, dash=True)
            texts["user_agent"] = text.column(fifth + 1, sixth, dash=True)
        return _Columns(
            "combined" if is_combined else "common",
            lines,
            block.numbers[lines],
            block.offsets[lines],
            moments[kept],
            offset[kept],
            method[kept],
            protocol[kept],
            status[kept].astype(np.int16),
            size[kept],
            is_dash[kept],
            texts,
        )

    def _moments(self, parts: list[Words]) -> tuple[Positions, npt.NDArray[np.int16], Mask]:
        """Microseconds since 1970, minutes east of UTC, and whether the time is one that the row can have.

        `parts` are as in `time_in`. Of neighbouring lines with one and the same time only the first is looked
        at.
        """
        import numpy as np

        differs = np.zeros(len(parts[0]), np.bool_)
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


def _rows_of(taken: list[_Columns], buffer: Any, given: Given) -> CombinedRows:
    import numpy as np
    import pyarrow as pa

    sizes = [len(each.lines) for each in taken]
    count = sum(sizes)
    names = tuple(dict.fromkeys(each.format for each in taken))
    numbers = np.concatenate([each.numbers for each in taken])
    order = np.argsort(numbers, kind="stable") if len(names) > 1 else None

    def joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return whole if order is None else whole[order]

    def text(name: str) -> Any:
        parts = [each.texts.get(name) for each in taken]
        if all(part is None for part in parts):
            return pa.nulls(count, pa.string())
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
        viewed = pa.Array.from_buffers(pa.string_view(), count, [bitmap, pa.py_buffer(views), buffer], nulls)
        return copied(viewed)

    columns: dict[str, Any] = {name: text(name) for name in _TEXT_COLUMNS}
    columns |= {
        "timestamp": arrow(pa.timestamp("us", "UTC"), joined([each.moments for each in taken])),
        "utc_offset_minutes": arrow(pa.int16(), joined([each.minutes for each in taken])),
        "method": _dictionary(METHODS, joined([each.method for each in taken])),
        "protocol": _dictionary(PROTOCOLS, joined([each.protocol for each in taken])),
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
    return CombinedRows(table, buffer.size + ROW_BYTES * count, formats)


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


def _method_at(
    codes: npt.NDArray[np.uint8], at: Positions, word: Words
) -> tuple[npt.NDArray[np.int8], Positions]:
    """Which method stands there with a blank behind it, as an index, -1 for none; and how long it is.

    `word` has the eight bytes.
    """
    import numpy as np

    found = np.full(len(at), -1, np.int8)
    left = np.arange(len(at))
    for number, text in enumerate(METHODS):
        is_this = word & ((1 << 8 * min(len(text) + 1, 8)) - 1) == word_of(f"{text} "[:8])
        if len(text) == 8:
            is_this &= codes.take(at[left] + 8) == _BLANK
        found[left[is_this]] = number
        left, word = left[~is_this], word[~is_this]
        if not len(left):
            break
    return found, np.array([*map(len, METHODS), 0], np.int64).take(found)


def _head(
    marks: Marks, start: Positions, opening: Positions, before: Words
) -> tuple[Positions, Positions, Mask]:
    """Where host and identity end, and whether both, the user and the time are in their places.

    `opening` is the quote in front of the request, `before` the eight bytes in front of the time. A blank in
    the host is for the caller to find.
    """
    import numpy as np

    host_end, identity_end = opening - 34, opening - 32
    is_usual = before >> 16 == word_of(" - - [")
    good: Mask = is_usual
    if not is_usual.all():
        good = before >> 48 == word_of(" [")
        named = np.flatnonzero(good & ~is_usual)
        begin, user_end = start[named], opening[named] - 30
        first = marks.next_blank(begin, user_end)
        second = marks.next_blank(np.minimum(first + 1, user_end), user_end)
        third = marks.next_blank(np.minimum(second + 1, user_end), user_end)
        host_end[named], identity_end[named] = first, second
        good[named] = (
            (first > begin)
            & (second > first + 1)
            & (third > second + 1)
            & (second < user_end)
            & (third == user_end)
        )
    return host_end, identity_end, good


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
