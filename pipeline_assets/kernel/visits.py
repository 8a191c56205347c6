"""Visits: requests of one visitor with no gap of more than 30 minutes between them, as mergeable intervals.

What belongs here: joining intervals that are close enough. What does not: making visits of requests
(`request_rollups`), and what people see of them (`projections`).

Joining intervals is associative and commutative: whatever the order, in the end those are one that a chain of
gaps of at most 30 minutes links. The first page of two joined intervals is the earlier one by (time, file,
line), so it doesn't depend on the order either.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel.codes import brought_together
from pipeline_assets.kernel.schemas import GOLD_VISITS, TIMESTAMP

# All but the path say which page is first, and which is last.
_ENTRY: Final = ("entry_at", "entry_file", "entry_line", "entry_path")
_EXIT: Final = ("exit_at", "exit_file", "exit_line", "exit_path")
_SUMS: Final = ("pages", "hits", "bytes")
_JOINED: Final = ("is_bot", "started_at", "ended_at", *_ENTRY, *_EXIT, *_SUMS)
GAP_US: Final = 30 * 60 * 1_000_000
# More microseconds than a day and a gap have; so many visitors fit into 64 bits: 67 million.
_STRETCH: Final = 1 << 37


def join_intervals(intervals: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """Intervals of the same `keys` (a UTC day is one) joined where at most 30 minutes lie between them."""
    # Sorted by visitor, an interval begins a visit if it begins too long after all earlier ones of the same
    # visitor have ended. Each visitor has a stretch of numbers of its own, longer than a day, so one running
    # maximum serves all visitors: a window for each takes several times as long.
    visitor = pl.any_horizontal(pl.col(key).ne_missing(pl.col(key).shift(1)) for key in keys)
    base = visitor.fill_null(value=True).cast(pl.Int64).cum_sum() * _STRETCH
    begin, end = (base + _time_of_day(name) for name in ("started_at", "ended_at"))
    begins = (begin - end.cum_max().shift(1) > GAP_US).fill_null(value=True)
    numbered = (
        brought_together(intervals.collect(), [*keys, "started_at", "ended_at"])
        .lazy()
        .with_columns(begins=begins)
        .with_columns(
            visit=pl.col("begins").cum_sum(),
            is_alone=pl.col("begins") & pl.col("begins").shift(-1).fill_null(value=True),
        )
    )
    columns = [name for name in GOLD_VISITS.column_names if name in (*keys, *_JOINED)]
    # Most intervals of a day that is merged again are whole visits already.
    alone = numbered.filter("is_alone").select(columns)
    several = numbered.filter(~pl.col("is_alone"))
    visits = (
        several.sort("visit", *_ENTRY[:-1], nulls_last=True)
        .group_by("visit", maintain_order=True)
        .agg(
            *(pl.col(key).first() for key in keys),
            # Several user agents may be cut to one.
            pl.col("is_bot").min(),
            pl.col("started_at").min(),
            pl.col("ended_at").max(),
            *(pl.col(name).first() for name in _ENTRY),
            *(pl.col(name).sum() for name in _SUMS),
        )
    )
    exits = (
        several.filter(pl.col("exit_at").is_not_null())
        .sort("visit", *_EXIT[:-1])
        .group_by("visit", maintain_order=True)
        .agg(pl.col(name).last() for name in _EXIT)
    )
    joined = visits.join(exits, on="visit", how="left").select(columns)
    return pl.concat([alone, joined])


def _time_of_day(name: str) -> pl.Expr:
    """Microseconds since the midnight that the interval's day begins with."""
    return (pl.col(name) - pl.col("event_date").cast(TIMESTAMP)).dt.total_microseconds()
