"""What a day's report says, read from serving: numbers and short lists, nothing drawn.

What belongs here: queries, each bounded in what it returns. What does not: words and looks (`page`,
`charts`).

Everything is a figure of serving or a sum of some; only a few rejected lines are from bronze.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import polars as pl

from pipeline_assets.kernel.schemas import LAYERS
from pipeline_assets.models.series import SERIES
from pipeline_assets.storage import ledger
from pipeline_assets.storage.layers import scan_units
from pipeline_assets.storage.manifests import read_manifest
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.tables import read_table

Row = Mapping[str, Any]

TOP: Final = 20
FATES: Final = ("parsed", "continuation", "rejected", "blank", "comment")
_SAMPLES_OF_A_REASON: Final = 5
_SAMPLED_UNITS: Final = 20
_LOOKED_AT: Final = 20_000
# Visits by how long they lasted, as GoAccess groups them: each from its bound, in seconds, to the next.
_DURATIONS: Final = (
    ("to 10 s", 0),
    ("to 30 s", 10),
    ("to 1 min", 30),
    ("to 5 min", 60),
    ("to 15 min", 300),
    ("to 1 h", 900),
    ("longer", 3600),
)


_OF_VISITS: Final = ("is_bot", "started_at", "duration_s", "entry_path", "exit_path", "pages")


@dataclass(frozen=True)
class Totals:
    """The numbers of a day that others are compared with."""

    hits: int = 0
    bytes: int = 0
    visitors: int = 0
    bot_visitors: int = 0
    visitors_goaccess: int = 0
    bot_hits: int = 0
    client_errors: int = 0
    server_errors: int = 0
    visits: int = 0
    rejected: int = 0
    log_errors: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of the day."""
        return not (self.hits or self.log_errors or self.rejected)


@dataclass(frozen=True)
class DayFacts:
    """Everything that the report of a day says."""

    day: date
    totals: Totals
    before: Totals
    week_before: Totals
    hours: list[Row]
    sites: list[Row]
    statuses: list[Row]
    pages: list[Row]
    static: list[Row]
    not_found: list[Row]
    referrer_kinds: list[Row]
    referrers: list[Row]
    phrases: list[Row]
    clients: list[Row]
    browsers: list[Row]
    systems: list[Row]
    devices: list[Row]
    bots: list[Row]
    durations: list[Row]
    entries: list[Row]
    exits: list[Row]
    visit_median_s: float | None
    pages_per_visit: float | None
    methods: list[Row]
    measures: list[Row]
    errors: list[Row]
    incidents: list[Row]
    fates: dict[str, int]
    reasons: list[Row]
    malformed: int
    samples: list[Row]

    @property
    def lines(self) -> int:
        """Lines read, as the sum of their fates."""
        return sum(self.fates.values())

    @property
    def has_usual(self) -> bool:
        """Whether the model says of an hour what was usual."""
        return any(row["lower"] is not None for row in self.hours)


def known_days(store: Store) -> list[date]:
    """Event days that serving has requests, errors or lines of, oldest first."""
    frames = [
        read_table(store, name).select("event_date").unique() for name in ("status_daily", "quality_daily")
    ]
    return sorted(pl.concat(frames).unique().collect()["event_date"])


def day_facts(store: Store, day: date) -> DayFacts:
    """Read what serving says of a day, of the day before, and of the same weekday a week before."""
    others = (day - timedelta(days=1), day - timedelta(days=7))
    totals = day_totals(store, [day, *others])
    of = _Day(store, day)
    paths = of("paths_daily").filter(pl.col("path").is_not_null())
    referrers, agents, visits = of("referrers_daily"), of("agents_daily"), of("visits_daily")
    quality = of("quality_daily").collect()
    return DayFacts(
        day=day,
        totals=totals.get(day, Totals()),
        before=totals.get(others[0], Totals()),
        week_before=totals.get(others[1], Totals()),
        hours=_hours(store, day, others[1], visits),
        sites=_sites(of),
        statuses=_top(of("status_daily"), ["status"], ["hits", "bytes"], limit=60, by="status"),
        pages=_top(paths.filter(kind="page"), ["path", "site"], ["hits", "bytes", "failures"]),
        static=_top(paths.filter(kind="static"), ["path", "site"], ["hits", "bytes", "failures"]),
        not_found=_top(
            of("not_found_daily").filter(pl.col("path").is_not_null()), ["path", "site", "referrer"], ["hits"]
        ),
        referrer_kinds=_top(referrers.filter(pl.col("kind") != ""), ["kind"], ["hits"]),
        referrers=_top(
            referrers.filter(pl.col("kind").is_in(["other", "search"])), ["host", "kind"], ["hits"]
        ),
        phrases=_top(
            referrers.filter(pl.col("search_phrase").is_not_null()), ["search_phrase", "host"], ["hits"]
        ),
        clients=_top(
            of("clients_daily").filter(pl.col("remote_host").is_not_null()),
            ["remote_host"],
            ["hits", "bytes", "failures"],
        ),
        browsers=_agents(agents, "browser"),
        systems=_agents(agents, "os"),
        devices=_agents(agents, "device"),
        bots=_top(
            agents.filter("is_bot").with_columns(pl.col("bot").fill_null("not named")),
            ["bot"],
            ["hits", "bytes"],
        ),
        **_visits(visits),
        methods=_top(of("methods_daily"), ["method", "protocol"], ["hits"]),
        measures=list(
            of("sizes_and_times_daily").sort("measure", "site").head(40).collect().iter_rows(named=True)
        ),
        errors=_errors(of("errors_daily")),
        incidents=_incidents(of("incidents")),
        fates=_fates(quality),
        reasons=list(
            quality.filter(fate="rejected")
            .group_by("reason")
            .agg(pl.col("lines").sum())
            .sort("lines", "reason", descending=[True, False])
            .iter_rows(named=True)
        ),
        malformed=int(quality.filter(reason="malformed_request")["lines"].sum()),
        samples=_samples(store, day) if quality.filter(fate="rejected").height else [],
    )


def _incidents(rows: pl.LazyFrame) -> list[Row]:
    """The incidents that are farthest from what is usual, by time, with their numbers as people read them."""
    farthest = rows.sort("distance", "started_at", "site", descending=[True, False, False]).head(TOP)
    found: list[Row] = []
    for row in farthest.sort("started_at", "site").collect().iter_rows(named=True):
        series = SERIES[row["series"]]
        usual = f"{series.shown(row['lower'])} to {series.shown(row['upper'])}"
        found.append({**row, "what": series.what, "shown": series.shown(row["observed"]), "usual": usual})
    return found


def day_totals(store: Store, days: Iterable[date] | None = None) -> dict[date, Totals]:
    """The totals of these days, or of all; a day that serving knows nothing of is left out."""
    wanted = None if days is None else sorted(set(days))

    def table(name: str) -> pl.LazyFrame:
        rows = read_table(store, name)
        return rows if wanted is None else rows.filter(pl.col("event_date").is_in(wanted))

    # The statuses are the complete count: the lists of paths and clients are cut.
    status = pl.col("status")
    frames = pl.collect_all(
        [
            table("status_daily")
            .group_by("event_date")
            .agg(
                pl.col("hits", "bytes").sum(),
                client_errors=pl.col("hits").filter(status.is_between(400, 499)).sum(),
                server_errors=pl.col("hits").filter(status.is_between(500, 599)).sum(),
            ),
            table("visitors_daily")
            .group_by("event_date")
            .agg(pl.col("visitors", "bot_visitors", "visitors_goaccess").sum()),
            table("traffic_hourly")
            .filter("is_bot")
            .group_by("event_date")
            .agg(bot_hits=pl.col("hits").sum()),
            table("visits_daily")
            .filter(~pl.col("is_bot"))
            .group_by("event_date")
            .agg(visits=pl.len().cast(pl.Int64)),
            table("quality_daily")
            .filter(fate="rejected")
            .group_by("event_date")
            .agg(rejected=pl.col("lines").sum()),
            table("errors_daily").group_by("event_date").agg(log_errors=pl.col("entries").sum()),
        ]
    )
    found: dict[date, dict[str, int]] = {}
    for frame in frames:
        for row in frame.iter_rows(named=True):
            found.setdefault(row.pop("event_date"), {}).update(row)
    return {day: Totals(**numbers) for day, numbers in sorted(found.items())}


class _Day:
    """A day's rows of any table, each read once: a site's are 10,000 at most, but for its visits."""

    def __init__(self, store: Store, day: date) -> None:
        self._store = store
        self._day = day
        self._read: dict[str, pl.DataFrame] = {}

    def __call__(self, table: str) -> pl.LazyFrame:
        if table not in self._read:
            rows = read_table(self._store, table).filter(event_date=self._day)
            wanted = rows.select(_OF_VISITS) if table == "visits_daily" else rows
            self._read[table] = wanted.collect()
        return self._read[table].lazy()


def _top(
    rows: pl.LazyFrame, keys: Sequence[str], sums: Sequence[str], *, limit: int = TOP, by: str = ""
) -> list[Row]:
    """The rows with the most hits; ties by key, so that the same day gives the same page."""
    grouped = rows.group_by(keys).agg(pl.col(*sums).sum())
    order = [by] if by else [sums[0], *keys]
    down = [False] if by else [True, *(False for _ in keys)]
    return list(grouped.sort(order, descending=down).head(limit).collect().iter_rows(named=True))


def _hours(store: Store, day: date, compared: date, visits: pl.LazyFrame) -> list[Row]:
    """For each of the 24 hours: hits of people and bots, bytes, visits begun, and hits a week before."""
    traffic = read_table(store, "traffic_hourly")
    is_bot = pl.col("is_bot")
    now, then, begun, usual = pl.collect_all(
        [
            traffic.filter(event_date=day)
            .group_by("hour")
            .agg(
                people=pl.col("hits").filter(~is_bot).sum(),
                bots=pl.col("hits").filter(is_bot).sum(),
                failed=pl.col("hits").filter(pl.col("status_class").is_in(["4xx", "5xx"])).sum(),
                bytes=pl.col("bytes").sum(),
            ),
            traffic.filter(event_date=compared).group_by("hour").agg(week_before=pl.col("hits").sum()),
            visits.filter(~is_bot)
            .group_by(hour=pl.col("started_at").dt.hour().cast(pl.Int8))
            .agg(visits=pl.len().cast(pl.Int64)),
            read_table(store, "traffic_scores")
            .filter(pl.col("site").is_null(), event_date=day, series="hits")
            .select("hour", "lower", "upper"),
        ]
    )
    hours = pl.DataFrame({"hour": range(24)}, schema={"hour": pl.Int8})
    joined = hours.join(now, on="hour", how="left").join(begun, on="hour", how="left")
    joined = joined.join(then, on="hour", how="left").sort("hour")
    counted = joined.with_columns(pl.exclude("hour").fill_null(0))
    return list(counted.join(usual, on="hour", how="left", maintain_order="left").iter_rows(named=True))


def _sites(of: _Day) -> list[Row]:
    status = pl.col("status")
    hits, visitors = pl.collect_all(
        [
            of("status_daily")
            .group_by("site")
            .agg(pl.col("hits", "bytes").sum(), failures=pl.col("hits").filter(status >= 400).sum()),
            of("visitors_daily").select("site", "visitors"),
        ]
    )
    joined = hits.join(visitors, on="site", how="left").with_columns(pl.col("visitors").fill_null(0))
    return list(joined.sort("hits", "site", descending=[True, False]).head(TOP).iter_rows(named=True))


def _agents(agents: pl.LazyFrame, column: str) -> list[Row]:
    people = agents.filter(~pl.col("is_bot")).with_columns(name=pl.col(column).fill_null("unknown"))
    return _top(people, ["name"], ["hits", "visitors"], limit=12)


def _visits(visits: pl.LazyFrame) -> dict[str, Any]:
    people = (
        visits.filter(~pl.col("is_bot")).select("duration_s", "entry_path", "exit_path", "pages").collect()
    )
    starts = [start for _, start in _DURATIONS]
    seconds = people["duration_s"]
    durations = [
        {
            "name": name,
            "visits": int(
                ((seconds >= start) & (seconds < (starts[at + 1] if at + 1 < len(starts) else 2**62))).sum()
            ),
        }
        for at, (name, start) in enumerate(_DURATIONS)
    ]
    counted = people.lazy().with_columns(visits=pl.lit(1, pl.Int64))
    median, pages = seconds.median(), people["pages"].mean()
    return {
        "durations": durations,
        "entries": _top(counted.drop_nulls("entry_path"), ["entry_path"], ["visits"], limit=10),
        "exits": _top(counted.drop_nulls("exit_path"), ["exit_path"], ["visits"], limit=10),
        "visit_median_s": float(median) if isinstance(median, int | float) else None,
        "pages_per_visit": float(pages) if isinstance(pages, int | float) else None,
    }


def _errors(rows: pl.LazyFrame) -> list[Row]:
    grouped = (
        rows.filter(pl.col("template").is_not_null())
        .group_by("level", "module", "template")
        .agg(pl.col("entries").sum(), pl.col("first_seen").min(), pl.col("last_seen").max())
    )
    order = ["entries", "level", "module", "template"]
    return list(
        grouped.sort(order, descending=[True, False, False, False]).head(TOP).collect().iter_rows(named=True)
    )


def _fates(quality: pl.DataFrame) -> dict[str, int]:
    counted = dict(quality.group_by("fate").agg(pl.col("lines").sum()).iter_rows())
    return {fate: counted.get(fate, 0) for fate in FATES}


def _samples(store: Store, day: date) -> list[Row]:
    """A few rejected lines of each reason, of the deliveries that touch the day."""
    units = ledger.units_of_days(store, [day]).get(day, [])
    with_rejects = [
        unit
        for unit in sorted(units)
        if any(
            file.rejected and file.status == "counted"
            for file in read_manifest(store, "bronze", unit).value.files
        )
    ]
    rows = scan_units(store, "bronze", "rejected", with_rejects[:_SAMPLED_UNITS])
    # Where and why first: lines may be long, and only those that are shown are fetched.
    places = rows.select("reason", "source_file", "line_number").head(_LOOKED_AT).collect()
    chosen = places.group_by("reason", maintain_order=True).head(_SAMPLES_OF_A_REASON)
    if chosen.is_empty():
        return []
    shown = rows.join(
        chosen.lazy().select("source_file", "line_number"), on=["source_file", "line_number"], how="semi"
    )
    columns = [name for name in LAYERS["bronze"]["rejected"].column_names if name != "byte_offset"]
    found = shown.select(columns).collect(engine="streaming").sort("reason", "source_file", "line_number")
    return list(found.iter_rows(named=True))
