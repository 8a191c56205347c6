"""Scores and incidents over several days: the same whatever day was published first.

What belongs here: what days make of each other. What does not: one day's scores and incidents (`models`), and
everything that a day says by itself (`test_promises`).
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from pipeline_assets.compute import scores, sharding
from pipeline_assets.compute.publish import rebuild_days
from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets.models.incidents import whole
from pipeline_assets.storage.tables import read_table
from pipeline_assets_tests.world import World

DAYS = [date(2024, 3, 1) + timedelta(days=number) for number in range(5)]
EVENING, MORNING = DAYS[-2:]


def log_of(day: date) -> bytes:
    """Twelve requests in some hours; from 23:00 on the last evening to 1:00 a hundred times as many."""
    lines = []
    for hour in (0, 1, 2, 3, 20, 21, 22, 23):
        busy = (day, hour) in ((EVENING, 23), (MORNING, 0))
        for number in range(1200 if busy else 12):
            minute, second = divmod(number * 3600 // (1200 if busy else 12), 60)
            moment = f"{day:%d/%b/%Y}:{hour:02}:{minute:02}:{second:02} +0000"
            lines.append(f'192.0.2.{hour} - - [{moment}] "GET / HTTP/1.1" 200 5 "-" "x"\n')
    return "".join(lines).encode()


def published(root: Path, *deliveries: list[date]) -> World:
    world = World(root / "storage", look_back_days=100_000)
    for days in deliveries:
        for day in days:
            world.land(f"logs/{day}/access.log", log_of(day))
        world.catch_up()
    return world


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> World:
    return published(tmp_path_factory.mktemp("at-once"), DAYS)


def test_an_incident_over_midnight_is_one_by_site_and_start(at_once: World) -> None:
    rows = read_table(at_once.context.store, "incidents")
    columns = ["event_date", "started_at", "ended_at", "minutes", "severity"]
    evening, morning = rows.filter(site="default").select(columns).sort("event_date").collect().rows()
    assert (evening[0], morning[0]) == (EVENING, MORNING)
    assert evening[1] == morning[1]
    assert evening[1].date() == EVENING
    assert morning[2].date() == MORNING
    assert timedelta(minutes=morning[3]) == morning[2] - morning[1]
    (one,) = whole(rows.filter(site="default")).select(columns).collect().rows()
    assert one[1:4] == morning[1:4]


@pytest.mark.slow
def test_a_day_that_comes_late_changes_the_start_of_the_next_day_s_incident(
    at_once: World, tmp_path: Path
) -> None:
    rows = at_once.table("incidents")
    assert published(tmp_path, [*DAYS[:-2], MORNING], [EVENING]).table("incidents") == rows


def test_days_that_are_too_large_for_memory_say_the_same(
    at_once: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: at_once.table(name) for name in (*SERVING, *MODEL)}
    assert any(changes for *_, changes, _ in before["incidents"])
    monkeypatch.setattr(sharding, "ROWS_TOGETHER", 10)
    monkeypatch.setattr(scores, "_VISITS_TOGETHER", 0)
    rebuild_days(at_once.context, DAYS)
    assert {name: at_once.table(name) for name in before} == before
