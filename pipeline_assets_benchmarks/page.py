"""Figures to a table on the terminal and to `docs/benchmarks.md`.

What belongs here: words and layout. What does not: taking figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline_assets_benchmarks.contestants import Contestant
from pipeline_assets_benchmarks.measuring import Run
from pipeline_assets_benchmarks.scaling import Row
from pipeline_assets_benchmarks.truth import Outcome

# Lies beside the page.
PICTURE: Final = "speed.svg"
_BRONZE: Final = "ours, bronze"
_ACCELERATED: Final = "ours, accelerated"
_WHOLE_WAY: Final = "ours, the whole way"


@dataclass(frozen=True)
class Result:
    """A contestant's median run over a corpus of so many bytes and lines, and what it got wrong."""

    contestant: Contestant
    run: Run
    bytes: int
    lines: int
    outcome: Outcome | None

    @property
    def cpu_s_a_gb(self) -> float:
        """CPU seconds a gigabyte of log, decompressed."""
        return self.run.cpu_s / self.bytes * 1e9


@dataclass(frozen=True)
class Table:
    """A part of the page."""

    title: str
    says: str
    headings: Row
    rows: list[Row]


@dataclass
class Page:
    """All figures of one benchmark."""

    command: str
    mb: int
    rounds: int
    load: tuple[str, str]
    machine: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    tables: list[Table] = field(default_factory=list)
    results: Sequence[Result] = ()
    absent: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The page as Markdown."""
        before, after = self.load
        parts = [
            "# Benchmarks",
            _INTRODUCTION.format(command=self.command, mb=f"{self.mb:,}", rounds=self.rounds),
            f"![MB of log read for each second of CPU time, by contestant]({PICTURE})",
            _markdown_table(
                ("machine", ""), [*self.machine, ("load before and after", f"{before}, {after}")]
            ),
            _markdown_table(("version of", ""), self.versions),
        ]
        if self.absent:
            parts.append(f"Not installed, so not measured: {', '.join(self.absent)}.")
        return "\n".join([*(part.strip() + "\n" for part in parts), *map(_markdown_part, self.tables)])


def with_part_anew(page: str, table: Table) -> str:
    """A page with this part of it written anew; the rest, with the machine and its load, stays as it is.

    Raises `ValueError` where the page has no such part.
    """
    before, title, behind = page.partition(f"## {table.title}\n")
    if not title:
        raise ValueError(f"the page has no part {table.title!r}: write all of it first")
    _, next_title, rest = behind.partition("\n## ")
    return before + _markdown_part(table) + next_title + rest


def speed_table(results: Sequence[Result]) -> Table:
    """Who is how fast."""
    costs = {result.contestant.name: result.cpu_s_a_gb for result in results}
    rows = [
        (
            result.contestant.name,
            result.contestant.task,
            f"{result.bytes / 1e6 / result.run.wall_s:,.0f}",
            f"{result.lines / result.run.wall_s / 1000:,.0f}",
            f"{result.bytes / 1e6 / result.run.cpu_s:,.0f}",
            f"{result.cpu_s_a_gb:.1f}",
            f"{result.run.peak_bytes / 1e6:,.0f}",
            *(
                f"{result.cpu_s_a_gb / costs[name]:.2f}" if name in costs else ""
                for name in (_BRONZE, _ACCELERATED, _WHOLE_WAY)
            ),
        )
        for result in results
    ]
    headings = (
        *("", "makes", "MB/s", "1,000 lines/s", "MB per CPU s", "CPU s a GB", "peak MB"),
        *("CPU, our bronze = 1", "CPU, accelerated = 1", "CPU, our whole way = 1"),
    )
    return Table("Speed", _SPEED, headings, rows)


def outcome_table(results: Iterable[Result]) -> Table:
    """Who lost what, or got it wrong."""
    rows = []
    for result in results:
        it = result.outcome
        if it is None:
            continue
        rows.append(
            (
                result.contestant.name,
                f"{it.rows:,}",
                f"{it.rows - it.entries:+,}",
                *map(_count, (it.lost, it.altered, it.accepted, it.invalid_dates)),
                f"{it.kept:,} of {it.malformed:,}" if it.kept is not None else f"0 of {it.malformed:,}",
                "yes" if it.line_numbers else "no",
            )
        )
    headings = (
        *("", "rows", "against the truth", "entries lost", "text altered", "rows of malformed lines"),
        *("of them invalid dates", "malformed lines kept", "line numbers"),
    )
    return Table("What became of the lines", _OUTCOMES, headings, rows)


def shares_table(seconds: dict[str, float], mb: int) -> Table:
    """Where the time goes."""
    total = sum(seconds.values())
    rows = [(name, f"{spent:.2f}", f"{100 * spent / total:.0f} %") for name, spent in seconds.items()]
    says = _SHARES.format(mb=mb)
    return Table(
        "Where the time goes", says, ("stage", "CPU s", "share"), [*rows, ("all", f"{total:.2f}", "")]
    )


def import_table(libraries: Run, definitions: Run) -> Table:
    """What loading the code location costs beside the libraries that any Dagster project has."""
    rows: list[Row] = [
        (
            f"import {name}",
            f"{run.cpu_s:.2f}",
            f"{run.peak_bytes / 1e6:,.0f}",
            f"{run.cpu_s / libraries.cpu_s:.2f}",
        )
        for name, run in (("dagster, polars", libraries), ("pipeline_assets.definitions", definitions))
    ]
    return Table("Import", _IMPORT, ("", "CPU s", "peak MB", "ratio"), rows)


def terminal_table(table: Table) -> str:
    """A table in columns of equal width."""
    widths = [max(len(cell) for cell in column) for column in zip(table.headings, *table.rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (table.headings, *table.rows)
    ]
    return "\n".join([table.title, "-" * len(table.title), *lines, ""])


def _markdown_part(table: Table) -> str:
    rows = _markdown_table(table.headings, table.rows)
    return "\n\n".join([f"## {table.title}", table.says.strip(), rows]) + "\n"


def _markdown_table(headings: Row, rows: Iterable[Row]) -> str:
    ruler = ["---", *("---:" for _ in headings[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, ruler, *rows))


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


_INTRODUCTION: Final = """
Written by `{command}`; run it to write this page anew with the figures of your machine. `make bench SMALL=1`
takes a minute and prints only, `SIZE=` takes a log of so many MB, and `SECTION="By Spark"` writes one part
anew.

Read is a Combined log of {mb} MB, made from a fixed seed (`pipeline_assets_benchmarks/corpus.py`): 0.5
percent of its lines are malformed (dates that don't exist, lines that are cut off, quotes that don't close,
stack traces), and others are unusual but right: escaped quotes, requests that are garbage, bytes that are no
UTF-8. What each line says is noted when it is made. Each contestant reads the landed file in a fresh
process, in its own best settings, and writes Parquet with zstd at level 1. Contestants take turns, {rounds}
times each, and figures are medians.

Compare CPU seconds (user and system time of the process and its children) and ratios: on a machine that has
other work, the time that passes says little. MB are of the decompressed log, peak memory is the largest
resident set, and all figures are with the start of the process.
"""
_SPEED: Final = """
`ours` is what a run of the pipeline does, without Dagster: every line is proved to be in the written parts
before they are committed. Accelerated is the same with the extra `fast`, compiled before; logs below 50 MB
are not worth its import, and read without it. The engines write those columns of bronze that a line says, the
request as it is and in its parts (`sql.py`); a row's number, its place and what the columns can't say they
leave out. The whole way is bronze, silver, gold, all serving tables and the scores. `DuckDB, serving` makes
only those tables that SQL can express, visits among them, from one `read_csv` (`serving_sql.py`), and nothing
that a later delivery could be added to. GoAccess reads a smaller log of the same kind.
"""
_OUTCOMES: Final = """
Found by comparing what was written with what the log says. `entries lost` are valid lines without a row, and
`text altered` rows of valid lines that say something else than the line. `?` is what can't be told from a
report. A malformed line is `kept` if it is stored with its number and its bytes.
"""
_SHARES: Final = "CPU seconds of each stage for a file of {mb} MB, in one process, without its start."
_IMPORT: Final = "A run is a process that loads the code location, so this is the least that any run takes."
