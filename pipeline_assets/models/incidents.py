"""Anomalies to incidents: one row for one thing that went wrong, with what carries the difference.

What belongs here: which unusual hours and minutes are one incident, how severe it is, and what changed
inside, as a pure function of tables of its day and of the days before it. What does not: scores (`scoring`),
and who is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, TypeVar

import polars as pl

from pipeline_assets.kernel.schemas import MODEL_INCIDENTS, TIMESTAMP

# Unusual minutes, or hours, so far apart are one incident.
_GAP: Final = {"minute": timedelta(minutes=15), "hour": timedelta(hours=1)}
_LENGTH: Final = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
# What is compared with what: the incident's day with the days just before it.
COMPARED_DAYS: Final = 7
_NAMED: Final = 3
# High from so many thresholds away, or so long; low below both of the others.
_HIGH_DISTANCE: Final = 3.0
_HIGH_MINUTES: Final = 120
_LOW_DISTANCE: Final = 1.5
_LOW_MINUTES: Final = 30

_SEVERITIES: Final = ("low", "medium", "high")
_ORDER: Final = ("event_date", "site", "started_at")


@dataclass
class _Part:
    """Unusual slots of one series that are close together, and the one farthest from what is usual."""

    site: str | None
    lane: str
    start: datetime
    end: datetime
    peak: dict[str, Any]
    series: set[str] = field(default_factory=set)


def find_incidents(hours: pl.DataFrame, minutes: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """The incidents of some days (columns: `schemas.MODEL_INCIDENTS`), without what changed.

    `hours` are rows of `traffic_scores`; `minutes` are `scoring.score_minutes`, both with that threshold.
    """
    rows = pl.concat(
        [
            hours.filter("is_anomaly").select(
                *_COMMON,
                (pl.col("score") / threshold).alias("distance"),
                (pl.col("hour").cast(pl.Int64) * 60).alias("at"),
                lane=pl.lit("hour"),
            ),
            minutes.filter("is_anomaly").select(
                *_COMMON, "distance", pl.col("slot").cast(pl.Int64).alias("at"), lane=pl.lit("minute")
            ),
        ]
    ).sort("event_date", "site", "at", "lane", "series", nulls_last=True)
    found = []
    for (day,), of_day in rows.partition_by("event_date", maintain_order=True, as_dict=True).items():
        assert isinstance(day, date)
        together = _together(_parts(day, of_day.iter_rows(named=True)))
        sites = [part for part in together if part.site is not None]
        # All sites together say nothing that one of them says.
        found += sites + [
            part for part in together if part.site is None and not any(_touch(part, other) for other in sites)
        ]
    return pl.DataFrame([_row(part) for part in found], schema=MODEL_INCIDENTS.schema).sort(
        _ORDER, nulls_last=True
    )


def explain(
    incidents: pl.DataFrame,
    hours: pl.DataFrame,
    visits: pl.LazyFrame,
    paths: pl.DataFrame,
    profiles: pl.DataFrame,
) -> pl.DataFrame:
    """Incidents with what carries the difference: the statuses, sites, clients and paths that changed most.

    `hours` has rows of `traffic_scores`, `visits` of `visits_daily`, `paths` of `paths_daily` and `profiles`
    of `client_profiles`, each of the days of the incidents and of the `COMPARED_DAYS` before them. Visits may
    be more than fit into memory: they are added up, incident by incident, as they are read.
    """
    changes = [
        [
            *_changed_series(row, hours),
            *_changed_texts(row, "client", _of_clients(row, visits, profiles)),
            *_changed_texts(row, "path", _of_day(row, paths)),
        ]
        for row in incidents.iter_rows(named=True)
    ]
    clients = [
        _judged(row, [change["what"] for change in found if change["kind"] == "client"], profiles)
        for row, found in zip(incidents.iter_rows(named=True), changes, strict=True)
    ]
    return incidents.with_columns(
        pl.Series(name, values, MODEL_INCIDENTS.schema[name])
        for name, values in (("changes", changes), ("clients", clients))
    )


def linked(rows: pl.DataFrame) -> pl.DataFrame:
    """Incidents of some days, of which those that go on after midnight have the start of the day before.

    `rows` may be linked already. Everything else in a row is of its own day, but for its length from the
    start on and the severity that follows. What lasts longer than a day begins with the day before, so a row
    depends on its own day and the one before it alone.
    """
    midnight = pl.col("event_date").cast(TIMESTAMP)
    today = rows.with_columns(started_at=pl.max_horizontal("started_at", midnight))
    day = timedelta(days=1)
    evening = (
        today.filter(pl.col("ended_at") >= midnight + day - _GAP["minute"])
        .sort("ended_at", descending=True)
        .unique(["event_date", "site"], keep="first", maintain_order=True)
        .select(pl.col("event_date") + day, "site", before="started_at")
    )
    goes_on = (pl.col("started_at") <= midnight + _GAP["minute"]) & pl.col("before").is_not_null()
    joined = today.join(evening, on=["event_date", "site"], how="left", nulls_equal=True).with_columns(
        started_at=pl.when(goes_on).then("before").otherwise("started_at")
    )
    length = (pl.col("ended_at") - pl.col("started_at")).dt.total_seconds()
    timed = joined.with_columns(minutes=(length + 30) // 60)
    severity = [severity_of(*row) for row in timed.select("distance", "minutes").iter_rows()]
    return (
        timed.with_columns(severity=pl.Series(severity, dtype=pl.String))
        .select(rows.columns)
        .sort(_ORDER, nulls_last=True)
    )


def whole(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One row for each incident, also where two days have one: the farther, to the end of the later."""
    rank = pl.col("severity").replace_strict(_SEVERITIES, list(range(len(_SEVERITIES))))
    rest = pl.exclude("site", "started_at", "ended_at", "minutes", "severity")
    return (
        rows.sort("distance", "event_date", descending=True)
        .group_by("site", "started_at", maintain_order=True)
        .agg(rest.first(), pl.col("ended_at", "minutes").max(), pl.col("severity").sort_by(rank).last())
        .select(MODEL_INCIDENTS.column_names)
    )


def severity_of(distance: float, minutes: int) -> str:
    """How bad an incident is: by how far from what is usual, in thresholds, and how long."""
    if distance >= _HIGH_DISTANCE or minutes >= _HIGH_MINUTES:
        return "high"
    return "low" if distance < _LOW_DISTANCE and minutes < _LOW_MINUTES else "medium"


_COMMON: Final = ("event_date", "site", "series", "observed", "expected", "lower", "upper", "confidence")


def _parts(day: date, rows: Iterable[Mapping[str, Any]]) -> list[_Part]:
    """Unusual slots of the same site, series and direction, joined where they are close."""
    open_parts: dict[tuple[Any, ...], _Part] = {}
    parts = []
    midnight = datetime.combine(day, time.min, UTC)
    for row in rows:
        lane = row["lane"]
        start = midnight + timedelta(minutes=row["at"])
        end = start + _LENGTH[lane]
        peak = {**row, "at": start}
        key = (row["site"], row["series"], lane, row["distance"] > 0)
        part = open_parts.get(key)
        if part is not None and start - part.end <= _GAP[lane]:
            part.end = end
            if abs(row["distance"]) > abs(part.peak["distance"]):
                part.peak = peak
        else:
            part = open_parts[key] = _Part(row["site"], lane, start, end, peak, {row["series"]})
            parts.append(part)
    return parts


def _together(parts: list[_Part]) -> list[_Part]:
    """Parts of one site that overlap, or nearly, as one: the farthest leads, and minutes tell the time
    better."""
    groups: list[list[_Part]] = []
    for part in sorted(parts, key=lambda part: (part.site is None, part.site or "", part.start, part.end)):
        last = groups[-1] if groups else []
        if last and last[0].site == part.site and part.start - max(one.end for one in last) <= _GAP["minute"]:
            last.append(part)
        else:
            groups.append([part])
    joined = []
    for group in groups:
        timed = [part for part in group if part.lane == "minute"] or group
        lead = max(group, key=lambda part: (abs(part.peak["distance"]), part.peak["series"]))
        joined.append(
            _Part(
                lead.site,
                lead.lane,
                min(part.start for part in timed),
                max(part.end for part in timed),
                lead.peak,
                {name for part in group for name in part.series},
            )
        )
    return joined


def _touch(one: _Part, other: _Part) -> bool:
    return one.start <= other.end + _GAP["minute"] and other.start <= one.end + _GAP["minute"]


def _row(part: _Part) -> dict[str, Any]:
    peak = part.peak
    minutes = round((part.end - part.start).total_seconds() / 60)
    distance = abs(peak["distance"])
    return {
        "event_date": peak["event_date"],
        "site": part.site,
        "started_at": part.start,
        "ended_at": part.end,
        "minutes": minutes,
        "direction": "high" if peak["distance"] > 0 else "low",
        "also": sorted(part.series - {peak["series"]}),
        "lane": part.lane,
        "peak_at": peak["at"],
        **{name: peak[name] for name in ("series", "observed", "expected", "lower", "upper", "confidence")},
        "distance": distance,
        "severity": severity_of(distance, minutes),
        "changes": [],
        "clients": [],
    }


def _changed_series(row: Mapping[str, Any], hours: pl.DataFrame) -> list[dict[str, Any]]:
    """The statuses, and where all sites are meant the sites, whose hours are farthest from expected."""
    first, last = row["started_at"].hour, (row["ended_at"] - timedelta(microseconds=1)).hour
    during = hours.filter(
        pl.col("event_date") == row["event_date"],
        pl.col("hour").is_between(first, last),
        pl.col("expected").is_not_null(),
    )
    statuses = during.filter(
        pl.col("site").eq_missing(pl.lit(row["site"], pl.String)), pl.col("series").str.starts_with("status_")
    ).with_columns(what=pl.col("series").str.strip_prefix("status_"), kind=pl.lit("status"))
    parts = [statuses]
    if row["site"] is None:
        parts.append(
            during.filter(pl.col("site").is_not_null(), pl.col("series") == "hits").with_columns(
                what=pl.col("site"), kind=pl.lit("site")
            )
        )
    summed = pl.concat(parts).group_by("kind", "what").agg(pl.col("observed", "expected").sum())
    return _farthest(summed, row["direction"])


def _changed_texts(row: Mapping[str, Any], kind: str, hits: pl.DataFrame) -> list[dict[str, Any]]:
    """The clients or paths that changed most: `hits` has `event_date, what, hits` of the day and those
    before."""
    day = row["event_date"]
    others = pl.col("event_date") != day
    days = max(1, hits.filter(others)["event_date"].n_unique())
    summed = hits.group_by("what").agg(
        pl.col("hits").filter(~others).sum().cast(pl.Float64).alias("observed"),
        (pl.col("hits").filter(others).sum() / days).alias("expected"),
    )
    return _farthest(summed.with_columns(kind=pl.lit(kind)), row["direction"])


def _farthest(summed: pl.DataFrame, direction: str) -> list[dict[str, Any]]:
    difference = pl.col("observed") - pl.col("expected")
    signed = difference if direction == "high" else -difference
    return (
        summed.with_columns(by=signed)
        .filter(pl.col("by") > 0)
        .sort("by", "kind", "what", descending=[True, False, False], nulls_last=True)
        .group_by("kind", maintain_order=True)
        .head(_NAMED)
        .select("kind", "what", "observed", "expected")
        .to_dicts()
    )


_Rows = TypeVar("_Rows", pl.DataFrame, pl.LazyFrame)


def _of_clients(row: Mapping[str, Any], visits: pl.LazyFrame, profiles: pl.DataFrame) -> pl.DataFrame:
    """What each client did: its requests in the incident's time of day, or its different paths of the day."""
    if row["series"] != "busiest_client_paths":
        return _in_visits(row, visits)
    asked = pl.col("paths").fill_null(0).alias("hits")
    return _of_site(row, profiles).select("event_date", pl.col("remote_host").alias("what"), asked)


def _judged(row: Mapping[str, Any], clients: list[str], profiles: pl.DataFrame) -> list[dict[str, Any]]:
    """The profiles of these clients on the incident's day, those of all sites by the one it is busiest at."""
    known = (
        _of_site(row, profiles)
        .filter(pl.col("event_date") == row["event_date"], pl.col("remote_host").is_in(clients))
        .sort("hits", "site", descending=[True, False])
        .unique("remote_host", keep="first", maintain_order=True)
        .select("remote_host", "kind", "name", "reasons")
    )
    order = {client: place for place, client in enumerate(clients)}
    return sorted(known.iter_rows(named=True), key=lambda client: order[client["remote_host"]])


def _in_visits(row: Mapping[str, Any], visits: pl.LazyFrame) -> pl.DataFrame:
    """Requests by client in visits that touch the incident's time of day, on its day and on those before."""
    midnight = pl.col("event_date").cast(pl.Datetime("us", "UTC"))
    start = datetime.combine(row["event_date"], time.min, UTC)
    return (
        _of_site(row, visits)
        .filter(
            pl.col("started_at") - midnight < row["ended_at"] - start,
            pl.col("ended_at") - midnight >= row["started_at"] - start,
        )
        .group_by("event_date", pl.col("remote_host").alias("what"))
        .agg(pl.col("hits").sum())
        .collect(engine="streaming")
    )


def _of_day(row: Mapping[str, Any], paths: pl.DataFrame) -> pl.DataFrame:
    named = _of_site(row, paths).filter(pl.col("path").is_not_null())
    return named.select("event_date", pl.col("path").alias("what"), "hits")


def _of_site(row: Mapping[str, Any], rows: _Rows) -> _Rows:
    day = row["event_date"]
    near = rows.filter(pl.col("event_date").is_between(day - timedelta(days=COMPARED_DAYS), day))
    return near if row["site"] is None else near.filter(pl.col("site") == row["site"])
