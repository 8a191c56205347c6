"""Visits: requests of one visitor with no gap of more than 30 minutes between them, as mergeable intervals.

What belongs here: joining intervals that are close enough. What does not: making visits of requests
(`request_visitors`), and what people see of them (`projections`).

Joining intervals is associative and commutative: whatever the order, in the end those are one that a chain of
gaps of at most 30 minutes links. The first page of two joined intervals is the earlier one by (time, file,
line), so it doesn't depend on the order either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel.codes import numbered, numbers_of, sorting
from pipeline_assets.kernel.groups import Groups, stretches

if TYPE_CHECKING:
    from pipeline_assets.kernel.words import Places

# All but the path say which page is first, and which is last.
_ENTRY: Final = ("entry_at", "entry_file", "entry_line", "entry_path")
_EXIT: Final = ("exit_at", "exit_file", "exit_line", "exit_path")
_SUMS: Final = ("pages", "hits", "bytes")
_US: Final = 1_000_000
GAP_US: Final = 30 * 60 * _US
_DAY_US: Final = 24 * 60 * 60 * _US
# More microseconds than a day and a gap have; so many visitors fit into 64 bits: 67 million.
_STRETCH: Final = 1 << 37


def join_intervals(intervals: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Intervals of the same `keys` (a UTC day is one) joined where at most 30 minutes lie between them."""
    visits = _visits(intervals, keys)
    if len(visits) == intervals.height:
        return intervals
    is_alone = visits.sizes == 1
    several = visits.only(~is_alone)
    joined = several.first_of(intervals.select(*keys, "started_at")).with_columns(
        # Several user agents may be cut to one.
        several.least(intervals["is_bot"]),
        several.most(intervals["ended_at"]),
        *(several.total(intervals[name]) for name in _SUMS),
        *intervals.select(_ENTRY)[_pages(intervals, several, _ENTRY, is_first=True)],
        *intervals.select(_EXIT)[_pages(intervals, several, _EXIT, is_first=False)],
    )
    # Most intervals of a day that is merged again are whole visits already.
    alone: pl.DataFrame = intervals[visits.first[is_alone]]
    return pl.concat([alone, joined.select(intervals.columns)], rechunk=True)


def _visits(intervals: pl.DataFrame, keys: Sequence[str]) -> Groups:
    """The intervals by visit, and those of a visit by their beginning."""
    import numpy as np

    visitor = numbered([numbers_of(intervals[key]) for key in keys])
    start, end = (intervals[name].cast(pl.Int64).to_numpy() for name in ("started_at", "ended_at"))
    # Most logs know no parts of a second, and then visitor and second fit into a number that sorts quickly.
    part = start if (start % _US).any() else start // _US
    order = sorting(numbered([pl.Series(visitor), numbers_of(pl.Series(part))]))
    visitor, start, end = visitor.take(order), start.take(order), end.take(order)
    # An interval begins a visit if it begins too long after all earlier ones of the same visitor have ended.
    # Each visitor has a stretch of numbers of its own, longer than a day, so one running maximum serves all.
    is_other = np.ones(len(order), np.bool_)
    is_other[1:] = visitor[1:] != visitor[:-1]
    midnight = intervals["event_date"].cast(pl.Int64).to_numpy().take(order) * _DAY_US
    base = np.cumsum(is_other) * _STRETCH - midnight
    begins = is_other
    begins[1:] |= (base + start)[1:] - np.maximum.accumulate(base + end)[:-1] > GAP_US
    return Groups(order, np.flatnonzero(begins))


def _pages(intervals: pl.DataFrame, visits: Groups, end: Sequence[str], *, is_first: bool) -> Places:
    """Of each visit the interval whose page at this end of it is its first, or its last.

    Of a visit without a page it is any: none of them has one.
    """
    import numpy as np

    at, file, line, _ = end
    limits = np.iinfo(np.int64)
    none = limits.max if is_first else limits.min
    moment = intervals[at].cast(pl.Int64).fill_null(none).to_numpy().take(visits.order)
    utmost = (np.minimum if is_first else np.maximum).reduceat(moment, visits.begins)
    places = np.flatnonzero(moment == utmost.take(visits.number))
    at_once = Groups(visits.order.take(places), stretches(visits.number.take(places)))
    found = at_once.first
    are_several = (at_once.sizes > 1) & (utmost != none)
    if are_several.any():
        some = at_once.only(are_several)
        rows = intervals.select(file, line)[some.order].with_columns(
            pl.Series("visit", some.number), pl.Series("row", some.order)
        )
        rows = rows.sort("visit", file, line, nulls_last=is_first)
        found[are_several] = (
            rows["row"].to_numpy().take(some.begins if is_first else some.begins + some.sizes - 1)
        )
    return found
