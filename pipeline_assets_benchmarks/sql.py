"""The SQL of the peers that are engines: from a landed Combined log to typed Parquet, or to serving tables.

What belongs here: each engine's own best way, as found by trying several of its functions and settings on the
corpus. What does not: running them (`contestants`), and what came out (`truth`).

Rows have the columns `remote_host, identity, user, timestamp (UTC), method, target, protocol, status, bytes,
referer, user_agent`; what a log writes as `-` is null. The request line is kept in its three parts alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

# Combined (httpd.apache.org/docs/current/logs.html), with escaped quotes inside of quoted fields.
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_COMBINED: Final = (
    rf"^(\S+) (\S+) (\S+) \[([^ \]]+) ([+-]\d{{4}})\] {_QUOTED} (\d{{3}}) (\d+|-) {_QUOTED} {_QUOTED}$"
)
_NAMES: Final = "h,i,u,t,z,r,s,b,f,a"


def duckdb_csv(source: Path, target: Path) -> str:
    """The CSV reader on spaces and quotes: three times as fast as a regular expression.

    Types and dates are the reader's own; a line that doesn't fit them is left out without a word.
    """
    return f"COPY ({_duckdb_rows(source)}) {_duckdb_parquet(target)}"


def duckdb_regex(source: Path, target: Path) -> str:
    """One regular expression a line."""
    names = ", ".join(f"'{name}'" for name in _NAMES.split(","))
    return f"""
        COPY (
            SELECT m.h AS remote_host, nullif(m.i, '-') AS "identity", nullif(m.u, '-') AS "user",
                try_strptime(m.t, '%d/%b/%Y:%H:%M:%S') - {_duckdb_offset("m.z")} AS "timestamp",
                split_part(m.r, ' ', 1) AS "method", split_part(m.r, ' ', 2) AS target,
                split_part(m.r, ' ', 3) AS protocol, m.s::SMALLINT AS status,
                try_cast(m.b AS BIGINT) AS bytes, nullif(m.f, '-') AS referer, nullif(m.a, '-') AS user_agent
            FROM (
                SELECT regexp_extract(line, '{_COMBINED}', [{names}]) AS m
                FROM read_csv('{source}', delim='\x01', quote='', escape='', header=false, auto_detect=false,
                    ignore_errors=true, columns={{line: 'VARCHAR'}})
            )
            WHERE m.h <> '' AND try_strptime(m.t, '%d/%b/%Y:%H:%M:%S') IS NOT NULL
        ) {_duckdb_parquet(target)}
    """


def chdb_split(source: Path, target: Path) -> str:
    """Each line split at its quotes, and what is between them at its spaces."""
    # Dates: `makeDateTime` of six substrings is slower, and takes 31 February for 2 March.
    return f"""
        WITH splitByChar('"', line) AS p, splitByChar(' ', p[1]) AS a, splitByChar(' ', p[2]) AS r,
            splitByChar(' ', p[3]) AS s, a[5] AS z,
            parseDateTimeOrNull(a[4], '[%d/%b/%Y:%H:%i:%s', 'UTC') AS t
        SELECT a[1] AS remote_host, nullIf(a[2], '-') AS identity, nullIf(a[3], '-') AS user,
            t - {_CHDB_OFFSET} AS timestamp, r[1] AS method, r[2] AS target, r[3] AS protocol,
            toInt16OrNull(s[2]) AS status, toInt64OrNull(s[3]) AS bytes, nullIf(p[4], '-') AS referer,
            nullIf(p[6], '-') AS user_agent
        FROM file('{source}', 'LineAsString')
        WHERE length(p) >= 7 AND t IS NOT NULL
        {_chdb_parquet(target)}
    """


def chdb_regex(source: Path, target: Path) -> str:
    """One regular expression a line."""
    pattern = _COMBINED.replace("\\", "\\\\")
    return f"""
        WITH extractGroups(line, '{pattern}') AS g, splitByChar(' ', g[6]) AS r, g[5] AS z,
            parseDateTimeOrNull(g[4], '%d/%b/%Y:%H:%i:%s', 'UTC') AS t
        SELECT g[1] AS remote_host, nullIf(g[2], '-') AS identity, nullIf(g[3], '-') AS user,
            t - {_CHDB_OFFSET} AS timestamp, r[1] AS method, r[2] AS target, r[3] AS protocol,
            toInt16OrNull(g[7]) AS status, toInt64OrNull(g[8]) AS bytes, nullIf(g[9], '-') AS referer,
            nullIf(g[10], '-') AS user_agent
        FROM file('{source}', 'LineAsString')
        WHERE notEmpty(g) AND t IS NOT NULL
        {_chdb_parquet(target)}
    """


def duckdb_serving(source: Path, folder: Path) -> list[str]:
    """Those serving tables that SQL can express, from one read of the log; its statements in order.

    What a bot is takes a regular expression over the distinct user agents, where the pipeline has two lists
    of patterns. There are no visits, no searches, no agents by name, and no account of lines.
    """
    day = 'CAST("timestamp" AS DATE) AS event_date'
    counts = "count(*) AS hits, coalesce(sum(bytes), 0) AS bytes"
    status_class = "CASE WHEN status BETWEEN 100 AND 599 THEN status // 100 || 'xx' ELSE 'other' END"
    failed = "count(*) FILTER (status >= 400) AS failures"
    path = "regexp_extract(target, '^[^?#]*')"
    page = "regexp_extract(referer, '^[^?#]*')"
    host = "regexp_extract(referer, '^[a-z]+://([^/:?#]+)', 1)"
    bucket = "CASE WHEN bytes < 16 THEN bytes ELSE CAST(floor(log2(bytes) * 16) AS INTEGER) END AS bucket"
    tables = {
        "traffic_hourly": f"""
            SELECT {day}, hour("timestamp") AS hour, {status_class} AS status_class, is_bot, {counts},
                count(DISTINCT (remote_host, user_agent)) AS visitors
            FROM rows LEFT JOIN agents USING (user_agent) GROUP BY ALL""",
        "status_daily": f"SELECT {day}, status, {counts} FROM rows GROUP BY ALL",
        "paths_daily": f"SELECT {day}, {path} AS path, {counts}, {failed} FROM rows GROUP BY ALL",
        "not_found_daily": f"""
            SELECT {day}, {path} AS path, {page} AS referrer, {counts} FROM rows WHERE status = 404
            GROUP BY ALL""",
        "referrers_daily": f"""
            SELECT {day}, {host} AS host, {page} AS referrer, {counts} FROM rows GROUP BY ALL""",
        "methods_daily": f"SELECT {day}, method, protocol, {counts} FROM rows GROUP BY ALL",
        "sizes_daily": f"SELECT {day}, {bucket}, {counts} FROM rows WHERE bytes IS NOT NULL GROUP BY ALL",
        "clients_daily": f"""
            SELECT {day}, remote_host, {counts}, {failed}, count(DISTINCT user_agent) AS agents
            FROM rows GROUP BY ALL""",
        "visitors_daily": f"""
            SELECT {day}, {counts}, count(DISTINCT (remote_host, user_agent)) AS visitors
            FROM rows GROUP BY ALL""",
    }
    return [
        f"CREATE TEMP TABLE rows AS {_duckdb_rows(source)}",
        """CREATE TEMP TABLE agents AS
            SELECT user_agent, regexp_matches(user_agent, 'bot|crawl|spider|curl|wget|python', 'i') AS is_bot
            FROM (SELECT DISTINCT user_agent FROM rows)""",
        *(f"COPY ({query}) {_duckdb_parquet(folder / f'{name}.parquet')}" for name, query in tables.items()),
    ]


def _duckdb_rows(source: Path) -> str:
    # With `strict_mode` one stray quote ends the reading of everything behind it.
    return f"""
        SELECT h AS remote_host, i AS "identity", u AS "user",
            t - {_duckdb_offset("z")} AS "timestamp", split_part(r, ' ', 1) AS "method",
            split_part(r, ' ', 2) AS target, split_part(r, ' ', 3) AS protocol, s AS status, b AS bytes,
            f AS referer, a AS user_agent
        FROM read_csv('{source}', delim=' ', quote='"', escape='\\', header=false, auto_detect=false,
            nullstr='-', ignore_errors=true, strict_mode=false, timestampformat='[%d/%b/%Y:%H:%M:%S',
            columns={{h: 'VARCHAR', i: 'VARCHAR', u: 'VARCHAR', t: 'TIMESTAMP', z: 'VARCHAR', r: 'VARCHAR',
                s: 'SMALLINT', b: 'BIGINT', f: 'VARCHAR', a: 'VARCHAR'}})
    """


def _duckdb_offset(zone: str) -> str:
    return f"to_minutes(60 * {zone}[1:3]::INT + ({zone}[1:1] || {zone}[4:5])::INT)"


def _duckdb_parquet(target: Path) -> str:
    return f"TO '{target}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"


_CHDB_OFFSET: Final = (
    "toInt32OrZero(substring(z, 1, 3)) * 3600"
    " - toInt32OrZero(concat(substring(z, 1, 1), substring(z, 4, 2))) * 60"
)


def _chdb_parquet(target: Path) -> str:
    # Text stays binary, as is its default: marked as strings, bytes that are no UTF-8 make an invalid file.
    return f"""
        INTO OUTFILE '{target}' TRUNCATE FORMAT Parquet
        SETTINGS output_format_parquet_compression_method='zstd', output_format_compression_level=1,
            output_format_parquet_string_as_string=0
    """
