"""Incidents: which anomalies are one, what leads, how severe it is and what carries the difference.

What belongs here: the pure functions. What does not: who is told of one (`automation`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipeline_assets.kernel.schemas import (
    MODEL_CLIENT_PROFILES,
    MODEL_INCIDENTS,
    MODEL_TRAFFIC_SCORES,
    SERVING,
)
from pipeline_assets.models.incidents import explain, find_incidents, linked, severity_of, whole
from pipeline_assets.models.scoring import score_minutes

DAY = date(2024, 3, 1)
THRESHOLD = 5.0
USUAL = {"observed": 0.0, "expected": 9.0, "lower": 4.0, "upper": 16.0, "confidence": 1.0, "is_anomaly": True}
MINUTES = score_minutes(pl.DataFrame(), pl.DataFrame(), pl.DataFrame(), {}, THRESHOLD)


def hours(*rows: dict[str, Any]) -> pl.DataFrame:
    filled = [{"event_date": DAY, "series": "hits", "is_complete": True, **USUAL, **row} for row in rows]
    return pl.DataFrame(filled, schema=MODEL_TRAFFIC_SCORES.schema)


def minutes(*rows: dict[str, Any]) -> pl.DataFrame:
    filled = [{"event_date": DAY, "series": "hits", "score": 0.0, **USUAL, **row} for row in rows]
    return pl.DataFrame(filled, schema=MINUTES.schema)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 3, 1, hour, minute, tzinfo=UTC)


def found(by_hour: pl.DataFrame, by_minute: pl.DataFrame) -> list[dict[str, Any]]:
    incidents = find_incidents(by_hour, by_minute, THRESHOLD)
    assert incidents.schema == MODEL_INCIDENTS.schema
    return list(incidents.iter_rows(named=True))


def test_minutes_close_together_are_one_incident_and_the_farthest_leads() -> None:
    rows = [{"slot": slot, "site": "a", "distance": -1.2} for slot in (600, 601, 614)]
    rows += [{"slot": 602, "site": "a", "distance": 4.0, "series": "status_5xx"}]
    rows += [{"slot": 700, "site": "a", "distance": -1.0}]
    first, second = found(hours(), minutes(*rows))
    assert (first["started_at"], first["ended_at"], first["minutes"]) == (at(10), at(10, 15), 15)
    assert (first["series"], first["direction"], first["also"]) == ("status_5xx", "high", ["hits"])
    assert (first["peak_at"], first["distance"], first["severity"]) == (at(10, 2), 4.0, "high")
    assert (second["started_at"], second["minutes"], second["severity"]) == (at(11, 40), 1, "low")


def test_an_hour_and_its_minutes_are_one_incident_whose_time_the_minutes_tell() -> None:
    (row,) = found(
        hours({"hour": 10, "site": "a", "score": -20.0}),
        minutes({"slot": 605, "site": "a", "distance": -1.5}, {"slot": 612, "site": "a", "distance": -1.5}),
    )
    assert (row["lane"], row["distance"], row["direction"]) == ("hour", 4.0, "low")
    assert (row["started_at"], row["ended_at"]) == (at(10, 5), at(10, 13))


def test_all_sites_together_are_an_incident_only_where_no_site_is() -> None:
    total = {"hour": 10, "site": None, "score": 30.0}
    assert [row["site"] for row in found(hours(total), MINUTES)] == [None]
    both = hours(total, {"hour": 11, "site": "a", "score": 6.0}, {"hour": 20, "site": None, "score": 6.0})
    assert [(row["site"], row["started_at"]) for row in found(both, MINUTES)] == [
        ("a", at(11)),
        (None, at(20)),
    ]


def test_an_incident_that_goes_on_after_midnight_has_the_start_of_the_evening() -> None:
    following = date(2024, 3, 2)
    rows = [
        {"hour": 22, "site": "a", "score": 9.0},
        {"hour": 23, "site": "a", "score": 9.0},
        {"hour": 23, "site": "b", "score": 9.0},
        {"hour": 0, "site": "a", "score": 16.0, "event_date": following},
        {"hour": 1, "site": "b", "score": 9.0, "event_date": following},
    ]
    incidents = find_incidents(hours(*rows), MINUTES, THRESHOLD)
    together = linked(incidents)
    assert together.select("site", "started_at", "minutes", "severity").rows() == [
        ("a", at(22), 120, "high"),
        ("b", at(23), 60, "medium"),
        ("a", at(22), 180, "high"),
        ("b", at(23) + timedelta(hours=2), 60, "medium"),
    ]
    (one,) = whole(together.lazy()).filter(site="a").collect().iter_rows(named=True)
    assert (one["event_date"], one["minutes"], one["ended_at"]) == (
        following,
        180,
        at(23) + timedelta(hours=2),
    )
    # Again, and without the evening.
    assert linked(together).equals(together)
    morning = linked(together.filter(pl.col("event_date") == following)).filter(site="a")
    assert morning["started_at"].to_list() == [at(0) + timedelta(days=1)]


def test_what_lasts_longer_than_a_day_begins_with_the_day_before() -> None:
    days = [DAY + timedelta(days=number) for number in range(3)]
    rows = [
        {"hour": hour, "site": "a", "score": 9.0, "event_date": day}
        for day in days
        for hour in range(24)
        if hour > 21 or day != DAY
    ]
    found = linked(find_incidents(hours(*rows), MINUTES, THRESHOLD))
    assert found["started_at"].to_list() == [at(22), at(22), at(0) + timedelta(days=1)]


def test_an_hour_that_is_no_anomaly_is_in_none() -> None:
    assert found(hours({"hour": 1, "site": "a", "score": 4.0, "is_anomaly": False}), MINUTES) == []


@pytest.mark.parametrize(
    ("distance", "minutes", "severity"),
    [(1.2, 5, "low"), (1.2, 30, "medium"), (1.5, 5, "medium"), (3.0, 1, "high"), (1.0, 120, "high")],
)
def test_severity_is_size_and_length(distance: float, minutes: int, severity: str) -> None:
    assert severity_of(distance, minutes) == severity


def test_what_carries_the_difference_is_named() -> None:
    by_hour = hours(
        {"hour": 10, "site": "a", "score": 9.0, "series": "status_5xx", "observed": 80.0, "expected": 2.0},
        {"hour": 10, "site": "a", "score": 0.0, "series": "status_4xx", "is_anomaly": False, "observed": 5.0},
        {"hour": 10, "site": "b", "score": 9.0, "series": "status_5xx", "is_anomaly": False},
    )
    incidents = find_incidents(by_hour, MINUTES, THRESHOLD)
    before = date(2024, 2, 29)
    visits = pl.DataFrame(
        [
            (DAY, "a", at(9, 50), at(10, 5), "10.0.0.1", 70),
            (DAY, "a", at(8), at(8, 30), "10.0.0.2", 900),
            (DAY, "b", at(10), at(10, 30), "10.0.0.3", 900),
            (
                before,
                "a",
                datetime(2024, 2, 29, 10, 30, tzinfo=UTC),
                datetime(2024, 2, 29, 10, 31, tzinfo=UTC),
                "10.0.0.1",
                20,
            ),
        ],
        schema=SERVING["visits_daily"]
        .empty()
        .select("event_date", "site", "started_at", "ended_at", "remote_host", "hits")
        .schema,
        orient="row",
    )
    paths = pl.DataFrame(
        [(DAY, "a", "/new", 60), (DAY, "a", "/old", 10), (before, "a", "/old", 40), (DAY, "a", None, 500)],
        schema=SERVING["paths_daily"].empty().select("event_date", "site", "path", "hits").schema,
        orient="row",
    )
    profiles = pl.DataFrame(
        [
            {
                "event_date": DAY,
                "site": "a",
                "remote_host": "10.0.0.1",
                "kind": "scanner",
                "reasons": ["why"],
            },
            {"event_date": before, "site": "a", "remote_host": "10.0.0.1", "kind": "human", "reasons": []},
            {"event_date": DAY, "site": "b", "remote_host": "10.0.0.1", "kind": "tool", "reasons": []},
        ],
        schema=MODEL_CLIENT_PROFILES.schema,
    )
    (row,) = explain(incidents, by_hour, visits.lazy(), paths, profiles).iter_rows(named=True)
    assert [tuple(change.values()) for change in row["changes"]] == [
        ("status", "5xx", 80.0, 2.0),
        ("client", "10.0.0.1", 70.0, 20.0),
        ("path", "/new", 60.0, 0.0),
    ]
    assert [tuple(client.values()) for client in row["clients"]] == [("10.0.0.1", "scanner", None, ["why"])]


def test_where_a_client_asks_for_unusually_many_paths_the_clients_are_told_by_their_paths() -> None:
    by_hour = hours({"hour": 10, "site": "a", "score": 9.0, "series": "busiest_client_paths"})
    visits, paths = (SERVING[name].empty() for name in ("visits_daily", "paths_daily"))
    known = [(DAY, "10.0.0.1", 10, 400), (DAY, "10.0.0.2", 900, 3), (date(2024, 2, 29), "10.0.0.1", 10, 4)]
    profiles = pl.DataFrame(
        [dict(zip(("event_date", "remote_host", "hits", "paths"), row, strict=True)) for row in known],
        schema=MODEL_CLIENT_PROFILES.schema,
    ).with_columns(site=pl.lit("a"), kind=pl.lit("scanner"))
    incidents = find_incidents(by_hour, MINUTES, THRESHOLD)
    (row,) = explain(incidents, by_hour, visits.lazy(), paths, profiles).iter_rows(named=True)
    assert [tuple(change.values()) for change in row["changes"]] == [
        ("client", "10.0.0.1", 400.0, 4.0),
        ("client", "10.0.0.2", 3.0, 0.0),
    ]
    assert [client["remote_host"] for client in row["clients"]] == ["10.0.0.1", "10.0.0.2"]
