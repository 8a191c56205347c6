"""Lines that the quick ways leave over, until they are read together.

What belongs here: gathering them from blocks, in memory of their own where they are few. What does not: which
lines those are (`combined_lines`, `scanned_lines`), and when they are read (`parse`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline_assets.kernel.lines import LINES_SCHEMA, Block

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LeftOver:
    """Lines of some blocks that wait to be read together, in line order.

    Most blocks leave a few, and a frame for each takes as long as a fifteenth of all reading: those of
    several blocks become one. `lines` says how many wait, `bytes` how long they are together.
    """

    def __init__(self) -> None:
        self.lines = self.bytes = 0
        self._frames: list[pl.DataFrame] = []
        self._few: tuple[list[int], list[int], list[bytes]] = [], [], []

    def add(self, block: Block, read: npt.NDArray[np.bool_] | None) -> int:
        """Take the lines of a block that are not `read` yet, all with None; how many they are."""
        import numpy as np

        left = np.arange(len(block.starts)) if read is None else np.flatnonzero(~read)
        # Those left over are often the longest: few of a block's lines may have nearly all of its bytes.
        self.lines += len(left)
        self.bytes += int((block.ends[left] - block.starts[left]).sum())
        if read is None:
            self._end_few()
            self._frames.append(block.frame())
            return len(left)
        if block.are_few(len(left)) and not block.faults:
            numbers, offsets, lines = self._few
            numbers += block.numbers[left].tolist()
            offsets += block.offsets[left].tolist()
            lines += block.copies(block.starts[left], block.ends[left])
        else:
            self._end_few()
            self._frames.append(block.frame(~read))
        return len(left)

    def frame(self, *before: pl.DataFrame) -> pl.DataFrame:
        """The lines behind those of these frames, as a frame of `LINES_SCHEMA`; none is left here."""
        self._end_few()
        self.lines = self.bytes = 0
        frames, self._frames = self._frames, []
        return pl.concat([*before, *frames], rechunk=True)

    def _end_few(self) -> None:
        numbers, offsets, lines = self._few
        if numbers:
            some = {"line_number": numbers, "byte_offset": offsets, "line": lines, "fault": None}
            self._frames.append(pl.DataFrame(some, schema=LINES_SCHEMA))
            self._few = [], [], []
