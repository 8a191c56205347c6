"""Of any number of rows of a site and day, those with most of something.

What belongs here: telling which rows are among so many with most, and which can't be, given those of before.
What does not: what is counted, and what becomes of the others (`projections`, `models.clients`).

Rows with as many of it are told apart by their keys, nulls last, so that it is the rows alone that say which
are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

_DAY: Final = ("event_date", "site")


def beyond_most(rows: pl.DataFrame, by: pl.Series, keys: Sequence[str], limit: int) -> pl.Series | None:
    """Whether each row is none of the `limit` of its site and day with most; None where all of them are.

    `by` says how much of it each has, a whole number.
    """
    crowded = rows.group_by(_DAY).len().filter(pl.col("len") > limit)
    if not crowded.height:
        return None
    places = []
    for day, site, _ in crowded.iter_rows():
        place = rows.select(_is_of(day, site)).to_series().arg_true()
        room = limit
        # By one after the other: few rows are asked about more than one, and to sort one takes a sixth of the
        # time that all take.
        for column in (-by, *(rows[key] for key in keys)):
            values = _comparable(column[place])
            edge = values.sort(nulls_last=True)[room - 1]
            # Nulls are last.
            is_before = values.is_not_null() if edge is None else (values < edge).fill_null(value=False)
            is_edge = values.eq_missing(pl.Series([edge], dtype=values.dtype))
            places.append(place.filter(~(is_before | is_edge)))
            room -= int(is_before.sum())
            place = place.filter(is_edge)
            if len(place) <= room:
                break
        else:
            places.append(place[room:])
    beyond = pl.zeros(rows.height, pl.UInt8, eager=True)
    return beyond.scatter(pl.concat(places), 1).cast(pl.Boolean)


def bounds(most: pl.DataFrame, by: str, key: str, limit: int) -> pl.DataFrame:
    """What a row needs to be among those with most, by day and site, where there are `limit` of them.

    It is the least number (`by`), and of the rows that have it the `last` key; where that is null, the number
    is enough.
    """
    last = pl.col(key).filter(pl.col(by) == pl.col(by).min())
    return (
        most.group_by(_DAY)
        .agg(pl.col(by).min(), pl.when(last.null_count() == 0).then(last.max()).alias("last"), pl.len())
        .filter(pl.col("len") >= limit)
        .drop("len")
    )


def beyond_bounds(rows: pl.DataFrame, found: pl.DataFrame, by: str, key: str) -> pl.Series | None:
    """Whether each row can't be among those with most, given `bounds`; None where there are none.

    `key` is the first one by which rows with as many of it are told apart. It may be coded.
    """
    text, number = pl.col(key).cast(pl.String), pl.col(by)
    beyond = []
    for day, site, least, last in found.iter_rows():
        is_later = (
            pl.lit(value=False) if last is None else (number == least) & (text.is_null() | (text > last))
        )
        beyond.append(_is_of(day, site) & ((number < least) | is_later))
    return rows.select(pl.any_horizontal(beyond)).to_series() if beyond else None


def _comparable(values: pl.Series) -> pl.Series:
    """Values with an order by themselves, which the engine has not for coded texts and truth values."""
    if isinstance(values.dtype, pl.Categorical):
        return values.cast(pl.String)
    return values.cast(pl.UInt8) if values.dtype == pl.Boolean else values


def _is_of(day: object, site: str | None) -> pl.Expr:
    return (pl.col("event_date") == pl.lit(day)) & pl.col("site").eq_missing(pl.lit(site, pl.String))
