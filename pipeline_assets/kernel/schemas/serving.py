"""Serving: the tables that people query, complete by event day.

What belongs here: what each of their columns means, and the source of its definition. What does not: scores
(`model`) and records of the pipeline's own work (`records`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel.schemas.columns import (
    AGENT_COLUMNS,
    BYTES,
    ENDED_AT,
    EVENT_DATE,
    HITS,
    HOUR,
    IS_BOT,
    METHOD,
    MINUTE,
    PAGES,
    PROTOCOL,
    REFERRER_HOST,
    REFERRER_KIND,
    REMOTE_HOST,
    SEARCH_PHRASE,
    SITE,
    STARTED_AT,
    STATUS,
    STATUS_CLASS,
    USER_AGENT,
)
from pipeline_assets.kernel.schemas.table import STRING, TIMESTAMP, Column, Table

_VISITORS = Column("visitors", pl.Int64(), "distinct pairs of client address and user agent", False)
_FAILURES = Column(
    "failures",
    pl.Int64(),
    "those of them answered with a status of 400 or more (RFC 9110, section 15)",
    False,
)
# A table by text that clients choose has so many rows a site and day at most; see `projections.ROW_LIMIT`.
_LIMITED: Final = (
    " Of a site and day the 10,000 rows with most hits; the others are one row, whose keys are null."
)
SERVING_TRAFFIC_HOURLY: Final = Table(
    "traffic_hourly",
    "serving",
    "Requests, bytes and visitors by hour.",
    (EVENT_DATE, HOUR, SITE, STATUS_CLASS, IS_BOT, HITS, BYTES, _VISITORS),
)
SERVING_TRAFFIC_MINUTELY: Final = Table(
    "traffic_minutely",
    "serving",
    "Requests and bytes by minute; a minute without requests has no row.",
    (EVENT_DATE, HOUR, MINUTE, SITE, STATUS_CLASS, IS_BOT, HITS, BYTES),
)
SERVING_VISITORS_DAILY: Final = Table(
    "visitors_daily",
    "serving",
    "Visitors of a day, which can't be added up from the hours: by our definition, and by GoAccess's, whose"
    " day is the date as the log writes it. Where a log's zone is not UTC, a day may have only the latter.",
    (
        EVENT_DATE,
        SITE,
        HITS,
        BYTES,
        _VISITORS,
        Column("bot_visitors", pl.Int64(), "those of them that are bots", False),
        Column(
            "visitors_goaccess",
            pl.Int64(),
            "unique visitors of GoAccess 1.7 (its manual): distinct client address, date as written in the"
            " log and user agent, requests answered with 4xx left out; `event_date` is that date",
            False,
        ),
    ),
)
SERVING_STATUS_DAILY: Final = Table(
    "status_daily",
    "serving",
    "Requests and bytes by HTTP status.",
    (EVENT_DATE, SITE, STATUS, HITS, BYTES),
)
SERVING_METHODS_DAILY: Final = Table(
    "methods_daily",
    "serving",
    "Requests and bytes by method and protocol.",
    (EVENT_DATE, SITE, METHOD, PROTOCOL, HITS, BYTES),
)
SERVING_PATHS_DAILY: Final = Table(
    "paths_daily",
    "serving",
    "Requests by path, without its query; garbage requests have none." + _LIMITED,
    (
        EVENT_DATE,
        SITE,
        Column("path", STRING, "path as requested, without query, its first 1,024 characters"),
        Column(
            "kind",
            STRING,
            "static where the path ends like a static file (GoAccess's `static-file`), else page",
        ),
        HITS,
        BYTES,
        _FAILURES,
    ),
)
SERVING_NOT_FOUND_DAILY: Final = Table(
    "not_found_daily",
    "serving",
    "Requests answered with 404 (RFC 9110, section 15.5.5), by path and by the page that led there."
    + _LIMITED,
    (
        EVENT_DATE,
        SITE,
        Column("path", STRING, "path that was not found, its first 1,024 characters"),
        Column(
            "referrer", STRING, "Referer without query, its first 1,024 characters; null where there is none"
        ),
        HITS,
        BYTES,
    ),
)
SERVING_REFERRERS_DAILY: Final = Table(
    "referrers_daily",
    "serving",
    "Requests by where they came from: Referer (RFC 9110, section 10.1.3) and, from search engines that still"
    " send it, the phrase searched for (query parameters as in AWStats's list of search engines)." + _LIMITED,
    (
        EVENT_DATE,
        SITE,
        Column("kind", STRING, REFERRER_KIND.description),
        Column("host", STRING, REFERRER_HOST.description),
        Column("referrer", STRING, "Referer without query and fragment, its first 1,024 characters"),
        Column("search_phrase", STRING, SEARCH_PHRASE.description),
        HITS,
        BYTES,
    ),
)
SERVING_AGENTS_DAILY: Final = Table(
    "agents_daily",
    "serving",
    "Requests and visitors by browser, operating system, device class and bot." + _LIMITED,
    (
        EVENT_DATE,
        SITE,
        Column("is_bot", pl.Boolean(), IS_BOT.description),
        *AGENT_COLUMNS[:-1],
        Column("device", STRING, AGENT_COLUMNS[-1].description),
        HITS,
        BYTES,
        _VISITORS,
    ),
)
SERVING_CLIENTS_DAILY: Final = Table(
    "clients_daily",
    "serving",
    "Requests by client address." + _LIMITED,
    (
        EVENT_DATE,
        SITE,
        Column("remote_host", STRING, REMOTE_HOST.description),
        Column("is_bot", pl.Boolean(), IS_BOT.description),
        HITS,
        BYTES,
        _FAILURES,
        Column("agents", pl.Int64(), "distinct user agents that it used", False),
    ),
)
SERVING_VISITS_DAILY: Final = Table(
    "visits_daily",
    "serving",
    "A row is a visit: requests of one visitor (client address and user agent) to a site, each no more than"
    " 30 minutes after the one before (Matomo's default), cut at midnight UTC.",
    (
        EVENT_DATE,
        SITE,
        REMOTE_HOST,
        USER_AGENT,
        IS_BOT,
        STARTED_AT,
        ENDED_AT,
        Column("duration_s", pl.Int64(), "seconds from its first to its last request", False),
        Column(
            "entry_path",
            STRING,
            "first page (AWStats: Entry), ties broken by (time, file, line); null where it saw none",
        ),
        Column("exit_path", STRING, "last page (AWStats: Exit), ties broken by (time, file, line)"),
        PAGES,
        HITS,
        BYTES,
    ),
)
SERVING_SIZES_AND_TIMES_DAILY: Final = Table(
    "sizes_and_times_daily",
    "serving",
    "Distribution of response sizes and, where the log has them, of times to serve. The buckets are those of"
    " HdrHistogram, 16 to each power of two, so a quantile is at most 3.2 percent off.",
    (
        EVENT_DATE,
        SITE,
        Column("measure", STRING, "bytes (of the response body), or duration_us (microseconds)", False),
        Column("hits", pl.Int64(), "requests that have the measure", False),
        Column("total", pl.Int64(), "sum of the measure over them", False),
        *(
            Column(f"p{percent}", pl.Int64(), f"{percent} percent of them have no more than this", False)
            for percent in (50, 90, 95, 99)
        ),
        Column("bucket_upper", pl.List(pl.Int64()), "largest value of each bucket that is not empty", False),
        Column("bucket_hits", pl.List(pl.Int64()), "requests in that bucket", False),
    ),
)
SERVING_ERRORS_DAILY: Final = Table(
    "errors_daily",
    "serving",
    "Error-log entries by what their messages have in common." + _LIMITED.replace("hits", "entries"),
    (
        EVENT_DATE,
        SITE,
        Column("level", STRING, "severity as logged (Apache: LogLevel; nginx: error_log)"),
        Column("module", STRING, "Apache module that wrote it"),
        Column(
            "template",
            STRING,
            "first line of the message with numbers, addresses, paths and quoted text masked",
        ),
        Column("entries", pl.Int64(), "entries", False),
        Column("first_seen", TIMESTAMP, "earliest of them", False),
        Column("last_seen", TIMESTAMP, "latest of them", False),
    ),
)
SERVING_QUALITY_DAILY: Final = Table(
    "quality_daily",
    "serving",
    "Lines of landed files by what became of them. Lines without a time count on the day of their file's"
    " earliest event, else on the day of its folder; a file with neither stands in the ledger alone.",
    (
        EVENT_DATE,
        SITE,
        Column("fate", STRING, "parsed, continuation, rejected, blank or comment", False),
        Column(
            "reason",
            STRING,
            "of a rejected line, why; malformed_request where a parsed request is garbage; else null",
        ),
        Column("lines", pl.Int64(), "lines", False),
    ),
)
SERVING: Final = {
    table.name: table
    for table in (
        SERVING_TRAFFIC_HOURLY,
        SERVING_TRAFFIC_MINUTELY,
        SERVING_VISITORS_DAILY,
        SERVING_STATUS_DAILY,
        SERVING_METHODS_DAILY,
        SERVING_PATHS_DAILY,
        SERVING_NOT_FOUND_DAILY,
        SERVING_REFERRERS_DAILY,
        SERVING_AGENTS_DAILY,
        SERVING_CLIENTS_DAILY,
        SERVING_VISITS_DAILY,
        SERVING_SIZES_AND_TIMES_DAILY,
        SERVING_ERRORS_DAILY,
        SERVING_QUALITY_DAILY,
    )
}
