"""Traffic anomalies: each hour of a site against what the 28 days before it lead one to expect.

What belongs here: the score, as a pure function of an hour and of the days before it, so that a backfill, a
batch and a live run give the same numbers. What does not: when a day is scored, or who is told.

The method is the median of the same hour over the earlier days and the median absolute deviation around it
(Hampel's identifier: Davies and Gather, "The identification of multiple outliers", JASA 88, 1993). Both
ignore up to half of the days being odd, so yesterday's incident doesn't become today's expectation.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

import polars as pl

from pipeline_assets.kernel.schemas import MODEL_TRAFFIC_SCORES

BASELINE_DAYS: Final = 28
# With fewer earlier days a median says little, and the score stays null.
MINIMUM_DAYS: Final = 7
# Makes the median absolute deviation of normal noise equal to its standard deviation.
_MAD_TO_SIGMA: Final = 1.4826


def days_to_score(changed: Iterable[date]) -> set[date]:
    """The days whose scores depend on these days: themselves and the 28 after each."""
    return {day + timedelta(days=ahead) for day in changed for ahead in range(BASELINE_DAYS + 1)}


def score_traffic(traffic: pl.DataFrame, days: Iterable[date], threshold: float) -> pl.DataFrame:
    """Scores of these days (columns: `schemas.MODEL_TRAFFIC_SCORES`), sorted by day, hour and site.

    `traffic` holds rows of `traffic_hourly` for these days and the 28 before each. Within a day, the hours
    between its first and last logged hour are known, so an hour without a row of a site seen that day had no
    hits; a day, or the rest of a day, that was not delivered is no data and is neither scored nor learned
    from. `threshold` is in robust standard deviations.
    """
    known = _known_hours(traffic)
    targets = known.filter(pl.col("event_date").is_in(sorted(set(days))))
    baseline = (
        targets.select("event_date", "hour", "site")
        .join(pl.DataFrame({"ahead": range(1, BASELINE_DAYS + 1)}, schema={"ahead": pl.Int64}), how="cross")
        .with_columns(earlier=pl.col("event_date") - pl.duration(days="ahead"))
        .join(known.rename({"event_date": "earlier", "hits": "earlier_hits"}), on=["earlier", "hour", "site"])
        .with_columns(expected=pl.col("earlier_hits").median().over("event_date", "hour", "site"))
        .group_by("event_date", "hour", "site")
        .agg(
            pl.col("expected").first().alias("expected_hits"),
            (pl.col("earlier_hits") - pl.col("expected")).abs().median().alias("mad"),
            pl.len().cast(pl.Int32).alias("baseline_days"),
        )
    )
    enough = pl.col("baseline_days") >= MINIMUM_DAYS
    # Counts are at least as noisy as a Poisson process, whose deviation is the square root of its mean: a
    # quiet hour that happened to be equal every day is not a licence to alarm at the next single hit.
    spread = pl.max_horizontal(_MAD_TO_SIGMA * pl.col("mad"), pl.col("expected_hits").sqrt(), pl.lit(1.0))
    return (
        targets.join(baseline, on=["event_date", "hour", "site"], how="left")
        .with_columns(pl.col("baseline_days").fill_null(0))
        .with_columns(
            expected_hits=pl.when(enough).then("expected_hits"),
            spread_hits=pl.when(enough).then(spread),
        )
        .with_columns(score=(pl.col("hits") - pl.col("expected_hits")) / pl.col("spread_hits"))
        .with_columns(is_anomaly=(pl.col("score").abs() >= threshold).fill_null(False))
        .select(MODEL_TRAFFIC_SCORES.column_names)
        .cast(MODEL_TRAFFIC_SCORES.schema)
        .sort("event_date", "hour", "site")
    )


def _known_hours(traffic: pl.DataFrame) -> pl.DataFrame:
    """Hits by (day, hour, site) for every hour that is known, quiet ones included."""
    hits = traffic.group_by("event_date", "hour", "site").agg(pl.col("hits").sum())
    hours = (
        traffic.group_by("event_date")
        .agg(pl.int_ranges(pl.col("hour").min(), pl.col("hour").max() + 1, dtype=pl.Int8).alias("hour"))
        .explode("hour", empty_as_null=False)
    )
    sites = traffic.select("event_date", "site").unique()
    grid = hours.join(sites, on="event_date")
    return grid.join(hits, on=["event_date", "hour", "site"], how="left").with_columns(
        pl.col("hits").fill_null(0)
    )
