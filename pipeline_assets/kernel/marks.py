"""Where the quotes and blanks of a block stand, and which lines have bytes that only the expressions read.

What belongs here: finding them. What does not: which lines they make (`combined_lines`).

Quotes are listed. Blanks are not, for a user agent has a dozen of them, and where those that matter stand
mostly follows from the quotes: there is a bit for each byte, and one question for 64 bytes of a text.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel.lines import Block
from pipeline_assets.kernel.words import binary_slices

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]
    Words = npt.NDArray[np.uint64]

_LINE_FEED: Final = 0x0A
_BLANK: Final = 0x20
_QUOTE: Final = 0x22
_DELETE: Final = 0x7F
# A blank that is so many times 64 bytes away is not looked for.
_LOOKED_AT: Final = 16


@dataclass(frozen=True)
class Marks:
    """The quotes of a block: `quote` is where each stands, in order, with control characters among them. Of
    the block's i-th line `first[i]` is the first in that list, and `count[i]` how many they are, where it is
    plain. `plain[i]` says that the line has no control characters and is UTF-8; None that this holds for all
    lines.
    """

    quote: Positions
    first: Positions
    count: Positions
    plain: Mask | None
    blanks: Words

    def has_blank(self, codes: npt.NDArray[np.uint8], begin: Positions, end: Positions) -> Mask:
        """Whether a blank stands in the bytes from `begin` up to `end`; the texts are in order."""
        import numpy as np

        left = end - begin
        found: Mask = (_bits_at(self.blanks, begin) & _first_bits().take(left, mode="clip")) != 0
        longer = np.flatnonzero(left > 64)
        if len(longer):
            found[longer] |= (
                binary_slices(codes, begin[longer] + 64, end[longer]).bin.contains(b" ").to_numpy()
            )
        return found

    def next_blank(self, begin: Positions, end: Positions) -> Positions:
        """Where the first blank stands from `begin` on; `end` where none is in front of that, or far off."""
        import numpy as np

        found = end.copy()
        at, which = begin, np.arange(len(begin))
        for _ in range(_LOOKED_AT):
            bits = _bits_at(self.blanks, at)
            # As many as there are zeros below the lowest bit.
            place = at + np.bitwise_count((bits & (~bits + np.uint64(1))) - np.uint64(1))
            is_there = bits != 0
            found[which[is_there]] = place[is_there]
            longer = np.flatnonzero(~is_there & (at + 64 < end[which]))
            if not len(longer):
                break
            which, at = which[longer], at[longer] + 64
        return np.minimum(found, end)


@functools.cache
def _first_bits() -> Words:
    """For each number up to 64, that many of the lowest bits."""
    import numpy as np

    return np.array([(1 << size) - 1 for size in range(65)], np.uint64)


def _bits_at(bits: Words, at: Positions) -> Words:
    """The 64 bits from each position on."""
    import numpy as np

    index = at >> 6
    shift = (at & 63).view(np.uint64)
    low = bits.take(index)
    index += 1
    # To shift by all 64 bits gives zero, which is right where the position is aligned.
    return (low >> shift) | (bits.take(index) << (np.uint64(64) - shift))


class MarkFinder:
    """Finds the marks of one block after the other, in memory that it uses again."""

    def __init__(self) -> None:
        import numpy as np

        self._memory: tuple[Mask, Mask] = np.empty(0, np.bool_), np.empty(0, np.bool_)
        self._listed: _Listed | None = None

    def line_feeds(self, codes: npt.NDArray[np.uint8], size: int) -> Positions:
        """Where line feeds stand in the first `size` bytes.

        To list what is set among so many takes most of the time, so quotes are listed with them, and kept for
        the block that is made of these bytes.
        """
        self._listed = listed = _Listed.of(codes, size, self._memory_of(size))
        found: Positions = listed.positions.take(listed.line_feeds)
        return found

    def find(self, block: Block) -> Marks:
        """The marks of a block whose lines are whole."""
        import numpy as np

        codes = block.codes[: block.size]
        listed, self._listed = self._listed, None
        is_such, other = self._memory_of(block.size)
        if listed is None or not listed.is_of(codes):
            listed = _Listed.of(block.codes, block.size, (is_such, other))
        behind = listed.line_feeds
        first = np.zeros_like(behind)
        np.add(behind[:-1], 1, out=first[1:])
        count = behind - first
        if len(count) != len(block.starts):  # lines that are left out may have quotes, too
            lines = block.numbers - block.first_number
            first, count = first.take(lines), count.take(lines)
        odd = []
        if listed.controls > len(behind):
            control = listed.positions.take(
                np.flatnonzero((listed.codes != _LINE_FEED) & (listed.codes != _QUOTE))
            )
            odd.append(_lines_at(control, block))
        if int(codes.max()) >= _DELETE:
            odd.append(_not_text(np.flatnonzero(np.greater_equal(codes, _DELETE, out=is_such)), block))
        plain: Mask | None = None
        if odd:
            plain = np.ones(len(count), np.bool_)
            plain[np.concatenate(odd)] = False
        packed = np.packbits(np.equal(codes, _BLANK, out=is_such), bitorder="little")
        blanks = np.zeros(len(packed) // 8 + 4, np.uint64)
        blanks.view(np.uint8)[: len(packed)] = packed
        return Marks(listed.positions, first, count, plain, blanks)

    def _memory_of(self, size: int) -> tuple[Mask, Mask]:
        import numpy as np

        if len(self._memory[0]) < size:
            self._memory = np.empty(size, np.bool_), np.empty(size, np.bool_)
        return self._memory[0][:size], self._memory[1][:size]


@dataclass(frozen=True)
class _Listed:
    """Quotes and control characters of some bytes: where they stand, and which they are.

    `line_feeds` says which of them are such, and `controls` how many are no quotes; `begin` is the address of
    the bytes, of which there are `size`.
    """

    begin: int
    size: int
    positions: Positions
    codes: npt.NDArray[np.uint8]
    line_feeds: Positions
    controls: int

    @classmethod
    def of(cls, codes: npt.NDArray[np.uint8], size: int, memory: tuple[Mask, Mask]) -> _Listed:
        """The marks of the first `size` bytes, found in memory of as many truth values."""
        import numpy as np

        is_mark, is_control = memory
        np.less(codes[:size], _BLANK, out=is_control)
        np.equal(codes[:size], _QUOTE, out=is_mark)
        positions = np.flatnonzero(np.bitwise_or(is_mark, is_control, out=is_mark))
        found = codes.take(positions)
        # Of so few in a list, their places and a `take` find them in a third of the time that a mask takes.
        line_feeds = np.flatnonzero(found == _LINE_FEED)
        controls = int(np.count_nonzero(found != _QUOTE))
        return cls(codes.ctypes.data, size, positions, found, line_feeds, controls)

    def is_of(self, codes: npt.NDArray[np.uint8]) -> bool:
        """Whether these are the bytes."""
        return self.size == len(codes) and self.begin == codes.ctypes.data


def _lines_at(positions: Positions, block: Block) -> Positions:
    """Which of the block's lines these bytes are in; bytes of lines that were left out are in none."""
    import numpy as np

    lines = np.searchsorted(block.ends, positions)
    known = lines < len(block.ends)
    lines, positions = lines[known], positions[known]
    found: Positions = lines[block.starts[lines] <= positions]
    return found


def _not_text(positions: Positions, block: Block) -> Positions:
    """Of the lines with these bytes, all from 0x7F on, those that have 0x7F or are perhaps no UTF-8."""
    import numpy as np

    lines = np.unique(_lines_at(positions, block))
    delete = _lines_at(positions[block.codes.take(positions) == _DELETE], block)
    starts, ends = block.starts[lines], block.ends[lines]
    if block.are_few(len(lines)):
        texts = (block.codes[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
        lines = lines[np.array([not _is_text(text.tobytes()) for text in texts], np.bool_)]
    else:
        # Where one of many is none, all are left to the expressions.
        try:
            binary_slices(block.codes, starts, ends).cast(pl.String)
        except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError):
            return lines
        lines = lines[:0]
    return np.concatenate((delete, lines))


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
