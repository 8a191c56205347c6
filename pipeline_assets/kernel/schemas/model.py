"""Model: what was worked out from serving.

What belongs here: scores, and what they were measured against. What does not: how (`models`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel.schemas.columns import EVENT_DATE, HITS, HOUR, SITE
from pipeline_assets.kernel.schemas.table import Column, Table

MODEL_TRAFFIC_SCORES: Final = Table(
    "traffic_scores",
    "model",
    "Hourly traffic of each site against what the 28 days before it lead one to expect.",
    (
        EVENT_DATE,
        HOUR,
        SITE,
        HITS,
        Column("expected_hits", pl.Float64(), "median of the same hour over the 28 days before"),
        Column("spread_hits", pl.Float64(), "robust standard deviation around it"),
        Column("baseline_days", pl.Int32(), "days of those 28 that had data for the site", False),
        Column("score", pl.Float64(), "hits above (below) expected, in spreads; null without a baseline"),
        Column("is_anomaly", pl.Boolean(), "the score passed the threshold", False),
    ),
)
MODEL: Final = {table.name: table for table in (MODEL_TRAFFIC_SCORES,)}
