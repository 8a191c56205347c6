"""What the command line prints: progress, the summary after a run, and the status.

What belongs here: words and layout. What does not: facts (`overview`). Everything that comes from a log or a
file's name is shown with its control characters escaped, so that no log line can write to the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline_assets.compute.maintenance.report import Report
from pipeline_assets.escaping import visible as visible
from pipeline_assets.models.series import SERIES
from pipeline_assets.overview import FATES, Overview, StorageUse

if TYPE_CHECKING:
    from pipeline_assets.storage.importing import Imported

# Plain terminals and log files get a line of progress at most this often.
_EVERY_S: Final = 2.0
_LISTED: Final = 5


class Progress:
    """Says what is going on: one live line on a terminal, a line every two seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")
        self._last = time.monotonic()

    @contextmanager
    def showing(self) -> Iterator[Progress]:
        """Show progress while the block runs."""
        if self._console.is_terminal:
            with self._status:
                yield self
        else:
            yield self

    def __call__(self, message: str) -> None:
        """Say what is going on now."""
        shown = Text(visible(message), overflow="ellipsis", no_wrap=True)
        if self._console.is_terminal:
            self._status.update(shown)
        elif time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            self._console.print(shown, style="dim")


def print_summary(console: Console, state: Overview, numbers: dict[str, Any]) -> None:
    """What a run has led to: days, lines by fate, top numbers, and what to open next."""
    if state.days:
        console.print(
            f"\n[bold]{_days(state)}[/]:"
            f" [bold]{counted(state.hits, 'request')}[/] from {counted(sum(state.files.values()), 'file')}"
            f" ({state.landed_bytes / 1e6:,.1f} MB landed)"
        )
    _print_fates(console, state)
    _print_sites(console, numbers)
    _print_troubles(console, state)


def print_next_steps(console: Console, state: Overview) -> None:
    """What to open next."""
    console.print("\n[bold]Next[/]")
    console.print("  make ui                  the asset graph and its history, on http://127.0.0.1:3000")
    console.print("  make report              a page about the newest day that is over")
    console.print("  make run LOGS=/path      your own logs")
    console.print(f"  {state.root}/serving      the tables, as Delta Lake", highlight=False)


def print_import(console: Console, done: Imported, landing: str) -> None:
    """What an import has taken, and what it has left out and why."""
    taken = f"{counted(len(done.taken), 'log')} taken into {visible(landing)}"
    parts = [
        (len(done.grown), "grown since the last import"),
        (done.there, "there already"),
        (len(done.unfinished), "still being written: their last line is left to the next import"),
    ]
    counts = [f"{number:,} {what}" for number, what in parts if number]
    console.print(Text("; ".join([taken, *counts])))
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(done.left_out.items()):
        reasons.setdefault(why, []).append(visible(name))
    for why, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        shown = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if names[_LISTED:] else "")
        console.print(Text(f"{len(names):,} left out ({visible(why)}): {shown}", style="yellow"))


def print_status(console: Console, state: Overview, use: StorageUse) -> None:
    """The state at a glance."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_row("storage", Text(visible(state.root)))
    grid.add_row("landed", f"{counted(state.landed_files, 'file')}, {state.landed_bytes / 1e6:,.1f} MB")
    for lane, facts in state.lanes.items():
        number = counted(facts.deliveries, "delivery", "deliveries")
        grid.add_row(lane, f"{number}, last {facts.last_delivery}, read {_minute(facts.last_read)}")
    grid.add_row("files", ", ".join(f"{count:,} {status}" for status, count in state.files.items()) or "none")
    if state.days:
        grid.add_row("event days", f"{_days(state)}, {counted(state.hits, 'request')}")
    if state.newest_event is not None:
        age = _age(datetime.now(UTC) - state.newest_event)
        grid.add_row("newest event", f"{state.newest_event:%Y-%m-%d %H:%M:%S} UTC, {age}")
    stored = ", ".join(f"{layer} {size / 1e6:,.1f}" for layer, size in use.stored_bytes.items() if size)
    grid.add_row("MB stored", stored or "none")
    if use.leftover_files:
        left = f"{counted(use.leftover_files, 'file')}, {use.leftover_bytes / 1e6:,.1f} MB"
        grid.add_row("leftovers", f"{left} (pipeline-assets maintain deletes them)")
    grid.add_row("maintenance", Text(_maintenance(state.last_maintenance)))
    console.print(grid)
    _print_fates(console, state)
    _print_recent_days(console, state)
    _print_troubles(console, state)
    if state.is_current:
        console.print("[green]up to date[/]")


def print_maintenance(console: Console, report: Report, retired_keys: list[str]) -> None:
    """What a maintenance has done, or would do."""
    for listed in report.listed:
        console.print(Text(f"would {visible(listed)}"))
    would = "would be " if report.dry_run else ""
    console.print(
        f"{counted(report.files, 'file')} {would}deleted, {report.bytes / 1e6:,.1f} MB", highlight=False
    )
    for kind, (files, size) in sorted(report.deleted.items()):
        console.print(f"  {files:,} {kind}, {size / 1e6:,.1f} MB", highlight=False)
    for what, count in sorted(report.done.items()):
        console.print(f"  {count:,} {what}", highlight=False)
    if retired_keys:
        console.print(
            f"  {len(retired_keys):,} keys of old batches {would}taken off the list", highlight=False
        )
    for name, items in (("left for the next time", report.left), ("failed", report.failed)):
        _print_listed(console, f"[yellow]{len(items)} {name}[/]", items)


def _print_listed(console: Console, title: str, items: list[str]) -> None:
    if not items:
        return
    console.print(title)
    for item in items[:_LISTED]:
        console.print(Text(f"  {visible(item)}"))
    if len(items) > _LISTED:
        console.print(f"  and {len(items) - _LISTED} more")


def print_runs(console: Console, runs: pl.DataFrame) -> None:
    """The last runs, the newest first (columns: `schemas.RUNS`)."""
    if runs.is_empty():
        console.print("no run is on record yet")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("started (UTC)")
    table.add_column("run")
    table.add_column("asked by")
    table.add_column("outcome")
    for name in ("seconds", "CPU s", "MB read", "lines", "MB written", "requests", "cost"):
        table.add_column(name, justify="right")
    for row in runs.iter_rows(named=True):
        requests = sum(row[f"storage_{kind}"] for kind in ("reads", "writes", "lists", "deletes"))
        cost = "" if row["cost"] is None else f"{row['cost']:.6f} {row['currency']}"
        table.add_row(
            f"{row['started']:%Y-%m-%d %H:%M}",
            Text(visible(f"{row['job']} {row['run_id'][:8]}")),
            Text(visible(row["door"])),
            row["status"],
            f"{row['seconds']:,.1f}",
            f"{row['cpu_seconds']:,.1f}",
            f"{row['landed_bytes'] / 1e6:,.1f}",
            f"{row['lines']:,}",
            f"{row['bytes_written'] / 1e6:,.1f}",
            f"{requests:,}",
            cost,
        )
    # Wider than some terminals: a line that wraps says more than columns cut to nothing.
    Console(file=console.file, highlight=False, width=max(console.width, 150)).print(table)


def _print_recent_days(console: Console, state: Overview) -> None:
    if not state.recent_days:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("day", "state"):
        table.add_column(name)
    for name in ("requests", "deliveries", "files", "lines", "rejected"):
        table.add_column(name, justify="right")
    for day in state.recent_days:
        lines = (day.lines[fate] for fate in ("lines", "rejected"))
        shown = day.state if day.state in ("shown", "no events") else f"[yellow]{day.state}[/]"
        table.add_row(
            str(day.day), shown, *(f"{count:,}" for count in (day.hits, day.deliveries, day.files, *lines))
        )
    console.print()
    console.print(table)
    console.print()


def _maintenance(noted: dict[str, Any] | None) -> str:
    if noted is None:
        return "never; the schedules do it weekly, or: pipeline-assets maintain"
    freed = f"{counted(noted['files_deleted'], 'file')} deleted, {noted['bytes_freed'] / 1e6:,.1f} MB"
    return f"last {_minute(noted['at'])}, {freed}"


def _minute(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    if hours < 0:
        return "in the future"
    if hours < 1:
        return f"{hours * 60:.0f} minutes old"
    return f"{hours:.0f} hours old" if hours < 48 else f"{hours / 24:,.0f} days old"


def _days(state: Overview) -> str:
    span = f"{state.first_day}" if state.days == 1 else f"{state.first_day} to {state.last_day}"
    return f"{counted(state.days, 'day')}, {span}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """How many of something: `1 file`, `2,000 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _print_fates(console: Console, state: Overview) -> None:
    if not state.lines["lines"]:
        return
    parts = [f"{state.lines[fate]:,} {fate}" for fate in FATES if state.lines[fate]]
    rate = f"  ({state.reject_rate:.2%} rejected)" if state.lines["rejected"] else ""
    console.print(f"{state.lines['lines']:,} lines read = " + " + ".join(parts) + rate, highlight=False)


def _print_sites(console: Console, numbers: dict[str, Any]) -> None:
    sites: pl.DataFrame = numbers["sites"]
    if sites.is_empty():
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("site")
    table.add_column("requests", justify="right")
    table.add_column("MB sent", justify="right")
    for site, hits, sent in sites.head(_LISTED).iter_rows():
        table.add_row(Text(visible(site)), f"{hits:,}", f"{sent / 1e6:,.1f}")
    console.print()
    console.print(table)
    statuses = ", ".join(f"{status} {hits:,}" for status, hits in numbers["statuses"].head(6).iter_rows())
    console.print(f"statuses  {statuses}", highlight=False)
    (day, hour, hits) = numbers["busiest"].row(0)
    total = sites["hits"].sum()
    bots = numbers["bots"].item() or 0
    console.print(f"busiest   {day} {hour:02}:00 UTC, {counted(hits, 'request')}", highlight=False)
    console.print(f"bots      {bots / total:.0%} of requests", highlight=False)
    for row in numbers["anomalies"].iter_rows(named=True):
        series = SERIES[row["series"]]
        console.print(
            f"unusual   {row['started_at']:%Y-%m-%d %H:%M} {visible(row['site'] or 'all sites')}:"
            f" {series.what} {series.shown(row['observed'])}, {series.shown(row['expected'])} expected,"
            f" {row['minutes']:,} minutes",
            highlight=False,
            markup=False,
        )


def _print_troubles(console: Console, state: Overview) -> None:
    troubles = [
        ("not yet run", state.behind + state.new_files, "run: pipeline-assets run"),
        (
            "days that disagree with their deliveries",
            list(state.disagreeing),
            "the next run repairs them: pipeline-assets run",
        ),
        (
            "quarantined",
            [f"{unit}: {why}" for unit, why in state.quarantined.items()],
            "mend the file, then: pipeline-assets run",
        ),
        (
            "files held back, in a format that is not known",
            state.unknown_formats,
            "describe it in PIPELINE_LOG_FORMATS, then: pipeline-assets run",
        ),
        (
            "not read",
            [f"{path}: {why}" for path, why in state.ignored.items()],
            "",
        ),
        (
            "daily folders before PIPELINE_START_DATE or after today",
            state.out_of_range,
            "set PIPELINE_START_DATE, or land them in logs/incremental/",
        ),
        (
            "days without a daily delivery, between others",
            state.missing_days,
            "land what is missing, if there was anything",
        ),
        (
            "days that can't follow a change",
            [f"{day}: {', '.join(units)}" for day, units in state.closed.items()],
            "retention has deleted the gold they would be merged from; they stay as they are",
        ),
        (
            "written by an older kernel or another configuration",
            state.other_kernel,
            "runs rebuild those of an older kernel a portion at a time; all of them: pipeline-assets full",
        ),
        (
            "days merged by an older kernel",
            state.older_days,
            "the runs that rebuild their deliveries rebuild them",
        ),
        (
            "as an older kernel or another configuration read them, since their landed files are gone",
            state.kept_as_read,
            "",
        ),
    ]
    for name, items, advice in troubles:
        title = f"[yellow]{len(items)} {name}[/]" + (f"  ({advice})" if advice else "")
        _print_listed(console, title, items)
