"""Text columns of many frames coded alike: equal texts have the same number in all of them.

What belongs here: such columns, and bare numbers for them while they wait. What does not: one frame's texts
as numbers (`codes`, `texts_by_number`).

Frames that are merged need not be coded again then, and to write and read numbers takes a tenth of the time
that texts take.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

import polars as pl

# What is kept of a text beside its bytes, about.
_TEXT_BYTES: Final = 32
# So many rows are coded before their new texts are counted. Clients choose what a rollup's part says, up to a
# kilobyte in each of its 100,000 rows or so.
_ROWS: Final = 1 << 14


class CodedAlike:
    """Codes text columns alike by their names, as long as the different texts of a column are few.

    `most_bytes` is what those of a column may come to, or hardly more; a frame that has more, and all that
    come after it, keep theirs. Threads may use it at the same time.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes: Counter[str] = Counter()
        self._different: Counter[str] = Counter()
        # Categories go when no column has them any more.
        self._empty: dict[str, pl.Series] = {}
        # Threads that code the same column would wait for each other at every row.
        self._locks: dict[str, threading.Lock] = {}

    def numbers(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with numbers for their texts, of as few bytes as they need."""
        texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
        return rows.with_columns([self._numbers(rows[name]) for name in texts])

    def coded(self, frames: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
        """Frames of the same columns that are `numbers`, with texts coded, but for those that are such."""
        if len({tuple(dtype == pl.String for dtype in frame.dtypes) for frame in frames}) > 1:
            return [self._coded(frame) for frame in frames]
        # Each column once: the engine takes a tenth of a millisecond for every one of every frame.
        rows = self._coded(pl.concat(frames, how="vertical_relaxed")) if frames else None
        bounds = accumulate((frame.height for frame in frames), initial=0)
        return [] if rows is None else [rows[begin:end] for begin, end in pairwise(bounds)]

    def _coded(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(
            pl.col(name).cast(pl.UInt32).cat.to(empty.dtype)
            for name, empty in self._empty.items()
            if name in rows.columns and rows.schema[name] != pl.String
        )

    def _numbers(self, texts: pl.Series) -> pl.Series:
        name = texts.name
        # In one step: of two threads that come first, both have the same lock.
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._empty:
                self._empty[name] = pl.Series(name, [], pl.Categorical(pl.Categories.random()))
            numbers = []
            for begin in range(0, max(1, texts.len()), _ROWS):
                if self._bytes[name] > self._most_bytes:
                    return texts
                numbers.append(self._some_numbers(texts[begin : begin + _ROWS]))
        return pl.concat(numbers).shrink_dtype()

    def _some_numbers(self, texts: pl.Series) -> pl.Series:
        """Numbers of some rows, whose new texts are counted. The column's lock is held."""
        name, dtype = texts.name, self._empty[texts.name].dtype
        numbers = texts.cast(dtype).to_physical()
        highest = numbers.max()
        if isinstance(highest, int) and highest >= self._different[name]:
            new = pl.int_range(self._different[name], highest + 1, dtype=pl.UInt32, eager=True)
            said = new.cat.to(dtype).cast(pl.String).str.len_bytes().sum()
            self._bytes[name] += int(said) + _TEXT_BYTES * new.len()
            self._different[name] = highest + 1
        return numbers
