"""The score of one day of a series: cases by hand, what it may depend on, and how well it finds known
incidents.

What belongs here: the pure score. What does not: which series there are (`test_series`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.models.detector import HISTORY_DAYS, Expectations, Scored, _rolling_medians, slots_a_day
from pipeline_assets_tests.models import kpi
from pipeline_assets_tests.models.measure import THRESHOLD, scores_of

DAYS = HISTORY_DAYS + 1
Array = npt.NDArray[np.float64]


def score_day(values: Array, step: int, floor: float = 0.0) -> Scored:
    """The last day of one series."""
    found = Expectations.of(values[None], step).score(HISTORY_DAYS, [0], np.full((1, 1), floor))
    return Scored(found.expected[0], found.spread[0], found.score[0], found.confidence[0])


def noisy(seed: int, step: int = 60, mean: float = 50.0) -> Array:
    slots = slots_a_day(step)
    season = mean + mean / 2 * np.sin(np.arange(DAYS * slots) * 2 * np.pi / slots)
    values: Array = season + np.random.default_rng(seed).normal(0, 1, DAYS * slots)
    return values


def test_a_series_that_repeats_itself_is_expected_to_and_one_slot_stands_out() -> None:
    values = np.tile(np.arange(24.0), DAYS)
    values[-10] += 7
    scored = score_day(values, 60, floor=2.0)
    assert scored.expected.tolist() == pytest.approx(list(range(24)))
    assert scored.score[-10] == 3.5
    assert np.count_nonzero(scored.score) == 1
    assert scored.confidence.tolist() == [1.0] * 24


def test_a_weekday_of_its_own_is_expected_from_the_second_week_on() -> None:
    days = np.array([100.0 if (day - HISTORY_DAYS) % 7 else 20.0 for day in range(DAYS)])
    values = np.repeat(days, 1440)
    values[: 13 * 1440] = np.nan
    scored = score_day(values, 1, floor=1.0)
    assert np.abs(scored.score).max() < 1


def test_a_slot_without_data_has_no_score_and_zero_is_a_value() -> None:
    values = noisy(1)
    values[-5], values[-3] = np.nan, 0.0
    scored = score_day(values, 60)
    assert np.isnan(scored.score[-5])
    assert np.isnan(scored.expected[-5])
    assert scored.score[-3] < -THRESHOLD


def test_days_without_data_before_are_not_zeros() -> None:
    values = noisy(2)
    values[: 20 * 24] = np.nan
    scored = score_day(values, 60)
    assert np.abs(scored.score).max() < THRESHOLD
    assert scored.confidence.tolist() == pytest.approx([8 / 21] * 24)


def test_the_first_day_says_nothing() -> None:
    values = noisy(3)
    values[: HISTORY_DAYS * 24] = np.nan
    scored = score_day(values, 60)
    assert np.isnan(scored.score).all()
    assert not scored.confidence.any()


def test_a_single_odd_minute_is_chance_and_two_are_not() -> None:
    values = noisy(4, step=1)
    values[-700] += 1000
    assert np.nanmax(score_day(values, 1).score) < THRESHOLD
    values[-699] += 1000
    assert np.nanmax(score_day(values, 1).score) > THRESHOLD


def test_an_incident_of_yesterday_is_not_expected_today() -> None:
    values = noisy(5)
    values[-34:-30] = 0
    calm = score_day(noisy(5), 60)
    assert np.abs(score_day(values, 60).expected - calm.expected).max() < 2


def with_gaps(seed: int, step: int, series: int, days: int) -> Array:
    """Series of which some begin late, some have gaps, and all lack the last minute of each day."""
    draw, slots = np.random.default_rng(seed), slots_a_day(step)
    values = draw.poisson(30, (series, days * slots)).astype(float)
    for row in values:
        if draw.random() < 0.3:
            row[: draw.integers(days * slots)] = np.nan
        for start in draw.integers(0, days * slots, draw.integers(4)):
            row[start : start + draw.integers(1, 2 * slots)] = np.nan
        if draw.random() < 0.2:
            row[draw.random(len(row)) < 0.5] = np.nan
    values[:, slots - 1 :: slots] = np.nan
    return values


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([4, 5, 60]))
def test_days_and_series_scored_together_have_the_bits_of_each_alone(seed: int, step: int) -> None:
    values, slots = with_gaps(seed, step, 3, DAYS + 9), slots_a_day(step)
    together = Expectations.of(values, step)
    for day in (HISTORY_DAYS, HISTORY_DAYS + 1, HISTORY_DAYS + 9):
        scored = together.score(day, [2, 0], np.array([[1.5], [0.0]]))
        for place, (row, floor) in enumerate(((2, 1.5), (0, 0.0))):
            alone = score_day(values[row, (day - HISTORY_DAYS) * slots : (day + 1) * slots], step, floor)
            for name in ("expected", "spread", "score", "confidence"):
                found, wanted = getattr(scored, name)[place], getattr(alone, name)
                assert np.array_equal(found, wanted, equal_nan=True), name


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([5, 24, 25, 40]))
def test_rolling_medians_are_those_of_each_window(seed: int, window: int) -> None:
    rows = with_gaps(seed, 60, 3, 6)
    found = _rolling_medians(rows, window)
    for row, medians in zip(rows, found, strict=True):
        known = np.flatnonzero(~np.isnan(row))
        for slot in range(window, known[-1] + 1 if len(known) else 0):
            before = row[slot - window : slot]
            before = before[~np.isnan(before)]
            wanted = np.median(before) if len(before) >= window // 2 else np.nan
            assert medians[slot] == pytest.approx(wanted, rel=1e-15, nan_ok=True)


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="are not 29 days of 24 or more"):
        score_day(np.zeros(100), 60)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 23), st.floats(-1e6, 1e6), st.sampled_from([5, 60]))
def test_a_score_knows_nothing_of_what_comes_after_it(seed: int, hour: int, value: float, step: int) -> None:
    values = noisy(seed, step)
    place = hour * 60 // step
    changed = values.copy()
    changed[HISTORY_DAYS * slots_a_day(step) + place :] = value
    one, other = score_day(values, step), score_day(changed, step)
    assert np.array_equal(one.score[:place], other.score[:place], equal_nan=True)
    assert np.array_equal(one.expected[: place + 1], other.expected[: place + 1], equal_nan=True)


@pytest.mark.slow
def test_known_incidents_are_found_in_time_and_clean_series_are_left_alone() -> None:
    ours, plain, false_alarms = [0, 0, 0], [0, 0, 0], 0
    for kind in kpi.KINDS[::2]:
        for incidents in (True, False):
            truth = kpi.traffic(kind, 1, incidents=incidents)
            found = kpi.judged(scores_of(2 * np.sqrt(truth.counts + 3 / 8), 1, 1.0) >= THRESHOLD, truth)
            if incidents:
                ours = [a + b for a, b in zip(ours, found, strict=True)]
                other = kpi.judged(np.abs(kpi.seasonal_z(truth.counts)) >= 6, truth)
                plain = [a + b for a, b in zip(plain, other, strict=True)]
            else:
                false_alarms += found[2]
    weeks = len(kpi.KINDS[::2]) * (kpi.DAYS - kpi.FIRST_DAY) / 7
    assert kpi.event_f1(*ours) >= 0.70
    assert kpi.event_f1(*ours) > kpi.event_f1(*plain)
    assert false_alarms / weeks <= 0.3
