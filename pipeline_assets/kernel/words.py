"""Words, numbers, times and texts of many lines at once, read from their bytes eight at a time.

What belongs here: what stands at given positions of a block, and handing values between Arrow, NumPy and
Polars. What does not: which positions those are (`combined_lines`), and the same for texts of any shape
(`log_times`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.log_times import LARGEST_OFFSET_MINUTES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]
    Places = npt.NDArray[np.int64]
    Words = npt.NDArray[np.uint64]

_ZERO: Final = 0x30
_DASH: Final = 0x2D
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Arrow's views hold a text of up to so many bytes themselves.
_INLINE_BYTES: Final = 12


def eight_at(words: Words, at: Positions) -> Words:
    """The eight bytes that begin at each position, the first in the lowest bits.

    Two aligned reads take a third of the time of one that is not aligned.
    """
    import numpy as np

    index = at >> 3
    shift = ((at & 7) << 3).view(np.uint64)
    low = words.take(index)
    index += 1
    # To shift by all 64 bits gives zero, which is right where the position is aligned.
    return (low >> shift) | (words.take(index) << (np.uint64(64) - shift))


def several_at(words: Words, at: Positions, count: int) -> list[Words]:
    """So many times eight bytes, one behind the other from each position on.

    They are taken as one value each, of no type that has to be aligned: a quarter of the time of words.
    """
    import numpy as np

    size = 8 * count
    every = np.ndarray((words.nbytes - size + 1,), np.dtype((np.void, size)), words, strides=(1,))
    return list(every[at].view(np.uint64).reshape(-1, count).T.copy())


def word_of(text: str) -> int:
    """A text of up to eight bytes as a word, the first byte in the lowest bits."""
    return int.from_bytes(text.encode().ljust(8, b"\0"), "little")


def masks(*sizes: int) -> Words:
    """For each size the mask of that many bytes of a word, the first in the lowest bits."""
    import numpy as np

    return np.array([(1 << 8 * size) - 1 for size in sizes], np.uint64)


def known_words(known: tuple[str, ...], found: Words) -> npt.NDArray[np.int8]:
    """Which of some texts of eight bytes each word is, as an index; -1 for another."""
    import numpy as np

    result = np.full(len(found), -1, np.int8)
    left = len(found)
    for number, text in enumerate(known):
        same = found == word_of(text)
        result[same] = number
        left -= int(np.count_nonzero(same))
        if not left:
            break
    return result


def status_in(word: Words) -> tuple[npt.NDArray[np.int64], Mask]:
    """The number of three digits that a word begins with, and whether it is one from 100 on."""
    import numpy as np

    first, second, third = (
        ((word >> np.uint64(bits)) & np.uint64(0xFF)).view(np.int64) - _ZERO for bits in (0, 8, 16)
    )
    is_number = (first >= 1) & (first <= 9) & _are_digits(second, third)
    return first * 100 + second * 10 + third, is_number


def _are_digits(*values: npt.NDArray[np.int64]) -> Mask:
    import numpy as np

    result: Mask = values[0].view(np.uint64) <= 9
    for value in values[1:]:
        result &= value.view(np.uint64) <= 9
    return result


def size_in(words: Words, begin: Positions, end: Positions) -> tuple[npt.NDArray[np.int64], Mask, Mask]:
    """Whole numbers of up to eight digits without leading zeros, where there is one or `-`, and where `-`."""
    import numpy as np

    length = end - begin
    last_eight = eight_at(words, end - 8)
    inside = np.minimum(length, 8)
    absent = masks(*range(8, -1, -1))[inside]
    zeros = np.uint64(0x3030303030303030)
    digits = (last_eight & ~absent) | (zeros & absent)
    high = np.uint64(0xF0F0F0F0F0F0F0F0)
    is_number = ((digits & high) == zeros) & (((digits + np.uint64(0x0606060606060606)) & high) == zeros)
    # Eight digits at once: neighbours are joined to pairs, those to fours, those to the number.
    digits = ((digits & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561)) >> np.uint64(8)
    digits = ((digits & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601)) >> np.uint64(16)
    digits = ((digits & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001)) >> np.uint64(32)
    number = digits.view(np.int64)
    smallest = np.array([0, 0, *(10**size for size in range(1, 8))], np.int64)[inside]
    is_dash = (length == 1) & ((last_eight >> np.uint64(56)) == np.uint64(_DASH))
    return number, (is_number & (length <= 8) & (number >= smallest)) | is_dash, is_dash


def time_in(parts: list[Words]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Mask]:
    """Seconds since 1970, minutes east of UTC, and whether it is a time, of `17/Dec/2025:09:03:01 +0000`.

    `parts` are its 26 bytes, eight in a word. A zone of -0000 is none that could be written again.
    """
    import numpy as np

    def byte(number: int) -> npt.NDArray[np.int64]:
        shifted = parts[number >> 3] >> np.uint64(8 * (number & 7))
        return (shifted & np.uint64(0xFF)).view(np.int64)

    def digit(number: int) -> npt.NDArray[np.int64]:
        return byte(number) - _ZERO

    tens = {number: (digit(number), digit(number + 1)) for number in (0, 7, 9, 12, 15, 18, 22, 24)}
    day, century, year, hour, minute, second, zone_hours, zone_minutes = (
        first * 10 + second for first, second in tens.values()
    )
    year += century * 100
    name = byte(3) | (byte(4) << 8) | (byte(5) << 16)
    month = np.zeros(len(name), np.int64)
    for number, text in enumerate(_MONTHS, 1):
        month[name == word_of(text)] = number
    good = (month > 0) & _are_digits(*(each for pair in tens.values() for each in pair))
    for number, character in ((2, "/"), (6, "/"), (11, ":"), (14, ":"), (17, ":"), (20, " ")):
        good &= byte(number) == ord(character)
    sign = byte(21)
    offset = zone_hours * 60 + zone_minutes
    good &= (hour < 24) & (minute < 60) & (second < 60) & (day > 0)
    good &= (zone_minutes < 60) & (offset <= LARGEST_OFFSET_MINUTES)
    good &= (sign == ord("+")) | ((sign == ord("-")) & (offset > 0))
    offset = np.where(sign == ord("-"), -offset, offset)
    good &= day <= _days_before(year, month + 1) - _days_before(year, month)
    days = _days_before(year, month) + day - 1
    return days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60, offset, good


def _days_before(year: npt.NDArray[np.int64], month: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Days from 1970 to the first of a month, 1 to 13, in the proleptic Gregorian calendar."""
    import numpy as np

    months = (year - 1970) * 12 + month - 1
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def nulls(kind: Any, count: int) -> Any:
    """So many nulls of this Arrow type. They view others that are kept: to write them for each block of lines
    takes a fiftieth of the time in which the block is read.
    """
    return _kept_nulls(kind, _rounded(count))[:count]


def zeros(count: int) -> Any:
    """So many zeros as an Arrow array of 32 bits each, which view others that are kept, as `nulls` do."""
    return _kept_zeros(_rounded(count))[:count]


@functools.cache
def _kept_nulls(kind: Any, count: int) -> Any:
    import pyarrow as pa

    return pa.nulls(count, kind)


@functools.cache
def _kept_zeros(count: int) -> Any:
    import numpy as np
    import pyarrow as pa

    values = np.zeros(count, np.int32)
    return pa.Array.from_buffers(pa.int32(), count, [None, pa.py_buffer(values)], 0)


def _rounded(count: int) -> int:
    """The next power of two, so that blocks of about the same size ask for the same."""
    return 1 << max(count - 1, 0).bit_length()


def validity(is_null: Mask) -> Any:
    """Arrow's bitmap of the values that are there."""
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(~is_null, bitorder="little"))


def series(name: str, values: Any) -> pl.Series:
    """An Arrow array as a series that views it.

    To give it to `Series` would do as well, but imports all of `pyarrow.compute`: a fifteenth of what a small
    run takes. A frame of it takes three times as long.
    """
    made = pl.Series(_Chunks(values) if hasattr(values, "chunks") else _Array(values))
    return made.alias(name) if name else made


class _Array:
    """An Arrow array, of which no more is told than how it is handed over (Arrow's C data interface)."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        schema, array = self._values.__arrow_c_array__(requested_schema)
        return schema, array


class _Chunks:
    """The same of an array in chunks."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._values.__arrow_c_stream__(requested_schema)


def copied(texts: Any) -> Any:
    """An Arrow array of texts (together below 2 GiB), which may be views, as one with memory of its own.

    `cast` would do as well, but imports all of `pyarrow.compute`.
    """
    return plain(series("", texts))


def plain(texts: pl.Series) -> Any:
    """Texts (together below 2 GiB) as an Arrow array of Parquet's own type."""
    import numpy as np
    import pyarrow as pa

    large = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    there, bounds, values = large.buffers()
    wide = np.frombuffer(bounds, np.int64)[: large.offset + len(large) + 1]
    if len(wide) and wide[-1] > np.iinfo(np.int32).max:
        raise OverflowError("texts of 2 GiB or more in one column")
    narrow = wide.astype(np.int32)
    return pa.StringArray.from_buffers(
        len(large), pa.py_buffer(narrow), values, there, large.null_count, large.offset
    )


def bytes_copied(values: pl.Series) -> pl.Series:
    """Binary values, which may be views, with memory of their own."""
    return series(values.name, values.to_arrow(compat_level=pl.CompatLevel.oldest()))


def binary_slices(data: Any, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> pl.Series:
    """The slices `data[start:end]` of a buffer as a Binary series that shares its memory.

    The slices must be in order and must not overlap. Arrow's offsets leave no gaps between values, so the
    gaps become values themselves and every second one is dropped; only views of 16 bytes are copied.
    """
    import numpy as np
    import pyarrow as pa

    count = len(starts)
    bounds = np.empty(2 * count + 1, dtype=np.int64)
    bounds[0:-1:2] = starts
    bounds[1::2] = ends
    bounds[-1] = ends[-1] if count else 0
    values = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 2 * count, [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    )
    return series("", values).gather_every(2)


def binary_pieces(data: bytes | bytearray, sizes: npt.NDArray[np.int64]) -> pl.Series:
    """Pieces of these sizes, one behind the other in a buffer, as a Binary series."""
    import numpy as np
    import pyarrow as pa

    bounds = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=bounds[1:])
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    return series("", pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sizes), buffers))


class BlockTexts:
    """The texts between two positions of a block, as columns that keep nothing of the block.

    They are copied from Arrow's views of its bytes (Arrow's columnar format, "Variable-size Binary View
    Layout"): 16 bytes each, the length, then either the text itself, up to twelve bytes, or its first four
    bytes, the number of a buffer, and where in it it begins. Nobody asks for the four bytes where a text is
    copied, so they are left out.
    """

    def __init__(self, codes: npt.NDArray[np.uint8], words: Words) -> None:
        import pyarrow as pa

        self.codes = codes
        self.words = words
        self._buffer = pa.py_buffer(codes)
        # By length: the bytes of it that stand in front of the fifth, and those that stand behind the fourth.
        self._in_prefix = masks(*(min(size, 4) for size in range(_INLINE_BYTES + 1)))
        self._in_rest = masks(*(max(size - 4, 0) for size in range(_INLINE_BYTES + 1)))

    def column(
        self,
        begin: Positions,
        end: Positions,
        *,
        dash: bool = False,
        among: tuple[Positions, int] | None = None,
    ) -> Any:
        """The texts as an Arrow array, with `dash` those that are `-` as null.

        With `among` they are of these of so many rows, and the others are null.
        """
        import numpy as np
        import pyarrow as pa

        length = end - begin
        is_null = None
        if dash:
            is_null = (length == 1) & (self.codes.take(begin) == _DASH)
            if is_null.all():
                return nulls(pa.string(), among[1] if among else len(begin))
            length[is_null] = 0
        views = np.empty((len(begin), 2), np.uint64)
        views[:, 0] = length
        views[:, 1] = begin << 32
        # Those of no byte have nothing to be looked for.
        short = np.flatnonzero((length - 1).view(np.uint64) < _INLINE_BYTES)
        if len(short):
            inline = length[short]
            first, second = several_at(self.words, begin[short], 2)
            first &= self._in_prefix.take(inline) | ~np.uint64(0xFFFFFFFF)
            views[short, 0] |= first << np.uint64(32)
            views[short, 1] = ((first >> np.uint64(32)) | (second << np.uint64(32))) & self._in_rest.take(
                inline
            )
        texts = _strings(views, self._buffer, is_null)
        return texts if among is None else _spread(texts, length, is_null, *among)


def _strings(views: Words, buffer: Any, is_null: Mask | None) -> Any:
    import pyarrow as pa

    bitmap, nulls = _bitmap(is_null)
    return copied(
        pa.Array.from_buffers(pa.string_view(), len(views), [bitmap, pa.py_buffer(views), buffer], nulls)
    )


def _spread(texts: Any, length: Positions, is_null: Mask | None, rows: Positions, count: int) -> Any:
    """Texts of these lengths as those of some of so many rows; the others are null."""
    import numpy as np
    import pyarrow as pa

    bounds = np.zeros(count + 1, np.int32)
    bounds[rows + 1] = length
    are_null = np.ones(count, np.bool_)
    are_null[rows] = False if is_null is None else is_null
    bitmap, nulls = _bitmap(are_null)
    return pa.StringArray.from_buffers(
        count, pa.py_buffer(np.cumsum(bounds, out=bounds)), texts.buffers()[2], bitmap, nulls
    )


def _bitmap(is_null: Mask | None) -> tuple[Any, int]:
    """Arrow's bitmap of the values that are there, None where all are; and how many are not."""
    import numpy as np

    nulls = 0 if is_null is None else int(np.count_nonzero(is_null))
    return validity(is_null) if is_null is not None and nulls else None, nulls
