"""The work behind the sections of `scaling`, each in a process of its own.

What belongs here: making what has landed, and doing it. What does not: how often, and how much.

    python -m pipeline_assets_benchmarks.scaled batches|files|days|full|stages|here|spark NUMBER FOLDER

works in an empty folder and leaves `noted.json` there. The start of the process is not in the figures.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from pipeline_assets.compute.context import Context
from pipeline_assets.kernel.parse import FileReader
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control
from pipeline_assets.storage.memory import own_process
from pipeline_assets_benchmarks.corpus import STARTS, make_corpus, make_log
from pipeline_assets_benchmarks.measuring import environment
from pipeline_assets_benchmarks.whole_way import (
    cpu_seconds,
    landed,
    landed_days,
    timed_steps,
    to_gold,
    to_serving,
)

_LINES: Final = 500
_LINES_OF_A_DAY: Final = 26_000
_MEDIAN_OF: Final = 5


def batches(number: int, folder: Path) -> dict[str, Any]:
    """Batches of one day, one after the other: (which, CPU seconds around it)."""
    context = Context.of(Settings(storage=str(folder)))
    # The first is not like the others: it makes the tables.
    spent = [
        _batch(context, folder, place, _log(STARTS.date(), place, _LINES)) for place in range(number + 1)
    ]
    places = sorted({max(_MEDIAN_OF, number * share // 10) for share in (0, 1, 5, 10)})
    return {"seconds": [(it, statistics.median(spent[it - _MEDIAN_OF + 1 : it + 1])) for it in places]}


def files(number: int, folder: Path) -> dict[str, Any]:
    """One delivery of so many files: CPU seconds."""
    sources = []
    for place in range(number):
        source = folder / f"{place}.log"
        source.write_bytes(_log(STARTS.date(), place, _LINES))
        sources.append(source)
    return _all_steps({STARTS.date().isoformat(): sources}, folder)


def days(number: int, folder: Path) -> dict[str, Any]:
    """Deliveries of so many days: CPU seconds."""
    sources = {}
    for place in range(number):
        day = STARTS.date() + timedelta(days=place)
        source = folder / f"{day}.log"
        source.write_bytes(_log(day, place, 10 * _LINES))
        sources[day.isoformat()] = [source]
    return _all_steps(sources, folder)


def full(number: int, folder: Path) -> dict[str, Any]:
    """`pipeline-assets full` over a new storage of so many days: CPU seconds, and those by the clock."""
    for place in range(number):
        day = STARTS.date() + timedelta(days=place)
        target = folder / "storage/logs" / day.isoformat() / "access.log"
        target.parent.mkdir(parents=True)
        target.write_bytes(_log(day, place, _LINES_OF_A_DAY))
    env = environment(os.environ) | {
        "PIPELINE_STORAGE": str(folder / "storage"),
        "DAGSTER_HOME": str(folder / "home"),
    }
    program = Path(sys.executable).parent / "pipeline-assets"
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([program, "full"], check=True, env=env, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "clock": time.monotonic() - begun}


def stages(megabytes: int, folder: Path) -> dict[str, Any]:
    """CPU seconds of each stage on the way of one file; those within bronze by leaving out what follows."""
    corpus = make_corpus(folder.parent, megabytes)
    before = cpu_seconds()
    with corpus.plain.open("rb", buffering=0) as raw:
        while raw.read(1 << 20):
            pass
    reading = cpu_seconds() - before
    it = landed(corpus.plain, folder)
    before = cpu_seconds()
    with corpus.plain.open("rb") as raw:
        for _ in FileReader(raw, "logs/access.log", it.context.options):
            pass
    parsing = cpu_seconds() - before
    steps = to_serving(it)
    bronze = steps.pop("bronze")
    return {
        "seconds": {
            "reading bytes": reading,
            "lines to columns": parsing - reading,
            "bronze Parquet, written and proved": bronze - parsing,
            **steps,
        }
    }


def here(megabytes: int, folder: Path) -> dict[str, Any]:
    """Bronze, silver and gold of one file, by this process."""
    it = landed(make_log(folder.parent, megabytes), folder)
    return {"seconds": _passed(lambda: to_gold(it))}


def spark(megabytes: int, folder: Path) -> dict[str, Any]:
    """The same by Spark in this machine, which has a task for each of its processors."""
    from pipeline_assets.compute.job_spec import JobSpec
    from pipeline_assets.compute.spark.run import run_job
    from pipeline_assets.compute.spark.session import open_session
    from pipeline_assets.settings_elsewhere import public_variables

    it = landed(make_log(folder.parent, megabytes), folder)
    session = open_session("local[*]", {"spark.ui.enabled": "false"})
    variables = public_variables(Settings(storage=str(folder)))
    spec = JobSpec(("bronze", "silver", "gold"), it.units, reuse=True, settings=variables)

    tasks: list[float] = []

    def run() -> None:
        answers = list(run_job(session, spec, lambda message: None))
        assert [answer.fate for answer in answers] == ["made"]
        tasks.extend(answer.cpu_seconds for answer in answers)

    passed = _passed(run)
    # The figures of this process are those of Java too once it has waited for it. Nobody waits for the
    # workers, so what they took is what their tasks say.
    gateway: Any = session.sparkContext._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
    return {"seconds": passed, "tasks": sum(tasks)}


def _passed(work: Callable[[], object]) -> float:
    before = time.monotonic()
    work()
    return time.monotonic() - before


def _all_steps(sources: dict[str, list[Path]], folder: Path) -> dict[str, Any]:
    it = landed_days(sources, folder / "storage")
    return {"seconds": sum(timed_steps(it.context, it.units).values())}


def _batch(context: Context, folder: Path, place: int, log: bytes) -> float:
    path = f"logs/incremental/{place}.log"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(log)
    before = cpu_seconds()
    entry = context.store.stat(path)
    assert entry is not None
    timed_steps(context, [control.create_batch(context.store, {path: (entry.size, entry.etag)})])
    return cpu_seconds() - before


def _log(day: date, seed: int, lines: int) -> bytes:
    """A small log of one day, another one for another seed."""
    return b"".join(
        b'192.0.2.%d - - [%s:%02d:%02d:%02d +0000] "GET /page/%d HTTP/1.1" %d %d "-" "Mozilla/5.0 (X11) %d"\n'
        % (
            *((seed + line) % 250, day.strftime("%d/%b/%Y").encode()),
            *(line * 24 // lines, line % 60, seed % 60),
            *(line % 90, 404 if line % 20 == 0 else 200, line * 7, line % 9),
        )
        for line in range(lines)
    )


_WORK: Final[dict[str, Callable[[int, Path], dict[str, Any]]]] = {
    "batches": batches,
    "files": files,
    "days": days,
    "full": full,
    "stages": stages,
    "here": here,
    "spark": spark,
}


def main(arguments: Iterable[str]) -> None:
    """Do what the command line says."""
    what, number, folder = arguments
    noted = _WORK[what](int(number), Path(folder))
    (Path(folder) / "noted.json").write_text(json.dumps(noted))


if __name__ == "__main__":
    # As the pipeline's own commands do.
    own_process()
    main(sys.argv[1:])
