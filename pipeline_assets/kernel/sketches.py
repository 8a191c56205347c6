"""Distinct counts that merge and are bounded: the smallest hashes of a set stand for it.

What belongs here: the hash of a text, which is the same on every machine and for ever, the union of such
sets, and what one says of how many different texts there were. What does not: what is counted (`rollups`).

Of a set the `SIZE` smallest hashes are kept (Bar-Yossef et al., "Counting distinct elements in a data
stream", RANDOM 2002, with the estimator of Beyer et al., "On synopses for distinct-value estimation under
multiset operations", SIGMOD 2007). The smallest of a union are the smallest of its parts' smallest, so sets
merge in any order, and again, and a set of any size takes half a kilobyte. Below `SIZE` the count is exact;
above, one in three is more than 9 percent off.

The hash has no secret. Whoever makes texts of equal hashes is counted too low by that, and nobody else is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel.codes import ascending

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline_assets.kernel.words import Words

SIZE: Final = 128
HASH: Final = pl.Int32()
SET: Final = pl.List(HASH)
# Hashes are below this, so that they are no negative numbers of 32 bits.
_BITS: Final = 31
_WORD: Final = 8
# Odd numbers without a pattern: the golden ratio's, and those of splitmix64 (Steele, Lea and Flood, "Fast
# splittable pseudorandom number generators", OOPSLA 2014).
_BY_LENGTH: Final = 0x9E3779B97F4A7C15
_BY_WORD: Final = 0xBF58476D1CE4E5B9
_AT_LAST: Final = 0x94D049BB133111EB


def hash_texts(texts: pl.Series) -> pl.Series:
    """A number below 2**31 for each text (none of them null), as Int32, eight bytes of all at a time."""
    import numpy as np

    from pipeline_assets.kernel.words import eight_at, masks

    length = texts.str.len_bytes().to_numpy().astype(np.int64)
    begin = np.cumsum(length) - length
    joined = texts.str.join("").item().encode() if len(texts) else b""
    # A word more, because what is read of the last one may begin in its middle.
    words = np.frombuffer(joined + bytes(2 * _WORD - len(joined) % _WORD), np.dtype("<u8"))
    numbers = length.view(np.uint64) * np.uint64(_BY_LENGTH)
    first = masks(*range(_WORD + 1))
    left = np.flatnonzero(length)
    done = 0
    while len(left):
        rest = np.minimum(length[left] - done, _WORD)
        word = eight_at(words, begin[left] + done) & first[rest]
        numbers[left] = _mixed(numbers[left] ^ word, _BY_WORD)
        done += _WORD
        left = left[length[left] > done]
    numbers = _mixed(_mixed(numbers, _BY_WORD), _AT_LAST)
    return pl.Series(texts.name, (numbers >> np.uint64(64 - _BITS)).astype(np.int32), HASH)


def _mixed(numbers: Words, factor: int) -> Words:
    import numpy as np

    return (numbers ^ (numbers >> np.uint64(31))) * np.uint64(factor)


def union_of(lists: pl.Series, number: npt.NDArray[np.int64], groups: int) -> pl.Series:
    """The union of each of so many groups of sets; `number` is that of a list's group, and they ascend."""
    return _of_sorted(_numbered(lists, number), groups).alias(lists.name)


def distinct_of(lists: pl.Series, number: npt.NDArray[np.int64], groups: int) -> pl.Series:
    """`distinct` of `union_of`, which is not made for it."""
    import numpy as np

    both = _different(_numbered(lists, number))
    found = np.bincount((both >> np.uint64(_BITS)).view(np.int64), minlength=groups)
    last = np.flatnonzero(found >= SIZE)
    largest = both[(np.cumsum(found) - found)[last] + SIZE - 1] & np.uint64((1 << _BITS) - 1)
    found[last] = np.maximum(((SIZE - 1) << _BITS) // (largest.astype(np.int64) + 1), SIZE)
    return pl.Series(lists.name, found)


def _numbered(lists: pl.Series, number: npt.NDArray[np.int64]) -> Words:
    """The numbers of lists, each with one of its hashes in one, in order."""
    import numpy as np

    hashes = lists.list.explode(keep_nulls=False, empty_as_null=False).to_numpy()
    both = np.repeat(number.view(np.uint64) << np.uint64(_BITS), lists.list.len().fill_null(0).to_numpy())
    both |= hashes.view(np.uint32)
    # Sets are sorted: what looks for stretches in order takes a third of the time of any other way.
    both.sort(kind="stable")
    return both


def sets_of(number: Words, hashes: npt.NDArray[np.int32], groups: int) -> pl.Series:
    """The set of each of so many groups; `number` is that of a hash's group. All are sorted at once."""
    import numpy as np

    both = (number << np.uint64(_BITS)) | hashes.view(np.uint32)
    return _of_sorted(ascending(both), groups)


def _of_sorted(both: Words, groups: int) -> pl.Series:
    """The sets of groups, from each one's number and a hash in one, in order."""
    import numpy as np
    import pyarrow as pa

    from pipeline_assets.kernel.words import series

    both = _different(both)
    found = np.bincount((both >> np.uint64(_BITS)).view(np.int64), minlength=groups)
    ends = np.cumsum(found)
    are_many = found > SIZE
    if are_many.any():
        # How far it is in ranges that are left out: 1 inside, 0 outside.
        is_beyond = np.zeros(len(both) + 1, np.int8)
        is_beyond[(ends - found + SIZE)[are_many]] += 1
        is_beyond[ends[are_many]] -= 1
        both = both[np.cumsum(is_beyond[:-1], dtype=np.int8) == 0]
        ends = np.cumsum(np.minimum(found, SIZE))
    both &= np.uint64((1 << _BITS) - 1)
    arrays = [
        pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(array)])
        for kind, array in ((pa.int64(), np.append(0, ends)), (pa.int32(), both.astype(np.int32)))
    ]
    return series("", pa.LargeListArray.from_arrays(*arrays))


def _different(both: Words) -> Words:
    """Sorted numbers, each once."""
    import numpy as np

    differs = np.ones(len(both), np.bool_)
    differs[1:] = both[1:] != both[:-1]
    return both[differs]


def distinct(sets: pl.Expr) -> pl.Expr:
    """How many different texts there were, in whole numbers: exact up to `SIZE`, beyond that an estimate.

    Of n hashes spread evenly the k-th smallest lies at k/n of the way, so n is about (k - 1) / that share.
    """
    largest = sets.list.get(SIZE - 1, null_on_oob=True).cast(pl.Int64)
    estimate = (pl.lit((SIZE - 1) << _BITS) // (largest + 1)).clip(lower_bound=SIZE)
    return pl.coalesce(estimate, sets.list.len().cast(pl.Int64))
