"""Lines that the quick ways leave over, until they are read together.

What belongs here: gathering them from blocks, in memory of their own where they are few. What does not: which
lines those are (`combined_lines`, `scanned_lines`), and when they are read (`parse`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline_assets.kernel.lines import LINES_SCHEMA, Block
from pipeline_assets.kernel.words import binary_pieces

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    _Places = npt.NDArray[np.int64]


class LeftOver:
    """Lines of some blocks that wait to be read together, in line order.

    Most blocks leave a few, and a frame for each takes as long as a fifteenth of all reading: those of
    several blocks become one. `lines` says how many wait, `bytes` how long they are together.
    """

    def __init__(self) -> None:
        self.lines = self.bytes = 0
        self._frames: list[pl.DataFrame] = []
        # Numbers, offsets, sizes and bytes of each block's.
        self._few: list[tuple[_Places, _Places, _Places, bytes]] = []

    def add(self, block: Block, read: npt.NDArray[np.bool_] | None) -> int:
        """Take the lines of a block that are not `read` yet, all with None; how many they are."""
        import numpy as np

        left = np.arange(len(block.starts)) if read is None else np.flatnonzero(~read)
        starts, ends = block.starts[left], block.ends[left]
        sizes = ends - starts
        # Those left over are often the longest: few of a block's lines may have nearly all of its bytes.
        self.lines += len(left)
        self.bytes += int(sizes.sum())
        if read is None:
            self._end_few()
            self._frames.append(block.frame())
            return len(left)
        if block.are_few(len(left)) and not block.faults:
            data = block.copied(starts, ends)
            self._few.append((block.numbers[left], block.offsets[left], sizes, data))
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
        import numpy as np

        if self._few:
            *places, data = zip(*self._few, strict=True)
            numbers, offsets, sizes = (np.concatenate(each) for each in places)
            lines = binary_pieces(b"".join(data), sizes)
            some = {"line_number": numbers, "byte_offset": offsets, "line": lines, "fault": None}
            self._frames.append(pl.DataFrame(some, schema=LINES_SCHEMA))
            self._few = []
