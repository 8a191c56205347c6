"""Runs in a process that was ready before them: what they do, how they are ended, and what happens without one.

What belongs here: the launcher of `warm_runs` in Dagster's own daemon. What does not: how fast it is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline_assets.warm_runs import WARM_TAG
from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.end_to_end.services import Run, Service, group_members, wait_for

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them"),
]

DAYS = [datetime.now(UTC).date() - timedelta(days=back) for back in (3, 2)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")).running() as running:
        yield running


def waiting(service: Service) -> list[int]:
    """Processes that are being got ready, or wait, or execute a run."""
    return [
        pid for pid, line in group_members(service.group).items() if "-m pipeline_assets.warm_runs " in line
    ]


def land(service: Service, name: str) -> None:
    service.world.land(f"logs/incremental/{name}.log", access_lines(DAYS, 50, seed=name))


@contextmanager
def held_back(service: Service) -> Iterator[None]:
    """Within the block no run can put anything on record, so none ends before somebody ends it."""
    with FileLock(service.world.root / ".lock"):
        yield


def first_new_run(service: Service, before: list[Run]) -> Run:
    old = {run.run_id for run in before}

    def asked() -> Run | None:
        return next(
            (run for run in service.runs() if run.run_id not in old and run.status == "STARTED"), None
        )

    return wait_for("a run to start", asked)


def process_of(run: Run) -> int:
    return int(run.tags[WARM_TAG].rpartition(":")[2])


def ready(service: Service) -> int:
    """The process that waits, once it has imported everything; one run is done if there was none before."""
    if not waiting(service):
        before = service.runs()
        land(service, f"first-{len(before)}")
        service.settled_runs(before)
    seen: list[tuple[int, int]] = []

    def come_to_rest() -> int | None:
        # The process of a run outlives its last event, and is gone a moment later.
        (pid, *others) = waiting(service) or [0]
        with suppress(FileNotFoundError):
            # Importing takes more than a second of processor time, and waiting takes none.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            seen.append((pid, ticks))
            rests = ticks > os.sysconf("SC_CLK_TCK") and seen[-8:] == [seen[-1]] * 8
            return pid if rests and not others else None
        return None

    return wait_for("one process to be there, and to have imported everything", come_to_rest)


def test_a_run_is_done_in_the_process_that_was_ready_and_the_next_one_gets_ready(service: Service) -> None:
    pid = ready(service)
    before = service.runs()
    land(service, "second")
    service.wait_for_the_truth()
    (run,) = service.settled_runs(before)
    assert (run.status, process_of(run)) == ("SUCCESS", pid)
    wait_for("another one to get ready", lambda: waiting(service) not in ([], [pid]))


def test_a_run_waits_for_a_process_that_is_getting_ready(service: Service) -> None:
    before = service.runs()
    os.kill(ready(service), signal.SIGKILL)
    land(service, "launched-as-ever")
    service.settled_runs(before)
    (pid,) = wait_for("one to get ready", lambda: waiting(service))
    before = service.runs()
    land(service, "early")
    service.wait_for_the_truth()
    (run,) = service.settled_runs(before)
    assert (run.status, process_of(run)) == ("SUCCESS", pid)
    wait_for("another one to get ready", lambda: waiting(service) not in ([], [pid]))


def test_a_run_is_terminated_from_the_ui(service: Service) -> None:
    ready(service)
    before = service.runs()
    with held_back(service):
        land(service, "long")
        run = first_new_run(service, before)
        assert process_of(run)
        answer = service.ask("mutation($id: String!) {terminateRun(runId: $id) {__typename}}", id=run.run_id)
        assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess"

        def ended() -> str | None:
            status = next(one.status for one in service.runs() if one.run_id == run.run_id)
            return status if status not in ("STARTED", "CANCELING") else None

        assert wait_for("the run to end", ended) == "CANCELED"
    service.wait_for_the_truth()


def test_without_a_process_that_is_ready_a_run_is_launched_as_ever(service: Service) -> None:
    os.kill(ready(service), signal.SIGKILL)
    before = service.runs()
    land(service, "after-a-kill")
    service.wait_for_the_truth()
    (run,) = service.settled_runs(before)
    assert run.status == "SUCCESS" and not run.tags.get(WARM_TAG)


def test_a_run_whose_process_is_killed_fails_and_is_made_good(service: Service) -> None:
    ready(service)
    before = service.runs()
    with held_back(service):
        land(service, "killed")
        os.kill(process_of(first_new_run(service, before)), signal.SIGKILL)
    service.wait_for_the_truth()
    states = [run.status for run in service.settled_runs(before)]
    assert states[-1] == "FAILURE" and states[0] == "SUCCESS"


def test_nothing_is_left_as_a_zombie(service: Service) -> None:
    ready(service)
    assert len(waiting(service)) == 1
