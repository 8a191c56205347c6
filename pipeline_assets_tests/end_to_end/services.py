"""The pipeline as its users run it: commands as processes, and the whole service that `make ui` starts.

What belongs here: starting, asking, waiting with a deadline, and leaving no process behind. What does not:
assertions about the pipeline.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from pipeline_assets.automation.arrivals import look
from pipeline_assets_tests.oracle import decompressed
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import World

CHECKOUT: Final = Path(__file__).resolve().parents[2]
# Deadlines are for a machine that is busy with something else; nothing waits for them when all is well.
PATIENCE_S: Final = 240.0
_PAUSE_S: Final = 0.25
SERVING: Final = ("traffic_hourly", "status_daily")
_UNFINISHED: Final = {"QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING"}

_Answer = TypeVar("_Answer")


def wait_for(what: str, ask: Callable[[], _Answer | None], *, patience_s: float = PATIENCE_S) -> _Answer:
    """The first answer that is neither None nor false; fails after a while, saying what was waited for."""
    deadline = time.monotonic() + patience_s
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s in vain: {what}")
        time.sleep(_PAUSE_S)


def environment(storage: Path, home: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has set both folders and nothing else."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "DAGSTER"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{clean.get('PATH', os.defpath)}"
    # A nightly tick amid the tests would add runs to those that they count.
    zone = "Asia/Tokyo" if datetime.now(UTC).hour in (1, 2) else "UTC"
    return {
        **clean,
        "PATH": path,
        "PIPELINE_STORAGE": str(storage),
        "DAGSTER_HOME": str(home),
        "PIPELINE_SCHEDULE_TIMEZONE": zone,
        **more,
    }


@dataclass(frozen=True)
class Ended:
    """A process that has ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str


def start(arguments: Iterable[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command from the checkout, in a process group of its own; its output goes to two files."""
    with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(
            list(arguments),
            cwd=CHECKOUT,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


def finish(process: subprocess.Popen[bytes], log: Path, *, patience_s: float = PATIENCE_S) -> Ended:
    """Wait for a started command, and end what is left of its group."""
    try:
        process.wait(patience_s)
    finally:
        end_group(process)
    err = log.with_suffix(".err").read_text(errors="replace")
    return Ended(process.returncode, log.read_text(errors="replace"), err)


def run(arguments: Iterable[str], env: Mapping[str, str], log: Path) -> Ended:
    """Run a command to its end."""
    return finish(start(arguments, env, log), log)


def group_members(group: int) -> dict[int, str]:
    """The live processes of a group: process id to command line."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,pgid=,stat=,args="], check=True, capture_output=True, text=True
    ).stdout
    members = {}
    for line in listed.splitlines():
        pid, member_of, state, *command = line.split(None, 3)
        if int(member_of) == group and not state.startswith("Z"):
            members[int(pid)] = "".join(command)
    return members


def end_group(leader: subprocess.Popen[bytes], *, grace_s: float = 20.0) -> None:
    """End a whole process group: politely, then at once. Fails if anything of it is left."""
    deadline = time.monotonic() + grace_s
    sign = signal.SIGTERM
    while members := group_members(leader.pid):
        if time.monotonic() > deadline:
            assert sign is signal.SIGTERM, f"still running after a kill: {members}"
            sign, deadline = signal.SIGKILL, time.monotonic() + grace_s
        try:
            os.killpg(leader.pid, sign)
        except ProcessLookupError:
            break
        leader.poll()  # reaps it
        time.sleep(_PAUSE_S)
    leader.wait(grace_s)


def serving_is_true(world: World, days: Iterable[date] | None = None) -> bool:
    """Whether serving says of these event days, or of all, what has landed."""
    only = None if days is None else set(days)
    if not all(world.context.store.children(f"serving/{name}/_delta_log") for name in SERVING):
        return False
    truth = world.truth()
    return all(
        [row for row in world.table(name) if only is None or row[0] in only]
        == sorted((row for row in getattr(truth, name) if only is None or row[0] in only), key=repr)
        for name in SERVING
    )


@dataclass(frozen=True)
class Run:
    """A run as the webserver tells of it."""

    run_id: str
    status: str
    job: str
    tags: Mapping[str, str]

    @property
    def partition(self) -> str:
        """Its partition, or the first and the last of its range."""
        first = self.tags.get("dagster/asset_partition_range_start")
        last = self.tags.get("dagster/asset_partition_range_end")
        return f"{first}...{last}" if first else self.tags.get("dagster/partition", "")


class Service:
    """Daemon, webserver and code server over a storage, with the world that lands files in it."""

    def __init__(self, folder: Path, *, storage: Storage | None = None) -> None:
        chosen = storage or Storage.in_folder(folder / "storage")
        self.world = World(chosen)
        self.home = folder / "home"
        self.log = folder / "dg-dev.log"
        self.env = environment(folder / "storage", self.home, **chosen.environment)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._port = str(port)
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[Service]:
        """What `make ui` does, until the block ends; nothing of it runs after that."""
        init = run(["pipeline-assets", "init"], self.env, self._folder / "init.log")
        assert init.code == 0, init.err
        command = ["dg", "dev", "--host", "127.0.0.1", "--port", self._port]
        self._process = start(command, self.env, self.log)
        try:
            wait_for("the webserver and the sensor daemon to come up", self._is_up)
            yield self
        finally:
            end_group(self._process)

    @property
    def group(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ask(self, query: str, **variables: Any) -> Any:
        """What the webserver answers to a GraphQL query or mutation."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                body = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        assert "errors" not in body, body
        return body["data"]

    def runs(self) -> list[Run]:
        """Every run there ever was, the newest first."""
        data = self.ask("{runsOrError{... on Runs{results{runId status jobName tags{key value}}}}}")
        return [
            Run(
                one["runId"], one["status"], one["jobName"], {tag["key"]: tag["value"] for tag in one["tags"]}
            )
            for one in data["runsOrError"]["results"]
        ]

    def settled_runs(self, before: Iterable[Run]) -> list[Run]:
        """The runs since `before`, once none is unfinished and nothing is left to do."""
        old = {one.run_id for one in before}

        def settled() -> list[Run] | None:
            # The plan first: what it finds done was done by runs that are in the list by then.
            idle = self.nothing_is_pending()
            new = [one for one in self.runs() if one.run_id not in old]
            return new if idle and not any(one.status in _UNFINISHED for one in new) else None

        return wait_for("all runs to end with nothing left to do", settled)

    def nothing_is_pending(self) -> bool:
        return look(self.world.context, self.world.settings, everything=False).plan.is_empty

    def shows_the_truth(self, days: Iterable[date] | None = None) -> bool:
        return serving_is_true(self.world, days)

    def wait_for_the_truth(self, days: Iterable[date] | None = None) -> None:
        wait_for("serving to say what has landed", lambda: self.shows_the_truth(days))

    def scores_from_scratch(self) -> list[tuple[Any, ...]]:
        """The scores of the same bytes, landed all at once in an empty storage and run without Dagster."""
        other = World(self._folder / f"scratch-{time.monotonic_ns()}")
        for path, stored in self.world.landed.items():
            other.land(path, decompressed(stored))
        other.catch_up()
        return other.table("traffic_scores")

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"dg dev has ended:\n{self.log.read_text(errors='replace')[-3000:]}")
        try:
            data = self.ask(
                "{repositoriesOrError{... on RepositoryConnection{nodes{name}}}"
                " instance{daemonHealth{allDaemonStatuses{daemonType healthy}}}}"
            )
        except (OSError, ValueError):
            return False
        health = data["instance"]["daemonHealth"]["allDaemonStatuses"]
        healthy = {one["daemonType"] for one in health if one["healthy"]}
        return bool(data["repositoriesOrError"].get("nodes")) and {"SENSOR", "SCHEDULER"} <= healthy
