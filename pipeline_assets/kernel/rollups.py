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

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel import histograms, sketches
from pipeline_assets.kernel.clean import written_date
from pipeline_assets.kernel.codes import answers, coded, in_order, spelled
from pipeline_assets.kernel.probes import probes_among
from pipeline_assets.kernel.referrers import without_query
from pipeline_assets.kernel.schemas import (
    GOLD_CLIENTS,
    GOLD_COUNTS,
    GOLD_TRAFFIC,
    GOLD_VISITORS,
    GOLD_VISITS,
    TIMESTAMP,
    Table,
)
from pipeline_assets.kernel.visits import join_intervals, visits_of

if TYPE_CHECKING:
    from polars.lazyframe.group_by import LazyGroupBy

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
# What pages and the programs in them ask by; a browser asks by no other.
READING: Final = ("GET", "HEAD", "OPTIONS")
WRITING: Final = ("POST", "PUT", "PATCH", "DELETE")
MALFORMED: Final = "malformed_request"

Merge = Callable[[pl.LazyFrame, list[str]], pl.LazyFrame]


@dataclass(frozen=True)
class Rollup:
    """A mergeable rollup: what each source gives to it, and how rows of equal keys become one.

    Sources are silver's tables and `lines`, those lines of files that became no row (source_file,
    event_date, site, fate, reason, lines). Each gives rows that are merged already. `keys` are the columns
    that tell rows apart, the landed file first; `merge` is given rows and those keys. `proofs` say for a
    source which rows' hits, added up, are all of its rows. `recurs` says that its keys come again through all
    of a log, and not only within an hour or so.
    """

    table: Table
    sources: Mapping[str, Callable[[pl.LazyFrame], pl.LazyFrame]]
    keys: tuple[str, ...]
    merge: Merge
    proofs: Mapping[str, pl.Expr] = field(default_factory=dict)
    recurs: bool = False

    def roll_up(self, source: str, silver: pl.LazyFrame) -> pl.LazyFrame:
        """What rows of one silver table give, rolled up by landed file; their texts may be coded."""
        return self._by_day(self.sources[source](silver))

    def merge_files(self, parts: Iterable[pl.LazyFrame]) -> pl.LazyFrame:
        """Rollups of parts of one unit to one, sorted so that a reader of one day skips the others."""
        rows = pl.concat([part.select(self.table.column_names) for part in parts])
        return self._by_day(self.merge(coded(rows), list(self.keys)))

    def _by_day(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return spelled(rows.select(self.table.column_names).sort("event_date", maintain_order=True))

    @cached_property
    def no_day(self) -> pl.DataFrame:
        """The state of a day into which nothing is folded: no rows."""
        return self.table.empty().select(self._day_columns)

    @property
    def _day_columns(self) -> list[str]:
        return [name for name in self.table.column_names if name != "source_file"]

    def merge_day(self, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """Rollups of several units, or earlier states of a day, to one state (without `source_file`).

        Rows come back sorted by key: the same parts in any order give the same bytes.
        """
        columns = self._day_columns
        keys = [name for name in self.keys if name != "source_file"]
        order = [*keys, *(["started_at"] if "started_at" in columns else [])]
        some = [part for part in parts if part.height]
        if not some:
            return self.no_day
        rows = coded(pl.concat([part.select(columns) for part in some]).lazy())
        if len(some) > 1 or not _is_of_one_file(some[0]):
            rows = self.merge(rows, keys).select(columns)
        return spelled(in_order(rows.collect(), order).lazy()).collect()


def _is_of_one_file(part: pl.DataFrame) -> bool:
    """Whether a rollup of a unit holds one landed file: its rows are merged then. A state has no files."""
    return "source_file" not in part.columns or part["source_file"].n_unique() == 1


def _adding_up(
    sums: Iterable[str] = (),
    earliest: Iterable[str] = (),
    latest: Iterable[str] = (),
    determined: Iterable[str] = (),
    sets: Collection[str] = (),
) -> Merge:
    """Rows of equal keys are one: numbers add up, of times the earliest or the latest holds, sets are united.

    What the keys determine is the same in all of them, but for units that an older library has answered.
    """

    def merge(rows: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
        groups, others = (
            rows.group_by(keys),
            [
                *(pl.col(name).sum() for name in sums),
                *(pl.col(name).min() for name in (*earliest, *determined)),
                *(pl.col(name).max() for name in latest),
            ],
        )
        return sketches.united(groups, sets, others) if sets else groups.agg(others)

    return merge


def proven_rows(rollups: Mapping[str, pl.DataFrame | pl.LazyFrame], source: str) -> int:
    """How many rows of a source the rollups say there are; 0 where none of them tells."""
    for name, rows in rollups.items():
        if source in ROLLUPS[name].proofs:
            hits = rows.lazy().filter(ROLLUPS[name].proofs[source]).select(pl.col("hits").sum())
            return int(hits.collect().item())
    return 0


def _prepared(requests: pl.DataFrame) -> pl.DataFrame:
    """Rows of silver `requests` as the rollups take them, read and coded once for all of them.

    Texts that rows are grouped by are coded, those that clients choose cut to the lengths that gold keeps.
    `referrer` is a Referer without its query. `path_hash` is there for a client's different paths, and
    `probe_hash` for those of scanners.
    """
    limits = {"user_agent": USER_AGENT_CHARACTERS, "path": PATH_CHARACTERS}
    # Few texts are that long, so most rows are only asked for their length.
    cut = [
        pl.col(name).str.slice(0, limit)
        for name, limit in limits.items()
        if (requests[name].str.len_bytes() > limit).any()
    ]
    rows = coded(requests.lazy().with_columns(cut), _GROUPED_BY).collect()
    referrer = answers(
        rows["referer"], lambda texts: coded(texts.to_frame().lazy().select(_referrer)).collect()
    )
    asked = answers(
        rows["path"], lambda texts: probes_among(texts).with_columns(hash=sketches.hash_texts(texts))
    )
    status, found = pl.col("status"), {name: asked[name] for name in asked.columns}
    # A page brings its files with it, so they would say how pages are made and not what a client looks for.
    is_looked_for = (pl.col("path_kind") == "page") | (status >= 400)
    is_probe = pl.lit(found["always"]) | (pl.lit(found["unless_served"]) & status.is_between(400, 499))
    return rows.with_columns(
        referrer.to_series(),
        path_hash=pl.when(is_looked_for).then(found["hash"]),
        probe_hash=pl.when(is_probe).then(found["hash"]),
    )


_referrer: Final = without_query(pl.first()).str.slice(0, PATH_CHARACTERS).alias("referrer")
# Texts of silver that rows are grouped by, or that are asked about by distinct value.
_GROUPED_BY: Final = (
    *("source_file", "site", "status_class", "remote_host", "user_agent", "method", "protocol"),
    *("path", "path_kind", "referer"),
)


def _traffic(requests: pl.LazyFrame) -> pl.LazyFrame:
    method = pl.col("method")
    keys = list(_TRAFFIC_KEYS)
    counted = spelled(
        requests.with_columns(
            pl.col("timestamp").dt.minute().cast(pl.Int8).alias("minute"), pl.col("status").fill_null(0)
        )
        .group_by(keys)
        .agg(pl.len().cast(pl.Int64).alias("hits"), pl.col("bytes").sum())
    )
    # Whatever clients invent is one method, after it has been counted.
    known = pl.when(method.is_in(METHODS)).then(method).when(method.is_not_null()).then(pl.lit("other"))
    return _adding_up(("hits", "bytes"))(counted.with_columns(known), keys)


def _visitors(requests: pl.LazyFrame) -> pl.LazyFrame:
    keys = list(_VISITORS_KEYS)
    rows = requests.collect()
    # What a user agent is follows from its text, so it is known by one row, unless the text is cut.
    longest = rows["user_agent"].unique().cast(pl.String).str.len_chars().max()
    is_cut = isinstance(longest, int) and longest >= USER_AGENT_CHARACTERS
    answers = [pl.col(name).min() for name in _AGENT] if is_cut else []
    counting = [*answers, pl.len().cast(pl.Int64).alias("hits"), pl.col("bytes").sum()]
    offset = _one_offset(rows)
    if offset is None:
        counted = rows.lazy().group_by(*keys, written_date().alias("written_date")).agg(counting)
        counted = counted.collect().lazy()
        by_hour = counted.group_by(keys).agg(*answers, pl.col("hits", "bytes").sum())
    else:
        by_hour = rows.lazy().group_by(keys).agg(counting).collect().lazy()
        begin = pl.col("event_date").cast(TIMESTAMP) + pl.duration(hours="hour", minutes=offset)
        counted = by_hour.with_columns(written_date=begin.dt.date())
    # GoAccess's day is the date as written, and it leaves out requests that were answered with 4xx.
    by_written_date = (
        counted.filter(pl.col("status_class") != "4xx")
        .with_columns(event_date="written_date")
        .group_by(key for key in keys if key not in ("hour", "status_class"))
        .agg(answers)
        .with_columns(
            hour=pl.lit(None, pl.Int8),
            status_class=pl.lit(None, rows.schema["status_class"]),
            hits=pl.lit(0, pl.Int64),
            bytes=pl.lit(0, pl.Int64),
        )
    )
    found = pl.concat([by_hour, by_written_date.select(by_hour.collect_schema().names())])
    if not is_cut:
        known = rows["user_agent", *_AGENT][rows["user_agent"].arg_unique()]
        found = found.join(known.lazy(), on="user_agent", how="left", nulls_equal=True)
    return found.select(GOLD_VISITORS.column_names)


def _one_offset(requests: pl.DataFrame) -> int | None:
    """Minutes east of UTC of all rows, where they are whole hours: an hour is of one date as written then."""
    offsets = requests["utc_offset_minutes"]
    least, most = offsets.min(), offsets.max()
    is_one = isinstance(least, int) and least == most and not offsets.null_count()
    return least if is_one and isinstance(least, int) and least % 60 == 0 else None


def _clients(requests: pl.LazyFrame) -> pl.LazyFrame:
    method = pl.col("method")
    return (
        requests.group_by(_CLIENTS_KEYS)
        .agg(
            pl.len().cast(pl.Int64).alias("hits"),
            method.is_in(WRITING).sum().cast(pl.Int64).alias("writes"),
            (~method.is_in((*WRITING, *READING)))
            .fill_null(value=True)
            .sum()
            .cast(pl.Int64)
            .alias("odd_methods"),
            (pl.col("referrer_kind") != "direct").sum().cast(pl.Int64).alias("referred"),
            pl.col("path_hash").alias("paths"),
            # Few requests are probes, and of most clients none is.
            pl.col("probe_hash").drop_nulls().alias("probes"),
        )
        .with_columns(sketches.smallest(pl.col(name)) for name in ("paths", "probes"))
    )


def _request_counts(requests: pl.LazyFrame) -> pl.LazyFrame:
    path, status = pl.col("path"), pl.col("status")
    hits, size = pl.len().cast(pl.Int64), pl.col("bytes").sum()
    again, size_again = pl.col("hits").sum(), pl.col("bytes").sum()
    # What a Referer is, and what a file or a site has, is the same in many rows, so those are counted first.
    by_referer = _grouped(requests, pl.col("referer")).agg(
        pl.col("referrer_kind", "referrer", "search_phrase").first(), hits=hits, bytes=size
    )
    by_place = _grouped(
        requests,
        pl.col("vhost").is_not_null().alias("says_site"),
        pl.col("method").is_null().alias("is_malformed"),
    ).agg(hits=hits, first_seen=pl.col("timestamp").min(), last_seen=pl.col("timestamp").max())
    # Each aspect with the rows it counts, its keys, and what it adds up.
    aspects: list[tuple[str, pl.LazyFrame, dict[str, pl.Expr], dict[str, pl.Expr]]] = [
        (
            "path",
            requests.filter(path.is_not_null()),
            {"key_1": path, "key_2": pl.col("path_kind")},
            {"hits": hits, "bytes": size, "failures": (status >= 400).sum().cast(pl.Int64)},
        ),
        (
            "not_found",
            requests.filter(path.is_not_null() & (status == 404)),
            {"key_1": path, "key_2": pl.col("referrer")},
            {"hits": hits, "bytes": size},
        ),
        (
            "referrer",
            by_referer,
            {"key_1": pl.col("referrer_kind"), "key_2": pl.col("referrer"), "key_3": pl.col("search_phrase")},
            {"hits": again, "bytes": size_again},
        ),
        (
            "file",
            by_place,
            # Whether the lines say their site themselves; if not, the site has files of its own.
            {"key_1": pl.col("source_file"), "key_2": pl.when("says_site").then(pl.lit("vhost"))},
            {"hits": again, "first_seen": pl.col("first_seen").min(), "last_seen": pl.col("last_seen").max()},
        ),
        (
            "line",
            by_place,
            {"key_1": pl.lit("parsed"), "key_2": pl.when("is_malformed").then(pl.lit(MALFORMED))},
            {"hits": again},
        ),
        *(
            (
                measure,
                requests.filter(pl.col(measure).is_not_null()),
                {"bucket": histograms.bucket_of(pl.col(measure))},
                {"hits": hits, "bytes": pl.col(measure).clip(lower_bound=0).sum()},
            )
            for measure in ("bytes", "duration_us")
        ),
    ]
    return pl.concat(
        [
            spelled(_grouped(rows, *(key.alias(name) for name, key in keys.items())).agg(**sums))
            .with_columns(
                aspect=pl.lit(aspect),
                **{name: none for name, none in _NO_KEYS.items() if name not in keys},
                **{name: nothing for name, nothing in _NOTHING_ELSE.items() if name not in sums},
            )
            .select(GOLD_COUNTS.column_names)
            for aspect, rows, keys, sums in aspects
        ]
    )


def _grouped(rows: pl.LazyFrame, *keys: pl.Expr) -> LazyGroupBy:
    return rows.group_by("source_file", "event_date", "site", *keys)


def _error_counts(errors: pl.LazyFrame) -> pl.LazyFrame:
    level = pl.col("level").str.to_lowercase()
    lines = {**_NOTHING_ELSE, "hits": pl.lit(1, pl.Int64)}
    rows = pl.concat(
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
    return _adding_up_counts(coded(rows), list(_COUNTS_KEYS))


def _line_counts(lines: pl.LazyFrame) -> pl.LazyFrame:
    rows = lines.select(
        "source_file",
        "event_date",
        "site",
        **_aspect("line", pl.col("fate"), pl.col("reason")),
        **{**_NOTHING_ELSE, "hits": pl.col("lines")},
    )
    return _adding_up_counts(rows, list(_COUNTS_KEYS))


_NOTHING_ELSE: Final = {
    "bytes": pl.lit(0, pl.Int64),
    "failures": pl.lit(0, pl.Int64),
    "first_seen": pl.lit(None, GOLD_COUNTS.schema["first_seen"]),
    "last_seen": pl.lit(None, GOLD_COUNTS.schema["last_seen"]),
}


def _aspect(name: str, *keys: pl.Expr) -> dict[str, pl.Expr]:
    """The columns of `counts` that say what is counted."""
    return {"aspect": pl.lit(name), **_NO_KEYS, **dict(zip(_NO_KEYS, keys, strict=False))}


_NO_KEYS: Final = {
    **{name: pl.lit(None, pl.String) for name in ("key_1", "key_2", "key_3")},
    "bucket": pl.lit(None, pl.Int16),
}
_TRAFFIC_KEYS: Final = tuple(GOLD_TRAFFIC.column_names[:-2])
_VISITORS_KEYS: Final = (
    "source_file", "event_date", "hour", "site", "status_class", "is_bot", "remote_host", "user_agent",
)  # fmt: skip
_CLIENTS_KEYS: Final = ("source_file", "event_date", "hour", "site", "remote_host")
_AGENT: Final = ("bot", "browser", "browser_version", "os", "device")
_COUNTS_KEYS: Final = ("source_file", "event_date", "site", "aspect", *_NO_KEYS)
_adding_up_counts: Final = _adding_up(("hits", "bytes", "failures"), ("first_seen",), ("last_seen",))

ROLLUPS: Final = {
    rollup.table.name: rollup
    for rollup in (
        Rollup(
            GOLD_TRAFFIC,
            {"requests": _traffic},
            _TRAFFIC_KEYS,
            _adding_up(("hits", "bytes")),
            {"requests": pl.lit(value=True)},
        ),
        Rollup(
            GOLD_VISITORS,
            {"requests": _visitors},
            _VISITORS_KEYS,
            _adding_up(("hits", "bytes"), determined=_AGENT),
        ),
        Rollup(
            GOLD_VISITS,
            {"requests": visits_of},
            ("source_file", "event_date", "site", "remote_host", "user_agent"),
            join_intervals,
        ),
        Rollup(
            GOLD_CLIENTS,
            {"requests": _clients},
            _CLIENTS_KEYS,
            _adding_up(("hits", "writes", "odd_methods", "referred"), sets=("paths", "probes")),
        ),
        Rollup(
            GOLD_COUNTS,
            {"requests": _request_counts, "errors": _error_counts, "lines": _line_counts},
            _COUNTS_KEYS,
            _adding_up_counts,
            {"errors": pl.col("aspect") == "error"},
            recurs=True,
        ),
    )
}

# Sources whose rows can be counted again in gold.
PROVEN: Final = tuple(source for rollup in ROLLUPS.values() for source in rollup.proofs)


# What rollups read of silver `requests`.
_REQUEST_COLUMNS: Final = (
    *("source_file", "line_number", "event_date", "hour", "timestamp", "utc_offset_minutes", "site"),
    *("status", "status_class", "is_bot", *_AGENT, "remote_host", "user_agent", "method", "protocol"),
    *("vhost", "path", "path_kind", "referer", "referrer_kind", "search_phrase", "bytes", "duration_us"),
)


def prepared_rows(source: str, silver: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of one source as `roll_up_prepared` takes them: requests are read and coded."""
    if source == "requests":
        return _prepared(silver.select(_REQUEST_COLUMNS).collect()).lazy()
    return silver


def roll_up_prepared(source: str, rows: pl.LazyFrame) -> dict[str, pl.DataFrame]:
    """What rows of one source give to each rollup that has it, computed in one pass."""
    wanted = {name: rollup for name, rollup in ROLLUPS.items() if source in rollup.sources}
    frames = pl.collect_all([rollup.roll_up(source, rows) for rollup in wanted.values()])
    return dict(zip(wanted, frames, strict=True))
