"""Model: what was worked out from days that are complete.

What belongs here: scores, what they were measured against, and what was made of them. What does not: how
(`models`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel.schemas.columns import (
    BYTES,
    EVENT_DATE,
    HITS,
    HOUR,
    MANNERS,
    PAGES,
    REMOTE_HOST,
    SITE,
    USER_AGENT,
)
from pipeline_assets.kernel.schemas.table import STRING, TIMESTAMP, Column, Table

_SITE = Column("site", STRING, "virtual host, else the configured name; null for all sites together")
_SERIES = Column(
    "series",
    STRING,
    "hits, bytes, visitors (distinct pairs of client address and user agent), status_3xx, status_4xx,"
    " status_5xx, bot_share (of the requests), busiest_client_hits (requests of the one address that sent"
    " most), busiest_client_paths (different paths of the one address that asked for most, without static"
    " files that were served; above 128 an estimate); in incidents also visits (begun in the minute)",
    False,
)
_CONFIDENCE = Column("confidence", pl.Float64(), "share of the 21 days before that are known, 0 to 1", False)
MODEL_TRAFFIC_SCORES: Final = Table(
    "traffic_scores",
    "model",
    "Traffic of each hour, by site and in all, against what the 28 days before it lead one to expect.",
    (
        EVENT_DATE,
        HOUR,
        _SITE,
        _SERIES,
        Column("observed", pl.Float64(), "what was logged; null where a share has no requests"),
        Column("is_complete", pl.Boolean(), "the log covers the hour; else it is not scored", False),
        Column("expected", pl.Float64(), "what the days before lead one to expect; null without any"),
        Column("lower", pl.Float64(), "lower end of what is usual: so many spreads below, by the threshold"),
        Column("upper", pl.Float64(), "upper end of what is usual"),
        Column("score", pl.Float64(), "observed above (below) expected, in spreads"),
        _CONFIDENCE,
        Column("is_anomaly", pl.Boolean(), "the score passed the threshold, on a side that is news", False),
    ),
)
_CHANGE = pl.Struct({"kind": STRING, "what": STRING, "observed": pl.Float64(), "expected": pl.Float64()})
MODEL_INCIDENTS: Final = Table(
    "incidents",
    "model",
    "Anomalies of the traffic, by hour and by minute, put together to incidents: what is worth an alert. A"
    " row is one incident of a site on a day. One that goes on after midnight UTC has a row on both days,"
    " with the same start: site and `started_at` tell incidents apart.",
    (
        EVENT_DATE,
        _SITE,
        Column(
            "started_at", TIMESTAMP, "its first unusual minute, or hour, of this day or the one before", False
        ),
        Column("ended_at", TIMESTAMP, "end of its last unusual minute, or hour, of this day", False),
        Column("minutes", pl.Int64(), "from start to end", False),
        Column("series", STRING, "the series that is farthest from what is usual", False),
        Column("direction", STRING, "high or low", False),
        Column("also", pl.List(STRING), "other series that are unusual at that time", False),
        Column("lane", STRING, "by what the series was counted where it is farthest: minute or hour", False),
        Column("peak_at", TIMESTAMP, "the minute or hour that is farthest from what is usual", False),
        Column("observed", pl.Float64(), "what was logged in it", False),
        Column("expected", pl.Float64(), "what the days before lead one to expect", False),
        Column("lower", pl.Float64(), "lower end of what is usual", False),
        Column("upper", pl.Float64(), "upper end of what is usual", False),
        Column(
            "distance", pl.Float64(), "observed from expected, as a multiple of the way to that end", False
        ),
        Column("severity", STRING, "low, medium or high, by distance and length", False),
        _CONFIDENCE,
        Column(
            "changes",
            pl.List(_CHANGE),
            "what carries the difference: `kind` is status, site, client or path; `what` names one; observed"
            " and expected are requests: of a status or site in the hours of the incident, of a client in"
            " visits that touch it, of a path on the day; expected is the mean of up to seven days before. Of"
            " a client's different paths, where `series` is busiest_client_paths, both are of the day",
            False,
        ),
        Column(
            "clients",
            pl.List(
                pl.Struct({"remote_host": STRING, "kind": STRING, "name": STRING, "reasons": pl.List(STRING)})
            ),
            "the clients named in `changes`, as `client_profiles` judges them on the day",
        ),
    ),
)
MODEL_CLIENT_PROFILES: Final = Table(
    "client_profiles",
    "model",
    "Who each client address of a day is, and why. Of a site and day 10,000 clients: scanners first, then"
    " those with most requests.",
    (
        EVENT_DATE,
        SITE,
        REMOTE_HOST,
        Column("kind", STRING, "human, bot (one that says who it is), tool, or scanner", False),
        Column("name", STRING, "bot or tool by name, by the user agent that it used most"),
        Column(
            "purpose",
            STRING,
            "what the bot is for, by the tags of crawler-user-agents: search, ai, monitoring, feed, preview,"
            " seo, advertising, archive, academic, scanner, tool, other; null where the list has no such bot",
        ),
        Column(
            "verified",
            pl.Boolean(),
            "whether the address is one of the bot's (PIPELINE_BOT_RANGES); null where nobody has said which"
            " are",
        ),
        Column("points", pl.Int64(), "what speaks for a scanner, in points: from 5 on it is one", False),
        Column("reasons", pl.List(STRING), "what it was judged by", False),
        USER_AGENT,
        Column("user_agents", pl.Int64(), "distinct user agents that it used", False),
        HITS,
        BYTES,
        Column("failures", pl.Int64(), "requests answered with 4xx", False),
        PAGES,
        Column(
            "paths",
            pl.Int64(),
            "different paths that it asked for, without static files that were served; above 128 an estimate"
            " that is more than 9 percent off for one in three",
        ),
        Column("visits", pl.Int64(), "visits", False),
        Column(
            "probes",
            pl.Int64(),
            "different paths that scanners ask for (kernel.probes); those that a site may have only where it"
            " answered with 4xx",
            False,
        ),
        *MANNERS,
        Column("asked_robots", pl.Boolean(), "a visit began with /robots.txt"),
    ),
)
MODEL: Final = {table.name: table for table in (MODEL_TRAFFIC_SCORES, MODEL_INCIDENTS, MODEL_CLIENT_PROFILES)}
