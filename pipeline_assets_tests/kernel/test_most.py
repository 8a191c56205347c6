"""Rows with most of something are those that sorting all of them gives, also where they come in parts."""

from __future__ import annotations

import random
from datetime import date
from itertools import product

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.kernel.codes import coded
from pipeline_assets.kernel.most import beyond_bounds, beyond_most, bounds

TEXTS = (None, "", "a", "ä")
KEYS = ["one", "two", "flag"]
# Rows of two sites on a day before 1970, and of one on another day.
OF_ALL = [
    (*day_and_site, one, two, flag)
    for day_and_site in ((date(1969, 12, 31), None), (date(1969, 12, 31), "a"), (date(2024, 1, 1), "a"))
    for one, two, flag in product(TEXTS, TEXTS[:3], (False, True))
]
NUMBERS = st.lists(st.sampled_from([0, 1, 1, 1]), min_size=len(OF_ALL), max_size=len(OF_ALL))


def frame(numbers: list[int]) -> pl.DataFrame:
    schema = {
        "event_date": pl.Date,
        "site": pl.String,
        "one": pl.String,
        "two": pl.String,
        "flag": pl.Boolean,
    }
    return pl.DataFrame(OF_ALL, schema=schema, orient="row").with_columns(
        n=pl.Series(numbers, dtype=pl.Int64)
    )


def most(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    beyond = beyond_most(rows, rows["n"], KEYS, limit)
    return rows if beyond is None else rows.remove(beyond)


def as_set(rows: pl.DataFrame) -> set[tuple[object, ...]]:
    return set(rows.rows())


@given(NUMBERS, st.integers(1, 20), st.randoms(use_true_random=False), st.booleans())
def test_they_are_the_first_of_all_in_order(
    numbers: list[int], limit: int, chance: random.Random, are_coded: bool
) -> None:
    rows = frame(numbers)[chance.sample(range(len(OF_ALL)), chance.randrange(len(OF_ALL)))]
    if are_coded:
        rows = coded(rows.lazy()).collect()
    in_order = rows.sort("n", *KEYS, descending=[True, False, False, False], nulls_last=True)
    assert as_set(most(rows, limit)) == as_set(in_order.group_by("event_date", "site").head(limit))


@given(NUMBERS, st.sets(st.sampled_from(range(len(OF_ALL)))), st.integers(1, 10), st.booleans())
def test_no_row_beyond_the_bounds_of_others_is_one_of_them(
    numbers: list[int], known: set[int], limit: int, are_coded: bool
) -> None:
    rows = frame(numbers)
    before = most(rows[sorted(known)], limit)
    others = rows[sorted(set(range(len(OF_ALL))) - known)]
    asked = coded(others.lazy()).collect() if are_coded else others
    beyond = beyond_bounds(asked, bounds(before, "n", "one", limit), "n", "one")
    left = others if beyond is None else others.remove(beyond)
    assert as_set(most(pl.concat([before, left]), limit)) == as_set(most(rows, limit))
