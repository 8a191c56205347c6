"""What the models have said of the data at hand, as a few tables to judge them by.

What belongs here: adding up scores, incidents and profiles. What does not: reading or showing them, and
measuring against incidents that are known, which nobody has for their own logs (docs/model.md has made-up
ones).
"""

from __future__ import annotations

import polars as pl

from pipeline_assets.models.incidents import whole

_WEEK_HOURS = 7 * 24


def evaluated(
    scores: pl.LazyFrame, incidents: pl.LazyFrame, profiles: pl.LazyFrame
) -> dict[str, pl.DataFrame]:
    """Tables by name, from rows of `traffic_scores`, `incidents` and `client_profiles`.

    - `series`: of each, how many hours could be scored, how sure that was, how far a typical hour is from
    what was expected, and how many hours a week were anomalies. - `incidents`: by the series that leads and
    severity, how many and for how long. - `clients`: by kind, how many address-days, their requests, and
    what speaks for a scanner. - `bots`: by purpose and name, those with most requests.
    """
    known = pl.col("score").is_not_null()
    series = (
        scores.group_by("series")
        .agg(
            pl.len().alias("hours"),
            known.mean().round(3).alias("scored"),
            pl.col("confidence").filter(known).mean().round(2),
            pl.col("score").abs().median().round(2).alias("median_score"),
            pl.col("is_anomaly").sum().alias("anomalies"),
            (pl.col("is_anomaly").sum() * _WEEK_HOURS / pl.max_horizontal(known.sum(), 1))
            .round(2)
            .alias("anomalies_a_week"),
        )
        .sort("series")
    )
    found = (
        whole(incidents)
        .group_by("series", "severity")
        .agg(
            pl.len().alias("incidents"),
            pl.col("event_date").n_unique().alias("days"),
            pl.col("minutes").median().alias("median_minutes"),
            pl.col("distance").median().round(2).alias("median_distance"),
        )
        .sort("series", "severity")
    )
    clients = (
        profiles.group_by("kind")
        .agg(
            pl.len().alias("clients"),
            pl.col("hits", "failures").sum(),
            pl.col("points").median().alias("median_points"),
        )
        .sort("kind")
    )
    bots = (
        profiles.filter(kind="bot")
        .group_by("purpose", "name")
        .agg(pl.len().alias("clients"), pl.col("hits").sum())
        .sort("hits", "purpose", "name", descending=[True, False, False])
        .head(20)
    )
    names = ("series", "incidents", "clients", "bots")
    return dict(zip(names, pl.collect_all([series, found, clients, bots]), strict=True))
