"""Visits: requests of one visitor with no gap of more than 30 minutes between them, as mergeable intervals.

What belongs here: making visits of requests, and joining intervals that are close enough. What does not:
what people see of them (`projections`).

Joining intervals is associative and commutative: whatever the order, in the end those are one that a chain of
gaps of at most 30 minutes links. The first page of two joined intervals is the earlier one by (time, file,
line), so it doesn't depend on the order either.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel.codes import brought_together
from pipeline_assets.kernel.schemas import GOLD_VISITS, TIMESTAMP

_VISITOR: Final = ("event_date", "site", "remote_host", "user_agent")
# All but the path say which page is first, and which is last.
_ENTRY: Final = ("entry_at", "entry_file", "entry_line", "entry_path")
_EXIT: Final = ("exit_at", "exit_file", "exit_line", "exit_path")
_SUMS: Final = ("pages", "hits", "bytes")
_JOINED: Final = ("is_bot", "started_at", "ended_at", *_ENTRY, *_EXIT, *_SUMS)
_GAP_US: Final = 30 * 60 * 1_000_000
# More microseconds than a day and a gap have; so many visitors fit into 64 bits: 67 million.
_STRETCH: Final = 1 << 37
# Codes of texts are 32 bits wide, and there are never so many different ones.
_NO_CODE: Final = (1 << 32) - 1


def visits_of(requests: pl.LazyFrame) -> pl.LazyFrame:
    """The visits that the requests of each landed file make by themselves (columns: `schemas.GOLD_VISITS`).

    `requests` has the columns of silver `requests`, its texts coded (`codes`), `user_agent` and `path` as
    long as gold keeps them. It is `join_intervals` for requests, which are intervals of a moment: none ends
    after a later one.
    """
    keys = ("source_file", *_VISITOR)
    moment = pl.col("timestamp")
    # Address and user agent in one number, so that there are few keys to sort by.
    user_agent = pl.col("user_agent").to_physical().cast(pl.UInt64).fill_null(_NO_CODE)
    rows = requests.select(
        *keys,
        "is_bot",
        "timestamp",
        "line_number",
        "path",
        pl.col("bytes").fill_null(0),
        is_page=(pl.col("path_kind") == "page").fill_null(value=False),
        client=pl.col("remote_host").to_physical().cast(pl.UInt64) * (_NO_CODE + 1) + user_agent,
    ).collect()
    if not _is_in_order(rows):
        rows = rows.sort("source_file", "line_number")
    # Requests of one moment stay in the order of their lines.
    visitor = ["source_file", "site", "client"]
    rows = brought_together(rows, [*visitor, "timestamp"])
    is_next = (moment - moment.shift(1)).dt.total_microseconds() > _GAP_US
    is_another = (pl.col(key) != pl.col(key).shift(1) for key in (*visitor, "event_date"))
    begins = pl.any_horizontal(is_next, *is_another).fill_null(value=True)
    ordered = rows.with_columns(visit=begins.cum_sum().set_sorted()).with_columns(
        page=pl.when("is_page").then(pl.int_range(pl.len(), dtype=pl.Int64))
    )
    visits = (
        ordered.lazy()
        .group_by("visit", maintain_order=True)
        .agg(
            *(pl.col(key).first() for key in keys),
            pl.col("is_bot").first(),
            moment.first().alias("started_at"),
            moment.last().alias("ended_at"),
            pl.col("page").min().alias("entry"),
            pl.col("page").max().alias("exit"),
            pl.col("is_page").sum().cast(pl.Int64).alias("pages"),
            pl.len().cast(pl.Int64).alias("hits"),
            pl.col("bytes").sum(),
        )
        .collect()
    )
    seen = {"at": "timestamp", "file": "source_file", "line": "line_number", "path": "path"}
    pages = (
        ordered[column].gather(visits[end]).alias(f"{end}_{name}")
        for end in ("entry", "exit")
        for name, column in seen.items()
    )
    return visits.with_columns(*pages).lazy().select(GOLD_VISITS.column_names)


def _is_in_order(rows: pl.DataFrame) -> bool:
    """Whether rows of each file follow each other as its lines do, as they come from bronze."""
    goes_on = pl.col("source_file") == pl.col("source_file").shift(1)
    is_back = pl.col("line_number") < pl.col("line_number").shift(1)
    return not rows.select((goes_on & is_back).any()).item()


def join_intervals(intervals: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """Intervals of the same `keys` (a UTC day is one) joined where at most 30 minutes lie between them."""
    # Sorted by visitor, an interval begins a visit if it begins too long after all earlier ones of the same
    # visitor have ended. Each visitor has a stretch of numbers of its own, longer than a day, so one running
    # maximum serves all visitors: a window for each takes several times as long.
    visitor = pl.any_horizontal(pl.col(key).ne_missing(pl.col(key).shift(1)) for key in keys)
    base = visitor.fill_null(value=True).cast(pl.Int64).cum_sum() * _STRETCH
    begin, end = (base + _time_of_day(name) for name in ("started_at", "ended_at"))
    begins = (begin - end.cum_max().shift(1) > _GAP_US).fill_null(value=True)
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
            pl.col("is_bot").first(),
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
