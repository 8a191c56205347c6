"""Histograms: every number is in its bucket, buckets are as narrow as they say, and quantiles are near."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.kernel import histograms

NUMBERS = st.lists(st.integers(0, 2**62), min_size=1, max_size=30)


def edges(numbers: list[int]) -> list[tuple[int, int, int, int]]:
    """Of each number its bucket, and that bucket's lowest, middle and highest number."""
    bucket = pl.col("bucket")
    return (
        pl.DataFrame({"bucket": histograms.buckets(np.array(numbers, np.int64))})
        .select(
            "bucket",
            lowest=histograms.lowest(bucket),
            middle=histograms.middle(bucket),
            highest=histograms.highest(bucket),
        )
        .rows()
    )


def test_small_numbers_have_a_bucket_each_and_larger_ones_share_sixteen_to_a_power_of_two() -> None:
    assert edges([0, 15, 16, 31, 32, 33, 34, 1000, -1]) == [
        (0, 0, 0, 0),
        (15, 15, 15, 15),
        (16, 16, 16, 16),
        (31, 31, 31, 31),
        (32, 32, 32, 33),
        (32, 32, 32, 33),
        (33, 34, 34, 35),
        (111, 992, 1007, 1023),
        (0, 0, 0, 0),
    ]


def test_the_bucket_of_a_number_beside_a_power_of_two_is_the_one_of_its_bits() -> None:
    numbers = [2**power + beside for power in range(4, 63) for beside in (-1, 0, 1)] + [2**63 - 1]
    below_their_bits = [number.bit_length() - 5 for number in numbers]
    wanted = [
        max(bits, 0) * 16 + (number >> max(bits, 0))
        for number, bits in zip(numbers, below_their_bits, strict=True)
    ]
    assert histograms.buckets(np.array(numbers, np.int64)).tolist() == wanted


@given(NUMBERS)
def test_a_number_is_in_its_bucket_whose_middle_is_at_most_a_32nd_away(numbers: list[int]) -> None:
    for number, (_, lowest, middle, highest) in zip(numbers, edges(numbers), strict=True):
        assert lowest <= number <= highest
        assert abs(number - middle) * 32 <= number


@given(NUMBERS)
def test_buckets_are_in_the_order_of_their_numbers(numbers: list[int]) -> None:
    buckets = [bucket for bucket, *_ in edges(sorted(numbers))]
    assert buckets == sorted(buckets)


@given(NUMBERS, st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_a_quantile_is_at_most_a_32nd_away_from_the_one_of_the_numbers(
    numbers: list[int], percent: int
) -> None:
    histogram = (
        pl.DataFrame({"number": numbers}, schema={"number": pl.Int64})
        .group_by(bucket=pl.Series(histograms.buckets(np.array(numbers, np.int64))))
        .agg(hits=pl.len().cast(pl.Int64))
        .sort("bucket")
    )
    found = histogram.select(histograms.quantile(percent)).item()
    exact = sorted(numbers)[-(-len(numbers) * percent // 100) - 1]
    assert abs(found - exact) * 32 <= exact
