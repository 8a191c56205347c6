"""Traffic as series: what is counted by hour and by minute.

What belongs here: which series there are, and their values by hour, from a day's state, with what of it is no
data. What does not: what of them is unusual (`scoring`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline_assets.kernel import sketches
from pipeline_assets.kernel.codes import plain
from pipeline_assets.kernel.projections import OF_THE_DAY


@dataclass(frozen=True)
class Series:
    """What is counted, and whether it is news when there is much, or little, of it."""

    what: str
    high: bool = True
    low: bool = False
    is_share: bool = False

    def shown(self, value: float) -> str:
        """A value as people read it."""
        return f"{value:.0%}" if self.is_share else f"{value:,.0f}"


SERIES: Final[Mapping[str, Series]] = {
    "hits": Series("requests", low=True),
    "bytes": Series("bytes sent", low=True),
    "visitors": Series("visitors", low=True),
    "status_3xx": Series("redirects"),
    "status_4xx": Series("client errors"),
    "status_5xx": Series("server errors"),
    "bot_share": Series("share of bots", is_share=True),
    "busiest_client_hits": Series("requests of the busiest client"),
    "busiest_client_paths": Series("different paths of the client that asked for most"),
    "visits": Series("visits begun", low=True),
}
OF_CLIENTS: Final = ("busiest_client_hits", "busiest_client_paths")
BY_HOUR: Final = tuple(name for name in SERIES if name != "visits")
# Visitors of a minute are those who come: how many are there is known only when they have gone.
BY_MINUTE: Final = ("hits", "bytes", "visits", "status_4xx", "status_5xx", "bot_share")
# A log that begins or ends within an hour says little of it, but for so many minutes at its edges.
_EDGE_MINUTES: Final = 10
_HOUR: Final = 60
_HOURS: Final = 24
_HOUR_OF_SITE: Final = ("event_date", "hour", "site")
# From so many minutes on, a stretch without a line between two landed files is no data.
_GAP_MINUTES: Final = 45


def people_by_hour(state: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """What hours have of clients: `event_date, hour, site, visitors`, and the series of the busiest client.

    `site` is null for all sites together, and coded. `state` is what `projections.prepared` gives, and may be
    a shard of one (`kernel.shards`).
    """
    visitors = state[OF_THE_DAY].select("event_date", "site", "remote_host", "user_agent", "hours")
    # A row is all that a client has in an hour of a site.
    clients = state["clients"].select(
        *_HOUR_OF_SITE,
        "remote_host",
        pl.col("hits").alias("busiest_client_hits"),
        sketches.distinct(pl.col("paths")).alias("busiest_client_paths"),
    )
    alike = [_of_hours(visitors, clients)]
    if visitors["site"].n_unique() > 1:
        visitor = ("event_date", "remote_host", "user_agent")
        visitors = visitors.group_by(visitor).agg(pl.col("hours").bitwise_or(), pl.col("site").first())
        clients = clients.group_by("event_date", "hour", "remote_host").agg(
            pl.col(OF_CLIENTS).sum(), pl.col("site").first()
        )
        alike.append(_of_hours(_of_all_sites(visitors), _of_all_sites(clients)))
    else:  # one site is all that there is
        alike.append(_of_all_sites(alike[0]))
    return pl.concat(alike)


def _of_hours(visitors: pl.DataFrame, clients: pl.DataFrame) -> pl.DataFrame:
    """What hours have of these, where a visitor has one row a day, and a client one an hour."""
    came = (((pl.col("hours") & 1 << hour) != 0).sum().alias(str(hour)) for hour in range(_HOURS))
    busiest = clients.group_by(_HOUR_OF_SITE).agg(pl.col(OF_CLIENTS).max())
    return (
        visitors.group_by("event_date", "site")
        .agg(came)
        .unpivot(index=["event_date", "site"], variable_name="hour", value_name="visitors")
        .filter(pl.col("visitors") > 0)
        .select("event_date", pl.col("hour").cast(pl.Int8), "site", pl.col("visitors").cast(pl.Int64))
        .join(busiest, on=_HOUR_OF_SITE, how="left", nulls_equal=True)
    )


def of_hours(state: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """What `hourly_values` asks of a state beside `people_by_hour`, which is few rows."""
    return {"traffic": state["traffic"], "counts": state["counts"].filter(pl.col("aspect") == "file")}


def hourly_values(state: Mapping[str, pl.DataFrame], people: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The series of some days by hour, from what their states have `of_hours`, and `people_by_hour` of each.

    Columns `event_date, hour, site, series, observed, is_complete`; `site` is null for all sites together.
    The hours between the first and the last logged one of a day are known, so a site seen that day has zero
    hits in one without a row. What is before and after has not been delivered, nor what `missing_hours` says:
    it is no data, and an hour that the log covers in part is not complete.
    """
    clients = plain(pl.concat(people))
    if len(people) > 1:
        # A client of a day is in one piece only.
        clients = clients.group_by(_HOUR_OF_SITE).agg(pl.col("visitors").sum(), pl.col(OF_CLIENTS).max())
    traffic = state["traffic"]
    hits, status = pl.col("hits"), pl.col("status")
    slot = list(_HOUR_OF_SITE)
    counts = pl.concat(
        rows.group_by(slot).agg(
            hits.sum(),
            pl.col("bytes").sum(),
            *(hits.filter(status // 100 == number).sum().alias(f"status_{number}xx") for number in (3, 4, 5)),
            hits.filter("is_bot").sum().alias("bots"),
        )
        for rows in (traffic, _of_all_sites(traffic))
    ).join(clients, on=slot, how="left", nulls_equal=True)
    minute = pl.col("hour").cast(pl.Int32) * 60 + pl.col("minute")
    known = (
        traffic.group_by("event_date")
        .agg(minute.min().alias("first"), minute.max().alias("last"))
        .with_columns(hour=pl.int_ranges(pl.col("first") // 60, pl.col("last") // 60 + 1, dtype=pl.Int8))
        .explode("hour", empty_as_null=False)
        .with_columns(
            is_complete=(pl.col("first") <= pl.col("hour").cast(pl.Int32) * 60 + _EDGE_MINUTES)
            & (pl.col("last") >= pl.col("hour").cast(pl.Int32) * 60 + 59 - _EDGE_MINUTES)
        )
        .select("event_date", "hour", "is_complete")
    )
    missing = missing_hours(state["counts"])
    names = [name for name in BY_HOUR if name != "bot_share"]
    filled = (
        known.join(counts.select("event_date", "site").unique(), on="event_date")
        .join(missing, on=slot, how="left", nulls_equal=True)
        .filter(pl.col("minutes").fill_null(0) < _HOUR)
        .with_columns(pl.col("is_complete") & pl.col("minutes").is_null())
        .drop("minutes")
        .join(counts, on=slot, how="left", nulls_equal=True)
        .with_columns(pl.col(*names, "bots").fill_null(0))
        .with_columns(pl.col(names).cast(pl.Float64))
        .with_columns(bot_share=pl.when(pl.col("hits") > 0).then(pl.col("bots") / pl.col("hits")))
    )
    return filled.unpivot(
        BY_HOUR,
        index=["event_date", "hour", "site", "is_complete"],
        variable_name="series",
        value_name="observed",
    ).select("event_date", "hour", "site", "series", "observed", "is_complete")


def _of_all_sites(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.lit(None, rows.schema["site"]).alias("site"))


def missing_hours(counts: pl.DataFrame) -> pl.DataFrame:
    """How many `minutes` of each `event_date, hour, site` no landed file covers, between two that do.

    `counts` is the rollup of some days. A file covers what is between its first and its last request, of
    whatever site: where it has no line, there was no request. Nobody knows that of a stretch between two
    files, so a long one is no data; a shorter one counts as quiet, or batches of some minutes would hide
    every outage. Where lines don't say their site, its files are its own, and what others cover is nothing to
    it. All sites together (null) are what any file covers. Hours without such a minute have no row.
    """
    minute = [
        (pl.col(name).dt.hour().cast(pl.Int32) * 60 + pl.col(name).dt.minute()).alias(alias)
        for name, alias in (("first_seen", "first"), ("last_seen", "last"))
    ]
    files = counts.filter(pl.col("aspect") == "file").select("event_date", "site", "key_2", *minute)
    sites = files.select("event_date", "site").unique()
    everywhere = _between(files, ["event_date"])
    own = files.filter(pl.col("key_2").is_null().all().over("event_date", "site"))
    of_sites = sites.join(everywhere, on="event_date")
    found = pl.concat(
        [
            everywhere.with_columns(site=pl.lit(None, pl.String)),
            of_sites.select(*everywhere.columns, "site"),
            _between(own, ["event_date", "site"]).select(*everywhere.columns, "site"),
        ]
    )
    return (
        found.unique()
        .group_by("event_date", pl.col("minute").floordiv(60).cast(pl.Int8).alias("hour"), "site")
        .agg(pl.len().cast(pl.Int32).alias("minutes"))
    )


def _between(files: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Each `minute` of the long stretches between files of equal keys that cover the time around them."""
    before = pl.col("last").cum_max().shift(1).over(keys)
    return (
        files.sort(*keys, "first", "last")
        .with_columns(before=before)
        .filter(pl.col("first") - pl.col("before") > _GAP_MINUTES)
        .select(
            *keys,
            pl.int_ranges(pl.col("before") + 1, pl.col("first"), dtype=pl.Int32).alias("minute"),
        )
        .explode("minute", empty_as_null=False)
    )
