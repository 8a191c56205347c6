"""The SQL of the peers that are engines: from a landed Combined log to typed Parquet.

What belongs here: each engine's own best way, as found by trying several of its functions and settings on the
corpus. What does not: running them (`contestants`), what came out (`truth`), and serving tables
(`serving_sql`).

Rows have the columns of bronze `requests` that a line says: `remote_host, identity, user, timestamp (UTC),
request, method, target, protocol, status, bytes, referer, user_agent`; what a log writes as `-` is null. They
lack the line's number and place in the file, and its bytes where the columns can't say them.
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
    rows = f"SELECT * EXCLUDE (written_date) FROM ({duckdb_rows(source)})"
    return f"COPY ({rows}) {duckdb_parquet(target)}"


def duckdb_regex(source: Path, target: Path) -> str:
    """One regular expression a line."""
    names = ", ".join(f"'{name}'" for name in _NAMES.split(","))
    return f"""
        COPY (
            SELECT m.h AS remote_host, nullif(m.i, '-') AS "identity", nullif(m.u, '-') AS "user",
                try_strptime(m.t, '%d/%b/%Y:%H:%M:%S') - {_duckdb_offset("m.z")} AS "timestamp",
                nullif(m.r, '-') AS request, split_part(m.r, ' ', 1) AS "method",
                split_part(m.r, ' ', 2) AS target, split_part(m.r, ' ', 3) AS protocol,
                m.s::SMALLINT AS status, try_cast(m.b AS BIGINT) AS bytes, nullif(m.f, '-') AS referer,
                nullif(m.a, '-') AS user_agent
            FROM (
                SELECT regexp_extract(line, '{_COMBINED}', [{names}]) AS m
                FROM read_csv('{source}', delim='\x01', quote='', escape='', header=false, auto_detect=false,
                    ignore_errors=true, columns={{line: 'VARCHAR'}})
            )
            WHERE m.h <> '' AND try_strptime(m.t, '%d/%b/%Y:%H:%M:%S') IS NOT NULL
        ) {duckdb_parquet(target)}
    """


def chdb_split(source: Path, target: Path) -> str:
    """Each line split at its quotes, and what is between them at its spaces."""
    # Dates: `makeDateTime` of six substrings is slower, and takes 31 February for 2 March.
    return f"""
        WITH splitByChar('"', line) AS p, splitByChar(' ', p[1]) AS a, splitByChar(' ', p[2]) AS r,
            splitByChar(' ', p[3]) AS s, a[5] AS z,
            parseDateTimeOrNull(a[4], '[%d/%b/%Y:%H:%i:%s', 'UTC') AS t
        SELECT a[1] AS remote_host, nullIf(a[2], '-') AS identity, nullIf(a[3], '-') AS user,
            t - {_CHDB_OFFSET} AS timestamp, nullIf(p[2], '-') AS request, r[1] AS method, r[2] AS target,
            r[3] AS protocol, toInt16OrNull(s[2]) AS status, toInt64OrNull(s[3]) AS bytes,
            nullIf(p[4], '-') AS referer, nullIf(p[6], '-') AS user_agent
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
            t - {_CHDB_OFFSET} AS timestamp, nullIf(g[6], '-') AS request, r[1] AS method, r[2] AS target,
            r[3] AS protocol, toInt16OrNull(g[7]) AS status, toInt64OrNull(g[8]) AS bytes,
            nullIf(g[9], '-') AS referer, nullIf(g[10], '-') AS user_agent
        FROM file('{source}', 'LineAsString')
        WHERE notEmpty(g) AND t IS NOT NULL
        {_chdb_parquet(target)}
    """


def duckdb_rows(source: Path) -> str:
    """All rows, by the CSV reader, and as `written_date` the day as the line writes it."""
    # With `strict_mode` one stray quote ends the reading of everything behind it.
    return f"""
        SELECT h AS remote_host, i AS "identity", u AS "user", t::DATE AS written_date,
            t - {_duckdb_offset("z")} AS "timestamp", r AS request, split_part(r, ' ', 1) AS "method",
            split_part(r, ' ', 2) AS target, split_part(r, ' ', 3) AS protocol, s AS status, b AS bytes,
            f AS referer, a AS user_agent
        FROM read_csv('{source}', delim=' ', quote='"', escape='\\', header=false, auto_detect=false,
            nullstr='-', ignore_errors=true, strict_mode=false, timestampformat='[%d/%b/%Y:%H:%M:%S',
            columns={{h: 'VARCHAR', i: 'VARCHAR', u: 'VARCHAR', t: 'TIMESTAMP', z: 'VARCHAR', r: 'VARCHAR',
                s: 'SMALLINT', b: 'BIGINT', f: 'VARCHAR', a: 'VARCHAR'}})
    """


def _duckdb_offset(zone: str) -> str:
    return f"to_minutes(60 * {zone}[1:3]::INT + ({zone}[1:1] || {zone}[4:5])::INT)"


def duckdb_parquet(target: Path) -> str:
    """Where rows are copied to, and how."""
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
