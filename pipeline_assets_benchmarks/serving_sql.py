"""The serving tables that SQL can express, from a landed Combined log, by DuckDB.

What belongs here: the script, in DuckDB's own best way. What does not: typed rows (`sql`), and running it
(`contestants`).

Tables and columns are those of serving, but for what takes more than SQL: agents by name, whether a Referer
is of the site's own or a search engine, phrases searched for, and what became of each line. What a bot is
takes a regular expression, where the pipeline has two lists of patterns; there is one site; all rows are
kept, not the 10,000 of a day with most hits; the distribution of sizes is its buckets. Requests of one moment
are in any order, for no line has a number.

Texts are looked at as seldom as possible: visitors are numbered, and what is asked of a text is asked once a
group. Tried and not kept, for it takes no less: to number targets, too, and to keep visits by their texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pipeline_assets.kernel.clean import STATIC_FILE
from pipeline_assets.kernel.visits import GAP_US
from pipeline_assets_benchmarks.sql import duckdb_parquet, duckdb_rows

_BOT: Final = "bot|crawl|spider|curl|wget|python"
# The same of a target that may have a query: it takes a fifth less than to cut that off first.
_STATIC_TARGET: Final = STATIC_FILE.replace(r"\.", r"^[^?#]*\.", 1).replace("$", "(?:[?#]|$)")
_COUNTS: Final = "count(*) AS hits, coalesce(sum(bytes), 0) AS bytes"
_SUMS: Final = "sum(hits) AS hits, sum(bytes) AS bytes"
_FAILURES: Final = "count(*) FILTER (status >= 400) AS failures"
_STATUS_CLASS: Final = "CASE WHEN status BETWEEN 100 AND 599 THEN status // 100 || 'xx' ELSE 'other' END"
_BUCKET: Final = "CASE WHEN bytes < 16 THEN bytes ELSE CAST(floor(log2(bytes) * 16) AS INTEGER) END"

_WORK: Final = f"""
    CREATE TEMP TABLE visitors AS
        WITH agents AS (
            SELECT user_agent, coalesce(regexp_matches(user_agent, '{_BOT}', 'i'), false) AS is_bot
            FROM (SELECT DISTINCT user_agent FROM entries)
        )
        SELECT CAST(row_number() OVER () AS INTEGER) AS visitor, remote_host, pairs.user_agent, is_bot
        FROM (SELECT DISTINCT remote_host, user_agent FROM entries) AS pairs
        JOIN agents ON pairs.user_agent IS NOT DISTINCT FROM agents.user_agent;
    CREATE TEMP TABLE rows AS
        SELECT entries.* EXCLUDE (remote_host, user_agent), CAST("timestamp" AS DATE) AS event_date,
            visitor, is_bot
        FROM entries JOIN visitors
            ON entries.remote_host = visitors.remote_host
            AND entries.user_agent IS NOT DISTINCT FROM visitors.user_agent;
    DROP TABLE entries;
    CREATE TEMP TABLE minutes AS
        SELECT date_trunc('minute', "timestamp") AS moment, status, is_bot, {_COUNTS} FROM rows GROUP BY ALL
"""
_TABLES: Final = {
    "traffic_minutely": f"""
        SELECT CAST(moment AS DATE) AS event_date, hour(moment) AS hour, minute(moment) AS minute,
            {_STATUS_CLASS} AS status_class, is_bot, {_SUMS}
        FROM minutes GROUP BY ALL""",
    "traffic_hourly": f"""
        SELECT event_date, hour("timestamp") AS hour, {_STATUS_CLASS} AS status_class, is_bot, {_COUNTS},
            count(DISTINCT visitor) AS visitors
        FROM rows GROUP BY ALL""",
    "status_daily": f"SELECT CAST(moment AS DATE) AS event_date, status, {_SUMS} FROM minutes GROUP BY ALL",
    "methods_daily": f'SELECT event_date, "method", protocol, {_COUNTS} FROM rows GROUP BY ALL',
    "visitors_daily": f"""
        WITH ours AS (
            SELECT event_date, {_COUNTS}, count(DISTINCT visitor) AS visitors,
                count(DISTINCT visitor) FILTER (is_bot) AS bot_visitors
            FROM rows GROUP BY event_date
        ), goaccess AS (
            SELECT written_date AS event_date, count(DISTINCT visitor) AS visitors_goaccess
            FROM rows WHERE status NOT BETWEEN 400 AND 499 GROUP BY written_date
        )
        SELECT * FROM ours FULL JOIN goaccess USING (event_date)""",
    "paths_daily": f"""
        WITH asked AS (
            SELECT event_date, target, {_COUNTS}, {_FAILURES} FROM rows GROUP BY event_date, target
        )
        SELECT event_date, regexp_extract(target, '^[^?#]*') AS path,
            CASE WHEN regexp_matches(path, '{STATIC_FILE}') THEN 'static' ELSE 'page' END AS kind,
            {_SUMS}, sum(failures) AS failures
        FROM asked GROUP BY event_date, path""",
    "not_found_daily": f"""
        WITH asked AS (
            SELECT event_date, target, referer, {_COUNTS} FROM rows WHERE status = 404 GROUP BY ALL
        )
        SELECT event_date, regexp_extract(target, '^[^?#]*') AS path,
            regexp_extract(referer, '^[^?#]*') AS referrer, {_SUMS}
        FROM asked GROUP BY ALL""",
    "referrers_daily": f"""
        WITH said AS (SELECT event_date, referer, {_COUNTS} FROM rows GROUP BY event_date, referer)
        SELECT event_date, regexp_extract(referer, '^[a-z]+://([^/:?#]+)', 1) AS host,
            regexp_extract(referer, '^[^?#]*') AS referrer, {_SUMS}
        FROM said GROUP BY ALL""",
    "clients_daily": f"""
        WITH seen AS (
            SELECT event_date, visitor, {_COUNTS}, {_FAILURES} FROM rows GROUP BY event_date, visitor
        )
        SELECT event_date, remote_host, is_bot, {_SUMS}, sum(failures) AS failures, count(*) AS agents
        FROM seen JOIN visitors USING (visitor) GROUP BY event_date, remote_host, is_bot""",
    "sizes_daily": f"""
        SELECT event_date, {_BUCKET} AS bucket, {_COUNTS} FROM rows WHERE bytes IS NOT NULL GROUP BY ALL""",
    "visits_daily": f"""
        WITH asked AS (
            SELECT visitor, event_date, CAST(epoch("timestamp") AS BIGINT) AS moment, bytes,
                CASE WHEN NOT regexp_matches(target, '{_STATIC_TARGET}') THEN target END AS page
            FROM rows
        ), marked AS (
            SELECT *, moment - lag(moment, 1, 0) OVER its_own > {GAP_US // 1_000_000} AS begins
            FROM asked WINDOW its_own AS (PARTITION BY visitor, event_date ORDER BY moment)
        ), numbered AS (
            SELECT *, max(CASE WHEN begins THEN moment END) OVER its_own AS visit
            FROM marked WINDOW its_own AS (PARTITION BY visitor, event_date ORDER BY moment)
        ), visits AS (
            SELECT event_date, visitor, make_timestamp(min(moment) * 1000000) AS started_at,
                make_timestamp(max(moment) * 1000000) AS ended_at, max(moment) - min(moment) AS duration_s,
                arg_min(page, moment) AS entry, arg_max(page, moment) AS exit, count(page) AS pages, {_COUNTS}
            FROM numbered GROUP BY event_date, visitor, visit
        )
        SELECT visits.* EXCLUDE (visitor, entry, exit), remote_host, user_agent, is_bot,
            regexp_extract(entry, '^[^?#]*') AS entry_path, regexp_extract(exit, '^[^?#]*') AS exit_path
        FROM visits JOIN visitors USING (visitor)""",
}


def duckdb_serving(source: Path, folder: Path) -> list[str]:
    """The statements, in order: one reading of the log, and a Parquet file in the folder for each table."""
    entries = f"""
        CREATE TEMP TABLE entries AS
            SELECT remote_host, user_agent, "timestamp", written_date, "method", target, protocol, status,
                bytes, referer
            FROM ({duckdb_rows(source)})
    """
    tables = (
        f"COPY ({query}) {duckdb_parquet(folder / f'{name}.parquet')}" for name, query in _TABLES.items()
    )
    return [entries, *_WORK.split(";"), *tables]
