"""A day's state to serving: each table people query is a projection of the day's merged rollups.

What belongs here: what a state gives to each serving table, and how that becomes the table's rows. What does
not: how states come to be (`rollups`), or how a day is overwritten (`storage`). The states may be those of
several days, and come in shards (`shards`): what these give adds up, or is of one of them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import polars as pl

from pipeline_assets.kernel import histograms
from pipeline_assets.kernel.clean import status_class
from pipeline_assets.kernel.codes import answers, coded, in_order, plain
from pipeline_assets.kernel.groups import Groups, counted
from pipeline_assets.kernel.most import beyond_bounds, beyond_most, bounds
from pipeline_assets.kernel.referrers import host_of
from pipeline_assets.kernel.request_rows import AGENT
from pipeline_assets.kernel.schemas import SERVING

State = Mapping[str, pl.DataFrame]
# Beside the rollups of a state: its visitors by day. Each aspect of `counts` is there by its own name.
OF_THE_DAY: Final = "visitors_of_the_day"

# Rows of a site and day in a table by text that clients choose: a scanner may ask for a million paths.
ROW_LIMIT: Final = 10_000

_REST: Final = "is_rest"
_NO_AGENT: Final = "-"
_DAY: Final = ("event_date", "site")
_VISITOR_TEXTS: Final = ("site", "status_class", "remote_host", "user_agent", *AGENT)
# Texts of other rollups that are compared with those of visitors.
_SHARED: Final = {"clients": ("site", "remote_host"), "visits": ("site", "remote_host")}


@dataclass(frozen=True)
class Projection:
    """A serving table: what a state, or a shard of one, gives to it, and the rows of what they give.

    `of` names what of a prepared state it is made of; without any of that it has no rows. `keys` are sorted
    by. With `adds_up` rows of equal keys of two shards are one, whose `sums` are added; else no two shards
    have a key in common. Where `by` is given, the `ROW_LIMIT` rows of a site and day with most of it are
    kept, ties broken by their keys, and all others are one row, whose keys are null and whose `times` are the
    earliest and the latest. Which rows are kept depends on the whole day alone.
    """

    rows: Callable[[State], pl.DataFrame]
    of: tuple[str, ...]
    keys: tuple[str, ...]
    sums: tuple[str, ...] = ()
    adds_up: bool = False
    by: str = ""
    times: tuple[str, ...] = ()

    def __call__(self, state: State) -> pl.DataFrame:
        """The table's rows of a whole state."""
        return self.table([self.rows(state)] if self.has_rows(state) else [])

    def has_rows(self, state: State) -> bool:
        """Whether the state may give a row to the table."""
        return any(name in state and state[name].height for name in self.of)

    def table(self, given: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """The table's rows of what all shards give to it."""
        table = SERVING[self.rows.__name__]
        if not given:
            return table.empty()
        rows = self._met(given)
        shaped = (self._limited(rows) if self.by else rows).select(table.column_names)
        return shaped.cast(table.schema).sort(self.keys, nulls_last=True)

    def coded_table(self, state: State) -> pl.DataFrame:
        """The table's rows of a whole state, with texts as numbers, if no row is left out or added up.

        They are sorted by their first keys, to the first that is neither the day nor the site.
        """
        rows = self.rows(state).select(SERVING[self.rows.__name__].column_names)
        return in_order(coded(rows.lazy()).collect(), self.keys[: len(_DAY) + 1])

    def few(self, given: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """What several shards give, as one that gives the same to the table, in no more rows than matter."""
        rows = self._met(given)
        return self._limited(rows) if self._is_limited else rows

    @property
    def _is_limited(self) -> bool:
        return bool(self.by) and not self.adds_up

    def bounds(self, few: pl.DataFrame) -> pl.DataFrame | None:
        """What a row of another shard must have to be one of the `few` by itself, if these are chosen."""
        if not self._is_limited:
            return None
        most = few.remove(pl.col(_REST)) if _REST in few.columns else few
        return bounds(most, self.by, self.keys[2], ROW_LIMIT)

    def within(self, rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
        """The rows of a shard, of which those beyond these bounds are one by site and day."""
        return self._with_rest(rows, beyond_bounds(rows, found, self.by, self.keys[2]))

    def _met(self, given: Sequence[pl.DataFrame]) -> pl.DataFrame:
        if len(given) == 1:
            return given[0]
        rows = pl.concat(given, how="diagonal")
        return _added_up(rows, self.keys, self.sums) if self.adds_up else rows

    def _limited(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with most; those that are none of them are one, which `is_rest`."""
        by = rows[self.by]
        if _REST in rows.columns:
            # What others have left out comes last: there are enough rows that may be kept.
            by = by.set(rows[_REST].fill_null(value=False), -1)
        return self._with_rest(rows, beyond_most(rows, by, self.keys[2:], ROW_LIMIT))

    def _with_rest(self, rows: pl.DataFrame, is_other: pl.Series | None) -> pl.DataFrame:
        """The rows, of which these others are one by site and day, which `is_rest`."""
        if is_other is None or not is_other.any():
            return rows
        times = (pl.col(self.times[0]).min(), pl.col(self.times[1]).max()) if self.times else ()
        rest = (
            rows.select(*_DAY, *self.sums, *self.times)
            .filter(is_other)
            .group_by(_DAY)
            .agg(pl.col(self.sums).sum(), *times, pl.lit(value=True).alias(_REST))
        )
        return pl.concat([rows.remove(is_other), rest], how="diagonal")


def prepared(state: State) -> State:
    """The state as projecting several tables of it costs least; its texts may be coded.

    Visitors are grouped in many ways by the same texts, which are then compared as numbers (`codes`), also
    with those of other rollups.
    """
    visitors = coded(state["visitors"].lazy(), _VISITOR_TEXTS).collect()
    alike = {
        name: state[name].with_columns(
            pl.col(text).cast(visitors.schema[text])
            for text in shared
            if state[name].schema[text] != visitors.schema[text]
        )
        for name, shared in _SHARED.items()
    }
    aspects = state["counts"].partition_by("aspect", as_dict=True)
    return {
        **{str(aspect): rows for (aspect,), rows in aspects.items()},
        **state,
        **alike,
        "visitors": visitors,
        OF_THE_DAY: _of_the_day(visitors),
    }


def _of_the_day(visitors: pl.DataFrame) -> pl.DataFrame:
    """A row for each visitor of a site and day, in no order; of `hours` bits, the least is that of hour 0."""
    failed = pl.col("status_class")
    rows = _by_hour(visitors).with_columns(
        pl.when(failed == "4xx").then("hits").otherwise(0).alias("client_errors"),
        pl.when(failed == "5xx").then("hits").otherwise(0).alias("server_errors"),
        _HOUR_BITS.gather(pl.col("hour")).alias("hours"),
    )
    visitor = [*_DAY, "remote_host", "user_agent"]
    groups = Groups.of(rows, visitor)
    return groups.first_of(rows.select(visitor)).with_columns(
        *(groups.total(rows[name]) for name in (*_HITS, "client_errors", "server_errors")),
        groups.bits(rows["hours"]),
        # Several user agents may be cut to one: the least of what they are.
        groups.least(rows["is_bot"]),
        *groups.least_texts([rows[name] for name in AGENT]),
    )


def traffic_hourly(state: State) -> pl.DataFrame:
    """Hits, bytes and distinct visitors by hour (columns: `schemas.SERVING_TRAFFIC_HOURLY`)."""
    visitors = counted(_by_hour(state["visitors"].select(_HOURLY)), _HOURLY, "visitors")
    rows = visitors.with_columns(hits=_NOTHING, bytes=_NOTHING)
    # The rows of traffic are in one shard, and visitors are in all.
    if not state["traffic"].height:
        return rows
    traffic = _added_up(state["traffic"].with_columns(status_class=status_class()), _HOURLY, _HITS)
    given = plain(traffic.with_columns(visitors=_NOTHING))
    return _added_up(pl.concat([given.select(rows.columns), plain(rows)]), _HOURLY, (*_HITS, "visitors"))


def traffic_minutely(state: State) -> pl.DataFrame:
    """Hits and bytes by minute (columns: `schemas.SERVING_TRAFFIC_MINUTELY`)."""
    traffic = state["traffic"].with_columns(status_class=status_class())
    return _added_up(traffic, _MINUTELY, ("hits", "bytes"))


def visitors_daily(state: State) -> pl.DataFrame:
    """Distinct visitors of a day, by both definitions (columns: `schemas.SERVING_VISITORS_DAILY`)."""
    visitors = (
        state[OF_THE_DAY]
        .group_by(_DAY)
        .agg(
            pl.col("hits").sum(),
            pl.col("bytes").sum(),
            pl.len().cast(pl.Int64).alias("visitors"),
            pl.col("is_bot").sum().cast(pl.Int64).alias("bot_visitors"),
        )
    )
    written = state["visitors"].select(*_DAY, "hour", "remote_host", "user_agent")
    written = written.filter(pl.col("hour").is_null())
    named = answers(written["user_agent"], lambda texts: _as_goaccess_keeps_it(texts).to_frame())
    written = written.with_columns(user_agent=named.to_series().fill_null(_NO_AGENT))
    different = Groups.of(written, [*_DAY, "remote_host", "user_agent"]).first_of(written)
    goaccess = different.group_by(_DAY).agg(pl.len().cast(pl.Int64).alias("visitors_goaccess"))
    return visitors.join(goaccess, on=_DAY, how="full", coalesce=True).fill_null(0)


def status_daily(state: State) -> pl.DataFrame:
    """Hits and bytes by status (columns: `schemas.SERVING_STATUS_DAILY`)."""
    return _added_up(state["traffic"], [*_DAY, "status"], ("hits", "bytes"))


def methods_daily(state: State) -> pl.DataFrame:
    """Hits and bytes by method and protocol (columns: `schemas.SERVING_METHODS_DAILY`)."""
    return _added_up(state["traffic"], [*_DAY, "method", "protocol"], ("hits", "bytes"))


def paths_daily(state: State) -> pl.DataFrame:
    """Requests by path (columns: `schemas.SERVING_PATHS_DAILY`)."""
    return _aspect(state, "path", "path", "kind")


def not_found_daily(state: State) -> pl.DataFrame:
    """Requests answered with 404 (columns: `schemas.SERVING_NOT_FOUND_DAILY`)."""
    return _aspect(state, "not_found", "path", "referrer")


def referrers_daily(state: State) -> pl.DataFrame:
    """Requests by where they came from (columns: `schemas.SERVING_REFERRERS_DAILY`)."""
    rows = _aspect(state, "referrer", "kind", "referrer", "search_phrase")
    return rows.with_columns(host=host_of(pl.col("referrer").cast(pl.String)))


def agents_daily(state: State) -> pl.DataFrame:
    """Requests and visitors by what the user agents are (columns: `schemas.SERVING_AGENTS_DAILY`)."""
    # A visitor has one user agent, so visitors of different user agents add up.
    return (
        state[OF_THE_DAY]
        .group_by(*_DAY, *_AGENT)
        .agg(pl.col("hits").sum(), pl.col("bytes").sum(), pl.len().cast(pl.Int64).alias("visitors"))
    )


def clients_daily(state: State) -> pl.DataFrame:
    """Requests by client address (columns: `schemas.SERVING_CLIENTS_DAILY`)."""
    return (
        state[OF_THE_DAY]
        .group_by(*_DAY, "remote_host", "is_bot")
        .agg(
            pl.col("hits").sum(),
            pl.col("bytes").sum(),
            (pl.col("client_errors") + pl.col("server_errors")).sum().alias("failures"),
            pl.len().cast(pl.Int64).alias("agents"),
        )
    )


def visits_daily(state: State) -> pl.DataFrame:
    """A row a visit (columns: `schemas.SERVING_VISITS_DAILY`)."""
    return state["visits"].with_columns(
        duration_s=(pl.col("ended_at") - pl.col("started_at")).dt.total_seconds()
    )


def sizes_and_times_daily(state: State) -> pl.DataFrame:
    """Histograms and quantiles (columns: `schemas.SERVING_SIZES_AND_TIMES_DAILY`)."""
    keys = [*_DAY, "measure"]
    return (
        pl.concat(state[measure] for measure in _MEASURES if measure in state)
        .rename({"aspect": "measure", "bytes": "total"})
        .sort(*keys, "bucket")
        .group_by(keys, maintain_order=True)
        .agg(
            *(histograms.quantile(percent).alias(f"p{percent}") for percent in (50, 90, 95, 99)),
            histograms.highest(pl.col("bucket")).alias("bucket_upper"),
            pl.col("hits").alias("bucket_hits"),
            pl.col("hits").sum(),
            pl.col("total").sum(),
        )
    )


def errors_daily(state: State) -> pl.DataFrame:
    """Error-log entries by template (columns: `schemas.SERVING_ERRORS_DAILY`)."""
    return _aspect(state, "error", "level", "module", "template").rename({"hits": "entries"})


def quality_daily(state: State) -> pl.DataFrame:
    """Lines by what became of them (columns: `schemas.SERVING_QUALITY_DAILY`)."""
    lines = _aspect(state, "line", "fate", "reason").rename({"hits": "lines"})
    return _added_up(lines, [*_DAY, "fate", "reason"], ("lines",))


_HOURLY: Final = ("event_date", "hour", "site", "status_class", "is_bot")
_MINUTELY: Final = ("event_date", "hour", "minute", "site", "status_class", "is_bot")
_AGENT: Final = ("is_bot", *AGENT)
_HITS: Final = ("hits", "bytes")
_HOUR_BITS: Final = pl.lit(pl.Series([1 << hour for hour in range(24)], dtype=pl.Int64))
_NOTHING: Final = pl.lit(0, pl.Int64)
_MEASURES: Final = ("bytes", "duration_us")
_REFERRER: Final = ("kind", "host", "referrer", "search_phrase")

PROJECTIONS: Final[Mapping[str, Projection]] = {
    projection.rows.__name__: projection
    for projection in (
        Projection(traffic_hourly, ("traffic", "visitors"), _HOURLY, (*_HITS, "visitors"), adds_up=True),
        Projection(traffic_minutely, ("traffic",), _MINUTELY, _HITS, adds_up=True),
        Projection(
            visitors_daily,
            ("visitors",),
            _DAY,
            (*_HITS, "visitors", "bot_visitors", "visitors_goaccess"),
            adds_up=True,
        ),
        Projection(status_daily, ("traffic",), (*_DAY, "status"), _HITS, adds_up=True),
        Projection(methods_daily, ("traffic",), (*_DAY, "method", "protocol"), _HITS, adds_up=True),
        Projection(paths_daily, ("path",), (*_DAY, "path", "kind"), (*_HITS, "failures"), by="hits"),
        Projection(not_found_daily, ("not_found",), (*_DAY, "path", "referrer"), _HITS, by="hits"),
        Projection(referrers_daily, ("referrer",), (*_DAY, *_REFERRER), _HITS, by="hits"),
        Projection(
            agents_daily, (OF_THE_DAY,), (*_DAY, *_AGENT), (*_HITS, "visitors"), adds_up=True, by="hits"
        ),
        Projection(
            clients_daily,
            (OF_THE_DAY,),
            (*_DAY, "remote_host", "is_bot"),
            (*_HITS, "failures", "agents"),
            by="hits",
        ),
        Projection(visits_daily, ("visits",), (*_DAY, "started_at", "remote_host", "user_agent")),
        Projection(sizes_and_times_daily, _MEASURES, (*_DAY, "measure")),
        Projection(
            errors_daily,
            ("error",),
            (*_DAY, "level", "module", "template"),
            ("entries",),
            by="entries",
            times=("first_seen", "last_seen"),
        ),
        Projection(quality_daily, ("line",), (*_DAY, "fate", "reason"), ("lines",), adds_up=True),
    )
}
assert PROJECTIONS.keys() == SERVING.keys()
# A row each visit: the one table that is as large as its state, so its rows are nowhere all at once.
AS_LARGE_AS_THE_STATE: Final = "visits_daily"


def _by_hour(visitors: pl.DataFrame) -> pl.DataFrame:
    """The visitors by UTC hour, without the rows that are by the date as written."""
    return visitors.filter(pl.col("hour").is_not_null())


def _aspect(state: State, aspect: str, *keys: str) -> pl.DataFrame:
    """The rows of one aspect of `counts`, with its keys under their own names."""
    return state[aspect].rename({f"key_{number}": key for number, key in enumerate(keys, 1)})


def _as_goaccess_keeps_it(user_agents: pl.Series) -> pl.Series:
    """User agents as GoAccess compares them: percent-decoded, without blanks around them, and none is `-`.

    They are coded.
    """
    trimmed = _percent_decoded(user_agents).str.strip_chars()
    return trimmed.set(trimmed == "", _NO_AGENT).cast(pl.Categorical(pl.Categories.random()))


def _percent_decoded(texts: pl.Series) -> pl.Series:
    """Polars has no percent-decoding, so each distinct text that needs it is decoded by itself."""
    may_be = texts.filter(texts.str.contains("%", literal=True))
    encoded = may_be.filter(may_be.str.contains("%[0-9A-Fa-f]{2}")).drop_nulls().unique()
    if not encoded.len():
        return texts
    decoded = pl.Series([unquote(text) for text in encoded.to_list()], dtype=pl.String)
    return texts.replace(encoded, decoded)


def _added_up(rows: pl.DataFrame, keys: Sequence[str], sums: Iterable[str]) -> pl.DataFrame:
    return rows.group_by(keys).agg(pl.col(name).sum() for name in sums)
