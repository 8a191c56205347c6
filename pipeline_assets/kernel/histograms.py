"""Histograms of whole numbers: which bucket a number falls in, what a bucket holds, and quantiles.

What belongs here: the buckets' arithmetic, exact in integers, so that every machine gives the same. What does
not: what is measured (`rollups`, `projections`).

The buckets are HdrHistogram's (Gil Tene, hdrhistogram.org): 16 to each power of two. Numbers below 16 have a
bucket of their own; any other bucket is at most 1/16 of its smallest number wide, so its middle is at most
1/32 (3.2 percent) away from any number in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SUB_BUCKETS: Final = 16
_SUB_BITS: Final = 4


def buckets(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The bucket of each whole number; a negative one counts as 0."""
    import numpy as np

    number = np.maximum(numbers, 0)
    # Below 16 the number is its own bucket; above, its five leading bits say which. A float has its power of
    # two at hand, so it takes a sixth of the time that expressions take to work that out. Where it is rounded
    # up to the next power, 15 sixteenths of that are the same bucket as 31 of this one.
    exponent = np.maximum(np.frexp(number.astype(np.float64))[1] - (_SUB_BITS + 1), 0)
    found: npt.NDArray[np.int64] = exponent * _SUB_BUCKETS + (number >> exponent)
    return found


def lowest(bucket: pl.Expr) -> pl.Expr:
    """The smallest number in a bucket."""
    number = bucket.cast(pl.Int64)
    exponent = _exponent(number)
    return (number - exponent * _SUB_BUCKETS) * _power_of_two(exponent)


def highest(bucket: pl.Expr) -> pl.Expr:
    """The largest number in a bucket."""
    return lowest(bucket) + _power_of_two(_exponent(bucket.cast(pl.Int64))) - 1


def middle(bucket: pl.Expr) -> pl.Expr:
    """The number that stands for a bucket: the middle of its smallest and its largest, rounded down."""
    return lowest(bucket) + (_power_of_two(_exponent(bucket.cast(pl.Int64))) - 1) // 2


def quantile(percent: int) -> pl.Expr:
    """In a group sorted by `bucket`, with `hits` in each: what so many percent of the hits don't exceed.

    It is the middle of the bucket that holds the hit of rank ceil(percent/100 * hits) (the nearest rank).
    """
    hits = pl.col("hits")
    rank = (hits.sum() * percent + 99) // 100
    return middle(pl.col("bucket").filter(hits.cum_sum() >= rank).first())


def _exponent(bucket: pl.Expr) -> pl.Expr:
    return (bucket // _SUB_BUCKETS - 1).clip(lower_bound=0)


def _power_of_two(exponent: pl.Expr) -> pl.Expr:
    return pl.lit(2, pl.Int64).pow(exponent.cast(pl.UInt32))
