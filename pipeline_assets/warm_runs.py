"""A run launcher that keeps a process ready, so that a run need not wait while Dagster is imported.

What belongs here: the launcher, named in `dagster.yaml`, and what a ready process does. What does not: what a
run does; it is executed by Dagster's own `dagster api execute_run`.

The process is started beforehand and not forked: Polars starts threads when it is imported, and threads don't
survive a fork. It executes one run and ends, as any other process of a run does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster_shared.serdes import serialize_value

from pipeline_assets.settings import Settings, project_root
from pipeline_assets.storage.memory import own_process

if TYPE_CHECKING:
    from dagster._core.origin import JobPythonOrigin

# How often the end of a run is asked for.
_PAUSE_S: Final = 0.5
# On runs of such a process: which one, as host:pid.
WARM_TAG: Final = "pipeline/warm-process"
_MODULE: Final = "pipeline_assets.warm_runs"
_PATH: Final = "logs/incremental/access.log"
_LINE: Final = (
    b'192.0.2.1 - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "https://a.example/" "curl"\n'
)


@dataclass
class _Spare:
    """A process that waits for a run, and what it was started with: the code's state and the job's origin."""

    process: subprocess.Popen[bytes]
    code: str
    location: str

    def execute(self, arguments: str) -> None:
        """Hand a run over: it begins at once, or when the process has imported everything.

        A new process would have all of that before it. Raises `OSError` where this one has gone.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(arguments.encode() + b"\n")
        self.process.stdin.close()

    def drop(self) -> None:
        """End it unused."""
        self.process.kill()
        self.process.wait()


class WarmRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher, with a process kept ready for the next run.

    Where there is none, as for the first run, for the second of two at once, and after a change to the code
    or to `.env`, the run is launched as ever. One is got ready whenever a run has ended.
    """

    def __init__(self, inst_data: Any = None) -> None:
        super().__init__(inst_data)
        self._spare: _Spare | None = None
        self._changing = Lock()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Hand the run to the process that waits, else launch it as ever."""
        run = context.dagster_run
        origin = run.job_code_origin
        if origin is None or not self._hand_over(run, origin):
            super().launch_run(context)
        if origin is not None:
            Thread(target=self._get_ready, args=(run.run_id, origin), daemon=True).start()

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run's process; runs launched as ever are terminated as ever."""
        run = self._instance.get_run_by_id(run_id)
        process = _process_of(run) if run is not None else None
        if run is None or run.is_finished or process is None:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        os.kill(process, signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """So that run monitoring sees a process that has died."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process is alive. Of runs launched as ever their code server knows."""
        host, _, _ = run.tags.get(WARM_TAG, "").rpartition(":")
        if host != socket.gethostname() or _process_of(run) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "the process of this run is gone")

    def dispose(self) -> None:
        """End the process that waits."""
        with self._changing:
            if self._spare is not None:
                self._spare.drop()
                self._spare = None
        super().dispose()

    def _hand_over(self, run: DagsterRun, origin: JobPythonOrigin) -> bool:
        with self._changing:
            spare = self._spare
            if spare is None:
                return False
            self._spare = None
            if spare.code != _state_of_code() or spare.location != _location(origin):
                spare.drop()
                return False
        tag = f"{socket.gethostname()}:{spare.process.pid}"
        self._instance.add_run_tags(run.run_id, {WARM_TAG: tag})
        try:
            spare.execute(serialize_value(ExecuteRunArgs(origin, run.run_id, self._instance.get_ref())))
        except OSError:
            spare.drop()
            self._instance.add_run_tags(run.run_id, {WARM_TAG: ""})
            return False
        self._run_ids.add(run.run_id)
        Thread(target=self._see_it_end, args=(spare, run.run_id), daemon=True).start()
        return True

    def _see_it_end(self, spare: _Spare, run_id: str) -> None:
        """Take note of the process's end, and of the run's where it could not say so itself."""
        spare.process.wait()
        run = self._instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            self._instance.report_run_failed(run, "the process of this run has died")

    def _get_ready(self, run_id: str, origin: JobPythonOrigin) -> None:
        """Get a process ready once this run has ended: until then it would take the processor from it."""
        while (run := self._instance.get_run_by_id(run_id)) is not None and not run.is_finished:
            time.sleep(_PAUSE_S)
        with self._changing:
            if self._spare is None or self._spare.process.poll() is not None:
                self._spare = _started(origin)


def _started(origin: JobPythonOrigin) -> _Spare:
    code = _state_of_code()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", _MODULE, serialize_value(origin)],
        stdin=subprocess.PIPE,
        stdout=2,  # what the run itself prints goes where the launcher's complaints do
    )
    return _Spare(process, code, _location(origin))


def _location(origin: JobPythonOrigin) -> str:
    return serialize_value(origin.repository_origin)


def _state_of_code() -> str:
    """What the modules and `.env` look like; a ready process knows nothing of a change to them."""
    package = Path(__file__).parent
    files = [*sorted(package.rglob("*.py")), project_root() / ".env", Path.cwd() / ".env"]
    seen = []
    for file in files:
        with suppress(OSError):
            found = file.stat()
            seen.append(f"{file} {found.st_size} {found.st_mtime_ns}")
    return "\n".join(seen)


def _process_of(run: DagsterRun) -> int | None:
    """The living process that was handed this run on this machine."""
    host, _, number = run.tags.get(WARM_TAG, "").rpartition(":")
    if host != socket.gethostname():
        return None
    return int(number) if f"-m {_MODULE} " in _command_of(number) else None


def _command_of(process: str) -> str:
    """The command line of a process, empty where there is none: numbers are given again."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{process}/cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            return ""
    shown = subprocess.run(  # noqa: S603
        ["ps", "-o", "command=", "-p", process],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout


def main(origin_text: str) -> None:
    """Get ready for runs of a code location, then execute the one that comes, if one does."""
    own_process()
    from dagster._cli.api import execute_run_command
    from dagster._core.origin import JobPythonOrigin
    from dagster._utils.hosted_user_process import recon_job_from_origin
    from dagster._utils.interrupts import setup_interrupt_handlers
    from dagster_shared.serdes import deserialize_value

    setup_interrupt_handlers()
    recon_job_from_origin(deserialize_value(origin_text, JobPythonOrigin)).get_definition()
    _use_once()
    arguments = ""
    with suppress(KeyboardInterrupt):  # whoever keeps it ready is being ended, and it with them
        arguments = sys.stdin.readline()
    if arguments.strip():
        execute_run_command.main([arguments.strip()], standalone_mode=False)


def _use_once() -> None:
    """Bring one line to serving in a folder of its own, for what the first delivery of a process loads.

    Libraries load parts of themselves, and of each other, when they are first used: a third of a small run.
    """
    from pipeline_assets.compute.bronze import refresh_bronze
    from pipeline_assets.compute.context import Context
    from pipeline_assets.compute.gold import refresh_gold
    from pipeline_assets.compute.publish import publish_units
    from pipeline_assets.compute.silver import refresh_silver
    from pipeline_assets.storage import control, ledger

    with TemporaryDirectory() as folder:
        context = Context.of(Settings(storage=folder, event_queue=""))
        context.store.create(_PATH, _LINE)
        unit = control.create_batch(context.store, {_PATH: (len(_LINE), "")})
        for refresh in (refresh_bronze, refresh_silver, refresh_gold):
            refresh(context, unit, reuse=True)
        publish_units(context, [unit])
    ledger.forget_answers()


if __name__ == "__main__":
    main(sys.argv[1])
