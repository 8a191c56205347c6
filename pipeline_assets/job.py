"""`pipeline-assets-job`: the pipeline as a plain job, on a cluster or on any machine, without Dagster.

What belongs here: the steps of such a job, in which order, and its exit codes. What does not: the work, and
how it is spread over a cluster (`compute.spark`). It imports no Dagster.

A job may be one task or one task for each step. What a step has to do it learns from the storage: the first
marks the deliveries of its plan as pending, and the others work on those that are. So a job that dies
anywhere, or whose tasks are repeated, is finished by the next one.

Exit codes are those of `pipeline-assets`. A task that has done its work returns and does not exit, because a
cluster may take any exit for a failure.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Literal, get_args

import click

from pipeline_assets.compute.job_spec import Fate, JobSpec, UnitAnswer
from pipeline_assets.escaping import visible
from pipeline_assets.settings import Settings, SettingsError, load_settings
from pipeline_assets.storage.memory import own_process
from pipeline_assets.versions import code_version

if TYPE_CHECKING:
    from pipeline_assets.compute.context import Context
    from pipeline_assets.storage.manifests import Layer
    from pipeline_assets.storage.units import Unit

Step = Literal["bronze", "silver", "gold", "publish", "check", "maintain"]
Place = Literal["spark", "here"]
_STEPS: Final[tuple[Step, ...]] = get_args(Step)
_LAYERS: Final[tuple[Layer, ...]] = ("bronze", "silver", "gold")
_NAMED: Final = 10
FAILED: Final = 1
WRONG_USE: Final = 2
UNAVAILABLE: Final = 3


def main() -> None:
    """The console script."""
    own_process()
    from pipeline_assets.storage.store import StorageUnavailableError
    from pipeline_assets.storage.tables import TableShapeError

    try:
        code = _command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = WRONG_USE
    except SettingsError as error:
        click.echo("\n".join(visible(line) for line in str(error).split("\n")), err=True)
        code = WRONG_USE
    except (StorageUnavailableError, PermissionError) as error:
        click.echo(visible(str(error)), err=True)
        code = UNAVAILABLE
    except TableShapeError as error:
        click.echo(visible(str(error)), err=True)
        code = FAILED
    if code:
        sys.exit(code)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--steps",
    default="bronze,silver,gold,publish",
    show_default=True,
    help=f"What to do, neighbours in this order: {', '.join(_STEPS)}.",
)
@click.option(
    "--what",
    type=click.Choice(["new", "full"]),
    default="new",
    show_default=True,
    help="What is new, changed or behind; or everything again.",
)
@click.option(
    "--units", default="", help="Only these deliveries: daily/2024-01-15,incremental/2024-01-17-1430"
)
@click.option(
    "--place",
    type=click.Choice(["auto", "spark", "here"]),
    default="auto",
    show_default=True,
    help="Where layers are made: by Spark, which is meant on Databricks, or in this process.",
)
@click.option(
    "--more-follows",
    is_flag=True,
    help="A later task publishes: what is quarantined is named, and fails that one, after the rest is shown.",
)
def _command(steps: str, what: Literal["new", "full"], units: str, place: str, more_follows: bool) -> int:
    """Bring landed logs to complete days: one step or all of them."""
    chosen = _steps_of(steps)
    settings = load_settings()
    from pipeline_assets.compute.context import Context

    # Which code did what is to be found in the log of the cluster's task.
    _say(f"pipeline-assets {code_version()}")
    context = Context.of(settings)
    named = _units_of(units, context)
    layers = [layer for layer in _LAYERS if layer in chosen]
    if layers or "publish" in chosen:
        todo = named or _todo(context, settings, what, plan="bronze" in chosen)
        _mark_pending(context, todo)
        _say(f"deliveries to work on: {len(todo)}" if todo else "nothing is new, changed or behind")
        if layers and todo:
            _layers(context, layers, todo, _place(place), reuse=what == "new")
        if "publish" in chosen:
            _publish(context, todo)
    failed = "check" in chosen and not _agrees(context, settings)
    failed |= "maintain" in chosen and not _maintained(context, settings)
    bad = _tell_quarantined(context)
    return FAILED if failed or (bad and not more_follows) else 0


def _steps_of(text: str) -> list[Step]:
    names = [name.strip() for name in text.split(",")]
    unknown = sorted(set(names) - set(_STEPS))
    if unknown:
        raise click.BadParameter(f"no such step: {unknown[0]!r}; there are {', '.join(_STEPS)}")
    chosen = [step for step in _STEPS if step in names]
    places = [_LAYERS.index(step) for step in chosen if step in _LAYERS]
    if places and places != list(range(places[0], places[-1] + 1)):
        raise click.BadParameter("bronze and gold without silver leave a gap; name all three, or neighbours")
    return chosen


def _place(text: str) -> Place:
    if text == "auto":
        # https://docs.databricks.com/en/compute/configure.html#environment-variables
        return "spark" if "DATABRICKS_RUNTIME_VERSION" in os.environ else "here"
    return "spark" if text == "spark" else "here"


def _units_of(text: str, context: Context) -> list[Unit]:
    from pipeline_assets.storage import control
    from pipeline_assets.storage.units import Unit

    try:
        units = sorted({Unit.parse(name.strip()) for name in text.split(",") if name.strip()})
    except ValueError as error:
        raise click.BadParameter(visible(str(error))) from None
    for unit in units:
        if unit.lane == "incremental" and not control.has_batch(context.store, unit):
            raise click.BadParameter(f"there is no batch {unit}")
    return units


def _todo(context: Context, settings: Settings, what: Literal["new", "full"], *, plan: bool) -> list[Unit]:
    """The deliveries to work on: of a plan made now, or those that are pending from an earlier task."""
    from pipeline_assets.automation.arrivals import all_units, look, open_batches
    from pipeline_assets.storage import control

    if not plan:
        return sorted(control.pending_markers(context.store))
    if what == "full":
        return all_units(context, settings)
    found = look(context, settings, everything=True).plan
    return sorted({*found.units, *open_batches(context, settings, found.new_files)})


def _mark_pending(context: Context, units: Iterable[Unit]) -> None:
    """Leave word of what is to be done: later steps, and whoever comes after a job that died, start there."""
    from pipeline_assets.storage import control

    there = control.pending_markers(context.store)
    for unit in units:
        if unit not in there:
            control.mark_pending(context.store, unit)


def _layers(context: Context, layers: list[Layer], units: list[Unit], place: Place, *, reuse: bool) -> None:
    ready = units if "bronze" in layers else _readable(context, units)
    if not ready:
        return
    began = time.monotonic()
    spec = JobSpec(tuple(layers), tuple(ready), reuse)
    answers = list(_by_spark(spec) if place == "spark" else _here(context, spec))
    fates = Counter(answer.fate for answer in answers)
    counts = ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()))
    cpu = sum(answer.cpu_seconds for answer in answers)
    _say(f"{', '.join(layers)}: {counts} in {time.monotonic() - began:.0f} s, CPU {cpu:.0f} s")


def _readable(context: Context, units: Iterable[Unit]) -> list[Unit]:
    """The units that bronze could read: of the others there is nothing new to go on with."""
    from pipeline_assets.storage import control

    bad = control.all_quarantined(context.store)
    return [unit for unit in units if unit not in bad]


def _by_spark(spec: JobSpec) -> Iterator[UnitAnswer]:
    """The layers, made by the cluster's Spark, or by one in this machine."""
    from pipeline_assets.compute.spark.run import run_job
    from pipeline_assets.compute.spark.session import open_session

    return run_job(open_session(), spec, _say)


def _here(context: Context, spec: JobSpec) -> Iterator[UnitAnswer]:
    """The layers, made in this process, unit by unit."""
    from pipeline_assets.compute.engine import LocalCompute, Request
    from pipeline_assets.compute.metering import Meter
    from pipeline_assets.storage.counting import CountingStore

    compute = LocalCompute(context, Meter(CountingStore(context.store)))
    for unit in spec.units:
        began, cpu = time.monotonic(), time.process_time()
        fate: Fate = "made"
        for layer in spec.layers:
            (done,) = compute.refresh(Request(layer, (unit,), spec.reuse), lambda message: None)
            fate = "quarantined" if done.quarantined else "made" if done.manifest else "empty"
            if fate != "made":
                break
        yield UnitAnswer(
            unit,
            fate,
            done.quarantined,
            seconds=time.monotonic() - began,
            cpu_seconds=time.process_time() - cpu,
        )


def _publish(context: Context, units: list[Unit]) -> None:
    from pipeline_assets.compute.publish import publish_units
    from pipeline_assets.storage import control

    # Copies elsewhere may have begun or ceased to count because of these.
    done = publish_units(context, [*units, *control.flipped(context.store)])
    for reason in done.closed.values():
        _say(reason)
    _say(f"published: {len(done.days)} days with {sum(done.days.values()):,} hits")


def _maintained(context: Context, settings: Settings) -> bool:
    from pipeline_assets.compute.maintenance.maintain import maintain

    report = maintain(context, settings, deep=True)
    for problem in report.failed:
        _say(problem)
    _say(f"maintained: {report.files:,} files deleted, {report.bytes:,} bytes freed")
    return not report.failed


def _agrees(context: Context, settings: Settings) -> bool:
    """Whether serving shows what was read. What has landed meanwhile is for the next job."""
    from pipeline_assets.overview import overview

    state = overview(context, settings)
    deliveries = sum(state.units.values())
    _say(f"checked: {state.days} days, {deliveries} deliveries, {len(state.new_files)} new files")
    wrong = {"behind": state.behind, "disagreeing": list(state.disagreeing)}
    for what, names in wrong.items():
        if names:
            _say(f"{what}: {', '.join(names[:_NAMED])}" + (" and others" if len(names) > _NAMED else ""))
    return not any(wrong.values())


def _tell_quarantined(context: Context) -> bool:
    from pipeline_assets.storage import control

    bad = control.all_quarantined(context.store)
    for unit, reason in sorted(bad.items()):
        _say(f"quarantined {unit}: {reason}")
    return bool(bad)


def _say(text: str) -> None:
    # A cluster's log is read while the task runs, and what it says holds the names of files.
    print(visible(text), flush=True)


if __name__ == "__main__":
    main()
