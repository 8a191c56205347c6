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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.schemas import MODEL_TRAFFIC_SCORES
from pipeline_assets.models.detector import HISTORY_DAYS, score_day, slots_a_day
from pipeline_assets.models.series import BY_HOUR, BY_MINUTE, SERIES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

BASELINE_DAYS: Final = HISTORY_DAYS
_HOUR: Final = 60
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
    slot = pl.col("hour").cast(pl.Int32).alias("slot")
    complete = values.filter("is_complete", pl.col("observed").is_not_null())
    wide = complete.select("event_date", slot, "site", "series", "observed").pivot(
        "series", values="observed"
    )
    dense = _Dense.of(wide, wanted, 60)
    found = []
    for day in wanted:
        for site in dense.sites_of(day)[:SITE_LIMIT]:
            found += [slots for name in BY_HOUR if (slots := dense.scored(day, site, name, threshold))]
    scores = (
        _gathered(found).with_columns(hour=pl.col("slot").cast(pl.Int8)).drop("observed", "slot", "distance")
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
    sites: Mapping[date, Iterable[str | None]],
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
    if not sites:
        return pl.DataFrame(schema=_SLOT_SCHEMA)
    minute = (pl.col("hour").cast(pl.Int32) * 60 + pl.col("minute")).alias("slot")
    rows = minutes.with_columns(minute)
    known = _known_minutes(rows, values)
    which = {
        "hits": pl.lit(value=True),
        "bots": pl.col("is_bot"),
        **{f"status_{name}": pl.col("status_class") == name for name in ("4xx", "5xx")},
    }
    sums = [pl.col("hits").filter(one).sum().alias(name) for name, one in which.items()]
    counts = _with_all_sites(rows, [*sums, pl.col("bytes").sum()])
    begun = _with_all_sites(visits, [pl.col("visits").sum()])
    chosen = pl.Series([site for found in sites.values() for site in found], dtype=pl.String).unique()
    wanted = sorted(sites)
    key = ["event_date", "slot", "site"]
    filled = (
        known.filter(pl.col("site").is_in(chosen.implode(), nulls_equal=True))
        .join(counts, on=key, how="left", nulls_equal=True)
        .join(begun, on=key, how="left", nulls_equal=True)
        .with_columns(pl.exclude(key).fill_null(0).cast(pl.Float64))
        .with_columns(bot_share=pl.when(pl.col("hits") > 0).then(pl.col("bots") / pl.col("hits")))
        .drop("bots")
    )
    dense = _Dense.of(filled, wanted, 1)
    found = []
    for day in wanted:
        for site in sites[day]:
            for name in BY_MINUTE:
                counted = "hits" if SERIES[name].is_share else name
                if SERIES[name].low or dense.most(day, site, counted) >= _FEWEST_IN_A_MINUTE:
                    slots = dense.scored(day, site, name, threshold)
                    if slots is not None and slots.columns["is_anomaly"].any():
                        found.append(slots)
    return _gathered(found).filter("is_anomaly")


def _with_all_sites(rows: pl.DataFrame, sums: list[pl.Expr]) -> pl.DataFrame:
    """Sums by minute of each site, and of all together (null)."""
    in_all = rows.group_by("event_date", "slot").agg(sums).with_columns(site=pl.lit(None, pl.String))
    return pl.concat([rows.group_by("event_date", "slot", "site").agg(sums), in_all], how="diagonal")


def _known_minutes(rows: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """The `event_date, slot, site` that are data, by minute: `rows` has a `slot` for each logged minute."""
    logged = rows.group_by("event_date", (pl.col("slot") // _HOUR).alias("hour")).agg(
        pl.col("slot").min().alias("first"), pl.col("slot").max().alias("last")
    )
    hour = pl.col("hour")
    is_edge = ((hour == hour.min()) | (hour == hour.max())).over("event_date")
    ends = (
        values.filter(pl.col("series") == "hits")
        .select("event_date", hour.cast(pl.Int32), "site", "is_complete", is_edge=is_edge)
        .filter(pl.col("is_complete") | pl.col("is_edge"))
        .join(logged, on=["event_date", "hour"], how="left")
    )
    # A complete hour is known as a whole, but for what is before the day's first line, and its last minute.
    of_day = rows.group_by("event_date").agg(
        pl.col("slot").min().alias("begin"), pl.col("slot").max().alias("end")
    )
    begin = pl.when("is_complete").then(hour * _HOUR).otherwise(pl.col("first"))
    end = pl.when("is_complete").then(hour * _HOUR + _HOUR).otherwise(pl.col("last") + 1)
    return (
        ends.filter(pl.col("is_complete") | pl.col("first").is_not_null())
        .join(of_day, on="event_date")
        .with_columns(begin=pl.max_horizontal(begin, "begin"), end=pl.min_horizontal(end, "end"))
        .select("event_date", "site", pl.int_ranges("begin", "end", dtype=pl.Int32).alias("slot"))
        .explode("slot", empty_as_null=False)
        .select("event_date", "slot", "site")
    )


@dataclass(frozen=True)
class _Slots:
    """All slots of a day of one series, by column."""

    day: date
    site: str | None
    series: str
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class _Dense:
    """Series as arrays of equal steps, NaN where there is no data, from 28 days before the first day on."""

    first: date
    step_minutes: int
    arrays: Mapping[tuple[str | None, str], Array]

    @classmethod
    def of(cls, values: pl.DataFrame, days: list[date], step_minutes: int) -> _Dense:
        """From `event_date, slot, site` and a column for each series."""
        import numpy as np

        arrays: dict[tuple[str | None, str], Array] = {}
        if not days:
            return cls(date.min, step_minutes, arrays)
        first = days[0] - timedelta(days=BASELINE_DAYS)
        slots = slots_a_day(step_minutes)
        length = ((days[-1] - first).days + 1) * slots
        day = (pl.col("event_date") - pl.lit(first)).dt.total_days()
        placed = values.with_columns(place=day * slots + pl.col("slot")).filter(
            pl.col("place").is_between(0, length - 1)
        )
        names = [name for name in values.columns if name in SERIES]
        for (site,), rows in placed.partition_by("site", as_dict=True).items():
            place = rows["place"].to_numpy()
            for name in names:
                array = np.full(length, np.nan)
                array[place] = rows[name].to_numpy()
                arrays[site, name] = array
        return cls(first, step_minutes, arrays)

    def sites_of(self, day: date) -> list[str | None]:
        """Sites with data on a day, those with most requests in its 29 days first."""
        import numpy as np

        sums = {
            site: float(np.nansum(self._window(day, array)))
            for (site, name), array in self.arrays.items()
            if name == "hits" and not np.isnan(self._today(day, array)).all()
        }
        return sorted(sums, key=lambda site: (-sums[site], site or ""))

    def most(self, day: date, site: str | None, name: str) -> float:
        """The largest value of a day; 0 where there is none."""
        import numpy as np

        array = self.arrays.get((site, name))
        return 0.0 if array is None else float(np.nanmax(self._today(day, array), initial=0.0))

    def scored(self, day: date, site: str | None, name: str, threshold: float) -> _Slots | None:
        """The slots of a day with their scores; None where a series is not known."""
        import numpy as np

        array = self.arrays.get((site, name))
        if array is None:
            return None
        kind, window = SERIES[name], self._window(day, array)
        observed = self._today(day, array)
        if kind.is_share:
            # Without a request there is no share, so its number of requests is known wherever it is.
            requests = self._window(day, self.arrays[site, "hits"])
            values = 2 * np.arcsin(np.sqrt((window * requests + 3 / 8) / (requests + 3 / 4)))
            today = requests[-len(observed) :]
            floor: Array | float = 1 / np.sqrt(np.where(np.isnan(today), 0.0, today) + 1 / 2)
        else:
            values = 2 * np.sqrt(window + 3 / 8)
            known = values[: -len(observed)]
            known = known[~np.isnan(known)]
            floor = max(1.0, _LEAST_DIFFERENCE * float(known.mean())) if len(known) else 1.0
        result = score_day(values, self.step_minutes, floor)
        back = _share if kind.is_share else _count
        reach = threshold * result.spread
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = (values[-len(observed) :] - result.expected) / reach
            needed = threshold / np.sqrt(np.minimum(1.0, result.confidence / _SURE_SHARE))
            unusual = (kind.high & (result.score >= needed)) | (kind.low & (result.score <= -needed))
        columns = {
            "slot": np.arange(len(observed), dtype=np.int32),
            "observed": observed,
            "expected": back(result.expected),
            "lower": back(result.expected - reach),
            "upper": back(result.expected + reach),
            "score": result.score,
            "distance": distance,
            "confidence": result.confidence,
            "is_anomaly": unusual,
        }
        return _Slots(day, site, name, columns)

    def _window(self, day: date, array: Array) -> Array:
        slots = slots_a_day(self.step_minutes)
        start = ((day - self.first).days - BASELINE_DAYS) * slots
        return array[start : start + (BASELINE_DAYS + 1) * slots]

    def _today(self, day: date, array: Array) -> Array:
        return self._window(day, array)[-slots_a_day(self.step_minutes) :]


def _count(values: Array) -> Array:
    import numpy as np

    return np.maximum(np.maximum(values, 0.0) ** 2 / 4 - 3 / 8, 0.0)


def _share(values: Array) -> Array:
    import numpy as np

    return np.sin(np.clip(values, 0.0, np.pi) / 2) ** 2


def _gathered(found: list[_Slots]) -> pl.DataFrame:
    """The slots that have data, as rows."""
    import numpy as np

    if not found:
        return pl.DataFrame(schema=_SLOT_SCHEMA)
    columns = {name: np.concatenate([one.columns[name] for one in found]) for name in found[0].columns}
    lengths = [len(one.columns["slot"]) for one in found]
    which = pl.DataFrame(
        {
            "event_date": [one.day for one in found],
            "site": pl.Series([one.site for one in found], dtype=pl.String),
            "series": [one.series for one in found],
        }
    )
    repeated = which.select(pl.all().repeat_by(pl.Series(lengths)).explode(empty_as_null=False))
    return (
        pl.DataFrame(columns)
        .with_columns(repeated)
        .fill_nan(None)
        .filter(pl.col("observed").is_not_null())
        .select(_SLOT_SCHEMA.names())
        .cast(_SLOT_SCHEMA)
    )
