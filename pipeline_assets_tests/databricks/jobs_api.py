"""A stand-in of a Databricks workspace: as much of the Jobs API as the real client asks for, and real processes.

What belongs here: submit, get and cancel of runs, secrets, and the bad moments of a workspace. What does not:
what is run and what must come of it.

A task of the wheel is the entry point of the installed package, found by its metadata as a cluster does. The
shapes of requests and answers are those of https://docs.databricks.com/api/azure/workspace/jobs.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from pipeline_assets.databricks_settings import scope_and_key

TOKEN: Final = "a-token-of-tests"
# In place of an error's status: what is asked is done, and the answer is lost on its way.
UNANSWERED: Final = 0
# What the wheel's entry point does on a cluster, whose Python is not started by the script of that name.
_ENTRY: Final = (
    "import sys; from importlib.metadata import distribution as d; package, name = sys.argv[1:3];"
    " sys.argv[:] = [name, *sys.argv[3:]];"
    " d(package).entry_points.select(name=name)[name].load()()"
)
_OURS: Final = ("PIPELINE_", "AZURE_", "DATABRICKS_", "DAGSTER_", "ALERT_")
_PATIENCE_S: Final = 30.0

# What becomes of the next run: it runs, its cluster goes before it or under it, it never ends, or it ends well
# without having done anything.
Trouble = Literal["", "no cluster", "evicted", "hang", "silent"]


@dataclass
class _Run:
    """A run, and the process of its task."""

    number: int
    request: Mapping[str, Any]
    process: subprocess.Popen[bytes]
    trouble: Trouble
    log: Any
    started: float = field(default_factory=time.monotonic)
    ended: dict[str, Any] | None = None


class JobsApi:
    """A workspace that serves the Jobs API.

    `entry` is what runs in place of the wheel's entry point, with its parameters after it. `variables` are
    those of every process. `troubles` befall the next runs, one each; `errors` meet the next requests of a path,
    as statuses.
    """

    def __init__(self, variables: Mapping[str, str], entry: Sequence[str] = ()) -> None:
        self.variables = dict(variables)
        self.entry = list(entry)
        self.secrets: dict[tuple[str, str], str] = {}
        self.troubles: deque[Trouble] = deque()
        self.errors: dict[str, deque[int]] = {"submit": deque(), "get": deque(), "cancel": deque()}
        self.evict_when: Callable[[], bool] = lambda: True
        self.asked: list[str] = []
        self.runs: dict[int, _Run] = {}
        self._tokens: dict[str, int] = {}
        self._lock = threading.RLock()
        self.url = ""

    @property
    def requests(self) -> list[Mapping[str, Any]]:
        """What was submitted, in order."""
        return [run.request for run in self.runs.values()]

    @property
    def alive(self) -> list[int]:
        """Runs whose process has not ended."""
        return [number for number, run in self.runs.items() if run.process.poll() is None]

    def output(self) -> str:
        """What the processes have printed."""
        texts = []
        for run in self.runs.values():
            run.log.seek(0)
            texts.append(run.log.read().decode(errors="replace"))
        return "\n".join(texts)

    def submit(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            token = request.get("idempotency_token", "")
            if token in self._tokens:
                return {"run_id": self._tokens[token]}
            number = len(self.runs) + 1001
            self.runs[number] = self._start(number, request)
            if token:
                self._tokens[token] = number
            return {"run_id": number}

    def get(self, number: int) -> dict[str, Any]:
        with self._lock:
            run = self.runs[number]
            self._look(run)
            state = run.ended or {"state": {"life_cycle_state": "RUNNING", "state_message": "In run"}}
            return {"run_id": number, "run_page_url": f"{self.url}/jobs/runs/{number}", **state}

    def cancel(self, number: int) -> dict[str, Any]:
        with self._lock:
            run = self.runs[number]
            self._look(run)
            if run.ended is None:
                _kill(run.process)
                run.ended = _ended("TERMINATED", "CANCELED", "USER_CANCELED", "Run cancelled.")
            return {}

    def close(self) -> None:
        for run in self.runs.values():
            _kill(run.process)
            run.log.close()

    def _start(self, number: int, request: Mapping[str, Any]) -> _Run:
        (task,) = request["tasks"]
        trouble: Trouble = self.troubles.popleft() if self.troubles else ""
        command = self._command(task, trouble)
        log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the API)
        process = subprocess.Popen(
            command,
            env=self._environment(task),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        return _Run(number, request, process, trouble, log)

    def _command(self, task: Mapping[str, Any], trouble: Trouble) -> list[str]:
        if trouble in ("silent", "no cluster"):
            return [sys.executable, "-c", ""]
        if trouble == "hang":
            return [sys.executable, "-c", "import time; time.sleep(600)"]
        if (script := task.get("spark_python_task")) is not None:
            return [sys.executable, script["python_file"], *script.get("parameters", [])]
        wheel = task["python_wheel_task"]
        parameters = wheel.get("parameters", [])
        if self.entry:
            return [*self.entry, *parameters]
        return [sys.executable, "-c", _ENTRY, wheel["package_name"], wheel["entry_point"], *parameters]

    def _environment(self, task: Mapping[str, Any]) -> dict[str, str]:
        found = {name: text for name, text in os.environ.items() if not name.startswith(_OURS)}
        found |= self.variables
        found |= {"DATABRICKS_HOST": self.url, "DATABRICKS_TOKEN": TOKEN}
        for name, text in task.get("new_cluster", {}).get("spark_env_vars", {}).items():
            found[name] = self.secrets[scope_and_key(text)] if text.startswith("{{secrets/") else text
        return found

    def _look(self, run: _Run) -> None:
        if run.ended is not None:
            return
        code = run.process.poll()
        seconds = run.request.get("timeout_seconds", 0)
        if run.trouble == "no cluster":
            run.ended = _ended(
                "INTERNAL_ERROR",
                "FAILED",
                "CLOUD_FAILURE",
                "The spot instances were evicted.",
                "CLOUD_FAILURE",
            )
        elif run.trouble == "evicted" and code is None and self.evict_when():
            _kill(run.process)
            run.ended = _ended(
                "INTERNAL_ERROR", "FAILED", "CLUSTER_ERROR", "The driver was lost.", "CLOUD_FAILURE"
            )
        elif code == 0:
            run.ended = _ended("TERMINATED", "SUCCESS", "SUCCESS", "", "SUCCESS")
        elif code is not None:
            run.ended = _ended("TERMINATED", "FAILED", "RUN_EXECUTION_ERROR", f"Python exited with {code}.")
        elif seconds and time.monotonic() - run.started > seconds:
            _kill(run.process)
            run.ended = _ended("TERMINATED", "TIMEDOUT", "CANCELED", "Timed out.")


@contextmanager
def serving(api: JobsApi) -> Iterator[JobsApi]:
    """The API on loopback until the block ends; its processes end with it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            if parts.path == "/api/2.2/jobs/runs/get":
                self._answer("get", lambda: api.get(int(query["run_id"][0])))
            elif parts.path == "/api/2.0/secrets/get":
                secret = api.secrets[query["scope"][0], query["key"][0]]
                self._send(200, {"key": query["key"][0], "value": base64.b64encode(secret.encode()).decode()})
            else:
                self._send(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": parts.path})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/2.2/jobs/runs/submit":
                self._answer("submit", lambda: api.submit(body))
            elif self.path == "/api/2.2/jobs/runs/cancel":
                self._answer("cancel", lambda: api.cancel(body["run_id"]))
            else:
                self._send(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": self.path})

        def _answer(self, what: str, made: Callable[[], dict[str, Any]]) -> None:
            api.asked.append(what)
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._send(403, {"error_code": "PERMISSION_DENIED", "message": "Invalid access token."})
            elif api.errors[what]:
                status = api.errors[what].popleft()
                if status == UNANSWERED:
                    made()
                    self.close_connection = True
                    return
                self._send(status, {"error_code": _CODES[status], "message": "A bad moment."})
            else:
                self._send(200, made())

        def _send(self, status: int, body: Mapping[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_PATIENCE_S)
        api.close()


_CODES: Final = {
    400: "INVALID_PARAMETER_VALUE",
    403: "PERMISSION_DENIED",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}


def _ended(
    life_cycle: str, result: str, code: str, message: str, kind: str = "CLIENT_ERROR"
) -> dict[str, Any]:
    return {
        "state": {"life_cycle_state": life_cycle, "result_state": result, "state_message": message},
        "status": {
            "state": "TERMINATED",
            "termination_details": {"code": code, "type": kind, "message": message},
        },
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process and all it has started, Spark's JVM among them."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_PATIENCE_S)
