"""The watch: what a look finds in real runs, deliveries, checks and scores, and when it is over.

What belongs here: looks over a storage folder and a real instance. What does not: who is told of it (`alerts`), and
the daemon (`end_to_end`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.alerts.problems import Kind, Problem
from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.automation import watch
from pipeline_assets.automation.watch import Found, Sight, look_around
from pipeline_assets.definitions import build_defs
from pipeline_assets.planning import days_between
from pipeline_assets.settings import Settings
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.alerts.sinks import HttpSink, free_port, http_sink
from pipeline_assets_tests.world import World

DAY = "2024-01-15"
UNIT = Unit("daily", DAY)
LINE = '192.0.2.1 - - [{}:{:02}:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'


def lines(day: date, hour: int = 1, count: int = 1) -> bytes:
    return (LINE.format(f"{day:%d/%b/%Y}", hour) * count).encode()


class Watch:
    """A world with an instance; each look remembers what the look before has found."""

    def __init__(self, root: Path, instance: dg.DagsterInstance, **settings: Any) -> None:
        self.world = World(root, **settings)
        self.instance = instance
        self.open: dict[str, Problem] = {}
        self.looked = time.time() - 5
        self.expired: set[str] = set()
        self.graph = build_defs(settings=self.world.settings).get_repository_def().asset_graph

    def look(self, *, now: float | None = None) -> list[Problem]:
        found = self.look_with_all(now=now)
        assert not found.blind
        return found.problems

    def look_with_all(self, *, now: float | None = None) -> Found:
        moment = now or time.time()
        sight = Sight(
            self.instance,
            self.world.context.store,
            self.world.settings,
            self.graph,
            self.open,
            self.looked,
            moment,
        )
        found = look_around(sight)
        self.open = {problem.key: problem for problem in found.problems}
        self.looked, self.expired = moment, found.expired
        return found

    def kinds(self, *, now: float | None = None) -> list[Kind]:
        return sorted(problem.kind for problem in self.look(now=now))

    def run(self, day: str = DAY, last: str | None = None) -> dg.ExecuteInProcessResult:
        job = build_defs(settings=self.world.settings).resolve_job_def("daily_job")
        tags = (
            {"dagster/asset_partition_range_start": day, "dagster/asset_partition_range_end": last}
            if last
            else {}
        )
        return job.execute_in_process(
            instance=self.instance,
            partition_key=None if last else day,
            tags={"pipeline/reuse": "true", **tags},
            raise_on_error=False,
        )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def watched(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setenv("PIPELINE_STORAGE", str(tmp_path / "storage"))
    return Watch(tmp_path / "storage", instance)


@pytest.fixture
def broken_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Paths whose reading fails as on a broken disk."""
    from pipeline_assets.storage.folder_store import FolderStore

    broken: set[str] = set()
    original = FolderStore.open

    def failing(self: FolderStore, path: str) -> Any:
        if path in broken:
            raise OSError(5, "Input/output error")
        return original(self, path)

    monkeypatch.setattr(FolderStore, "open", failing)
    yield broken


def test_nothing_is_wrong_with_an_empty_storage(watched: Watch) -> None:
    assert watched.look() == []


def test_a_bad_file_is_a_failed_run_and_a_quarantined_delivery_and_both_end_when_it_is_mended(
    watched: Watch, broken_disk: set[str]
) -> None:
    watched.world.land(f"logs/{DAY}/access.log", lines(date(2024, 1, 15)))
    broken_disk.add(f"logs/{DAY}/access.log")
    result = watched.run()
    found = watched.look()
    assert sorted(problem.kind for problem in found) == ["quarantined", "run"]
    assert {problem.run_id for problem in found} == {result.run_id}
    (quarantined,) = [problem for problem in found if problem.kind == "quarantined"]
    assert quarantined.text.startswith(f"{UNIT}: logs/{DAY}/access.log: can't be read (Input/output error)")
    assert watched.kinds() == ["quarantined", "run"], "still so at the next look"

    broken_disk.clear()
    assert watched.run().success
    assert watched.look() == []


def test_one_bad_delivery_of_many_is_named_and_linked(watched: Watch, broken_disk: set[str]) -> None:
    for day in days_between("2024-01-14", "2024-01-16"):
        watched.world.land(f"logs/{day}/access.log", lines(date.fromisoformat(day)))
    broken_disk.add(f"logs/{DAY}/access.log")
    result = watched.run("2024-01-14", "2024-01-16")
    quarantined, run = sorted(watched.look(), key=lambda problem: problem.kind)
    assert (quarantined.run_id, run.run_id) == (result.run_id, result.run_id)
    assert quarantined.text.startswith(f"{UNIT}: logs/{DAY}/access.log")
    assert "2024-01-14 to 2024-01-16" in run.text

    # Another day's success doesn't make it good; the day's own does.
    assert watched.run("2024-01-14").success
    assert watched.kinds() == ["quarantined", "run"]
    broken_disk.clear()
    assert watched.run().success
    assert watched.look() == []


def test_a_run_whose_process_was_killed_is_a_failed_run(watched: Watch) -> None:
    import subprocess
    import sys

    from pipeline_assets.automation.requests import PROCESS_TAG, this_process

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = this_process().rpartition(":")[0]
    run = _unfinished(watched, dg.DagsterRunStatus.STARTED, {PROCESS_TAG: f"{host}:{gone.pid}"})
    (problem,) = watched.look()
    assert (problem.kind, problem.run_id) == ("run", run.run_id)
    assert "the process of this run is gone" in problem.text


def test_a_run_that_run_monitoring_gives_up_is_a_failed_run(watched: Watch) -> None:
    run = _unfinished(watched, dg.DagsterRunStatus.STARTED)
    assert watched.look() == []
    watched.instance.report_run_failed(run, "Exceeded maximum runtime of 60 seconds.")
    (problem,) = watched.look()
    assert (problem.kind, problem.run_id) == ("run", run.run_id)
    assert "Exceeded maximum runtime" in problem.text


def test_a_run_that_fails_again_and_again_is_one_problem(watched: Watch, broken_disk: set[str]) -> None:
    watched.world.land(f"logs/{DAY}/access.log", lines(date(2024, 1, 15)))
    broken_disk.add(f"logs/{DAY}/access.log")
    last = [watched.run().run_id for _ in range(3)][-1]
    (run,) = [problem for problem in watched.look() if problem.kind == "run"]
    assert run.run_id == last


def test_a_failed_run_that_nobody_repeats_is_forgotten(watched: Watch) -> None:
    run = _unfinished(watched, dg.DagsterRunStatus.STARTED)
    watched.instance.report_run_failed(run, "lost")
    assert watched.kinds() == ["run"]
    assert watched.look(now=time.time() + 4 * 86_400) == []
    assert watched.expired == {f"run/daily_job/{DAY}/{DAY}"}


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_run_that_waits_or_runs_too_long_is_stuck_until_it_ends(
    watched: Watch, status: dg.DagsterRunStatus
) -> None:
    run = _unfinished(watched, status)
    assert watched.look() == []
    (problem,) = watched.look(now=time.time() + 3601)
    assert (problem.kind, problem.run_id) == ("stuck", run.run_id)
    watched.instance.report_run_canceled(run)
    assert watched.look(now=time.time() + 3700) == []


def test_a_run_that_takes_as_long_as_its_job_usually_does_is_not_stuck(watched: Watch) -> None:
    usual = _unfinished(watched, dg.DagsterRunStatus.STARTED)
    now = time.time()
    _set_times(watched.instance, usual.run_id, dg.DagsterRunStatus.SUCCESS, now - 7200, now)
    _unfinished(watched, dg.DagsterRunStatus.STARTED)
    assert watched.look(now=now + 7300) == []
    assert watched.kinds(now=now + 3 * 7200 + 60) == ["stuck"]


def test_a_daily_delivery_is_late_after_its_time_and_not_before(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    watched = Watch(
        tmp_path,
        instance,
        expect_daily_by="06:00",
        schedule_timezone="Europe/Berlin",
        start_date=date(2024, 1, 14),
    )
    watched.world.land("logs/2024-01-14/access.log", lines(date(2024, 1, 14)))
    watched.world.catch_up()
    before = datetime(2024, 1, 16, 4, 59, tzinfo=UTC).timestamp()  # 05:59 in Berlin
    assert watched.look(now=before) == []
    (late,) = watched.look(now=before + 60)
    assert late.kind == "late"
    assert late.text.startswith("daily/2024-01-15: nothing has landed")
    watched.world.land(f"logs/{DAY}/access.log", lines(date(2024, 1, 15)))
    (landed,) = watched.look(now=before + 60)
    assert "has landed, but is not read" in landed.text
    watched.world.catch_up()
    assert watched.look(now=before + 60) == []
    # One that never comes stays until somebody has had two weeks to do something.
    assert {p.about for p in watched.look(now=before + 86_460)} == {("2024-01-16",)}
    assert ("2024-01-16",) in {p.about for p in watched.look(now=before + 10 * 86_460)}
    watched.look(now=before + 20 * 86_460)
    assert "late/daily/2024-01-16" in watched.expired


def test_no_delivery_is_late_where_none_is_expected(watched: Watch) -> None:
    assert watched.look(now=time.time() + 90 * 86_400) == []


def test_a_freshness_policy_that_fails_is_a_late_delivery(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

    watched = Watch(tmp_path, instance, expect_incremental_hours=2)
    assert watched.look() == []
    key = dg.AssetKey(["publish", "incremental"])
    for state in (FreshnessState.FAIL, FreshnessState.PASS):
        instance._report_runless_asset_event(  # as the freshness daemon does
            FreshnessStateChange(
                key=key,
                previous_state=FreshnessState.UNKNOWN,
                new_state=state,
                state_change_timestamp=time.time(),
            )
        )
        found = watched.look()
        assert [p.kind for p in found] == (["late"] if state == FreshnessState.FAIL else [])
        assert all("publish/incremental" in p.text for p in found)


def test_a_check_that_says_no_is_told_until_it_says_yes(watched: Watch) -> None:
    key = dg.AssetKey(["bronze", "daily", "requests"])
    for passed in (False, True):
        watched.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name="conservation",
                passed=passed,
                severity=dg.AssetCheckSeverity.WARN,
                description="its lines don't add up",
            )
        )
        found = watched.look()
        assert [p.kind for p in found] == ([] if passed else ["check"])
        assert all("its lines don't add up" in p.text and "(warning)" in p.text for p in found)


def test_many_rejected_lines_are_told_of_a_delivery_and_of_a_day_of_small_batches(watched: Watch) -> None:
    good, bad = lines(date(2024, 1, 15), count=30), b"garbage\n"
    watched.world.land(f"logs/{DAY}/bad.log", good + 10 * bad)
    watched.world.land("logs/2024-01-16/good.log", 10 * good + 10 * bad)
    watched.world.land("logs/2024-01-17/small.log", 9 * bad)
    watched.world.catch_up()
    (found,) = watched.look()
    assert (found.kind, found.text) == ("rejects", f"{UNIT}: 10 of 40 lines rejected (25%)")
    for number in range(3):
        watched.world.land(f"logs/incremental/{number}.log", 5 * bad)
        watched.world.catch_up()
    day = datetime.now(UTC).date()
    assert f"3 batches of {day} together: 15 of 15 lines rejected (100%)" in {p.text for p in watched.look()}
    # What is read again without the bad lines is over, and old news is none.
    watched.world.land(f"logs/{DAY}/bad.log", good)
    watched.world.catch_up()
    assert f"rejects/{UNIT}" not in {p.key for p in watched.look()}
    assert watched.look(now=time.time() + 3 * 86_400) == []


def test_incidents_of_the_last_days_are_told_and_older_and_muted_ones_are_not(watched: Watch) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in range(20, 0, -1)]
    for day in days:
        a_minute = 25 if day in (days[-1], days[10]) else 1
        whole_hour = b"".join(
            lines(day, count=a_minute).replace(b":01:00:00 ", f":01:{minute:02}:00 ".encode())
            for minute in range(60)
        )
        watched.world.land(f"logs/{day}/access.shop.example.log", whole_hour)
    watched.world.catch_up()
    (found,) = watched.look()
    assert found.kind == "model"
    assert found.key.startswith(f"model/incidents/{days[-1]}T01:0")
    assert found.text.startswith(f"{days[-1]} 01:0")
    assert " shop.example: high, " in found.text
    assert " 1,500" in found.text
    assert "1: 1,500, usually 60, tool (its user agent is no browser's, it loaded" in found.text
    chosen = {"muted": "shop.*"}
    watched.world.settings = watched.world.settings.model_copy(update=chosen)
    assert watched.look() == []


def test_a_look_at_unchanged_tables_reads_no_rows(watched: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.world.land(f"logs/{DAY}/bad.log", 20 * b"garbage\n")
    watched.world.catch_up()
    assert watched.kinds() == ["rejects"]
    monkeypatch.setattr(watch, "read_table", lambda *_: pytest.fail("it read the table again"))
    assert watched.kinds() == ["rejects"]


def test_a_part_of_the_look_that_fails_is_named_and_what_it_knew_stays(
    watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.world.land(f"logs/{DAY}/bad.log", 20 * b"garbage\n")
    watched.world.catch_up()
    assert watched.kinds() == ["rejects"]
    watched.world.land("logs/2024-01-16/good.log", lines(date(2024, 1, 16)))
    watched.world.catch_up()

    def broken(*_: object) -> None:
        raise ValueError("bad table")

    monkeypatch.setattr(watch, "read_table", broken)
    found = watched.look_with_all()
    assert found.blind == ["rejects: ValueError", "model: ValueError"]
    assert [p.kind for p in found.problems] == ["rejects"]


# The sensor.


def tick(watched: Watch, cursor: str | None = None) -> tuple[str, str | None]:
    defs = build_defs(settings=watched.world.settings)
    sensor = defs.resolve_sensor_def("alert_sensor")
    context = dg.build_sensor_context(
        instance=watched.instance,
        cursor=cursor,
        resources={"pipeline": PipelineResource()},
        repository_def=defs.get_repository_def(),
    )
    with context:
        result = sensor(context)
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message), context.cursor


def test_the_sensor_says_that_nobody_is_to_be_told(watched: Watch) -> None:
    assert "ALERT_URLS is not set" in tick(watched)[0]


def test_the_sensor_runs_by_itself_only_where_somebody_is_to_be_told(watched: Watch) -> None:
    for urls, status in (("", "STOPPED"), ("json://127.0.0.1:9/", "RUNNING")):
        settings = watched.world.settings.model_copy(update={"alert_urls": _secret(urls)})
        sensor = build_defs(settings=settings).resolve_sensor_def("alert_sensor")
        assert sensor.default_status.value == status


def test_a_tick_tells_and_the_next_one_does_not(
    tmp_path: Path, instance: dg.DagsterInstance, broken_disk: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_STORAGE", str(tmp_path))
    with http_sink() as sink:
        watched = Watch(tmp_path, instance, alert_urls=sink.url, ui_url="https://ui.example.org/dagster/")
        watched.world.land(f"logs/{DAY}/access.log", lines(date(2024, 1, 15)))
        broken_disk.add(f"logs/{DAY}/access.log")
        run_id = watched.run().run_id
        assert "told 1. JSON" in tick(watched)[0]
        assert tick(watched)[0] == "2 open"
    (message,) = sink.messages
    assert message.startswith("Web logs: 1 failed run, 1 quarantined delivery\n")
    assert f"https://ui.example.org/dagster/runs/{run_id}\n" in message


def test_a_sink_that_is_down_is_seen_in_the_tick_and_told_later(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_STORAGE", str(tmp_path))
    port = free_port()
    watched = Watch(tmp_path, instance, alert_urls=HttpSink(port).url)
    run = _unfinished(watched, dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run, "lost")
    assert "1. JSON failed: it could not be reached" in tick(watched)[0]
    assert "tried again later" in tick(watched)[0]
    later = time.time() + 3600
    with http_sink(port) as sink:
        monkeypatch.setattr("pipeline_assets.automation.alert_sensor.time.time", lambda: later)
        assert "told 1. JSON" in tick(watched)[0]
    assert len(sink.messages) == 1


def test_a_storage_that_is_away_is_told_once_and_so_is_its_return(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, away = tmp_path / "storage", tmp_path / "away"
    monkeypatch.setenv("PIPELINE_STORAGE", str(root))
    with http_sink() as sink:
        watched = Watch(root, instance, alert_urls=sink.url, alert_quiet_minutes=0)
        assert tick(watched) == ("nothing is wrong", None)
        resource = PipelineResource()
        assert resource.context
        monkeypatch.setattr(
            "pipeline_assets.assets.resources.Context.of", lambda settings: watched.world.context
        )
        root.rename(away)
        said, cursor = tick(watched)
        assert "told 1. JSON" in said
        said, cursor = tick(watched, cursor)
        assert "told" not in said
        if root.exists():  # what a lock or a note may have made meanwhile
            import shutil

            shutil.rmtree(root)
        away.rename(root)
        for _ in range(2):
            said, cursor = tick(watched, cursor)
        assert not cursor
    assert [message.split("\n")[0] for message in sink.messages] == [
        "Web logs: 1 storage unavailable",
        "Web logs: over",
    ]


def _secret(text: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(text)


def _unfinished(
    watched: Watch, status: dg.DagsterRunStatus, tags: dict[str, str] | None = None
) -> dg.DagsterRun:
    job = build_defs(settings=watched.world.settings).resolve_job_def("daily_job")
    run = watched.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.NOT_STARTED, tags={"dagster/partition": DAY, **(tags or {})}
    )
    events = {
        dg.DagsterRunStatus.NOT_STARTED: [],
        dg.DagsterRunStatus.STARTED: [dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_START],
    }[status]
    from dagster._core.events import DagsterEvent

    for kind in events:
        event = DagsterEvent(event_type_value=kind.value, job_name=run.job_name, message="")
        watched.instance.report_dagster_event(event, run_id=run.run_id)
    made = watched.instance.get_run_by_id(run.run_id)
    assert made is not None and made.status == status
    return made


def _set_times(
    instance: dg.DagsterInstance, run_id: str, status: dg.DagsterRunStatus, start: float, end: float
) -> None:
    """A run that took so long: as if its events had come at these times."""
    from dagster._core.events import DagsterEvent
    from dagster._core.events.log import EventLogEntry

    assert status == dg.DagsterRunStatus.SUCCESS
    for kind, moment in ((dg.DagsterEventType.RUN_START, start), (dg.DagsterEventType.RUN_SUCCESS, end)):
        event = DagsterEvent(event_type_value=kind.value, job_name="daily_job", message="")
        entry = EventLogEntry(  # type: ignore[no-untyped-call]
            error_info=None,
            level=20,
            user_message="",
            run_id=run_id,
            timestamp=moment,
            job_name="daily_job",
            dagster_event=event,
        )
        instance.handle_new_event(entry)


@pytest.mark.parametrize("more", [0, 1], ids=["older", "as old"])
def test_a_storage_that_is_put_back_from_a_copy_is_looked_at_anew(
    watched: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """Also where its tables have as many versions again as they had, with other content."""

    def hits(rows: pl.LazyFrame, settings: Settings) -> list[Problem]:
        counted = rows.filter(pl.col("site").is_null(), series="hits").select(pl.col("observed").sum())
        return [Problem("hits", "model", f"{counted.collect().item():.0f}")]

    def seen() -> str:
        return next(problem.text for problem in watched.look(now=noon) if problem.key == "hits")

    monkeypatch.setattr(watch, "MODEL_ALERTS", {"traffic_scores": hits})
    noon = datetime(2024, 1, 16, 12, tzinfo=UTC).timestamp()
    world = watched.world
    day = date(2024, 1, 15)
    world.land(f"logs/{day}/first.log", lines(day))
    world.catch_up()
    shutil.copytree(world.root, tmp_path / "copy")
    world.land(f"logs/{day}/second.log", lines(day, count=2))
    world.catch_up()
    assert seen() == "3"
    shutil.rmtree(world.root)
    (tmp_path / "copy").rename(world.root)
    for _ in range(more):
        world.land(f"logs/{day}/other.log", lines(day, count=4))
        world.catch_up()
    assert seen() == str(1 + 4 * more)
