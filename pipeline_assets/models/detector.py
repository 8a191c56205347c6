"""Anomalies of a regular series: each slot of a day against what the 28 days before it lead one to expect.

What belongs here: the score of one day of one series, as a pure function of that day up to the slot and of
the 28 days before. What does not: which series there are (`series`), and what makes an incident
(`incidents`).

What is expected is the best of three: the median of the same slot over 21 days, moved by the median error of
the last two hours; the same for the same weekday; and the median of the last two hours alone. The one that
erred least over the last day and week is taken, slot by slot. How far that may err is told by the seven days
before: their median absolute deviation by time of day, and the size that one error in a hundred had (median
and MAD as in Davies and Gather, "The identification of multiple outliers", JASA 88, 1993). 21 days for the
level and 7 for its errors are 28.

A single slot is often chance. Where slots are short, the score is that of three in a row, each clipped, so it
takes two odd ones to raise an alarm; and it is measured against what such a mean has done in the week before.

A day is always computed from the same 29 days, so that a backfill gives the bits that a live run gives.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Scored:
    """A day's slots: what was expected, the spread of errors, the score in spreads, and how well known it is.

    Where slots are judged three at a time, the spread is that of the mean of three.
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


def score_day(values: Array, step_minutes: int, floor: Array | float = 0.0) -> Scored:
    """Scores of the last of 29 days of a series.

    `values` has 29 days of slots of `step_minutes` (a divisor of 60), NaN where there is no data. `floor` is
    the least spread that noise can have, for all or for each slot of the last day.
    """
    import numpy as np

    slots = slots_a_day(step_minutes)
    if len(values) != (HISTORY_DAYS + 1) * slots:
        raise ValueError(f"{len(values)} values are not {HISTORY_DAYS + 1} days of {slots}")
    expected, days = _expected(values, step_minutes)
    recent = values[LEVEL_DAYS * slots :]
    errors = recent - expected
    past, errors_now = errors[:-slots], errors[-slots:]
    by_hour = np.fmax(_spread_by_hour(np.abs(past).reshape(ERROR_DAYS, slots)), floor)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = errors_now / by_hour
        if step_minutes <= _SHORT_SLOT_MINUTES:
            clipped = np.clip(np.concatenate([past / np.tile(by_hour, ERROR_DAYS), score]), -_CLIP, _CLIP)
            # Three in a row may lie on both sides of midnight.
            means = (clipped[2:] + clipped[1:-1] + clipped[:-2]) / _IN_A_ROW
            usual = _quantile(np.abs(means[:-slots]), _TAIL) / _TAIL_TO_SIGMA
            of_mean = np.fmax(usual, _IN_A_ROW**-0.5)
            score = means[-slots:] / of_mean
            by_hour = by_hour * of_mean
    known = np.isfinite(score)
    return Scored(
        np.where(known, expected[-slots:], np.nan),
        np.where(known, by_hour, np.nan),
        np.where(known, score, np.nan),
        days / LEVEL_DAYS,
    )


def _expected(values: Array, step_minutes: int) -> tuple[Array, Array]:
    """What the last eight days were expected to be; from how many days the slots of the last are known."""
    import numpy as np

    slots = slots_a_day(step_minutes)
    short = max(_SHORT_SLOTS, _SHORT_MINUTES // step_minutes)
    by_day = values.reshape(HISTORY_DAYS + 1, slots)
    first = LEVEL_DAYS
    # For each of the last eight days, the same slot on the 21 days before it.
    earlier = np.stack([by_day[day - LEVEL_DAYS : day] for day in range(first, HISTORY_DAYS + 1)])
    level, days = _medians(np.moveaxis(earlier, 1, -1))
    # The first of them is three weeks before, so it and every seventh after it are the same weekday.
    weekday, _ = _medians(np.moveaxis(earlier[:, ::7], 1, -1))
    of_weekday = (level + _smoothed(weekday - level, _WEEKDAY_MINUTES // step_minutes)).ravel()
    level = level.ravel()
    recent = values[first * slots :]
    # The hours before the first of these days are known, too.
    lead = values[first * slots - short :]
    start = np.full(short, np.nan)
    errors = [np.concatenate([start, recent - one]) for one in (level, of_weekday)]
    *moved, flat = _rolling_medians(np.stack([*errors, lead]), short)[:, short:]
    # Where the hours before are no data, nothing is known to have moved.
    candidates = np.stack([level + np.nan_to_num(moved[0]), of_weekday + np.nan_to_num(moved[1]), flat])
    wrong = np.abs(recent - candidates)
    recently = _means_before(wrong, slots, short) + _means_before(wrong, ERROR_DAYS * slots, short)
    recently[np.isnan(recently)] = np.finfo(float).max
    recently[np.isnan(candidates)] = np.inf
    best = np.argmin(recently, axis=0)
    return np.take_along_axis(candidates, best[None], 0)[0], days[-1].astype(float)


def _spread_by_hour(errors: Array) -> Array:
    """The spread of each slot of a day from the sizes of earlier errors (days by slots)."""
    import numpy as np

    slots = errors.shape[1]
    hours = errors.reshape(len(errors), 24, slots // 24)
    around = np.concatenate([np.roll(hours, 1, axis=1), hours, np.roll(hours, -1, axis=1)], axis=2)
    medians, counts = _medians(np.moveaxis(around, 1, 0).reshape(24, -1))
    medians[counts < _FEWEST_ERRORS] = np.nan
    overall = _MAD_TO_SIGMA * _LEAST_SHARE * _quantile(errors.ravel(), 0.5)
    tail = _quantile(errors.ravel(), _TAIL) / _TAIL_TO_SIGMA
    return np.repeat(np.fmax(np.fmax(_MAD_TO_SIGMA * medians, overall), tail), slots // 24)


def _medians(values: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Medians along the last axis without what is NaN, and of how many values."""
    import numpy as np

    ordered = np.sort(values, axis=-1)
    counts = np.sum(~np.isnan(ordered), axis=-1)
    low = np.take_along_axis(ordered, (np.maximum(counts - 1, 0) // 2)[..., None], -1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(counts // 2, ordered.shape[-1] - 1)[..., None], -1)[..., 0]
    return (low + high) / 2, counts


def _quantile(values: Array, share: float) -> float:
    """A quantile without what is NaN; NaN of too few."""
    import numpy as np

    known = values[~np.isnan(values)]
    return float(np.quantile(known, share)) if len(known) >= _FEWEST_ERRORS else np.nan


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
    """For each slot of each row the median of so many before it; NaN where half of them are no data."""
    import numpy as np

    before = np.full(rows.shape, np.nan)
    if slots <= _FEW_SLOTS:
        windows = np.lib.stride_tricks.sliding_window_view(rows[:, :-1], slots, axis=1)
        medians, counts = _medians(windows)
        before[:, slots:] = np.where(counts >= slots // 2, medians, np.nan)
        return before
    frame = pl.DataFrame(dict(zip("abc", rows, strict=False))).fill_nan(None)
    rolled = frame.select(
        pl.all().rolling_median(slots, min_samples=slots // 2).shift(1).fill_null(float("nan"))
    )
    return rolled.to_numpy().T


def _means_before(rows: Array, slots: int, fewest: int) -> Array:
    """For each slot of each row the mean of up to so many before it; NaN of fewer than `fewest`."""
    import numpy as np

    known = ~np.isnan(rows)
    start = np.zeros((len(rows), 1))
    sums = np.concatenate([start, np.cumsum(np.where(known, rows, 0.0), axis=1)], axis=1)[:, :-1]
    counts = np.concatenate([start, np.cumsum(known, axis=1)], axis=1)[:, :-1]
    sums[:, slots:], counts[:, slots:] = (
        sums[:, slots:] - sums[:, :-slots],
        counts[:, slots:] - counts[:, :-slots],
    )
    return np.where(counts >= fewest, sums / np.fmax(counts, 1), np.nan)
