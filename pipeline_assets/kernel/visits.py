"""Visits: requests of one visitor with no gap of more than 30 minutes between them, as mergeable intervals.

What belongs here: making visits of requests, and joining intervals that are close enough. What does not:
what people see of them (`projections`).

Joining intervals is associative and commutative: whatever the order, in the end those are one that a chain of
gaps of at most 30 minutes links. The first page of two joined intervals is the earlier one by (time, file,
line), so it doesn't depend on the order either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel.codes import brought_together, numbered, sorting
from pipeline_assets.kernel.schemas import GOLD_VISITS, TIMESTAMP

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_VISITOR: Final = ("event_date", "site", "remote_host", "user_agent")
# All but the path say which page is first, and which is last.
_ENTRY: Final = ("entry_at", "entry_file", "entry_line", "entry_path")
_EXIT: Final = ("exit_at", "exit_file", "exit_line", "exit_path")
_SUMS: Final = ("pages", "hits", "bytes")
_JOINED: Final = ("is_bot", "started_at", "ended_at", *_ENTRY, *_EXIT, *_SUMS)
_GAP_US: Final = 30 * 60 * 1_000_000
# More microseconds than a day and a gap have; so many visitors fit into 64 bits: 67 million.
_STRETCH: Final = 1 << 37


def visits_of(requests: pl.LazyFrame) -> pl.LazyFrame:
    """The visits that the requests of each landed file make by themselves (columns: `schemas.GOLD_VISITS`).

    `requests` has the columns of silver `requests`, its texts coded (`codes`), `user_agent` and `path` as
    long as gold keeps them. It is `join_intervals` for requests, which are intervals of a moment: none ends
    after a later one.
    """
    import numpy as np

    rows = requests.select(
        *("source_file", *_VISITOR, "is_bot", "timestamp", "line_number", "path"),
        pl.col("bytes").fill_null(0),
        is_page=(pl.col("path_kind") == "page").fill_null(value=False),
    ).collect()
    if not rows.height:
        return GOLD_VISITS.empty().lazy().cast({pl.String: rows.schema["path"]})
    moment, day = (rows[name].to_physical().to_numpy() for name in ("timestamp", "event_date"))
    visitor = numbered([rows[name] for name in ("source_file", "site", "remote_host", "user_agent")])
    # Each visitor's requests by time, and those of one moment in the order of their lines. They come nearly
    # so, and then a stable sort is little more than a look at them.
    order = np.argsort(rows["line_number"].to_numpy(), kind="stable")
    order = order[np.argsort(moment[order], kind="stable")]
    order = order[sorting(visitor[order])]
    moment, visitor, day = moment[order], visitor[order], day[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (visitor[1:] != visitor[:-1]) | (day[1:] != day[:-1]) | (moment[1:] - moment[:-1] > _GAP_US)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(order)) - 1
    is_page = rows["is_page"].to_numpy()[order]
    place = np.arange(len(order))
    pages = np.add.reduceat(is_page.astype(np.int64), first)
    # Of a visit without a page these are places of no meaning, and it has neither end.
    entry = np.minimum.reduceat(np.where(is_page, place, len(order) - 1), first)
    leaving = np.maximum.reduceat(np.where(is_page, place, 0), first)
    has_page = pl.Series(pages > 0)
    return (
        rows.select("source_file", *_VISITOR, "is_bot")[order[first]]
        .lazy()
        .with_columns(
            *_page_of(rows, "entry", order[entry], has_page),
            *_page_of(rows, "exit", order[leaving], has_page),
            started_at=rows["timestamp"].gather(order[first]),
            ended_at=rows["timestamp"].gather(order[last]),
            pages=pl.Series(pages),
            hits=pl.Series(last - first + 1),
            bytes=pl.Series(np.add.reduceat(rows["bytes"].to_numpy()[order], first)),
        )
        .select(GOLD_VISITS.column_names)
    )


def _page_of(
    rows: pl.DataFrame, end: str, at: npt.NDArray[np.int64], has_page: pl.Series
) -> Iterator[pl.Series]:
    """What is kept of the requests at these places, as one end of each visit; nulls where it has no page."""
    places = pl.select(pl.when(has_page).then(pl.Series(at))).to_series()
    seen = {"at": "timestamp", "file": "source_file", "line": "line_number", "path": "path"}
    return (rows[column].gather(places).alias(f"{end}_{name}") for name, column in seen.items())


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
