"""What the traffic of some days makes unusual: the models are given what they need of serving.

What belongs here: which days are scored, and what is read for it. What does not: the scores themselves
(`models`), and writing them (`publish`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from pipeline_assets.compute.context import Context
from pipeline_assets.kernel.schemas import SERVING_TRAFFIC_MINUTELY, SERVING_VISITS_DAILY
from pipeline_assets.models.incidents import COMPARED_DAYS, explain, find_incidents, linked
from pipeline_assets.models.scoring import (
    BASELINE_DAYS,
    days_to_score,
    score_hours,
    score_minutes,
    sites_by_the_minute,
)
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.tables import read_table

# Visits that are in memory at once: 20 MB of them.
_VISITS_TOGETHER: Final = 300_000


@dataclass(frozen=True)
class Scored:
    """The days that were scored, and their rows of `traffic_scores` and `incidents`.

    `also` has, by table, days whose rows follow from those of the day before.
    """

    days: set[date]
    tables: dict[str, pl.DataFrame]
    also: dict[str, set[date]]


def score_days(context: Context, changed: Collection[date], fresh: pl.DataFrame) -> Scored:
    """Score the days that depend on the changed ones, whose hourly values are `fresh` and in serving already.

    The values of the other days are those that the scores of these days were made of. Whoever writes the
    scores must have opened its handles before this reads, and must write both tables for every day that was
    scored: then another publisher's change to any day that matters is a conflict.
    """
    store, threshold = context.store, context.anomaly_threshold
    candidates = days_to_score(changed)
    first, last = min(candidates) - timedelta(days=BASELINE_DAYS), max(candidates)
    stored = (
        read_table(store, "traffic_scores")
        .filter(pl.col("event_date").is_between(first, last), ~pl.col("event_date").is_in(list(changed)))
        .select(fresh.columns)
        .collect()
    )
    values = pl.concat([stored, fresh])
    present = candidates & set(values["event_date"].unique())
    scores = score_hours(values, present, threshold)
    sites = sites_by_the_minute(values, present)
    unusual = score_minutes(*_minutes(store, sites), values, sites, threshold)
    found = _explained(store, find_incidents(scores, unusual, threshold), scores)
    incidents, following = _linked(store, found, present, candidates)
    return Scored(present, {"traffic_scores": scores, "incidents": incidents}, {"incidents": following})


def _linked(
    store: Store, found: pl.DataFrame, days: set[date], candidates: set[date]
) -> tuple[pl.DataFrame, set[date]]:
    """The incidents of these days, linked over midnight; and the days after them that this changes.

    Candidates that were not scored have no data. Of other days is read only what may matter.
    """
    at_midnight = found.filter(pl.col("started_at").dt.hour() == 0)["event_date"].unique()
    before = {day - timedelta(days=1) for day in at_midnight} - days
    after = {day + timedelta(days=1) for day in days} - candidates
    if not before | after:
        return linked(found), set()
    near = read_table(store, "incidents").filter(pl.col("event_date").is_in(sorted(before | after)))
    stored = near.select(found.columns).collect()
    rows = linked(pl.concat([found, stored]))
    start = ["event_date", "site", "started_at"]
    changed = rows.join(stored, on=start, how="anti", nulls_equal=True).filter(
        pl.col("event_date").is_in(after)
    )
    following = set(changed["event_date"])
    return rows.filter(pl.col("event_date").is_in(sorted(days | following))), following


def _minutes(store: Store, days: Iterable[date]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Serving's minutes, and visits by the minute they begin in, of these days and of the 28 before each.

    Nothing is read for no days.
    """
    wanted = sorted({day - timedelta(days=back) for day in days for back in range(BASELINE_DAYS + 1)})
    traffic, visits = (
        read_table(store, table.name).filter(pl.col("event_date").is_in(wanted))
        if wanted
        else table.empty().lazy()
        for table in (SERVING_TRAFFIC_MINUTELY, SERVING_VISITS_DAILY)
    )
    begun = pl.col("started_at")
    slot = begun.dt.hour().cast(pl.Int32) * 60 + begun.dt.minute()
    by_minute = visits.group_by("event_date", slot.alias("slot"), "site").agg(visits=pl.len())
    minutes, arrivals = pl.collect_all([traffic, by_minute], engine="streaming")
    return minutes, arrivals


def _explained(store: Store, incidents: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The incidents with what changed inside; serving is read only where there are any."""
    if not incidents.height:
        return incidents
    days = sorted(
        {day - timedelta(days=back) for day in incidents["event_date"] for back in range(COMPARED_DAYS + 1)}
    )

    def rows(name: str, *columns: str) -> pl.LazyFrame:
        near = read_table(store, name).filter(pl.col("event_date").is_in(days))
        return near.select("event_date", "site", *columns)

    visits = rows("visits_daily", "started_at", "ended_at", "remote_host", "hits")
    if visits.select(pl.len()).collect().item() <= _VISITS_TOGETHER:
        # Read once for all incidents.
        visits = visits.collect().lazy()
    paths = rows("paths_daily", "path", "hits").collect()
    profiles = rows("client_profiles", "remote_host", "kind", "name", "reasons", "paths", "hits").collect()
    return explain(incidents, scores, visits, paths, profiles)
