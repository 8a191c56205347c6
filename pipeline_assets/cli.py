"""`pipeline-assets`: the same doors for people, cron and CI.

What belongs here: commands, their order of work and their exit codes. What does not: the work.

Exit codes: 0 all is well; 1 a run failed, a delivery is quarantined, or (`status`) something is behind; 2 the
command or a setting is wrong; 3 the storage can't be reached; 130 somebody has ended it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from rich.console import Console

from pipeline_assets.home import prepare_home
from pipeline_assets.settings import Settings, SettingsError, alert_urls, load_settings
from pipeline_assets.storage.memory import end_quickly, own_process

if TYPE_CHECKING:
    from pipeline_assets.compute.context import Context
    from pipeline_assets.runs import RunOutcome
    from pipeline_assets.storage.units import Unit
    from pipeline_assets.terminal import Progress

FAILED: Final = 1
WRONG_USE: Final = 2
UNAVAILABLE: Final = 3
# As shells have it for what was ended by an interrupt.
INTERRUPTED: Final = 130
# Runs can make more work (a copy that no longer counts changes another delivery); it dries up at once, and
# more rounds than this mean that something doesn't.
_ROUNDS: Final = 6
# Commands that cron calls: what they find wrong is told as the daemon's sensor would tell it.
_WATCHED: Final = frozenset({"run", "full", "forget"})

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _guarded(command: _Command) -> Any:
    """Turn the errors that a user can mend into one line and an exit code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from pipeline_assets.compute.forget import ForgetError
        from pipeline_assets.storage.importing import ImportFailedError
        from pipeline_assets.storage.store import StorageUnavailableError
        from pipeline_assets.storage.tables import TableShapeError
        from pipeline_assets.terminal import visible

        try:
            command(*args, **kwargs)
        except (SettingsError, ImportFailedError, ForgetError) as error:
            click.echo("\n".join(visible(line) for line in str(error).split("\n")), err=True)
            sys.exit(WRONG_USE)
        except KeyboardInterrupt as error:
            click.echo(visible(str(error)) or "interrupted", err=True)
            sys.exit(INTERRUPTED)
        except TableShapeError as error:
            click.echo(visible(str(error)), err=True)
            sys.exit(FAILED)
        except (StorageUnavailableError, PermissionError) as error:
            click.echo(visible(str(error)), err=True)
            if command.__name__ in _WATCHED:
                _tell_storage_away(error)
            sys.exit(UNAVAILABLE)

    return guarded


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Web-server logs to complete days.

    Storage is the folder in PIPELINE_STORAGE (default: data, in the checkout); the history of runs is in
    DAGSTER_HOME (default: .dagster, in the checkout).
    """
    own_process()
    end_quickly()


@main.command()
@click.option("--logs", type=click.Path(path_type=Path), help="A file or folder of logs to copy in first.")
@click.option("--samples", is_flag=True, help="Land sample logs first if nothing has landed yet.")
@_guarded
def run(logs: Path | None, samples: bool) -> None:
    """Process what is new, changed or behind; nothing if nothing is."""
    began = time.time()
    console, settings, context = _start(watched=True)
    from pipeline_assets.terminal import Progress

    with Progress(console).showing() as progress:
        if logs is not None:
            _import(console, context, logs, progress)
        elif samples:
            _land_samples(console, context)
        outcomes = _run_all(console, context, settings, progress)
    _tell(console, context, settings, began)
    _finish(console, context, settings, outcomes)


@main.command()
@_guarded
def full() -> None:
    """Process everything again: every daily delivery, then every batch."""
    began = time.time()
    console, settings, context = _start(watched=True)
    from pipeline_assets.automation.arrivals import all_units
    from pipeline_assets.runs import run_units
    from pipeline_assets.terminal import Progress

    with Progress(console).showing() as progress:
        units = all_units(context, settings)
        outcomes = run_units(units, reuse=False, door="full", progress=progress)
        _report(console, outcomes)
        outcomes += _run_all(console, context, settings, progress)
    _tell(console, context, settings, began)
    _finish(console, context, settings, outcomes)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@_guarded
def status(as_json: bool) -> None:
    """Show what has landed, what is behind, and what disagrees."""
    console, settings, context = _start()
    from pipeline_assets.overview import overview, storage_use
    from pipeline_assets.terminal import Progress, print_status

    # What is read by a program is only what was asked for; what is going on goes to the person beside it.
    with Progress(Console(stderr=True) if as_json else console).showing() as progress:
        state = overview(context, settings, progress)
        use = storage_use(context, settings, progress)
    if as_json:
        fields = dataclasses.asdict(state) | dataclasses.asdict(use) | {"is_current": state.is_current}
        click.echo(json.dumps(fields, default=str, indent=1))
    else:
        print_status(console, state, use)
    if not state.is_current:
        sys.exit(FAILED)


@main.command()
@click.argument("day", type=click.DateTime(["%Y-%m-%d"]), required=False, metavar="[DAY]")
@click.option("--all", "everything", is_flag=True, help="Every event day there is.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Also copy the page here.")
@click.option("--open", "opened", is_flag=True, help="Open the page in a browser.")
@_guarded
def report(day: datetime | None, everything: bool, output: Path | None, opened: bool) -> None:
    """Make the report of an event day, such as 2024-01-15, and print where it is.

    Without a day it is the newest that is over.
    """
    console, _, context = _start()
    from pipeline_assets.report.facts import known_days
    from pipeline_assets.report.publish import latest_complete_day, report_path, write_reports
    from pipeline_assets.terminal import Progress

    known = known_days(context.store)
    chosen = day.date() if day else latest_complete_day(context.store)
    if chosen is None or chosen not in known:
        raise click.UsageError(
            f"there is nothing of {chosen} in serving; event days are {known[0]} to {known[-1]}"
            if known
            else "nothing has been published yet; run: pipeline-assets run"
        )
    with Progress(console).showing() as progress:
        write_reports(context.store, known if everything else [chosen], progress=progress)
    page = context.store.uri(report_path(chosen))
    if output is not None:
        found = context.store.read(report_path(chosen))
        assert found is not None
        output.write_bytes(found.data)
        page = str(output)
    console.print(page, markup=False, highlight=False)
    if opened:
        click.launch(page)


@main.command()
@click.argument("path")
@_guarded
def forget(path: str) -> None:
    """Retract a landed file, such as logs/2024-01-15/access.log.

    It stays forgotten until the file changes; deleting it instead would retract nothing.
    """
    began = time.time()
    console, settings, context = _start(watched=True)
    from pipeline_assets.compute import forget as forgetting
    from pipeline_assets.runs import run_units
    from pipeline_assets.terminal import Progress, visible

    with Progress(console).showing() as progress:
        unit = forgetting.forget(context, path)
        outcomes = run_units([unit], reuse=True, door="forget", progress=progress)
        _report(console, outcomes)
        outcomes += _run_all(console, context, settings, progress)
    _tell(console, context, settings, began)
    console.print(f"forgotten: {visible(path)}", markup=False, highlight=False)
    _exit_if_bad(context, outcomes)


@main.command()
@click.option("--last", default=10, show_default=True, type=click.IntRange(1), help="How many to show.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@_guarded
def runs(last: int, as_json: bool) -> None:
    """Show what the last runs took: time, bytes, lines, and what they cost by the configured prices."""
    console, _, context = _start()
    from pipeline_assets.storage.run_records import last_runs
    from pipeline_assets.terminal import print_runs

    found = last_runs(context.store, last)
    if as_json:
        click.echo(json.dumps(found.to_dicts(), default=str, indent=1))
    else:
        print_runs(console, found)


@main.group()
def alerts() -> None:
    """Try the targets in ALERT_URLS, and show what they were told."""


@alerts.command("test")
@_guarded
def alerts_test() -> None:
    """Send a test message to each target, and say which took it."""
    settings = load_settings()
    from pipeline_assets.telling import send_test

    results = send_test(settings)
    if not results:
        click.echo("ALERT_URLS is not set: there is nobody to tell; see docs/alerts.md", err=True)
        sys.exit(WRONG_USE)
    for label, error in results:
        click.echo(f"{label}: {error or 'took it'}")
    if any(error for _, error in results):
        sys.exit(FAILED)


@alerts.command("show")
@_guarded
def alerts_show() -> None:
    """Show the problems that were open at the last look, and who was told of them."""
    console, settings, context = _start()
    from pipeline_assets.telling import open_problems
    from pipeline_assets.terminal import visible

    found = open_problems(context.store, settings)
    for one in found:
        told = f"told {', '.join(one.told)}" if one.told else "nobody was told yet"
        line = f"{one.since:%Y-%m-%d %H:%M} UTC  {one.problem.kind}  {visible(one.problem.text)}  ({told})"
        console.print(line, markup=False, highlight=False)
    if not found:
        console.print("nothing was wrong at the last look")


@main.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--quick", is_flag=True, help="Leave out what reads a record of every file that ever landed.")
@_guarded
def maintain(dry_run: bool, quick: bool) -> None:
    """Put the storage in order: merge small files, delete leftovers, and apply the retention settings.

    It is safe beside running work, and the schedules do it weekly and monthly.
    """
    console, settings, context = _start()
    import dagster as dg

    from pipeline_assets.automation.maintenance import retire_keys
    from pipeline_assets.compute.maintenance import maintain as maintaining
    from pipeline_assets.terminal import Progress, print_maintenance

    prepare_home()
    with Progress(console).showing() as progress:
        report = maintaining.maintain(context, settings, deep=not quick, dry_run=dry_run, progress=progress)
        with dg.DagsterInstance.get() as instance:
            keys = retire_keys(instance, context.store, settings, dry_run=dry_run)
    print_maintenance(console, report, keys)
    if report.failed:
        sys.exit(FAILED)


@main.command()
@click.option("--name", default="pipeline_assets", show_default=True, help="The catalog.")
@click.option("--warehouse", help="Run it in this SQL warehouse (its id); else it is only printed.")
@click.option("--credential", default="", help="A storage credential: declare external locations by it.")
@click.option("--reader", "readers", multiple=True, help="A user or group that may read the views.")
@_guarded
def catalog(name: str, warehouse: str | None, credential: str, readers: tuple[str, ...]) -> None:
    """Make serving and model known to Unity Catalog, with views for BI.

    It may be run again at any time. The workspace is found as Databricks' own tools find it.
    """
    console, settings, context = _start()
    from pipeline_assets.storage.tables import TABLES, open_for_writing
    from pipeline_assets.terminal import Progress, visible
    from pipeline_assets.unity_catalog import (
        CatalogError,
        hierarchical_host,
        open_workspace,
        run_statements,
        statements,
    )

    if settings.azure is None:
        raise click.UsageError("Unity Catalog reads an Azure account; set PIPELINE_STORAGE=az://<account>")
    try:
        listed = statements(hierarchical_host(settings.azure), name, credential=credential, readers=readers)
        # A table that is not there yet would be made by Databricks, with no columns.
        for table in TABLES:
            open_for_writing(context.store, table)
        if warehouse is None:
            click.echo("".join(f"{statement};\n" for statement in listed), nl=False)
            return
        with Progress(console).showing() as progress:
            run_statements(open_workspace(), warehouse, listed, progress=progress)
    except CatalogError as error:
        click.echo(visible(str(error)), err=True)
        sys.exit(FAILED)
    console.print(f"{len(listed)} statements done", markup=False)


@main.command()
def init() -> None:
    """Create the storage folder and DAGSTER_HOME, and print where they are."""
    _guarded(_init)()


def _init() -> None:
    _, _, context = _start(watched=True)
    home = prepare_home()
    click.echo(f"PIPELINE_STORAGE={context.store.location}\nDAGSTER_HOME={home}")


def _start(*, watched: bool = False) -> tuple[Console, Settings, Context]:
    settings = load_settings()
    if watched:
        # A typo in the address must show now, and not when the first alert gets nowhere.
        from pipeline_assets.alerts.sink import open_targets

        open_targets(settings)
    from pipeline_assets.compute.context import Context

    return Console(highlight=False, soft_wrap=True), settings, Context.of(settings)


def _tell(console: Console, context: Context, settings: Settings, began: float) -> None:
    """Tell ALERT_URLS, where set, what is wrong after this command."""
    if alert_urls(settings):
        from pipeline_assets.storage.store import StorageUnavailableError
        from pipeline_assets.telling import tell

        try:
            lines = tell(context, settings, since=began)
        except (StorageUnavailableError, PermissionError):
            raise
        except Exception as error:  # noqa: BLE001 - the command has done its work, and its outcome counts
            lines = [f"alerts: could not look around ({type(error).__name__})"]
        for line in lines:
            console.print(line, style="yellow", markup=False)


def _tell_storage_away(error: Exception) -> None:
    settings = load_settings()
    if alert_urls(settings):
        from pipeline_assets.telling import tell_storage_away

        tell_storage_away(settings, error)


def _import(console: Console, context: Context, logs: Path, progress: Progress) -> None:
    from filelock import FileLock, Timeout

    from pipeline_assets.automation.arrivals import today
    from pipeline_assets.home import home
    from pipeline_assets.storage.importing import import_logs
    from pipeline_assets.terminal import print_import

    home().mkdir(parents=True, exist_ok=True)
    # Two at once would come to the same end, but only after each has read everything.
    lock = FileLock(home() / ".import.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("waiting for another import to end")
        lock.acquire()
    try:
        done = import_logs(context.store, context.options, logs, last_day=today(), progress=progress)
    finally:
        lock.release()
    print_import(console, done, context.store.uri("logs"))


def _land_samples(console: Console, context: Context) -> None:
    from pipeline_assets.samples import write_samples
    from pipeline_assets.storage.landing import LANDING

    if context.store.children(LANDING):
        return
    made = write_samples(context.store)
    where = context.store.uri(LANDING)
    console.print(f"nothing has landed yet: made {made.files} sample logs in {where}", markup=False)


def _run_all(console: Console, context: Context, settings: Settings, progress: Progress) -> list[RunOutcome]:
    """Run what the plan asks for until it asks for nothing more; the runs that it took."""
    from pipeline_assets.automation.arrivals import look, open_batches
    from pipeline_assets.storage import control

    tried: set[Unit] = set()
    done: list[RunOutcome] = []
    for _ in range(_ROUNDS):
        plan = look(context, settings, everything=True).plan
        units = {*plan.units, *open_batches(context, settings, plan.new_files)}
        # A unit that this command has found bad waits for the next one.
        todo = units - (tried & control.all_quarantined(context.store).keys())
        if not todo:
            break
        # Dagster is imported only now: a run with nothing to do never needs it.
        from pipeline_assets.runs import run_units

        outcomes = run_units(todo, reuse=True, door="run", progress=progress)
        tried.update(todo)
        done += outcomes
        if _report(console, outcomes):
            break
    return done


def _report(console: Console, outcomes: list[RunOutcome]) -> bool:
    """Print the runs that failed; whether any did."""
    from pipeline_assets.terminal import visible

    failed = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failed:
        console.print(
            f"failed: {outcome.what}: {visible(outcome.failure or '')}  (run {outcome.run_id[:8]})",
            style="red",
            markup=False,
        )
    return bool(failed)


def _finish(console: Console, context: Context, settings: Settings, outcomes: list[RunOutcome]) -> None:
    if outcomes:
        from pipeline_assets.overview import overview, top_numbers
        from pipeline_assets.terminal import print_next_steps, print_summary

        state = overview(context, settings)
        print_summary(console, state, top_numbers(context))
        print_next_steps(console, state)
    else:
        console.print("up to date: nothing is new, changed or behind")
    _exit_if_bad(context, outcomes)


def _exit_if_bad(context: Context, outcomes: list[RunOutcome]) -> None:
    from pipeline_assets.storage import control

    if any(outcome.failure for outcome in outcomes) or control.all_quarantined(context.store):
        sys.exit(FAILED)
