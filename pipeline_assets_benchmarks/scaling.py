"""How the pipeline's cost grows: one section of the page for each thing that may grow.

What belongs here: which sizes are tried, and what is written down of them. What does not: the work itself
(`scaled`), and how it looks (`page`).

A section is a title, a sentence, and rows. Add one to `SECTIONS` and it is run and shown.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pipeline_assets_benchmarks import latency
from pipeline_assets_benchmarks.corpus import make_corpus, make_log, packed
from pipeline_assets_benchmarks.history import History
from pipeline_assets_benchmarks.measuring import Run, measure_module

Row = tuple[str, ...]
_PACKED: Final[tuple[tuple[Literal[".gz", ".bz2", ".zst"], str], ...]] = (
    (".gz", "gzip"),
    (".bz2", "bzip2"),
    (".zst", "Zstandard"),
)


@dataclass(frozen=True)
class Scale:
    """Where to work, and how much: `mb` is the size of the largest file, `small` asks for a quick look.

    `large` asks for what takes half an hour more, and 20 times the size on the disk.
    """

    folder: Path
    mb: int
    small: bool
    large: bool = False

    def empty_folder(self) -> Path:
        """A folder with nothing in it."""
        folder = self.folder / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def run(self, what: str, number: int) -> tuple[Run, dict[str, Any]]:
        """Do something of `scaled` in a fresh process: what it took, and what it has noted."""
        print(f"... {what} {number:,}", end="", file=sys.stderr, flush=True)
        folder = self.empty_folder()
        run = measure_module("scaled", what, str(number), folder)
        print(f": {run.cpu_s:.1f} CPU s, {run.peak_bytes / 1e6:,.0f} MB", file=sys.stderr, flush=True)
        return run, json.loads((folder / "noted.json").read_bytes())


@dataclass(frozen=True)
class Section:
    """A part of the page: what grows, what to look at, and the rows under their headings.

    What `takes_minutes` however small it is, a quick look leaves out.
    """

    title: str
    says: str
    headings: Row
    rows: Callable[[Scale], list[Row]]
    takes_minutes: bool = False


def _file_size(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    for mb in sorted({10, scale.mb} if scale.small else {100, 300, scale.mb}):
        corpus = make_corpus(scale.folder, mb)
        ways = [("plain, to bronze", "ours, bronze", corpus.plain)]
        ways += [(f"{name}, to bronze", "ours, bronze", packed(corpus, suffix)) for suffix, name in _PACKED]
        ways += [("plain, the whole way", "ours, the whole way", corpus.plain)]
        for way, name, source in ways:
            run = measure_module("contestants", name, source, scale.empty_folder())
            cpu = run.cpu_s / corpus.bytes * 1e9
            rows.append((f"{mb:,} MB", way, f"{cpu:.1f}", f"{run.peak_bytes / 1e6:,.0f}"))
    return rows


def _batches_of_a_day(scale: Scale) -> list[Row]:
    _, noted = scale.run("batches", 20 if scale.small else 100)
    return [(f"{batch:,}", f"{seconds:.2f}") for batch, seconds in noted["seconds"]]


def _files_of_a_batch(scale: Scale) -> list[Row]:
    return _by_number(scale, "files", (1, 10) if scale.small else (1, 10, 100, 1000))


def _days_of_a_backfill(scale: Scale) -> list[Row]:
    return _by_number(scale, "days", (1, 5) if scale.small else (1, 7, 30, 90))


def _by_number(scale: Scale, what: str, numbers: tuple[int, ...]) -> list[Row]:
    """Of each number of things: CPU seconds for all, and milliseconds for one."""
    rows: list[Row] = []
    for number in numbers:
        _, noted = scale.run(what, number)
        rows.append((f"{number:,}", f"{noted['seconds']:.2f}", f"{1000 * noted['seconds'] / number:,.0f}"))
    return rows


def _by_spark(scale: Scale) -> list[Row]:
    if shutil.which("java") is None:
        return []
    rows = []
    times = (1,) if scale.small else (1, 4, 16) if scale.large else (1, 4)
    for mb in (number * scale.mb for number in times):
        log = make_log(scale.folder, mb)
        gigabytes = log.stat().st_size / 1e9
        cells = [f"{mb:,} MB"]
        seconds = {}
        for what in ("here", "spark"):
            run, noted = scale.run(what, mb)
            seconds[what] = noted["seconds"]
            cpu = run.cpu_s + noted.get("tasks", 0.0)
            cells += [f"{cpu / gigabytes:.1f}", f"{run.peak_bytes / 1e6:,.0f}"]
        rows.append((*cells, f"{seconds['spark'] / seconds['here']:.2f}"))
        if mb != scale.mb:  # no other section has use for it, and it may fill the disk
            log.unlink()
            scale.empty_folder()
    return rows


def _history(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    for days, batches in ((10, 10), (60, 70)) if scale.small else ((10, 10), (366, 1000), (3650, 10_000)):
        history = History(scale.empty_folder(), days=days, batches=batches)
        for what in ("look", "run"):
            if what == "run":
                history.land_batch(history.last)
            cost = history.look() if what == "look" else history.run()
            counts = (cost.requests, cost.reads, round(cost.bytes / 1000), cost.rows)
            rows.append(
                (
                    f"{days:,}",
                    f"{batches:,}",
                    what,
                    *(f"{count:,}" for count in counts),
                    f"{cost.cpu_seconds:.2f}",
                )
            )
    return rows


def _full(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    for days in (3,) if scale.small else (30, 366):
        _, noted = scale.run("full", days)
        rows.append((f"{days:,}", f"{noted['cpu']:.0f}", f"{noted['clock']:.0f}"))
    return rows


def _latency(scale: Scale) -> list[Row]:
    return latency.rows(latency.measure(scale.empty_folder(), 20))


SECTIONS: Final = (
    Section(
        "Size of a file",
        "One file, a fresh process each; sizes are decompressed. Peak memory should stay where it is.",
        ("file", "", "CPU s a GB", "peak MB"),
        _file_size,
    ),
    Section(
        "Batches of one day",
        "Batch after batch of 500 lines of one event day: landed to scored, median of five batches.",
        ("batch", "CPU s"),
        _batches_of_a_day,
    ),
    Section(
        "History",
        "What the sensor's look, and the plan and run of one batch, ask of the storage with so much behind"
        " them: calls of the store, all reads of the process with their bytes, and rows of the parts opened.",
        ("days", "batches", "", "requests", "reads", "kB", "rows", "CPU s"),
        _history,
    ),
    Section(
        "Files in a batch",
        "One delivery in files of 500 lines, landed to scored; the start of the process is not counted.",
        ("files", "CPU s", "CPU ms a file"),
        _files_of_a_batch,
    ),
    Section(
        "By Spark",
        "One file to bronze, silver and gold, in a process and by Spark on all processors of the same"
        " machine, whose start and end are in the CPU seconds. Memory is that of the largest process. The"
        " last column is the time that passes in the work alone, as a share of the time without Spark."
        " 16 times the size is taken with `LARGE=1`.",
        (
            *("file", "here: CPU s a GB", "peak MB", "by Spark: CPU s a GB", "peak MB"),
            "time by Spark to time here",
        ),
        _by_spark,
    ),
    Section(
        "Days in a backfill",
        "Deliveries of 5,000 lines, one a day, processed as one run without Dagster.",
        ("days", "CPU s", "CPU ms a day"),
        _days_of_a_backfill,
    ),
    Section(
        "A full refresh",
        "`pipeline-assets full` over a new storage, with Dagster and its events: a delivery of 26,000 lines a"
        " day, of which a year is a gigabyte. Time by the clock is of a machine that does nothing else.",
        ("days", "CPU s", "s by the clock"),
        _full,
    ),
    Section(
        "Arrival to scored",
        "Files of 50 lines that land one after the other while the service runs as `make ui` starts it:"
        " seconds by the clock until their scores can be read, on a machine that does nothing else.",
        ("file", "files", "median s", "p95 s", "longest s"),
        _latency,
        takes_minutes=True,
    ),
)
