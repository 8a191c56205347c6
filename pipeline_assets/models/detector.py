"""Anomalies of regular series: each slot of a day against what the 28 days before it lead one to expect.

What belongs here: the score of one day of a series, as a pure function of that day up to the slot and of the
28 days before. What does not: which series there are (`series`), and what makes an incident (`incidents`).

What is expected is the best of three: the median of the same slot over 21 days, moved by the median error of
the last two hours; the same for the same weekday; and the median of the last two hours alone. The one that
erred least over the last day and week is taken, slot by slot. How far that may err is told by the seven days
before: their median absolute deviation by time of day, and the size that one error in a hundred had (median
and MAD as in Davies and Gather, "The identification of multiple outliers", JASA 88, 1993). 21 days for the
level and 7 for its errors are 28.

A single slot is often chance. Where slots are short, the score is that of three in a row, each clipped, so it
takes two odd ones to raise an alarm; and it is measured against what such a mean has done in the week before.

A day's score is made of the same 29 days whatever else is scored with it, so that a backfill gives the bits
that a live run gives. What days have in common is worked out once: the medians, which are exact. Means of
errors are sums, of which the last bits depend on where they begin, so each day has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

LEVEL_DAYS: Final = 21
ERROR_DAYS: Final = 7
HISTORY_DAYS: Final = LEVEL_DAYS + ERROR_DAYS
# Shortly before, in minutes, and in slots at least.
_SHORT_MINUTES: Final = 120
_SHORT_SLOTS: Final = 6
# A weekday is known from three days at most, but what sets it apart from other days changes slowly.
_WEEKDAY_MINUTES: Final = 30
# Slots of at most so many minutes are judged three at a time, each as no more than so many spreads.
_SHORT_SLOT_MINUTES: Final = 5
_IN_A_ROW: Final = 3
_CLIP: Final = 6.0
_MAD_TO_SIGMA: Final = 1.4826
_TAIL: Final = 0.99
# The same quantile of the size of normal noise, in standard deviations.
_TAIL_TO_SIGMA: Final = 2.576
# Errors at one time of day may be smaller than errors at all times by so much at most.
_LEAST_SHARE: Final = 0.5
_FEWEST_ERRORS: Final = 6
# So few slots are sorted faster than a library is called.
_FEW_SLOTS: Final = 24
# Windows with gaps are sorted one by one where they are at most this share of all.
_FEW_TOUCHED: Final = 0.2


@dataclass(frozen=True)
class Scored:
    """One day of some series: what was expected, the spread of errors, the score in spreads, how sure it is.

    All are series by slots. Where slots are judged three at a time, the spread is that of the mean of three.
    Expected, spread and score are NaN where nothing can be said: the slot is no data, or nothing came before.
    `confidence` is the share of the 21 days before that have the slot.
    """

    expected: Array
    spread: Array
    score: Array
    confidence: Array


def slots_a_day(step_minutes: int) -> int:
    """How many slots of so many minutes a day has."""
    return 24 * 60 // step_minutes


@dataclass(frozen=True)
class Expectations:
    """What days of some series lead one to expect of each other, from which each of them is scored.

    Days are counted from the first of the values, and `levels` begin with the 22nd.
    """

    values: Array
    step_minutes: int
    # The medians of the same slot, and with what sets the weekday apart; and how far each is to be moved by
    # the errors shortly before, on its own and as the first of the eight days that a score looks at.
    levels: tuple[Array, Array]
    moved: tuple[Array, Array]
    first_moved: tuple[Array, Array]
    flat: Array
    known_days: Array

    @classmethod
    def of(cls, values: Array, step_minutes: int) -> Expectations:
        """From series by slots of `step_minutes` (a divisor of 60), NaN where there is no data.

        There are whole days of slots, at least 29: the 29th and those after it can be scored.
        """
        import numpy as np

        slots = slots_a_day(step_minutes)
        days = values.shape[-1] // slots
        if values.shape[-1] % slots or days <= HISTORY_DAYS:
            raise ValueError(f"{values.shape[-1]} values are not {HISTORY_DAYS + 1} days of {slots} or more")
        short = _short_slots(step_minutes)
        by_day = values.reshape(len(values), days, slots)
        levels, of_weekdays, counts = [], [], []
        for day in range(LEVEL_DAYS, days):
            earlier = np.moveaxis(by_day[:, day - LEVEL_DAYS : day], 1, -1)
            level, known = _medians(earlier)
            # The first of them is three weeks before, so it and every seventh after it are the same weekday.
            weekday, _ = _medians(earlier[..., ::7])
            levels.append(level)
            of_weekdays.append(level + _smoothed(weekday - level, _WEEKDAY_MINUTES // step_minutes))
            counts.append(known)
        both = (np.concatenate(levels, axis=1), np.concatenate(of_weekdays, axis=1))
        recent = values[:, LEVEL_DAYS * slots :]
        nothing = np.full((len(values), short), np.nan)
        # The hours before the first of these days are known, but what was expected of them is not.
        lead = values[:, LEVEL_DAYS * slots - short :]
        errors = [np.concatenate([nothing, recent - level], axis=1) for level in both]
        *moved, flat = np.split(_rolling_medians(np.concatenate([*errors, lead]), short)[:, short:], 3)
        begins = np.arange(days - HISTORY_DAYS) * slots
        # The first hours of each day that can be the first of eight: of the day before it nothing is known.
        heads = [error[:, short:][:, begins[:, None] + np.arange(short)] for error in errors]
        alone = np.stack(heads).reshape(-1, short)
        alone = _rolling_medians(np.concatenate([np.full_like(alone, np.nan), alone], axis=1), short)[
            :, short:
        ]
        first = alone.reshape(2, len(values), len(begins), short)
        return cls(
            values,
            step_minutes,
            both,
            (np.nan_to_num(moved[0]), np.nan_to_num(moved[1])),
            (np.nan_to_num(first[0]), np.nan_to_num(first[1])),
            flat,
            np.stack(counts, axis=1),
        )

    def score(self, day: int, which: Sequence[int], floor: Array) -> Scored:
        """Scores of one day, of these series.

        `floor` is the least spread that noise can have: series by slots of the day, or by one.
        """
        import numpy as np

        slots = slots_a_day(self.step_minutes)
        expected, known_days = self._expected(day, which)
        recent = self.values[which, (day - ERROR_DAYS) * slots : (day + 1) * slots]
        errors = recent - expected
        past, errors_now = errors[:, :-slots], errors[:, -slots:]
        by_hour = np.fmax(_spread_by_hour(np.abs(past).reshape(-1, ERROR_DAYS, slots)), floor)
        with np.errstate(invalid="ignore", divide="ignore"):
            score = errors_now / by_hour
            if self.step_minutes <= _SHORT_SLOT_MINUTES:
                earlier = past / np.tile(by_hour, (1, ERROR_DAYS))
                clipped = np.clip(np.concatenate([earlier, score], axis=1), -_CLIP, _CLIP)
                # Three in a row may lie on both sides of midnight.
                means = (clipped[:, 2:] + clipped[:, 1:-1] + clipped[:, :-2]) / _IN_A_ROW
                (usual,) = _quantiles(np.abs(means[:, :-slots]), _TAIL)
                of_mean = np.fmax(usual / _TAIL_TO_SIGMA, _IN_A_ROW**-0.5)[:, None]
                score = means[:, -slots:] / of_mean
                by_hour = by_hour * of_mean
        known = np.isfinite(score)
        return Scored(
            np.where(known, expected[:, -slots:], np.nan),
            np.where(known, by_hour, np.nan),
            np.where(known, score, np.nan),
            known_days / LEVEL_DAYS,
        )

    def _expected(self, day: int, which: Sequence[int]) -> tuple[Array, Array]:
        """What the eight days up to this one were expected to be; from how many days its slots are known."""
        import numpy as np

        slots, short = slots_a_day(self.step_minutes), _short_slots(self.step_minutes)
        # Where the first of the eight is, in what begins with the 22nd day.
        first = day - HISTORY_DAYS
        eight = slice(first * slots, (first + ERROR_DAYS + 1) * slots)
        candidates = []
        for level, moved, first_moved in zip(self.levels, self.moved, self.first_moved, strict=True):
            # Where the hours before are no data, nothing is known to have moved.
            shift = moved[which, eight]
            shift[:, :short] = first_moved[which, first]
            candidates.append(level[which, eight] + shift)
        found = np.stack([*candidates, self.flat[which, eight]])
        recent = self.values[which, (day - ERROR_DAYS) * slots : (day + 1) * slots]
        wrong = np.abs(recent - found)
        recently = _means_before(wrong, slots, short) + _means_before(wrong, ERROR_DAYS * slots, short)
        recently[np.isnan(recently)] = np.finfo(float).max
        recently[np.isnan(found)] = np.inf
        best = np.argmin(recently, axis=0)
        return np.take_along_axis(found, best[None], 0)[0], self.known_days[which, day - LEVEL_DAYS].astype(
            float
        )


def _short_slots(step_minutes: int) -> int:
    return max(_SHORT_SLOTS, _SHORT_MINUTES // step_minutes)


def _spread_by_hour(errors: Array) -> Array:
    """The spread of each slot of a day from the sizes of earlier errors (series by days by slots)."""
    import numpy as np

    count, days, slots = errors.shape
    hours = errors.reshape(count, days, 24, slots // 24)
    around = np.concatenate([np.roll(hours, 1, axis=2), hours, np.roll(hours, -1, axis=2)], axis=3)
    medians, counts = _medians(np.moveaxis(around, 2, 1).reshape(count, 24, -1))
    medians[counts < _FEWEST_ERRORS] = np.nan
    half, tail = (found[:, None] for found in _quantiles(errors.reshape(count, -1), 0.5, _TAIL))
    overall = _MAD_TO_SIGMA * _LEAST_SHARE * half
    return np.repeat(
        np.fmax(np.fmax(_MAD_TO_SIGMA * medians, overall), tail / _TAIL_TO_SIGMA), slots // 24, axis=1
    )


def _medians(values: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Medians along the last axis without what is NaN, and of how many values."""
    import numpy as np

    ordered = np.sort(values, axis=-1)
    counts = np.sum(~np.isnan(ordered), axis=-1)
    low = np.take_along_axis(ordered, (np.maximum(counts - 1, 0) // 2)[..., None], -1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(counts // 2, ordered.shape[-1] - 1)[..., None], -1)[..., 0]
    return (low + high) / 2, counts


def _quantiles(rows: Array, *shares: float) -> list[Array]:
    """Quantiles of each row without what is NaN, between values by their distance; NaN of too few."""
    import numpy as np

    counts = np.sum(~np.isnan(rows), axis=-1)
    places = [np.maximum(counts - 1, 0) * share for share in shares]
    below = [np.floor(place).astype(int) for place in places]
    above = [np.minimum(low + 1, np.maximum(counts - 1, 0)) for low in below]
    # What is NaN comes last. Only what is asked for need be in its place.
    ordered = np.partition(rows, np.unique(np.concatenate([*below, *above])), axis=-1)
    found = []
    for place, low, high in zip(places, below, above, strict=True):
        begin, end = (np.take_along_axis(ordered, at[:, None], -1)[:, 0] for at in (low, high))
        share = place - low
        # From the nearer of the two.
        value = np.where(share < 0.5, begin + (end - begin) * share, end - (end - begin) * (1 - share))
        found.append(np.where(counts >= _FEWEST_ERRORS, value, np.nan))
    return found


def _smoothed(days: Array, around: int) -> Array:
    """Means of so many slots on each side within a day (days by slots), without what is NaN."""
    import numpy as np

    if not around:
        return days
    known = ~np.isnan(days)
    start = np.zeros((len(days), 1))
    sums = np.concatenate([start, np.cumsum(np.where(known, days, 0.0), axis=1)], axis=1)
    counts = np.concatenate([start, np.cumsum(known, axis=1)], axis=1)
    place = np.arange(days.shape[1])
    first, last = np.maximum(place - around, 0), np.minimum(place + around + 1, days.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (sums[:, last] - sums[:, first]) / (counts[:, last] - counts[:, first])
    return np.where(known, means, np.nan)


def _rolling_medians(rows: Array, slots: int) -> Array:
    """For each slot of each row the median of so many before it; NaN where half of them are no data.

    After a row's last value nothing is said.
    """
    import numpy as np

    before = np.full(rows.shape, np.nan)
    if slots <= _FEW_SLOTS:
        windows = np.lib.stride_tricks.sliding_window_view(rows[:, :-1], slots, axis=1)
        medians, counts = _medians(windows)
        before[:, slots:] = np.where(counts >= slots // 2, medians, np.nan)
        return before
    for row, medians in zip(rows, before, strict=True):
        known = np.flatnonzero(~np.isnan(row))
        if len(known):
            first, last = known[0], known[-1]
            rolled = _rolled_medians(row[first : last + 1], slots)
            medians[first + 1 : last + 2] = rolled[: len(row) - first - 1]
    return before


def _rolled_medians(values: Array, slots: int) -> Array:
    """The median of each value and of those before it, so many in all; NaN where half of them are no data.

    The first and the last are data. Without nulls the library takes a quarter of the time, and most days have
    no gap but their last minute, which is never known: windows with few of those are sorted one by one.
    """
    import numpy as np

    missing = np.cumsum(np.isnan(values))
    in_window = missing.copy()
    in_window[slots:] -= missing[:-slots]
    touched = np.flatnonzero(in_window)
    is_whole = len(touched) <= len(values) * _FEW_TOUCHED
    filled = np.where(np.isnan(values), 0.0, values) if is_whole else values
    series = pl.Series(filled, nan_to_null=True)
    rolled = series.rolling_median(slots, min_samples=slots // 2).fill_null(float("nan")).to_numpy()
    if is_whole and len(touched):
        rolled = rolled.copy()
        padded = np.concatenate([np.full(slots - 1, np.nan), values])
        ordered = np.sort(np.lib.stride_tricks.sliding_window_view(padded, slots)[touched], axis=-1)
        counts = np.sum(~np.isnan(ordered), axis=-1)
        low, high = (
            np.take_along_axis(ordered, np.clip(place, 0, slots - 1)[:, None], -1)[:, 0]
            for place in ((counts - 1) // 2, counts // 2)
        )
        # As the library puts it, to the last bit.
        rolled[touched] = np.where(counts >= slots // 2, low + (high - low) * 0.5, np.nan)
    return rolled


def _means_before(rows: Array, slots: int, fewest: int) -> Array:
    """For each slot the mean of up to so many before it, along the last axis; NaN of fewer than `fewest`."""
    import numpy as np

    known = ~np.isnan(rows)
    start = np.zeros((*rows.shape[:-1], 1))
    sums = np.concatenate([start, np.cumsum(np.where(known, rows, 0.0), axis=-1)], axis=-1)[..., :-1]
    counts = np.concatenate([start, np.cumsum(known, axis=-1)], axis=-1)[..., :-1]
    sums[..., slots:], counts[..., slots:] = (
        sums[..., slots:] - sums[..., :-slots],
        counts[..., slots:] - counts[..., :-slots],
    )
    return np.where(counts >= fewest, sums / np.fmax(counts, 1), np.nan)
