"""From a file's arrival to its rows: seconds by the clock, in the settings that `make ui` ships.

What belongs here: Dagster's own daemon over a storage of its own, files that land one after the other, and
when their scores can be read. What does not: what a delivery costs, which other sections say in CPU seconds.

It is the one figure that is about time passing, so it holds for a machine that does nothing else.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pipeline_assets_benchmarks.measuring import CHECKOUT, ContestantError, environment

_LINES: Final = 50
_PATIENCE_S: Final = 240.0
_PAUSE_S: Final = 0.02
# Between two files: the daemon, and the process that gets ready, are met at any moment of what they do.
_APART_S: Final = (3.0, 15.0)
_SCORES: Final = "model/traffic_scores"


@dataclass(frozen=True)
class Latency:
    """Seconds from arrival to scored: of the first file after a start, and of those that followed."""

    first_s: float
    others_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The median of those that followed."""
        return statistics.median(self.others_s)

    @property
    def p95_s(self) -> float:
        """The 95th percentile of those that followed, by nearest rank."""
        return sorted(self.others_s)[math.ceil(0.95 * len(self.others_s)) - 1]


def measure(folder: Path, files: int) -> Latency:
    """Start the service in this empty folder, beside the samples, and let so many files land and one before.

    Raises `ContestantError` where the service doesn't come up, or a file isn't scored.
    """
    storage = folder / "storage"
    env = environment(os.environ) | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PIPELINE_STORAGE": str(storage),
        "DAGSTER_HOME": str(folder / "home"),
    }
    log = folder / "log"
    for command in (["pipeline-assets", "init"], ["pipeline-assets", "run", "--samples"]):
        with log.open("ab") as output:
            subprocess.run(command, check=True, cwd=CHECKOUT, env=env, stdout=output, stderr=output)
    chance = random.Random(1)  # noqa: S311
    with _service(env, log):
        seconds = []
        for number in range(files + 1):
            seconds.append(_time_file(storage, f"site-{number}.example", log))
            time.sleep(chance.uniform(*_APART_S))
    return Latency(seconds[0], tuple(seconds[1:]))


def _time_file(storage: Path, site: str, log: Path) -> float:
    target = storage / "logs/incremental" / f"access.{site}.log"
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.part")
    start = datetime.now(UTC) - timedelta(hours=3)
    aside.write_text("".join(_line(start + timedelta(minutes=number)) for number in range(_LINES)))
    landed = time.monotonic()
    aside.rename(target)
    seen = _versions(storage)
    while not (_versions(storage) != seen and _is_scored(storage, site)):
        if time.monotonic() - landed > _PATIENCE_S:
            raise ContestantError(f"{site} was not scored: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(_PAUSE_S)
    return time.monotonic() - landed


def _line(moment: datetime) -> str:
    return f'192.0.2.{moment.minute} - - [{moment:%d/%b/%Y:%H:%M:%S +0000}] "GET / HTTP/1.1" 200 5 "-" "x"\n'


def _versions(storage: Path) -> int:
    """How many versions the table has: looking at it more closely would take time from who writes it."""
    return sum(1 for _ in (storage / _SCORES / "_delta_log").iterdir())


def _is_scored(storage: Path, site: str) -> bool:
    import polars as pl

    scores = pl.scan_delta(str(storage / _SCORES)).filter(pl.col("site") == site)
    return bool(scores.select(pl.len()).collect().item())


@contextmanager
def _service(env: dict[str, str], log: Path) -> Iterator[None]:
    """What `make ui` starts, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["dg", "dev", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_up(process, f"http://127.0.0.1:{port}/graphql", log)
        yield
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    query = "{instance{daemonHealth{allDaemonStatuses{daemonType healthy}}}}"
    asked = urllib.request.Request(  # noqa: S310
        url, json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, ValueError, KeyError), urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310
            states = json.load(answer)["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
            if any(state["daemonType"] == "SENSOR" and state["healthy"] for state in states):
                return
        time.sleep(0.5)
    raise ContestantError(f"the service did not come up: {log.read_text(errors='replace')[-2000:]}")


def rows(latency: Latency) -> list[tuple[str, ...]]:
    """The figures as rows of a table."""

    def cells(seconds: Sequence[float]) -> tuple[str, ...]:
        it = Latency(0.0, tuple(seconds))
        return (f"{len(seconds)}", f"{it.median_s:.1f}", f"{it.p95_s:.1f}", f"{max(seconds):.1f}")

    return [
        ("the first after a start", *cells([latency.first_s])),
        ("those that follow", *cells(latency.others_s)),
    ]
