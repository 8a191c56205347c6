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

from pipeline_assets.kernel.lines import Block, LineReader
from pipeline_assets.kernel.marks import MarkFinder, Marks
from pipeline_assets.kernel.scan_layout import METHODS, PROTOCOLS
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS
from pipeline_assets.kernel.words import (
    BlockTexts,
    eight_at,
    known_words,
    nulls,
    series,
    several_at,
    size_in,
    status_in,
    time_in,
    validity,
    word_of,
    zeros,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]
    Words = npt.NDArray[np.uint64]
    # All, or those at these places.
    Chosen = slice | Positions

_BLANK: Final = 0x20
_BACKSLASH: Final = 0x5C
_LESS: Final = 0x3C

# So many quotes are in a line of each format.
_IN_COMBINED: Final = 6
_IN_COMMON: Final = 2
# `h i u [` and the time with what stands behind it: so many bytes at least come before the first quote.
_SHORTEST_HEAD: Final = 35
# From the request's last quote to the size.
_BEFORE_SIZE: Final = 6
# Of the eight bytes from the request's last quote on, those in front of the status and behind it.
_BLANKS_OF_STATUS: Final = 0xFF000000FF00
_AROUND_STATUS: Final = 0x200000002000

# The texts' places, and the numbers.
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
        if columns:
            # For few columns that takes a third of the time.
            frame = pl.DataFrame([series(name, self.table.column(name)) for name in columns])
        else:
            all_of_them = pl.from_arrow(self.table)
            assert isinstance(all_of_them, pl.DataFrame)
            frame = all_of_them
        is_coded = any(isinstance(dtype, pl.Categorical) for dtype in frame.dtypes)
        return frame.cast({pl.Categorical: pl.String}) if is_coded else frame


class QuickReader(Protocol):
    """Takes blocks, and gives the rows of all lines in them that can be read in the quick way."""

    def take(self, block: Block) -> Mask | None:
        """Which of the block's lines are rows now; None if none of them is."""
        ...

    def rows(self) -> CombinedRows | None:
        """The rows of the blocks taken since this was last asked; None if there are none."""
        ...

    def attach(self, lines: LineReader) -> None:
        """Have the stream's lines looked for in a way that finds what its blocks' reading needs, too."""
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

        if not block.is_whole or not len(block.starts):
            return None
        codes = block.codes
        text = BlockTexts(codes, codes[: len(codes) // 8 * 8].view(np.uint64))
        columns = self._columns(text, block, self._marks.find(block))
        if columns is None:
            return None
        # The buffer is a seventh longer than the block. By that row groups are smaller: with a block more in
        # each of them silver takes 100 MB more, and gold 140.
        self._rows.append(_rows_of(columns, len(codes), self._given))
        read = np.zeros(len(block.starts), np.bool_)
        read[columns.lines] = True
        return read

    def rows(self) -> CombinedRows | None:
        """The rows of the blocks taken since this was last asked; None if there are none."""
        some, self._rows = self._rows, []
        return some[0] if len(some) == 1 else joined_rows(some) if some else None

    def attach(self, lines: LineReader) -> None:
        """Have quotes found with the stream's line feeds."""
        lines.find_line_feeds = self._marks.line_feeds

    def _columns(self, text: BlockTexts, block: Block, marks: Marks) -> _Columns | None:
        """The columns of the lines that are in one of the two formats, as servers write them.

        `host identity user [time] "request" status bytes "referer" "user_agent"`, or without the last two.
        The quotes tell where all else must stand.
        """
        import numpy as np

        codes, words = text.codes, text.words
        is_long = marks.count == _IN_COMBINED
        chosen = is_long | (marks.count == _IN_COMMON)
        if marks.plain is not None:
            chosen &= marks.plain
        lines = np.flatnonzero(chosen)
        first = marks.first.take(lines)
        opening, closing = marks.quote.take(first), marks.quote.take(first + 1)
        start, end = block.starts.take(lines), block.ends.take(lines)
        # The 36th byte before the first quote is read, too, and the first line of a block may lack it.
        sound = (opening - start >= _SHORTEST_HEAD) & (opening > _SHORTEST_HEAD)
        sound &= end - closing > _BEFORE_SIZE
        if not sound.all():
            lines, first, opening, closing = lines[sound], first[sound], opening[sound], closing[sound]
            start, end = start[sound], end[sound]
        if not len(lines):
            return None
        tail = _Tail.of(marks, first, is_long.take(lines), end)
        before, *time, after = several_at(words, opening - 36, 6)
        method, method_size = _method_at(
            codes, opening + 1, (time[3] >> np.uint64(40)) | (after << np.uint64(24))
        )
        last_of_time = time[3] & np.uint64(0xFFFFFFFF)
        time[3] = last_of_time & np.uint64(0xFFFF)
        target, target_end = opening + method_size, closing - 9
        target += 2
        before_protocol, protocol_word, status_word = several_at(words, closing - 16, 3)
        protocol = known_words(PROTOCOLS, protocol_word)
        status, is_status = status_in(status_word >> np.uint64(16))
        size, is_size, is_dash = size_in(words, closing + _BEFORE_SIZE, tail.bytes_end)
        moments, offset, is_time = self._moments(time)
        head = _Head.of(marks, start, opening, before)
        good = head.good
        good &= is_status & is_size & is_time & (method >= 0) & (protocol >= 0)
        good &= (last_of_time >> 16 == word_of("] ")) & (status_word & _BLANKS_OF_STATUS == _AROUND_STATUS)
        before_protocol >>= 48
        good &= (
            (target_end > target)
            & (before_protocol >> 8 == _BLANK)
            & (tail.bytes_end > closing + _BEFORE_SIZE)
        )
        # What a shipper puts in front, such as `<13>`, is for the expressions to take off.
        good &= codes.take(start) != _LESS
        # A blank or a quote behind a backslash is part of the text.
        good &= before_protocol != _BLANK << 8 | _BACKSLASH
        good &= ~marks.has_blank(codes, start, head.host_end) & ~marks.has_blank(codes, target, target_end)
        tail.judge(codes, words, end, good)
        kept = slice(None) if good.all() else np.flatnonzero(good)
        lines = lines[kept]
        if not len(lines):
            return None
        opening, closing = opening[kept], closing[kept]
        identity, user = head.names(text, kept, opening)
        referer, user_agent = tail.texts(text, kept)
        return _Columns(
            lines,
            tail.are_long[kept],
            block.numbers.take(lines),
            block.offsets.take(lines),
            moments[kept],
            offset[kept],
            method[kept],
            protocol[kept],
            status[kept],
            size[kept],
            is_dash[kept],
            {
                "remote_host": text.column(start[kept], head.host_end[kept]),
                "identity": identity,
                "user": user,
                "request": text.column(opening + 1, closing),
                "target": text.column(target[kept], target_end[kept]),
                "referer": referer,
                "user_agent": user_agent,
            },
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
class _Head:
    """What stands in front of the request: where the host ends, and whether all of it is in its place.

    A blank in the host is for the caller to find. Of lines that are `named`, as other than `- -`,
    `identity_end` says where the identity ends.
    """

    host_end: Positions
    named: Mask | None
    identity_end: Positions
    good: Mask

    @classmethod
    def of(cls, marks: Marks, start: Positions, opening: Positions, before: Words) -> _Head:
        """`opening` is the quote in front of the request, `before` the eight bytes in front of the time."""
        import numpy as np

        host_end = opening - 34
        is_usual = before >> 16 == word_of(" - - [")
        if is_usual.all():
            return cls(host_end, None, host_end, is_usual)
        named = ~is_usual
        good = before >> 48 == word_of(" [")
        which = np.flatnonzero(good & named)
        begin, user_end = start[which], opening[which] - 30
        first = marks.next_blank(begin, user_end)
        second = marks.next_blank(np.minimum(first + 1, user_end), user_end)
        third = marks.next_blank(np.minimum(second + 1, user_end), user_end)
        identity_end = np.zeros_like(host_end)
        host_end[which], identity_end[which] = first, second
        good[which] = (
            (first > begin)
            & (second > first + 1)
            & (third > second + 1)
            & (second < user_end)
            & (third == user_end)
        )
        return cls(host_end, named, identity_end, good)

    def names(self, text: BlockTexts, kept: Chosen, opening: Positions) -> tuple[Any, Any]:
        """Identity and user of the lines that are kept; `opening` is theirs."""
        import numpy as np

        rows = np.empty(0, np.int64) if self.named is None else np.flatnonzero(self.named[kept])
        host_end, identity_end = self.host_end[kept][rows], self.identity_end[kept][rows]
        among = rows, len(opening)
        return (
            text.column(host_end + 1, identity_end, dash=True, among=among),
            text.column(identity_end + 1, opening[rows] - 30, dash=True, among=among),
        )


@dataclass(frozen=True)
class _Tail:
    """What stands behind the request: where the size ends, and the four quotes of the lines that `are_long`,
    in Combined, which are `where`.
    """

    are_long: Mask
    where: Chosen
    quotes: tuple[Positions, ...]
    bytes_end: Positions

    @classmethod
    def of(cls, marks: Marks, first: Positions, are_long: Mask, end: Positions) -> _Tail:
        """`first` is the number of each line's first quote, and `end` its end."""
        import numpy as np

        where: Chosen = slice(None) if are_long.all() else np.flatnonzero(are_long)
        first = first[where]
        quotes = tuple(marks.quote.take(first + number) for number in range(_IN_COMMON, _IN_COMBINED))
        bytes_end = end.copy()
        bytes_end[where] = quotes[0] - 1
        return cls(are_long, where, quotes, bytes_end)

    def judge(self, codes: npt.NDArray[np.uint8], words: Words, end: Positions, good: Mask) -> None:
        """Take from `good` the lines whose last two texts are not in their places."""
        import numpy as np

        third, fourth, _, sixth = self.quotes
        placed = (sixth == end[self.where] - 1) & (codes.take(third - 1) == _BLANK)
        # A quote behind a backslash is part of the text.
        around = eight_at(words, fourth - 1)
        placed &= (around >> np.uint64(8)) & np.uint64(0xFFFFFF) == word_of('" "')
        placed &= (around & np.uint64(0xFF) != _BACKSLASH) & (codes.take(sixth - 1) != _BACKSLASH)
        good[self.where] &= placed

    def texts(self, text: BlockTexts, kept: Chosen) -> tuple[Any, Any]:
        """Referer and user agent of the lines that are kept; null where they have none."""
        import numpy as np

        if isinstance(self.where, slice):
            which, among = kept, None
        else:
            long = self.are_long[kept]
            which = (np.cumsum(self.are_long) - 1)[kept][long]
            among = np.flatnonzero(long), len(long)
        third, fourth, fifth, sixth = (each[which] for each in self.quotes)
        return (
            text.column(third + 1, fourth, dash=True, among=among),
            text.column(fifth + 1, sixth, dash=True, among=among),
        )


@dataclass(frozen=True)
class _Columns:
    """Rows as arrays: those of one block. `lines` says which of its lines they are.

    Those that `are_long` are in Combined, the others in Common. `texts` are Arrow's, by name.
    """

    lines: Positions
    are_long: Mask
    numbers: Positions
    offsets: Positions
    moments: Positions
    minutes: npt.NDArray[np.int16]
    method: npt.NDArray[np.int8]
    protocol: npt.NDArray[np.int8]
    status: Positions
    size: Positions
    no_size: Mask
    texts: dict[str, Any]


def _rows_of(rows: _Columns, log_bytes: int, given: Given) -> CombinedRows:
    import numpy as np
    import pyarrow as pa

    count = len(rows.lines)
    formats: dict[str, tuple[int, int]] = {}
    for name, of_it in (("combined", rows.are_long), ("common", ~rows.are_long)):
        if many := int(np.count_nonzero(of_it)):
            formats[name] = many, int(rows.numbers[of_it.argmax()])
    names = tuple(formats)
    columns = rows.texts | {
        "timestamp": arrow(pa.timestamp("us", "UTC"), rows.moments),
        "utc_offset_minutes": arrow(pa.int16(), rows.minutes),
        "method": _dictionary(METHODS, rows.method),
        "protocol": _dictionary(PROTOCOLS, rows.protocol),
        "status": arrow(pa.int16(), rows.status.astype(np.int16)),
        "bytes": arrow(pa.int64(), rows.size, rows.no_size),
        "format": _dictionary(names, ~rows.are_long) if len(names) > 1 else dictionary(names, zeros(count)),
        "line_number": arrow(pa.int64(), rows.numbers),
        "byte_offset": arrow(pa.int64(), rows.offsets),
    }
    return CombinedRows(bronze_table(columns, count, given), log_bytes + ROW_BYTES * count, formats)


def bronze_table(columns: dict[str, Any], count: int, given: Given) -> Any:
    """An Arrow table in the catalogue's order: these columns, those the same in all rows, and nulls."""
    import pyarrow as pa

    columns = {
        "site": dictionary((given.site,), zeros(count)),
        "source_file": dictionary((given.source_file,), zeros(count)),
        "vhost": nulls(pa.string(), count),
        "port": nulls(pa.int32(), count),
        "duration_us": nulls(pa.int64(), count),
        "extra": nulls(pa.string(), count),
        "raw": nulls(pa.binary(), count),
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
    """The values at these indices (an Arrow array), which are not checked, as an Arrow dictionary."""
    import numpy as np
    import pyarrow as pa

    texts = [value.encode() for value in values]
    bounds = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    known = pa.StringArray.from_buffers(len(texts), pa.py_buffer(bounds), pa.py_buffer(b"".join(texts)))
    return pa.DictionaryArray.from_arrays(index, known, safe=False)


def _dictionary(values: tuple[str, ...], index: npt.NDArray[Any]) -> Any:
    import numpy as np
    import pyarrow as pa

    return dictionary(values, arrow(pa.int32(), index.astype(np.int32, copy=False)))
