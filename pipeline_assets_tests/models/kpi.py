"""Made-up traffic by the minute with incidents that are known, and how well something finds them.

What belongs here: kinds of traffic and of noise, drawn from a seed, and the measure. What does not: a
detector. Most incidents last some minutes (median nine), and many are too small to be seen: a perfect recall
is impossible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

MINUTES = 1440
DAYS = 35
# Nothing is expected of a detector before.
FIRST_DAY = 9
# Alarms so close are one, and one this soon after the start is in time.
GAP, IN_TIME = 15, 7
KINDS = (
    *("daily", "quiet nights", "flat", "drift", "every hour", "wandering", "level shift", "overdispersed"),
    *("log-normal", "autocorrelated", "bursts", "gap", "small"),
)


@dataclass(frozen=True)
class Traffic:
    """Counts by the minute (NaN: not delivered), and the minutes in which each incident begins and ends."""

    counts: Array
    incidents: tuple[tuple[int, int], ...]


def traffic(kind: str, seed: int, *, incidents: bool = True) -> Traffic:
    """Five weeks of one kind; the same seed gives the same."""
    draw = np.random.default_rng([seed, KINDS.index(kind), int(incidents)])
    minute = np.arange(DAYS * MINUTES)
    mean = _usual(kind, draw, minute)
    found: list[tuple[int, int]] = []
    shift = len(minute)
    if kind == "level shift":
        shift = int(draw.integers(10, 30)) * MINUTES + int(draw.integers(MINUTES))
        mean[shift:] *= draw.uniform(1.3, 2.0) if draw.random() < 0.5 else draw.uniform(0.5, 0.75)
        found.append((shift, shift + 30))
    if incidents:
        for start in np.sort(
            draw.integers(FIRST_DAY * MINUTES, len(minute) - 400, draw.poisson(8) + 2)
        ).tolist():
            near = [end for _, end in found if start < end + 180] + [shift] * (abs(start - shift) < 300)
            if not near:
                length = int(np.clip(np.exp(draw.normal(np.log(9), 1)), 2, 240))
                mean[start : start + length] *= _incident(draw, length)
                found.append((start, start + length))
    counts = _noise(kind, draw, mean)
    if kind == "gap":
        start = int(draw.integers(12, 20)) * MINUTES
        counts[start : start + 300] = np.nan
        found = [one for one in found if one[1] < start or one[0] > start + 300]
    return Traffic(counts, tuple(sorted(found)))


def judged(alarms: npt.NDArray[np.bool_], truth: Traffic) -> tuple[int, int, int]:
    """Incidents found in time, incidents, and alarms (those close together are one) that no incident
    explains."""
    first = FIRST_DAY * MINUTES
    found = sum(
        bool(alarms[start : min(end + 1, start + IN_TIME + 1)].any()) for start, end in truth.incidents
    )
    places = np.flatnonzero(alarms)
    places = places[places >= first]
    wrong = 0
    for group in np.split(places, np.flatnonzero(np.diff(places) > GAP) + 1):
        if len(group) and not any(
            group[0] < end + GAP and group[-1] >= start for start, end in truth.incidents
        ):
            wrong += 1
    return found, len(truth.incidents), wrong


def event_f1(found: int, incidents: int, wrong: int) -> float:
    """The harmonic mean of the shares of incidents that were found and of alarms that were right."""
    return 2 * found / max(1, found + incidents + wrong)


def seasonal_z(counts: Array) -> Array:
    """What a plain detector says: the distance from the median of the same minute on 21 days, in spreads."""
    by_day = counts.reshape(-1, MINUTES)
    scores = np.zeros_like(by_day)
    for day in range(1, len(by_day)):
        before = by_day[max(0, day - 21) : day]
        with np.errstate(all="ignore"):
            middle = np.nanmedian(before, axis=0)
            spread = 1.4826 * np.nanmedian(np.abs(before - middle), axis=0)
            scores[day] = (by_day[day] - middle) / np.fmax(spread, np.sqrt(np.fmax(middle, 1)))
    return np.nan_to_num(scores.ravel())


def _usual(kind: str, draw: Any, minute: npt.NDArray[np.int64]) -> Array:
    day = minute / MINUTES
    base = 10 ** (draw.uniform(-1, 0.5) if kind == "small" else draw.uniform(0.7, 3.3))
    size = draw.uniform(0.3, 0.9)
    shape = 1 + size * np.sin(2 * np.pi * day + draw.uniform(0, 6.3))
    shape += size / 4 * np.sin(4 * np.pi * day + draw.uniform(0, 6.3))
    if kind == "quiet nights":
        shape = np.fmax(shape, 0.02) ** 3
    if kind == "flat":
        shape = np.ones(len(minute))
    workday = (day.astype(int) + draw.integers(7)) % 7 < 5
    mean: Array = base * np.fmax(shape, 0.03) * np.where(workday, 1.0, draw.uniform(0.4, 1.0))
    if kind == "drift":
        mean *= np.exp(draw.uniform(-0.03, 0.03) * day)
    if kind == "every hour":
        mean *= 1 + (minute % 60 == draw.integers(60)) * draw.uniform(0.5, 3)
    if kind == "wandering":
        mean *= np.exp(0.12 * _correlated(draw, len(minute), 0.998))
    return mean


def _incident(draw: Any, length: int) -> Array | float:
    """What an incident makes of the traffic: nothing, less, more, other for longer, or slowly more."""
    kind = draw.choice(["outage", "drop", "spike", "other level", "ramp"])
    if kind == "ramp":
        rise: Array = np.minimum(1, np.arange(1, length + 1) / max(3, min(length, 10)))
        height: float = draw.uniform(0.5, 5)
        return 1 + height * rise
    level = draw.uniform(1.4, 3) if draw.random() < 0.5 else draw.uniform(0.3, 0.7)
    return float({"outage": 0, "drop": draw.uniform(0, 0.6), "spike": draw.uniform(1.6, 8)}.get(kind, level))


def _noise(kind: str, draw: Any, mean: Array) -> Array:
    size = len(mean)
    if kind == "log-normal":
        smooth: Array = mean * draw.lognormal(0, 0.25, size)
        return smooth
    if kind == "overdispersed":
        mean = mean * draw.gamma(20, 1 / 20, size)
    if kind == "autocorrelated":
        mean = mean * np.exp(0.1 * _correlated(draw, size, 0.7))
    if kind == "bursts":
        mean = mean * (1 + (draw.random(size) < 0.002) * draw.exponential(1, size))
    counts: Array = draw.poisson(mean).astype(float)
    return counts


def _correlated(draw: Any, size: int, share: float) -> Array:
    """Normal noise of which so much stays from one minute to the next."""
    steps = draw.normal(0, np.sqrt(1 - share**2), size).tolist()
    values, value = [], 0.0
    for step in steps:
        value = share * value + step
        values.append(value)
    return np.array(values)
