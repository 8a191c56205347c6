"""Where the quotes, blanks and control characters of a block stand, found by one pass over its bytes.

What belongs here: finding them. What does not: which lines they make (`combined_lines`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline_assets.kernel.lines import Block

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]
    Words = npt.NDArray[np.uint64]

_LINE_FEED: Final = 0x0A
_BLANK: Final = 0x20
_EXCLAMATION: Final = 0x21
_QUOTE: Final = 0x22
_DELETE: Final = 0x7F
# A pass over this many bytes leaves what it works with in the processor's cache.
_PASS_BYTES: Final = 1 << 17


@dataclass(frozen=True)
class Marks:
    """Quotes, blanks and control characters of a block, in order.

    `at` is where each stands; of the block's i-th line `first[i]` is the first of its marks, `last[i]` its
    line feed, `quotes[i]` how many quotes it has, and `first_quote[i]` the first of them in `quote`, which
    lists the quotes among the marks. `plain[i]` says that it has no control characters and no bytes that are
    no text; None that this holds for all lines.
    """

    at: Positions
    first: Positions
    last: Positions
    quote: Positions
    first_quote: Positions
    quotes: Positions
    plain: Mask | None


class MarkFinder:
    """Finds the marks of one block after the other, in memory that it uses again."""

    def __init__(self) -> None:
        import numpy as np

        self._at = np.empty(1 << 16, np.int64)
        self._is_mark = np.empty(_PASS_BYTES, np.bool_)

    def find(self, codes: npt.NDArray[np.uint8], block: Block) -> Marks:
        """The marks of a block; they hold until the next is asked for."""
        import numpy as np

        at = self._below(codes[: block.size], _QUOTE + 1)
        kinds = codes.take(at)
        other = kinds == _EXCLAMATION
        if other.any():  # it stands between the two others in ASCII, and marks nothing
            at, kinds = at[~other], kinds[~other]
        is_quote = kinds == _QUOTE
        is_line_feed = kinds == _LINE_FEED
        quote, line_feeds = np.flatnonzero(is_quote), np.flatnonzero(is_line_feed)
        firsts = np.concatenate((np.zeros(1, np.int64), line_feeds[:-1] + 1))
        quotes = np.searchsorted(quote, line_feeds)
        first_quote = np.concatenate((np.zeros(1, np.int64), quotes[:-1]))
        quotes -= first_quote
        plain: Mask | None = None
        is_blank = kinds == _BLANK
        if np.count_nonzero(is_blank) + len(quote) + len(line_feeds) != len(kinds):
            plain = np.ones(len(firsts), np.bool_)
            odd = np.flatnonzero(~(is_blank | is_quote | is_line_feed))
            plain[np.searchsorted(line_feeds, odd)] = False
        doubtful = doubtful_bytes(block)
        if len(doubtful):
            plain = np.ones(len(firsts), np.bool_) if plain is None else plain
            plain[np.searchsorted(at[line_feeds], doubtful)] = False
        if len(block.starts) < len(firsts):
            lines = block.numbers - block.first_number
            firsts, line_feeds, first_quote, quotes = (
                values[lines] for values in (firsts, line_feeds, first_quote, quotes)
            )
            plain = None if plain is None else plain[lines]
        return Marks(at, firsts, line_feeds, quote, first_quote, quotes, plain)

    def _below(self, codes: npt.NDArray[np.uint8], limit: int) -> Positions:
        """Where the bytes below `limit` stand; the array is used again for the next block."""
        import numpy as np

        count = 0
        for begin in range(0, len(codes), _PASS_BYTES):
            some = codes[begin : begin + _PASS_BYTES]
            found = np.flatnonzero(np.less(some, limit, out=self._is_mark[: len(some)]))
            if count + len(found) > len(self._at):
                self._at = np.concatenate((self._at[:count], np.empty(2 * (count + len(found)), np.int64)))
            np.add(found, begin, out=self._at[count : count + len(found)])
            count += len(found)
        return self._at[:count]


def doubtful_bytes(block: Block) -> Positions:
    """Where bytes stand that make a line one for the expressions: what is not UTF-8, and 0x7F."""
    import numpy as np

    codes = block.codes[: block.size]
    if int(codes.max()) < _DELETE:
        return np.empty(0, np.int64)
    return np.flatnonzero(codes == _DELETE) if _is_text(block) else np.flatnonzero(codes >= _DELETE)


def _is_text(block: Block) -> bool:
    """Whether the block's bytes are UTF-8."""
    import pyarrow as pa

    bounds = pa.py_buffer(struct.pack("=2q", 0, block.size))
    try:
        pa.LargeStringArray.from_buffers(1, bounds, pa.py_buffer(block.codes)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
