"""Rows of coded texts on the disk until they are written: as numbers, and each text once.

What belongs here: such rows, and the texts of their numbers. What does not: the file (`sharding`), or whose
rows wait (`projecting`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl
from polars import selectors

from pipeline_assets.compute.sharding import Spill
from pipeline_assets.kernel.codes import spellings

_ROWS: Final = "rows"


class Waiting:
    """Frames of the same columns. Texts wait once where they are coded as in the first frame.

    Other columns wait as texts: that is so where there are too many to code them alike.
    """

    def __init__(self) -> None:
        self._spill = Spill()
        # By column, the highest number of its texts. Their categories are in memory until `settle`.
        self._highest: dict[str, pl.Series] = {}
        self._coded: set[str] = set()

    def close(self) -> None:
        """Let go of the rows."""
        self._highest.clear()
        self._spill.close()

    def add(self, rows: pl.DataFrame) -> None:
        """Put rows behind those that wait; not after `settle`."""
        coded = rows.select(selectors.categorical())
        self._spill.add(_ROWS, rows.with_columns([self._numbers(texts) for texts in coded]))

    def _numbers(self, texts: pl.Series) -> pl.Series:
        known = self._highest.get(texts.name, texts.clear())
        if known.dtype != texts.dtype:
            return texts.cast(pl.String)
        numbers = texts.to_physical()
        both = pl.Series(texts.name, [known.to_physical().max(), numbers.max()], numbers.dtype)
        self._highest[texts.name] = both.cat.to(texts.dtype)
        return numbers.shrink_dtype()

    def settle(self) -> None:
        """Let go of the texts in memory: they wait with the rows."""
        for name, highest in self._highest.items():
            self._spill.add(name, spellings(highest).to_frame())
        self._coded |= self._highest.keys()
        self._highest.clear()

    def frames(self) -> Iterator[pl.DataFrame]:
        """The frames in their order, one at a time, with texts."""
        self.settle()
        texts = {name: next(self._spill.frames(name)).to_series() for name in self._coded}
        for rows in self._spill.frames(_ROWS):
            numbers = [name for name in self._coded if rows.schema[name] != pl.String]
            yield rows.with_columns([texts[name][rows[name]].alias(name) for name in numbers])
