"""What happens by itself: sensor, schedules, backfills and run monitoring, in Dagster's own daemon.

What belongs here: what the daemon does with files that land and runs that die. What does not: clicking
(`test_ui`), and commands that a person types (`test_doors`).
"""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from pipeline_assets.warm_runs import WARM_TAG
from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.end_to_end.services import PATIENCE_S, Service, group_members, wait_for

pytestmark = pytest.mark.slow

TODAY = datetime.now(UTC).date()
# Recent enough for the arrival sensor to look at their folders.
RECENT = [TODAY - timedelta(days=ahead) for ahead in (9, 8, 7, 6)]
# Too old for that: only who asks for them gets them.
OLD = [date(2024, 1, 10), date(2024, 1, 11), date(2024, 1, 12)]

DAILY_LANE = [
    *(["bronze", "daily", table] for table in ("requests", "errors", "rejected")),
    *(["silver", "daily", table] for table in ("requests", "errors")),
    *(["gold", "daily", table] for table in ("traffic", "visitors")),
    ["publish", "daily"],
]


def test_a_file_that_lands_is_served_and_scored_by_itself(service: Service) -> None:
    before = service.runs()
    service.world.land("logs/incremental/news.log", access_lines(RECENT, 300, seed="news"))
    service.wait_for_the_truth()
    (run,) = service.settled_runs(before)
    assert (run.status, run.job) == ("SUCCESS", "incremental_job")
    assert run.tags["dagster/sensor_name"] == "file_arrival_sensor"
    assert service.world.table("traffic_scores") == service.scores_from_scratch() != []


def test_a_new_daily_folder_and_a_change_in_it_are_each_one_run(service: Service) -> None:
    day = RECENT[1]
    path = f"logs/{day}/access.log"
    content = access_lines([day - timedelta(days=1), day], 200, seed="day")
    for version in (content, content + access_lines([day], 50, seed="more")):
        before = service.runs()
        service.world.land(path, version)
        service.wait_for_the_truth()
        (run,) = service.settled_runs(before)
        assert (run.status, run.job, run.partition) == ("SUCCESS", "daily_job", str(day))
    assert service.world.table("traffic_scores") == service.scores_from_scratch()


def test_files_that_land_together_are_one_batch_and_one_run(service: Service) -> None:
    before = service.runs()
    batches = len(list((service.world.root / "bronze/incremental").glob("*/_batch.json")))
    aside = service.world.root / "aside"
    aside.mkdir()
    for number in range(5):
        content = access_lines(RECENT, 40, seed=f"together-{number}")
        (aside / f"{number}.log").write_bytes(content)
        service.world.landed[f"logs/incremental/together/{number}.log"] = content
    (service.world.root / "logs/incremental").mkdir(parents=True, exist_ok=True)
    aside.rename(service.world.root / "logs/incremental/together")
    service.wait_for_the_truth()
    (run,) = service.settled_runs(before)
    assert (run.status, run.job) == ("SUCCESS", "incremental_job")
    after = len(list((service.world.root / "bronze/incremental").glob("*/_batch.json")))
    assert after == batches + 1


def test_a_backfill_over_days_without_a_gap_is_one_run(service: Service) -> None:
    for day in OLD:
        content = access_lines([day - timedelta(days=1), day], 150, seed=f"old-{day}")
        service.world.land(f"logs/{day}/access.log", content)
    launched = service.ask(
        "mutation($params: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $params) {"
        " __typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}}}",
        params={
            "assetSelection": [{"path": key} for key in DAILY_LANE],
            "partitionNames": [str(day) for day in OLD],
        },
    )["launchPartitionBackfill"]
    backfill = launched["backfillId"]

    def ended() -> str | None:
        state = service.ask(
            "query($id: String!) {partitionBackfillOrError(backfillId: $id) {"
            " ... on PartitionBackfill {status} ... on PythonError {message}}}",
            id=backfill,
        )["partitionBackfillOrError"]["status"]
        return None if state in ("REQUESTED", "CANCELING") else str(state)

    assert wait_for("the backfill to end", ended) == "COMPLETED_SUCCESS"
    (run,) = [run for run in service.runs() if run.tags.get("dagster/backfill") == backfill]
    assert (run.status, run.partition) == ("SUCCESS", f"{OLD[0]}...{OLD[-1]}")
    service.wait_for_the_truth()


def test_the_daily_schedule_asks_for_the_day_before(service: Service) -> None:
    # The next tick after that moment is 02:00 of the 11th, whatever the zone of the schedule.
    asked_at = datetime(2024, 3, 10, 12, tzinfo=UTC)
    tick = service.ask(
        "mutation($selector: ScheduleSelector!, $at: Float) {"
        " scheduleDryRun(selectorData: $selector, timestamp: $at) {__typename"
        " ... on DryRunInstigationTick {evaluationResult {error {message causes {message}} skipReason"
        " runRequests {jobName tags {key value}}}} ... on PythonError {message}}}",
        selector={
            "repositoryName": "__repository__",
            "repositoryLocationName": "pipeline_assets",
            "scheduleName": "daily_schedule",
        },
        at=asked_at.timestamp(),
    )["scheduleDryRun"]["evaluationResult"]
    assert tick["error"] is None, tick
    asked = [{tag["key"]: tag["value"] for tag in request["tags"]} for request in tick["runRequests"]]
    assert "2024-03-10" in [tags.get("dagster/partition") for tags in asked]
    assert {request["jobName"] for request in tick["runRequests"]} <= {"daily_job", None}


def test_a_run_killed_half_way_is_made_good_by_itself(service: Service) -> None:
    before = {run.run_id for run in service.runs()}
    # A run's process outlives its last event, and the one that is killed must be this run's.
    wait_for("the processes of earlier runs to end", lambda: _launched_as_ever(service) is None)
    service.world.land("logs/incremental/long.log", access_lines(RECENT, 150_000, seed="long"))
    process = wait_for("a process for the run", lambda: _run_process(service, before))
    batch = _batch_at_bronze(service)
    os.kill(process, signal.SIGKILL)
    gold = service.world.root / f"gold/incremental/{batch}/_manifest.json"
    assert not gold.exists(), "the run was too fast to be killed half-way"

    def ends() -> list[str] | None:
        ours = [run for run in reversed(service.runs()) if run.run_id not in before]
        states = [run.status for run in ours]
        return states if states[-1] == "SUCCESS" else None

    states = wait_for("a run to follow the killed one and succeed", ends)
    assert states == ["FAILURE", "SUCCESS"]
    service.wait_for_the_truth()
    wait_for("nothing to be pending", service.nothing_is_pending)
    assert service.world.catch_up() == 0


def _run_process(service: Service, before: set[str]) -> int | None:
    """The process of the newest run: the one that waited for it, else one of its own."""
    for run in service.runs():
        if run.run_id not in before and run.status == "STARTED":
            _, _, waited = run.tags.get(WARM_TAG, "").rpartition(":")
            return int(waited) if waited else _launched_as_ever(service)
    return None


def _launched_as_ever(service: Service) -> int | None:
    """A run's process that the code server has started, which it does with multiprocessing."""
    return next((pid for pid, line in group_members(service.group).items() if "spawn_main" in line), None)


def _batch_at_bronze(service: Service) -> str:
    """The batch that is being made, as soon as its bronze stands and its gold does not."""
    layers = [service.world.root / layer / "incremental" for layer in ("bronze", "gold")]
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        bronze, gold = ({path.parent.name for path in layer.glob("*/_manifest.json")} for layer in layers)
        if bronze - gold:
            return (bronze - gold).pop()
        time.sleep(0.01)  # the moment is short
    raise AssertionError("no run has come to bronze")
