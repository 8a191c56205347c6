"""Scores: which hours and minutes of the series are unusual.

What belongs here: the scores of all series, as a pure function of a day and of the 28 days before it, so
that a backfill, a batch and a live run give the same numbers. What does not: which series there are
(`series`), the score of one of them (`detector`), what makes an incident of scores (`incidents`), or when a
day is scored.

Counts are scored as 2 sqrt(x + 3/8), in which the noise of a Poisson process has a standard deviation of 1
whatever its mean (Anscombe, "The transformation of Poisson, binomial and negative-binomial data", Biometrika
35, 1948); shares as 2 asin(sqrt(p)) likewise, with 1 / sqrt(n) (the same paper). So a quiet hour that
happened to be equal every day is no licence to alarm at the next single hit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.schemas import MODEL_TRAFFIC_SCORES
from pipeline_assets.models.detector import ERROR_DAYS, HISTORY_DAYS, Expectations, slots_a_day
from pipeline_assets.models.series import BY_HOUR, BY_MINUTE, SERIES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Places = npt.NDArray[np.int64]

BASELINE_DAYS: Final = HISTORY_DAYS
_HOUR: Final = 60
# So many days are scored with what they have in common worked out once, and so many values at a time.
_DAYS_TOGETHER: Final = 28
_VALUES_TOGETHER: Final = 1 << 20
# Of a day so many sites with most requests are scored: whoever sends made-up host names can't make it long.
SITE_LIMIT: Final = 100
# A difference is no news within this share of the square root of what is usual: some four percent a spread.
_LEAST_DIFFERENCE: Final = 0.02
# With less than a week before it, a score must be so much higher: the threshold over the root of the week's
# share.
_SURE_SHARE: Final = 1 / 3
# A site is looked at by the minute where one hour has one request a minute, or all hours have four: with
# less, three minutes in a row pass no threshold.
_BUSY_HOUR: Final = 60
_USUAL_HOUR: Final = 240
_FEWEST_IN_A_MINUTE: Final = 4

_SLOT_SCHEMA: Final = pl.Schema(
    {
        "event_date": pl.Date(),
        "slot": pl.Int32(),
        "site": pl.String(),
        "series": pl.String(),
        "observed": pl.Float64(),
        "expected": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "score": pl.Float64(),
        "distance": pl.Float64(),
        "confidence": pl.Float64(),
        "is_anomaly": pl.Boolean(),
    }
)


def days_to_score(changed: Iterable[date]) -> set[date]:
    """The days whose scores depend on these days: themselves and the 28 after each."""
    return {day + timedelta(days=ahead) for day in changed for ahead in range(BASELINE_DAYS + 1)}


def score_hours(values: pl.DataFrame, days: Iterable[date], threshold: float) -> pl.DataFrame:
    """Scores of these days (columns: `schemas.MODEL_TRAFFIC_SCORES`), sorted.

    `values` holds `hourly_values` of these days and of the 28 before each. `threshold` is in spreads.
    """
    wanted = sorted(set(days))
    complete = values.filter("is_complete", pl.col("observed").is_not_null())
    parts = [pl.DataFrame(schema=_SLOT_SCHEMA)]
    for near in _near(wanted):
        hits = _Grid.of_hours(complete, near, ["hits"], complete["site"].unique())
        sites = {day: hits.sites_of(day)[:SITE_LIMIT] for day in near}
        grid = _Grid.of_hours(complete, near, BY_HOUR, {site for day in near for site in sites[day]})
        series = {day: [(site, name) for site in sites[day] for name in BY_HOUR] for day in near}
        parts += _scored(grid, series, threshold, only_anomalies=False)
    scores = (
        pl.concat(parts).with_columns(hour=pl.col("slot").cast(pl.Int8)).drop("observed", "slot", "distance")
    )
    key = ["event_date", "hour", "site", "series"]
    return (
        values.filter(pl.col("event_date").is_in(wanted))
        .join(scores, on=key, how="left", nulls_equal=True)
        .with_columns(pl.col("is_anomaly").fill_null(value=False), pl.col("confidence").fill_null(0.0))
        .select(MODEL_TRAFFIC_SCORES.column_names)
        .cast(MODEL_TRAFFIC_SCORES.schema)
        .sort(key)
    )


def sites_by_the_minute(values: pl.DataFrame, days: Iterable[date]) -> dict[date, list[str | None]]:
    """The sites of each day that have requests enough to be looked at by the minute; days without are left
    out."""
    wanted = sorted(set(days))
    hits = values.filter(pl.col("series") == "hits")
    sites = hits.filter(pl.col("site").is_not_null()).group_by("event_date").agg(pl.col("site").n_unique())
    several = dict(sites.iter_rows())
    by_day: dict[date, list[str | None]] = {}
    for day in wanted:
        window = hits.filter(pl.col("event_date").is_between(day - timedelta(days=BASELINE_DAYS), day))
        is_today = pl.col("event_date") == day
        busy = (
            window.group_by("site")
            .agg(
                pl.col("observed").filter(is_today).max().alias("most"),
                pl.col("observed").mean().alias("usual"),
                pl.col("observed").sum().alias("all"),
            )
            .filter(
                pl.col("most").is_not_null(),
                (pl.col("most") >= _BUSY_HOUR) | (pl.col("usual") >= _USUAL_HOUR),
            )
            .sort("all", "site", descending=[True, False], nulls_last=True)
            .head(SITE_LIMIT)
        )
        found = [site for site in busy["site"] if site is not None or several.get(day, 0) > 1]
        if found:
            by_day[day] = found
    return by_day


def score_minutes(
    minutes: pl.DataFrame,
    visits: pl.DataFrame,
    values: pl.DataFrame,
    sites: Mapping[date, Collection[str | None]],
    threshold: float,
) -> pl.DataFrame:
    """The minutes of these days and sites that are anomalies.

    `minutes` has `traffic_minutely` of these days and the 28 before each (`event_date, hour, minute, site,
    status_class, is_bot, hits, bytes`), `visits` how many begin in a minute (`event_date, slot, site,
    visits`), and `values` the `hourly_values`. Columns `event_date, slot` (minute of the day) `,
    site, series, observed, expected, lower, upper, score, distance` (in thresholds) `, confidence,
    is_anomaly`. Minutes of complete hours are known, and in a day's first and last hour those from the first
    logged one to the last, which may be half delivered and is no data yet.
    """
    parts = [pl.DataFrame(schema=_SLOT_SCHEMA)]
    for near in _near(sorted(sites)):
        grid = _Grid.of_minutes(minutes, visits, values, near, {site for day in near for site in sites[day]})
        series = {
            day: [
                (site, name)
                for site in sites[day]
                for name in BY_MINUTE
                # With less, three minutes in a row pass no threshold.
                if SERIES[name].low
                or grid.most(day, site, "hits" if SERIES[name].is_share else name) >= _FEWEST_IN_A_MINUTE
            ]
            for day in near
        }
        parts += _scored(grid, series, threshold, only_anomalies=True)
    return pl.concat(parts)


def _near(days: Sequence[date]) -> Iterator[list[date]]:
    """Days in order, a group of those that have days before them in common at a time."""
    together: list[date] = []
    for day in days:
        if together and (
            (day - together[-1]).days > ERROR_DAYS or (day - together[0]).days >= _DAYS_TOGETHER
        ):
            yield together
            together = []
        together.append(day)
    if together:
        yield together


@dataclass(frozen=True)
class _Grid:
    """Series as rows of equal steps, NaN where there is no data, from 28 days before the first day on."""

    first: date
    step_minutes: int
    sites: Mapping[str | None, int]
    # Of each series: sites by slots.
    arrays: Mapping[str, Array]

    @classmethod
    def of_hours(
        cls, values: pl.DataFrame, days: Sequence[date], names: Sequence[str], chosen: Iterable[str | None]
    ) -> _Grid:
        """These series of the chosen sites, from rows of `hourly_values` that are data."""
        import numpy as np

        first, slots = days[0] - timedelta(days=BASELINE_DAYS), slots_a_day(_HOUR)
        length = ((days[-1] - first).days + 1) * slots
        sites = _numbered(chosen)
        near = values.filter(pl.col("event_date").is_between(first, days[-1]), pl.col("series").is_in(names))
        arrays = {name: np.full((len(sites) + 1, length), np.nan) for name in names}
        for (name,), rows in near.partition_by("series", as_dict=True).items():
            place = rows.select(_days_since(first) * slots + pl.col("hour")).to_series()
            arrays[name][_row_of(rows, sites), place.to_numpy()] = rows["observed"].to_numpy()
        return cls(first, _HOUR, sites, {name: array[:-1] for name, array in arrays.items()})

    @classmethod
    def of_minutes(
        cls,
        minutes: pl.DataFrame,
        visits: pl.DataFrame,
        values: pl.DataFrame,
        days: Sequence[date],
        chosen: Iterable[str | None],
    ) -> _Grid:
        """As `score_minutes` is given them, of the chosen sites."""
        import numpy as np

        first, slots = days[0] - timedelta(days=BASELINE_DAYS), slots_a_day(1)
        length = ((days[-1] - first).days + 1) * slots
        is_near = pl.col("event_date").is_between(first, days[-1])
        sites = _numbered([None, *chosen])
        rows, begun = minutes.filter(is_near), visits.filter(is_near)
        minute = pl.col("hour").cast(pl.Int64) * _HOUR + pl.col("minute")
        place = _days_since(first) * slots

        def summed(at: Places, weights: npt.NDArray[Any]) -> Array:
            # All sites together have a row of their own, and the sites that are not chosen the last one.
            sums = np.bincount(at, weights, (len(sites) + 1) * length)
            by_site = np.asarray(sums, np.float64).reshape(-1, length)
            by_site[sites[None]] = by_site.sum(axis=0)
            return by_site[:-1]

        slot = rows.select(place + minute).to_series().to_numpy()
        at = _row_of(rows, sites) * length + slot
        hits, bots, status = rows["hits"].to_numpy(), rows["is_bot"].to_numpy(), rows["status_class"]
        sums = {"hits": summed(at, hits), "bytes": summed(at, rows["bytes"].to_numpy())}
        for name in ("4xx", "5xx"):
            which = (status == name).to_numpy()
            sums[f"status_{name}"] = summed(at[which], hits[which])
        with np.errstate(invalid="ignore"):
            # Without requests there is no share.
            sums["bot_share"] = summed(at[bots], hits[bots]) / sums["hits"]
        slot_begun = begun.select(place + pl.col("slot")).to_series().to_numpy()
        sums["visits"] = summed(_row_of(begun, sites) * length + slot_begun, begun["visits"].to_numpy())
        logged = np.bincount(slot, minlength=length) > 0
        known = _known_minutes(logged, values.filter(is_near), first, sites)
        return cls(first, 1, sites, {name: np.where(known, array, np.nan) for name, array in sums.items()})

    def sites_of(self, day: date) -> list[str | None]:
        """Sites with data on a day, those with most requests in its 29 days first."""
        import numpy as np

        start, end = self._bounds(day)
        hits = self.arrays["hits"]
        sums = np.nansum(hits[:, end - (BASELINE_DAYS + 1) * (end - start) : end], axis=1)
        seen = set(np.flatnonzero((~np.isnan(hits[:, start:end])).any(axis=1)).tolist())
        there = [site for site, row in self.sites.items() if row in seen]
        return sorted(there, key=lambda site: (-sums[self.sites[site]], site or ""))

    def most(self, day: date, site: str | None, name: str) -> float:
        """The largest value of a day; 0 where there is none."""
        import numpy as np

        start, end = self._bounds(day)
        return float(np.nanmax(self.arrays[name][self.sites[site], start:end], initial=0.0))

    def row(self, site: str | None, name: str) -> Array:
        """One series."""
        found: Array = self.arrays[name][self.sites[site]]
        return found

    def today(self, day: date, row: Array) -> Array:
        """The slots of a day."""
        start, end = self._bounds(day)
        return row[start:end]

    def comparable(self, series: Sequence[tuple[str | None, str]]) -> Array:
        """Series whose noise has about the same spread wherever they are."""
        import numpy as np

        rows = []
        for site, name in series:
            row = self.row(site, name)
            if SERIES[name].is_share:
                # Without a request there is no share, so its number of requests is known wherever it is.
                requests = self.row(site, "hits")
                rows.append(2 * np.arcsin(np.sqrt((row * requests + 3 / 8) / (requests + 3 / 4))))
            else:
                rows.append(2 * np.sqrt(row + 3 / 8))
        return np.stack(rows)

    def floor(self, day: date, series: tuple[str | None, str], values: Array) -> Array:
        """The least spread of noise of a series (its comparable `values`) in each slot of a day."""
        import numpy as np

        site, name = series
        start, end = self._bounds(day)
        if SERIES[name].is_share:
            requests = self.today(day, self.row(site, "hits"))
            return 1 / np.sqrt(np.where(np.isnan(requests), 0.0, requests) + 1 / 2)
        known = values[start - BASELINE_DAYS * (end - start) : start]
        known = known[~np.isnan(known)]
        least = max(1.0, _LEAST_DIFFERENCE * float(known.mean())) if len(known) else 1.0
        return np.full(end - start, least)

    def number(self, day: date) -> int:
        """Which day of the grid it is."""
        return (day - self.first).days

    def _bounds(self, day: date) -> tuple[int, int]:
        slots = slots_a_day(self.step_minutes)
        return self.number(day) * slots, (self.number(day) + 1) * slots


def _numbered(sites: Iterable[str | None]) -> dict[str | None, int]:
    ordered = pl.Series(list(sites), dtype=pl.String).unique().sort(nulls_last=True)
    return {site: place for place, site in enumerate(ordered)}


def _row_of(rows: pl.DataFrame, sites: Mapping[str | None, int]) -> Places:
    """The number of each row's site, and one more than all of them where it has none."""
    numbers = pl.DataFrame(
        {"site": pl.Series(list(sites), dtype=pl.String), "number": list(sites.values())},
        schema={"site": pl.String, "number": pl.Int64},
    )
    found = rows.select("site").join(numbers, on="site", how="left", nulls_equal=True, maintain_order="left")
    return found["number"].fill_null(len(sites)).to_numpy()


def _days_since(first: date) -> pl.Expr:
    return (pl.col("event_date") - pl.lit(first)).dt.total_days()


def _known_minutes(
    logged: npt.NDArray[np.bool_], values: pl.DataFrame, first_day: date, sites: Mapping[str | None, int]
) -> npt.NDArray[np.bool_]:
    """Which minutes are data (sites by minutes); of the `logged` ones some site has a line."""
    import numpy as np

    by_hour = logged.reshape(-1, _HOUR)
    place = np.flatnonzero(by_hour.any(axis=1))
    begin = place * _HOUR + by_hour[place].argmax(axis=1)
    end = (place + 1) * _HOUR - by_hour[place, ::-1].argmax(axis=1)
    hours = pl.DataFrame({"place": place, "first": begin, "last": end - 1})
    # A complete hour is known as a whole, but for what is before the day's first line, and its last minute.
    of_day = hours.group_by(day=pl.col("place") // 24).agg(
        day_begin=pl.col("first").min(), day_end=pl.col("last").max()
    )
    hour = pl.col("hour")
    is_edge = ((hour == hour.min()) | (hour == hour.max())).over("event_date")
    start = pl.col("place") * _HOUR
    spans = (
        values.filter(pl.col("series") == "hits")
        .with_columns(is_edge=is_edge, day=_days_since(first_day))
        .filter(pl.col("is_complete") | pl.col("is_edge"))
        .with_columns(place=pl.col("day") * 24 + hour)
        .join(hours, on="place", how="left")
        .join(of_day, on="day")
        .filter(pl.col("is_complete") | pl.col("first").is_not_null())
        .select(
            "site",
            begin=pl.max_horizontal(pl.when("is_complete").then(start).otherwise("first"), "day_begin"),
            end=pl.min_horizontal(
                pl.when("is_complete").then(start + _HOUR).otherwise(pl.col("last") + 1), "day_end"
            ),
        )
        .filter(pl.col("begin") < pl.col("end"))
    )
    # Where more spans have begun than ended. The sites that are not chosen have the last row.
    width = len(logged) + 1
    begun, ended = (
        np.bincount(
            _row_of(spans, sites) * width + spans[name].to_numpy(), minlength=(len(sites) + 1) * width
        )
        for name in ("begin", "end")
    )
    is_open: npt.NDArray[np.bool_] = np.cumsum((begun - ended).reshape(-1, width), axis=1) > 0
    return is_open[:-1, :-1]


def _scored(
    grid: _Grid,
    series: Mapping[date, Sequence[tuple[str | None, str]]],
    threshold: float,
    *,
    only_anomalies: bool,
) -> Iterator[pl.DataFrame]:
    """The slots of each day that are data, of its series (site and name), as rows of `_SLOT_SCHEMA`."""
    several = sorted(
        {one for of_day in series.values() for one in of_day},
        key=lambda one: (grid.sites[one[0]], one[1]),
    )
    length = next((array.shape[1] for array in grid.arrays.values()), 1)
    at_once = max(1, _VALUES_TOGETHER // length)
    for start in range(0, len(several), at_once):
        batch = several[start : start + at_once]
        values = grid.comparable(batch)
        expectations = Expectations.of(values, grid.step_minutes)
        for day, of_day in series.items():
            wanted = set(of_day)
            if which := [place for place, one in enumerate(batch) if one in wanted]:
                yield _scored_day(
                    grid,
                    expectations,
                    day,
                    which,
                    [batch[place] for place in which],
                    threshold,
                    only_anomalies,
                )


def _scored_day(
    grid: _Grid,
    expectations: Expectations,
    day: date,
    which: list[int],
    series: list[tuple[str | None, str]],
    threshold: float,
    only_anomalies: bool,
) -> pl.DataFrame:
    """The slots of one day: `which` are the places of its series in the expectations."""
    import numpy as np

    kinds = [SERIES[name] for _, name in series]
    high, low, is_share = (
        np.array([getattr(kind, name) for kind in kinds])[:, None] for name in ("high", "low", "is_share")
    )
    observed = np.stack([grid.today(day, grid.row(*one)) for one in series])
    values = expectations.values[which]
    floor = np.stack([grid.floor(day, one, row) for one, row in zip(series, values, strict=True)])
    result = expectations.score(grid.number(day), which, floor)
    reach = threshold * result.spread
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = (np.stack([grid.today(day, row) for row in values]) - result.expected) / reach
        needed = threshold / np.sqrt(np.minimum(1.0, result.confidence / _SURE_SHARE))
        unusual = (high & (result.score >= needed)) | (low & (result.score <= -needed))

    def back(values: Array) -> Array:
        return np.where(is_share, _share(values), _count(values))

    told = ~np.isnan(observed)
    places, slots = np.nonzero(told & unusual if only_anomalies else told)
    columns = {
        "observed": observed,
        "expected": back(result.expected),
        "lower": back(result.expected - reach),
        "upper": back(result.expected + reach),
        "score": result.score,
        "distance": distance,
        "confidence": result.confidence,
        "is_anomaly": unusual,
    }
    names = pl.DataFrame(series, schema={"site": pl.String, "series": pl.String}, orient="row")
    return (
        names[places]
        .with_columns(
            pl.lit(day).alias("event_date"),
            pl.Series("slot", slots),
            *(pl.Series(name, column[places, slots]) for name, column in columns.items()),
        )
        .fill_nan(None)
        .select(_SLOT_SCHEMA.names())
        .cast(_SLOT_SCHEMA)
    )


def _count(values: Array) -> Array:
    import numpy as np

    return np.maximum(np.maximum(values, 0.0) ** 2 / 4 - 3 / 8, 0.0)


def _share(values: Array) -> Array:
    import numpy as np

    return np.sin(np.clip(values, 0.0, np.pi) / 2) ** 2
