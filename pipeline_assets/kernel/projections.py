"""A day's state to serving: each table people query is a projection of the day's merged rollups.

What belongs here: one function a serving table, from states to its rows. What does not: how states come to
be (`rollups`), or how a day is overwritten (`storage`). The states may be those of several days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import unquote

import polars as pl

from pipeline_assets.kernel import histograms
from pipeline_assets.kernel.clean import status_class
from pipeline_assets.kernel.codes import coded
from pipeline_assets.kernel.referrers import host_of
from pipeline_assets.kernel.schemas import SERVING

State = Mapping[str, pl.DataFrame]

# Rows of a site and day in a table by text that clients choose: a scanner may ask for a million paths.
ROW_LIMIT: Final = 10_000

_DAY: Final = ["event_date", "site"]
_VISITOR_TEXTS: Final = ("remote_host", "user_agent", "bot", "browser", "browser_version", "os", "device")


def prepared(state: State) -> State:
    """The state as projecting several tables of it costs least.

    Visitors are grouped in four ways by the same texts, which are then compared as numbers (`codes`).
    """
    visitors = state["visitors"]
    texts = coded(visitors.lazy().select(_VISITOR_TEXTS)).collect()
    clients = state["clients"].with_columns(pl.col("remote_host").cast(texts.schema["remote_host"]))
    return {**state, "visitors": visitors.with_columns(texts), "clients": clients}


def traffic_hourly(state: State) -> pl.DataFrame:
    """Hits, bytes and distinct visitors by hour (columns: `schemas.SERVING_TRAFFIC_HOURLY`)."""
    keys = ["event_date", "hour", "site", "status_class", "is_bot"]
    traffic = _added_up(state["traffic"].with_columns(status_class=status_class()), keys, ("hits", "bytes"))
    visitors = _by_hour(state).group_by(keys).agg(pl.len().cast(pl.Int64).alias("visitors"))
    joined = traffic.join(visitors, on=keys, how="left", validate="1:1")
    return _shaped(joined, "traffic_hourly", keys)


def traffic_minutely(state: State) -> pl.DataFrame:
    """Hits and bytes by minute (columns: `schemas.SERVING_TRAFFIC_MINUTELY`)."""
    keys = ["event_date", "hour", "minute", "site", "status_class", "is_bot"]
    traffic = state["traffic"].with_columns(status_class=status_class())
    return _shaped(_added_up(traffic, keys, ("hits", "bytes")), "traffic_minutely", keys)


def visitors_daily(state: State) -> pl.DataFrame:
    """Distinct visitors of a day, by both definitions (columns: `schemas.SERVING_VISITORS_DAILY`)."""
    visitors = (
        _by_hour(state)
        .group_by(*_DAY, "remote_host", "user_agent")
        .agg(pl.col("is_bot").first(), pl.col("hits").sum(), pl.col("bytes").sum())
        .group_by(_DAY)
        .agg(
            pl.col("hits").sum(),
            pl.col("bytes").sum(),
            pl.len().cast(pl.Int64).alias("visitors"),
            pl.col("is_bot").sum().cast(pl.Int64).alias("bot_visitors"),
        )
    )
    goaccess = (
        state["visitors"]
        .filter(pl.col("hour").is_null())
        .select(*_DAY, "remote_host", _as_goaccess_keeps_it(pl.col("user_agent").cast(pl.String)))
        .unique()
        .group_by(_DAY)
        .agg(pl.len().cast(pl.Int64).alias("visitors_goaccess"))
    )
    joined = visitors.join(goaccess, on=_DAY, how="full", coalesce=True).fill_null(0)
    return _shaped(joined, "visitors_daily", _DAY)


def status_daily(state: State) -> pl.DataFrame:
    """Hits and bytes by status (columns: `schemas.SERVING_STATUS_DAILY`)."""
    keys = [*_DAY, "status"]
    return _shaped(_added_up(state["traffic"], keys, ("hits", "bytes")), "status_daily", keys)


def methods_daily(state: State) -> pl.DataFrame:
    """Hits and bytes by method and protocol (columns: `schemas.SERVING_METHODS_DAILY`)."""
    keys = [*_DAY, "method", "protocol"]
    return _shaped(_added_up(state["traffic"], keys, ("hits", "bytes")), "methods_daily", keys)


def paths_daily(state: State) -> pl.DataFrame:
    """Requests by path (columns: `schemas.SERVING_PATHS_DAILY`)."""
    paths = _aspect(state, "path", "path", "kind")
    return _limited(paths, "paths_daily", ["path", "kind"], ("hits", "bytes", "failures"))


def not_found_daily(state: State) -> pl.DataFrame:
    """Requests answered with 404 (columns: `schemas.SERVING_NOT_FOUND_DAILY`)."""
    missing = _aspect(state, "not_found", "path", "referrer")
    return _limited(missing, "not_found_daily", ["path", "referrer"], ("hits", "bytes"))


def referrers_daily(state: State) -> pl.DataFrame:
    """Requests by where they came from (columns: `schemas.SERVING_REFERRERS_DAILY`)."""
    referrers = _aspect(state, "referrer", "kind", "referrer", "search_phrase").with_columns(
        host=host_of(pl.col("referrer"))
    )
    keys = ["kind", "host", "referrer", "search_phrase"]
    return _limited(referrers, "referrers_daily", keys, ("hits", "bytes"))


def agents_daily(state: State) -> pl.DataFrame:
    """Requests and visitors by what the user agents are (columns: `schemas.SERVING_AGENTS_DAILY`)."""
    keys = ["is_bot", "bot", "browser", "browser_version", "os", "device"]
    # A visitor has one user agent, so visitors of different user agents add up.
    agents = (
        _by_hour(state)
        .group_by(*_DAY, "remote_host", "user_agent")
        .agg(*(pl.col(key).min() for key in keys), pl.col("hits").sum(), pl.col("bytes").sum())
        .group_by(*_DAY, *keys)
        .agg(pl.col("hits").sum(), pl.col("bytes").sum(), pl.len().cast(pl.Int64).alias("visitors"))
    )
    return _limited(agents, "agents_daily", keys, ("hits", "bytes", "visitors"))


def clients_daily(state: State) -> pl.DataFrame:
    """Requests by client address (columns: `schemas.SERVING_CLIENTS_DAILY`)."""
    keys = ["remote_host", "is_bot"]
    failed = pl.col("status_class").is_in(["4xx", "5xx"])
    clients = (
        _by_hour(state)
        .group_by(*_DAY, *keys)
        .agg(
            pl.col("hits").sum(),
            pl.col("bytes").sum(),
            pl.col("hits").filter(failed).sum().alias("failures"),
            pl.col("user_agent").n_unique().cast(pl.Int64).alias("agents"),
        )
    )
    return _limited(clients, "clients_daily", keys, ("hits", "bytes", "failures", "agents"))


def visits_daily(state: State) -> pl.DataFrame:
    """A row a visit (columns: `schemas.SERVING_VISITS_DAILY`)."""
    visits = state["visits"].with_columns(
        duration_s=(pl.col("ended_at") - pl.col("started_at")).dt.total_seconds()
    )
    return _shaped(visits, "visits_daily", [*_DAY, "started_at", "remote_host", "user_agent"])


def sizes_and_times_daily(state: State) -> pl.DataFrame:
    """Histograms and quantiles (columns: `schemas.SERVING_SIZES_AND_TIMES_DAILY`)."""
    keys = [*_DAY, "measure"]
    histogram = (
        state["counts"]
        .filter(pl.col("bucket").is_not_null())
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
    return _shaped(histogram, "sizes_and_times_daily", keys)


def errors_daily(state: State) -> pl.DataFrame:
    """Error-log entries by template (columns: `schemas.SERVING_ERRORS_DAILY`)."""
    errors = _aspect(state, "error", "level", "module", "template").rename({"hits": "entries"})
    keys = ["level", "module", "template"]
    return _limited(
        errors, "errors_daily", keys, ("entries",), by="entries", times=("first_seen", "last_seen")
    )


def quality_daily(state: State) -> pl.DataFrame:
    """Lines by what became of them (columns: `schemas.SERVING_QUALITY_DAILY`)."""
    lines = _aspect(state, "line", "fate", "reason").rename({"hits": "lines"})
    keys = [*_DAY, "fate", "reason"]
    return _shaped(_added_up(lines, keys, ("lines",)), "quality_daily", keys)


PROJECTIONS: Final[Mapping[str, Callable[[State], pl.DataFrame]]] = {
    project.__name__: project
    for project in (
        traffic_hourly,
        traffic_minutely,
        visitors_daily,
        status_daily,
        methods_daily,
        paths_daily,
        not_found_daily,
        referrers_daily,
        agents_daily,
        clients_daily,
        visits_daily,
        sizes_and_times_daily,
        errors_daily,
        quality_daily,
    )
}
assert PROJECTIONS.keys() == SERVING.keys()


def _by_hour(state: State) -> pl.DataFrame:
    """The visitors by UTC hour, without the rows that are by the date as written."""
    return state["visitors"].filter(pl.col("hour").is_not_null())


def _aspect(state: State, aspect: str, *keys: str) -> pl.DataFrame:
    """The rows of one aspect of `counts`, with its keys under their own names."""
    names = {f"key_{number}": key for number, key in enumerate(keys, 1)}
    return state["counts"].filter(pl.col("aspect") == aspect).rename(names)


def _as_goaccess_keeps_it(user_agent: pl.Expr) -> pl.Expr:
    """A user agent as GoAccess compares it: percent-decoded, without blanks around it, and none is `-`."""
    text = user_agent.map_batches(_percent_decoded, return_dtype=pl.String, is_elementwise=True)
    trimmed = text.str.strip_chars()
    return pl.when(trimmed != "").then(trimmed).otherwise(pl.lit("-")).alias("user_agent")


def _percent_decoded(texts: pl.Series) -> pl.Series:
    """Polars has no percent-decoding, so each distinct text that needs it is decoded by itself."""
    encoded = texts.filter(texts.str.contains("%[0-9A-Fa-f]{2}")).drop_nulls().unique()
    if not encoded.len():
        return texts
    decoded = pl.Series([unquote(text) for text in encoded.to_list()], dtype=pl.String)
    return texts.replace(encoded, decoded)


def _added_up(rows: pl.DataFrame, keys: list[str], sums: Iterable[str]) -> pl.DataFrame:
    return rows.group_by(keys).agg(pl.col(name).sum() for name in sums)


def _limited(
    rows: pl.DataFrame,
    name: str,
    keys: list[str],
    sums: tuple[str, ...],
    *,
    by: str = "hits",
    times: tuple[str, str] | None = None,
) -> pl.DataFrame:
    """The rows of a site and day with most hits, ties broken by their keys, and one row of all others.

    In that row the keys are null. Which rows are kept depends on the whole day alone.
    """
    columns = [*_DAY, *keys, *sums, *(times or ())]
    ordered = (
        rows.select(columns)
        .sort(*_DAY, by, *keys, descending=[False, False, True, *(False for _ in keys)], nulls_last=True)
        .with_columns(place=pl.int_range(pl.len()).over(_DAY))
    )
    others = ordered.filter(pl.col("place") >= ROW_LIMIT)
    if others.height:
        earliest_and_latest = (pl.col(times[0]).min(), pl.col(times[1]).max()) if times else ()
        rest = others.group_by(_DAY).agg(*(pl.col(column).sum() for column in sums), *earliest_and_latest)
        kept = ordered.filter(pl.col("place") < ROW_LIMIT).drop("place")
        ordered = pl.concat([kept, rest], how="diagonal").select(columns)
    return _shaped(ordered, name, [*_DAY, *keys])


def _shaped(rows: pl.DataFrame, name: str, keys: list[str]) -> pl.DataFrame:
    table = SERVING[name]
    return rows.select(table.column_names).cast(table.schema).sort(keys, nulls_last=True)
