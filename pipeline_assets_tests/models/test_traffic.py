"""Traffic scores: hand-computed cases, and that a score depends on nothing but its day and the 28 before.

What belongs here: the pure score. What does not: which days are written when (`compute`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel.schemas import MODEL_TRAFFIC_SCORES
from pipeline_assets.models.traffic import BASELINE_DAYS, MINIMUM_DAYS, days_to_score, score_traffic

DAY = date(2024, 3, 1)
Hits = Mapping[tuple[date, int, str], int]


def before(days: int) -> date:
    return DAY - timedelta(days=days)


def frame(hits: Hits) -> pl.DataFrame:
    return pl.DataFrame(
        [(day, hour, site, count) for (day, hour, site), count in hits.items()],
        schema={"event_date": pl.Date, "hour": pl.Int8, "site": pl.String, "hits": pl.Int64},
        orient="row",
    )


def scores(hits: Hits, days: Iterable[date] = (DAY,), threshold: float = 6.0) -> list[dict[str, Any]]:
    return list(score_traffic(frame(hits), days, threshold).iter_rows(named=True))


def history(*counts: int, hour: int = 10, site: str = "a") -> dict[tuple[date, int, str], int]:
    """Hits of the same hour on the days before, yesterday first."""
    return {(before(number), hour, site): count for number, count in enumerate(counts, 1)}


def test_the_score_by_hand() -> None:
    # Median 100; deviations 0 4 4 8 10 10 20, median 8; 1.4826 * 8 = 11.86, above the root of 100.
    hits = history(100, 96, 104, 92, 110, 90, 120) | {(DAY, 10, "a"): 219}
    (row,) = scores(hits)
    assert row == {
        "event_date": DAY,
        "hour": 10,
        "site": "a",
        "hits": 219,
        "expected_hits": 100.0,
        "spread_hits": pytest.approx(11.8608),
        "baseline_days": 7,
        "score": pytest.approx(119 / 11.8608),
        "is_anomaly": True,
    }


def test_a_steady_hour_has_the_spread_of_a_poisson_process() -> None:
    (row,) = scores(history(*[400] * 10) | {(DAY, 10, "a"): 300})
    assert (row["expected_hits"], row["spread_hits"], row["score"]) == (400.0, 20.0, -5.0)
    assert not row["is_anomaly"]


def test_a_quiet_hour_has_a_spread_of_one_at_least() -> None:
    hits = {(before(number), hour, "a"): 1 for number in range(1, 9) for hour in (9, 11)}
    hits |= {(DAY, 9, "a"): 1, (DAY, 10, "a"): 3, (DAY, 11, "a"): 1}
    row = scores(hits)[1]
    assert (row["hour"], row["expected_hits"], row["spread_hits"], row["score"]) == (10, 0.0, 1.0, 3.0)


def test_the_threshold_itself_is_an_anomaly_up_and_down() -> None:
    for count in (400 + 120, 400 - 120):
        (row,) = scores(history(*[400] * 10) | {(DAY, 10, "a"): count}, threshold=6.0)
        assert row["is_anomaly"]


def test_too_short_a_history_scores_nothing() -> None:
    (row,) = scores(history(*[100] * (MINIMUM_DAYS - 1)) | {(DAY, 10, "a"): 10_000})
    assert (row["baseline_days"], row["expected_hits"], row["score"]) == (MINIMUM_DAYS - 1, None, None)
    assert row["is_anomaly"] is False


def test_days_before_the_baseline_say_nothing() -> None:
    old = {(before(BASELINE_DAYS + ahead), 10, "a"): 5 for ahead in range(1, 20)}
    (row,) = scores(old | {(DAY, 10, "a"): 100})
    assert row["baseline_days"] == 0
    oldest = {(before(BASELINE_DAYS), 10, "a"): 5}
    (row,) = scores(oldest | {(DAY, 10, "a"): 100})
    assert row["baseline_days"] == 1


def test_half_of_the_days_may_be_odd() -> None:
    (row,) = scores(history(100, 5000, 100, 5000, 100, 5000, 100) | {(DAY, 10, "a"): 100})
    assert (row["expected_hits"], row["score"]) == (100.0, 0.0)


def test_a_quiet_hour_between_logged_ones_counts_as_none() -> None:
    hits = {(DAY, 9, "a"): 4, (DAY, 12, "a"): 4}
    assert [(row["hour"], row["hits"]) for row in scores(hits)] == [(9, 4), (10, 0), (11, 0), (12, 4)]


def test_a_gap_is_no_data_and_not_zero() -> None:
    # The days before hold only hours from 12 on (a delivery that began at noon), so hour 10 has no past.
    hits = {(before(number), hour, "a"): 100 for number in range(1, 11) for hour in (12, 13)}
    hits |= {(DAY, 10, "a"): 100, (DAY, 12, "a"): 100}
    rows = {row["hour"]: row for row in scores(hits)}
    assert rows[10]["baseline_days"] == 0
    assert rows[10]["score"] is None
    assert rows[12]["score"] == 0.0
    assert 13 not in rows, "the rest of the day has not been delivered"


def test_days_that_were_not_delivered_are_not_learned_from() -> None:
    past = {(before(number), 10, "a"): 50 for number in range(1, BASELINE_DAYS + 1) if number % 2}
    (row,) = scores(past | {(DAY, 10, "a"): 50})
    assert (row["baseline_days"], row["expected_hits"]) == (BASELINE_DAYS // 2, 50.0)


def test_sites_know_nothing_of_each_other_but_the_hours_that_were_logged() -> None:
    hits = history(*[100] * 9) | history(*[1] * 9, site="b")
    hits |= {(DAY, 10, "a"): 100, (DAY, 10, "b"): 100}
    a, b = scores(hits)
    assert (a["site"], a["score"], a["is_anomaly"]) == ("a", 0.0, False)
    assert (b["site"], b["score"], b["is_anomaly"]) == ("b", 99.0, True)


def test_rows_of_one_hour_are_added_up() -> None:
    halves = pl.concat([frame({(DAY, 10, "a"): 4}), frame({(DAY, 10, "a"): 5})])
    assert score_traffic(halves, [DAY], 6.0)["hits"].to_list() == [9]


def test_nothing_gives_nothing_in_the_columns_of_the_catalogue() -> None:
    empty = score_traffic(frame({}), [DAY], 6.0)
    assert (empty.height, dict(empty.schema)) == (0, dict(MODEL_TRAFFIC_SCORES.schema))


def test_a_day_changes_the_scores_of_itself_and_of_the_28_after_it() -> None:
    days = days_to_score([DAY])
    assert (min(days), max(days), len(days)) == (DAY, DAY + timedelta(days=BASELINE_DAYS), BASELINE_DAYS + 1)
    assert days_to_score([]) == set()


traffic = st.dictionaries(
    st.tuples(
        st.integers(0, 40).map(before),
        st.integers(8, 12),
        st.sampled_from(("a", "b")),
    ),
    st.integers(1, 1000),
    min_size=1,
    max_size=150,
)


@settings(max_examples=40, deadline=None)
@given(traffic, st.sets(st.integers(0, 40).map(before), min_size=1))
def test_a_day_scores_the_same_alone_in_a_batch_and_among_days_that_do_not_concern_it(
    hits: dict[tuple[date, int, str], int], batch: set[date]
) -> None:
    together = scores(hits, batch)
    for day in batch:
        within = {
            key: count for key, count in hits.items() if day - timedelta(days=BASELINE_DAYS) <= key[0] <= day
        }
        assert scores(within, [day]) == [row for row in together if row["event_date"] == day]


@settings(max_examples=40, deadline=None)
@given(traffic, st.integers(0, 40).map(before), st.integers(1, 500))
def test_only_the_days_to_score_change_when_a_day_changes(
    hits: dict[tuple[date, int, str], int], changed: date, more: int
) -> None:
    days = {before(number) for number in range(41)}
    other = dict(hits)
    other[changed, 10, "a"] = hits.get((changed, 10, "a"), 0) + more
    depend = days_to_score([changed])
    kept = [row for row in scores(hits, days) if row["event_date"] not in depend]
    assert kept == [row for row in scores(other, days) if row["event_date"] not in depend]


@settings(max_examples=40, deadline=None)
@given(traffic)
def test_every_score_is_a_number_or_absent(hits: dict[tuple[date, int, str], int]) -> None:
    for row in scores(hits, {before(number) for number in range(41)}):
        assert (row["score"] is None) == (row["baseline_days"] < MINIMUM_DAYS)
        assert row["score"] is None or math.isfinite(row["score"])
