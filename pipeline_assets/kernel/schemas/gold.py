"""Gold: mergeable rollups of one delivery, keyed by event time.

What belongs here: what is kept so that deliveries can meet in a day. What does not: what people query
(`serving`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel import sketches
from pipeline_assets.kernel.schemas.columns import (
    AGENT_COLUMNS,
    BYTES,
    ENDED_AT,
    EVENT_DATE,
    HITS,
    HOUR,
    IS_BOT,
    LINEAGE,
    MANNERS,
    METHOD,
    MINUTE,
    PAGES,
    PROTOCOL,
    REMOTE_HOST,
    SITE,
    STARTED_AT,
    STATUS,
    USER_AGENT,
)
from pipeline_assets.kernel.schemas.table import STRING, TIMESTAMP, Column, Table

_SOURCE_FILE = LINEAGE[0]
GOLD_TRAFFIC: Final = Table(
    "traffic",
    "gold",
    "Mergeable counts of requests by minute, site, status, bot, method and protocol.",
    (
        _SOURCE_FILE,
        EVENT_DATE,
        HOUR,
        MINUTE,
        SITE,
        STATUS,
        IS_BOT,
        METHOD,
        PROTOCOL,
        HITS,
        BYTES,
    ),
)
GOLD_VISITORS: Final = Table(
    "visitors",
    "gold",
    "Mergeable set of visitors (client address and user agent) by hour, site and status class, and, in rows"
    " without an hour, by the date as the log writes it.",
    (
        _SOURCE_FILE,
        Column("event_date", pl.Date(), "day of the event, UTC; without an hour, the date as written", False),
        Column("hour", pl.Int8(), "hour of the event, UTC; null in rows by the date as written"),
        SITE,
        Column("status_class", STRING, "1xx to 5xx, or other; null in rows by the date as written"),
        IS_BOT,
        REMOTE_HOST,
        USER_AGENT,
        *AGENT_COLUMNS,
        HITS,
        BYTES,
    ),
)
GOLD_VISITS: Final = Table(
    "visits",
    "gold",
    "Mergeable intervals of each visitor's requests, with no gap of more than 30 minutes inside, by UTC day.",
    (
        _SOURCE_FILE,
        EVENT_DATE,
        SITE,
        REMOTE_HOST,
        USER_AGENT,
        IS_BOT,
        STARTED_AT,
        ENDED_AT,
        Column("entry_at", TIMESTAMP, "time of the first page; null where the visit saw none"),
        Column("entry_file", STRING, "landed file of the first page: it breaks ties of time"),
        Column("entry_line", pl.Int64(), "its line in that file"),
        Column("entry_path", STRING, "path of the first page, its first 1,024 characters"),
        Column("exit_at", TIMESTAMP, "time of the last page"),
        Column("exit_file", STRING, "landed file of the last page"),
        Column("exit_line", pl.Int64(), "its line in that file"),
        Column("exit_path", STRING, "path of the last page, its first 1,024 characters"),
        PAGES,
        HITS,
        BYTES,
    ),
)
GOLD_COUNTS: Final = Table(
    "counts",
    "gold",
    "Mergeable counts by what is named in `aspect`: path (path, kind), not_found (path, referrer), referrer"
    " (kind, referrer, search phrase), bytes and duration_us (bucket of a histogram), file (landed file, and"
    " `vhost` where its lines say their site), error (level, module, template), line (fate, reason).",
    (
        _SOURCE_FILE,
        EVENT_DATE,
        SITE,
        Column("aspect", STRING, "what is counted", False),
        Column("key_1", STRING, "first key of the aspect"),
        Column("key_2", STRING, "second key of the aspect"),
        Column("key_3", STRING, "third key of the aspect"),
        Column("bucket", pl.Int16(), "bucket of a histogram (kernel.histograms)"),
        Column("hits", pl.Int64(), "requests, error entries or lines", False),
        Column("bytes", pl.Int64(), "bytes of the requests; in a histogram the sum of its measure", False),
        Column("failures", pl.Int64(), "requests with a status of 400 or more", False),
        Column("first_seen", TIMESTAMP, "earliest error entry, or request of a file"),
        Column("last_seen", TIMESTAMP, "latest error entry, or request of a file"),
    ),
)
GOLD_CLIENTS: Final = Table(
    "clients",
    "gold",
    "Mergeable counts of each client address by hour and site: its requests, how it asked, and its different"
    " paths as a set of hashes of bounded size.",
    (
        _SOURCE_FILE,
        EVENT_DATE,
        HOUR,
        SITE,
        REMOTE_HOST,
        HITS,
        *MANNERS,
        Column(
            "paths",
            sketches.SET,
            "the 128 smallest hashes (kernel.sketches) of the different paths that it asked for, without"
            " static files that were served",
            False,
        ),
        Column(
            "probes",
            sketches.SET,
            "the same of those paths that scanners ask for (kernel.probes)",
            False,
        ),
    ),
)
GOLD: Final = {
    table.name: table for table in (GOLD_TRAFFIC, GOLD_VISITORS, GOLD_VISITS, GOLD_CLIENTS, GOLD_COUNTS)
}
