"""Sets as their smallest hashes: the hash stays what it is, sets merge in any way, counts are near.

What belongs here: the pure functions. What does not: what is counted by them (`test_rollups`, `models`).
"""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.kernel import sketches
from pipeline_assets.kernel.sketches import HASH, SET, SIZE, distinct, distinct_of, hash_texts, union_of

hashes = st.lists(st.integers(0, 2**31 - 1), max_size=3 * SIZE)


def as_sets(*parts: list[int]) -> pl.DataFrame:
    lists = pl.Series("set", parts, dtype=SET)
    return union_of(lists, np.arange(len(parts)), len(parts)).to_frame()


def united(rows: pl.DataFrame) -> list[int]:
    return list(union_of(rows["set"], np.zeros(rows.height, np.int64), 1).item())


def test_a_hash_is_the_same_on_every_machine_and_for_ever() -> None:
    texts = [
        "",
        "/",
        "/a",
        "/wp-login.php",
        "/\u00e4/\U0001f600",
        "/" + 1000 * "x",
        "/12345678",
        "/123456789abcdef",
    ]
    assert hash_texts(pl.Series(texts)).to_list() == [
        0,
        466457155,
        686674314,
        1178945304,
        191506343,
        1749172765,
        1648525562,
        750061786,
    ]


def test_texts_that_differ_in_anything_have_different_hashes() -> None:
    near = [f"/{'x' * size}{last}" for size in range(40) for last in ("", "a", "b", "\0", "\0\0", "aa")]
    assert hash_texts(pl.Series(near)).n_unique() == len(near)
    assert hash_texts(pl.Series([], dtype=pl.String)).dtype == HASH


def test_hashes_of_a_text_do_not_depend_on_its_neighbours() -> None:
    texts = pl.Series([f"/{number:x}" * (number % 7) for number in range(200)])
    alone = [hash_texts(pl.Series([text])).item() for text in texts]
    assert hash_texts(texts).to_list() == alone


def test_hashes_are_even() -> None:
    """Of paths that are numbered, each of 16 stretches has about as many, in every bit that counts."""
    found = hash_texts(pl.Series([f"/item/{number}" for number in range(32_000)]))
    for shift in (27, 13, 0):
        counts = ((found // 2**shift) % 16).value_counts()["count"]
        assert counts.len() == 16
        assert counts.is_between(1_800, 2_200).all()


@given(hashes, hashes, hashes)
def test_sets_merge_in_any_order_in_any_groups_and_again(
    one: list[int], two: list[int], three: list[int]
) -> None:
    (at_once,) = as_sets(one + two + three)["set"].to_list()
    assert at_once == sorted(set(one + two + three))[:SIZE]
    assert united(as_sets(three, one, two)) == at_once
    assert united(as_sets(united(as_sets(one, two)), three, two)) == at_once


@given(st.lists(st.tuples(st.integers(0, 2), st.none() | hashes)), st.integers(1, 4))
def test_a_union_is_counted_without_being_made(parts: list[tuple[int, list[int] | None]], size: int) -> None:
    parts.sort(key=lambda part: part[0])
    number = np.array([number for number, _ in parts], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketches, "SIZE", size)
        lists = pl.Series("set", [part for _, part in parts], dtype=SET)
        union = union_of(lists, number, 3).to_frame()
        assert (
            distinct_of(lists, number, 3).to_list()
            == union.select(distinct(pl.col("set"))).to_series().to_list()
        )


@pytest.mark.parametrize("size", [0, 1, SIZE - 1, SIZE])
def test_a_small_set_is_counted(size: int) -> None:
    assert as_sets(list(range(size))).select(distinct(pl.col("set"))).item() >= size
    if size < SIZE:
        assert as_sets(list(range(size))).select(distinct(pl.col("set"))).item() == size


@pytest.mark.parametrize("size", [500, 20_000, 1_000_000])
def test_a_large_set_is_estimated(size: int) -> None:
    """Forty sets: the errors are what the theory says, and their mean is near zero."""
    draw = random.Random(size)
    errors = []
    for _ in range(40):
        lowest = sorted(draw.random() for _ in range(min(size, 4 * SIZE)))
        # The smallest of a large number of draws, by their known spacing.
        scale = min(1.0, 4 * SIZE / size)
        some = [int(value * scale * 2**31) for value in lowest]
        errors.append(as_sets(some).select(distinct(pl.col("set"))).item() / size - 1)
    assert abs(sum(errors) / len(errors)) < 0.06
    assert max(abs(error) for error in errors) < 0.4
