"""Silver to gold and gold to a day's state: mergeable rollups, and the one way they merge.

What belongs here: rollups whose merge is associative and commutative (counts, sums, earliest and latest,
sets, intervals, histograms), so that a day is the same whatever the order and the batching of its deliveries.
A distinct count is kept as its set of keys, because counts of distinct things don't add up. What does not:
the tables people query (`projections`).

There are few rollups, each of which serves several tables: every one of them is an object to read and to
write for each delivery and each day. Text that clients choose is cut to a length; how many different texts
there are is not limited here, because every limit that knows only what came before depends on the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from pipeline_assets.kernel import histograms
from pipeline_assets.kernel.clean import written_date
from pipeline_assets.kernel.referrers import without_query
from pipeline_assets.kernel.schemas import (
    GOLD_COUNTS,
    GOLD_TRAFFIC,
    GOLD_VISITORS,
    GOLD_VISITS,
    Table,
)
from pipeline_assets.kernel.visits import as_intervals, join_intervals

# Lengths, in characters, at which gold cuts what clients send. Texts that begin alike count as one.
USER_AGENT_CHARACTERS: Final = 512
PATH_CHARACTERS: Final = 1024

# IANA's HTTP Method Registry (www.iana.org/assignments/http-methods), without its reserved `*`.
METHODS: Final = (
    *("ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD"),
    *("LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE"),
    *("MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PRI", "PROPFIND", "PROPPATCH", "PUT", "QUERY"),
    *("REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE"),
    *("UPDATEREDIRECTREF", "VERSION-CONTROL"),
)
MALFORMED: Final = "malformed_request"

Merge = Callable[[pl.LazyFrame, list[str]], pl.LazyFrame]


@dataclass(frozen=True)
class Rollup:
    """A mergeable rollup: what each source gives to it, and how rows of equal keys become one.

    Sources are silver's tables and `lines`, those lines of files that became no row (source_file, event_date,
    site, fate, reason, lines). `keys` are the columns that tell rows apart, the landed file first; `merge` is
    given rows and those keys. `proofs` say for a source which rows' hits, added up, are all of its rows.
    """

    table: Table
    sources: Mapping[str, Callable[[pl.LazyFrame], pl.LazyFrame]]
    keys: tuple[str, ...]
    merge: Merge
    proofs: Mapping[str, pl.Expr] = field(default_factory=dict)

    def roll_up(self, source: str, silver: pl.LazyFrame) -> pl.LazyFrame:
        """What rows of one silver table give, rolled up by landed file."""
        return self.merge_files([self.sources[source](silver)])

    def merge_files(self, parts: Iterable[pl.LazyFrame]) -> pl.LazyFrame:
        """Rollups of parts of one unit to one, sorted so that a reader of one day skips the others."""
        columns = self.table.column_names
        rows = pl.concat([part.select(columns) for part in parts])
        return self.merge(rows, list(self.keys)).select(columns).sort("event_date", maintain_order=True)

    def merge_day(self, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """Rollups of several units, or earlier states of a day, to one state (without `source_file`).

        Rows come back sorted by key: the same parts in any order give the same bytes.
        """
        columns = [name for name in self.table.column_names if name != "source_file"]
        keys = [name for name in self.keys if name != "source_file"]
        empty = self.table.empty().lazy().select(columns)
        rows = pl.concat([empty, *(part.lazy().select(columns) for part in parts)])
        order = [*keys, *(["started_at"] if "started_at" in columns else [])]
        return self.merge(rows, keys).select(columns).sort(order, nulls_last=True).collect()


def _adding_up(
    sums: Iterable[str] = (),
    earliest: Iterable[str] = (),
    latest: Iterable[str] = (),
    determined: Iterable[str] = (),
) -> Merge:
    """Rows of equal keys are one: numbers add up, and of times the earliest or the latest holds.

    What the keys determine is the same in all of them, but for units that an older library has answered.
    """

    def merge(rows: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
        return rows.group_by(keys).agg(
            *(pl.col(name).sum() for name in sums),
            *(pl.col(name).min() for name in (*earliest, *determined)),
            *(pl.col(name).max() for name in latest),
        )

    return merge


def proven_rows(rollups: Mapping[str, pl.DataFrame | pl.LazyFrame], source: str) -> int:
    """How many rows of a source the rollups say there are; 0 where none of them tells."""
    for name, rows in rollups.items():
        if source in ROLLUPS[name].proofs:
            hits = rows.lazy().filter(ROLLUPS[name].proofs[source]).select(pl.col("hits").sum())
            return int(hits.collect().item())
    return 0


def bounded(requests: pl.LazyFrame) -> pl.LazyFrame:
    """Silver `requests` with the texts that clients choose cut to the lengths that gold keeps."""
    return requests.with_columns(
        pl.col("user_agent").str.slice(0, USER_AGENT_CHARACTERS),
        pl.col("path").str.slice(0, PATH_CHARACTERS),
        referrer=without_query(pl.col("referer")).str.slice(0, PATH_CHARACTERS),
    )


def _traffic(requests: pl.LazyFrame) -> pl.LazyFrame:
    method = pl.col("method")
    return requests.select(
        "source_file",
        "event_date",
        "hour",
        pl.col("timestamp").dt.minute().cast(pl.Int8).alias("minute"),
        "site",
        pl.col("status").fill_null(0),
        "is_bot",
        pl.when(method.is_in(METHODS)).then(method).when(method.is_not_null()).then(pl.lit("other")),
        "protocol",
        pl.lit(1, pl.Int64).alias("hits"),
        pl.col("bytes").fill_null(0),
    )


def _visitors(requests: pl.LazyFrame) -> pl.LazyFrame:
    by_hour = requests.with_columns(hits=pl.lit(1, pl.Int64), bytes=pl.col("bytes").fill_null(0))
    # GoAccess's day is the date as written, and it leaves out requests that were answered with 4xx.
    by_written_date = requests.filter(pl.col("status_class") != "4xx").with_columns(
        event_date=written_date(),
        hour=pl.lit(None, pl.Int8),
        status_class=pl.lit(None, pl.String),
        hits=pl.lit(0, pl.Int64),
        bytes=pl.lit(0, pl.Int64),
    )
    columns = GOLD_VISITORS.column_names
    return pl.concat([by_hour.select(columns), by_written_date.select(columns)])


def _request_counts(requests: pl.LazyFrame) -> pl.LazyFrame:
    failed = (pl.col("status") >= 400).fill_null(value=False).cast(pl.Int64)
    size = pl.col("bytes").fill_null(0)
    # Each aspect with the rows it counts, its keys, and what it adds up.
    path, kind, referrer = pl.col("path"), pl.col("path_kind"), pl.col("referrer")
    has_path = path.is_not_null()
    malformed = pl.when(pl.col("method").is_null()).then(pl.lit(MALFORMED))
    lines = {"hits": pl.lit(1, pl.Int64), **_NOTHING_ELSE}
    counts = {"hits": pl.lit(1, pl.Int64), **_NOTHING_ELSE, "bytes": size}
    aspects = [
        (has_path, _aspect("path", path, kind), {**counts, "failures": failed}),
        (has_path & (pl.col("status") == 404), _aspect("not_found", path, referrer), counts),
        (
            pl.lit(value=True),
            _aspect("referrer", pl.col("referrer_kind"), referrer, pl.col("search_phrase")),
            counts,
        ),
        (pl.lit(value=True), _aspect("line", pl.lit("parsed"), malformed), lines),
        *(
            (
                pl.col(measure).is_not_null(),
                {**_aspect(measure), "bucket": histograms.bucket_of(pl.col(measure))},
                {**lines, "bytes": pl.col(measure).clip(lower_bound=0)},
            )
            for measure in ("bytes", "duration_us")
        ),
    ]
    return pl.concat(
        [
            requests.filter(rows).select("source_file", "event_date", "site", **keys, **sums)
            for rows, keys, sums in aspects
        ]
    )


def _error_counts(errors: pl.LazyFrame) -> pl.LazyFrame:
    level = pl.col("level").str.to_lowercase()
    lines = {**_NOTHING_ELSE, "hits": pl.lit(1, pl.Int64)}
    return pl.concat(
        [
            errors.select(
                "source_file",
                "event_date",
                "site",
                **_aspect("error", level, pl.col("module"), pl.col("template")),
                **{
                    **lines,
                    "first_seen": pl.col("timestamp"),
                    "last_seen": pl.col("timestamp"),
                },
            ),
            errors.select("source_file", "event_date", "site", **_aspect("line", pl.lit("parsed")), **lines),
            errors.filter(pl.col("line_count") > 1).select(
                "source_file",
                "event_date",
                "site",
                **_aspect("line", pl.lit("continuation")),
                **{**lines, "hits": pl.col("line_count") - 1},
            ),
        ]
    )


def _line_counts(lines: pl.LazyFrame) -> pl.LazyFrame:
    return lines.select(
        "source_file",
        "event_date",
        "site",
        **_aspect("line", pl.col("fate"), pl.col("reason")),
        **{**_NOTHING_ELSE, "hits": pl.col("lines")},
    )


_NOTHING_ELSE: Final = {
    "bytes": pl.lit(0, pl.Int64),
    "failures": pl.lit(0, pl.Int64),
    "first_seen": pl.lit(None, GOLD_COUNTS.schema["first_seen"]),
    "last_seen": pl.lit(None, GOLD_COUNTS.schema["last_seen"]),
}


def _aspect(name: str, *keys: pl.Expr) -> dict[str, pl.Expr]:
    """The columns of `counts` that say what is counted."""
    nothing = pl.lit(None, pl.String)
    first, second, third = (*keys, nothing, nothing, nothing)[:3]
    return {
        "aspect": pl.lit(name),
        "key_1": first,
        "key_2": second,
        "key_3": third,
        "bucket": pl.lit(None, pl.Int16),
    }


ROLLUPS: Final = {
    rollup.table.name: rollup
    for rollup in (
        Rollup(
            GOLD_TRAFFIC,
            {"requests": _traffic},
            tuple(GOLD_TRAFFIC.column_names[:-2]),
            _adding_up(("hits", "bytes")),
            {"requests": pl.lit(value=True)},
        ),
        Rollup(
            GOLD_VISITORS,
            {"requests": _visitors},
            (
                "source_file",
                "event_date",
                "hour",
                "site",
                "status_class",
                "is_bot",
                "remote_host",
                "user_agent",
            ),
            _adding_up(("hits", "bytes"), determined=("bot", "browser", "browser_version", "os", "device")),
        ),
        Rollup(
            GOLD_VISITS,
            {"requests": as_intervals},
            ("source_file", "event_date", "site", "remote_host", "user_agent"),
            join_intervals,
        ),
        Rollup(
            GOLD_COUNTS,
            {"requests": _request_counts, "errors": _error_counts, "lines": _line_counts},
            ("source_file", "event_date", "site", "aspect", "key_1", "key_2", "key_3", "bucket"),
            _adding_up(("hits", "bytes", "failures"), ("first_seen",), ("last_seen",)),
            {"errors": pl.col("aspect") == "error"},
        ),
    )
}

# Sources whose rows can be counted again in gold.
PROVEN: Final = tuple(source for rollup in ROLLUPS.values() for source in rollup.proofs)


def roll_up_part(source: str, silver: pl.LazyFrame) -> dict[str, pl.DataFrame]:
    """What rows of one source give to each rollup that has it, computed in one pass."""
    rows = bounded(silver) if source == "requests" else silver
    wanted = {name: rollup for name, rollup in ROLLUPS.items() if source in rollup.sources}
    frames = pl.collect_all([rollup.roll_up(source, rows) for rollup in wanted.values()])
    return dict(zip(wanted, frames, strict=True))
