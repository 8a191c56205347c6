"""Layers made by processes beside each other: as one process makes them, whatever becomes of a process.

What belongs here: what only several processes can show. What does not: what a layer is.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import date
from multiprocessing import active_children
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.assets import layers
from pipeline_assets.automation.requests import range_tags
from pipeline_assets.compute import workers
from pipeline_assets.compute.engine import Refreshed, Request
from pipeline_assets.compute.metering import Meter
from pipeline_assets.compute.publish import publish_units
from pipeline_assets.compute.workers import WorkerCompute, WorkerDiedError
from pipeline_assets.definitions import build_defs
from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.storage import control
from pipeline_assets.storage.counting import counting
from pipeline_assets.storage.manifests import LAYER_NAMES, Layer, read_day, read_manifest
from pipeline_assets.storage.tables import read_table
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.compute.three_deliveries import line
from pipeline_assets_tests.test_promises import check_serving
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.slow

DAYS = tuple(Unit("daily", f"2024-01-{day:02}") for day in range(10, 16))
LATER: dict[Layer, tuple[Layer, ...]] = {"bronze": ("silver", "gold"), "silver": ("gold",), "gold": ()}
BAD, EMPTY, LARGE = DAYS[1], DAYS[2], DAYS[3]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(workers, "_LEAST_UNITS", 2)
    world = World(tmp_path / "storage", workers=2)
    for number, unit in enumerate(DAYS):
        if unit != EMPTY:
            world.land(f"logs/{unit.key}/access.log", line(1 + number, 10 + number) * (number + 1))
    return world


def test_a_run_ends_with_its_processes_and_counts_what_they_took(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_STORAGE", str(world.root))
    monkeypatch.setenv("PIPELINE_WORKERS", "2")
    seen: set[int | None] = set()

    def progress(message: str) -> None:
        seen.update(child.pid for child in active_children())

    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs().resolve_job_def("daily_job")
        tags = range_tags(DAYS[0].key, DAYS[-1].key)
        monkeypatch.setattr(workers, "_SAY_EVERY_S", 0.0)
        monkeypatch.setattr(layers, "progress_log", lambda context: progress)
        assert job.execute_in_process(instance=instance, tags=tags).success
    assert len(seen) == 2 and not active_children()
    check_serving(world)
    units = read_table(world.context.store, "runs").filter(pl.col("unit").is_not_null()).collect()
    assert set(units["unit"]) == {str(unit) for unit in DAYS}
    assert units.filter(pl.col("silver_seconds") > 0, pl.col("storage_reads") > 0).height == len(DAYS)


@pytest.fixture
def beside(world: World) -> Iterator[WorkerCompute]:
    compute = WorkerCompute(world.settings, world.context, Meter(counting(world.context.store)[1]))
    yield compute
    compute.close()


def made(compute: WorkerCompute, layer: Layer) -> dict[Unit, Refreshed]:
    said = list(compute.refresh(Request(layer, DAYS, False, LATER[layer]), lambda message: None))
    assert sorted(one.unit for one in said) == sorted(DAYS)
    return {one.unit: one for one in said}


def test_they_make_what_one_process_makes(world: World, beside: WorkerCompute) -> None:
    bad = world.root / f"logs/{BAD.key}/access.log"
    bad.unlink()
    # It opens, and every read of it fails, also for the superuser.
    bad.symlink_to("/proc/self/mem")
    del world.landed[f"logs/{BAD.key}/access.log"]
    world.land(f"logs/{LARGE.key}/large.log", b"# a comment, of which there are many\n" * 500_000)
    bronze = made(beside, "bronze")
    assert bronze[EMPTY] == Refreshed(EMPTY, None)
    assert "can't be read" in bronze[BAD].quarantined
    assert control.all_quarantined(world.context.store) == {BAD: bronze[BAD].quarantined}
    large = bronze[LARGE].manifest
    assert large is not None and sum(file.comment for file in large.files) == 500_000
    gold = {}
    for layer in LAYER_NAMES[1:]:
        for unit, one in made(beside, layer).items():
            stored = read_manifest(world.context.store, layer, unit)
            assert one.manifest == (stored.value if stored.etag is not None else None)
            if one.manifest is not None:
                gold[unit] = one.manifest
    assert len(active_children()) == 2
    beside.fold_ahead(gold)
    days = {date.fromisoformat(unit.key) for unit in DAYS}
    beside.until_folded(days)
    folded = {
        day for day in days if read_day(world.context.store, day.isoformat(), KERNEL_VERSION).value.units
    }
    assert folded == {date.fromisoformat(unit.key) for unit in DAYS if unit not in (BAD, EMPTY, LARGE)}
    publish_units(world.context, DAYS, until_folded=beside.until_folded)
    check_serving(world)
    meter = beside._meter
    assert meter.of_unit(DAYS[0]).cpu_seconds > 0 and meter.of_unit(DAYS[0]).requests.writes > 3
    assert meter.of_unit(LARGE).cpu_seconds > 0 and meter.elsewhere.requests.writes > 3 * 3 * 4
    beside.close()
    assert not active_children()


def test_what_fails_ahead_is_said_and_left_to_who_publishes(
    beside: WorkerCompute, caplog: pytest.LogCaptureFixture
) -> None:
    day = date(2024, 1, 15)
    beside._folds[day] = Future()
    beside._folds[day].set_exception(MemoryError())
    beside.until_folded([day])
    assert "2024-01-15 could not be folded ahead: MemoryError" in caplog.text


def test_a_process_that_dies_fails_the_run_and_the_next_one_does_the_rest(
    world: World, beside: WorkerCompute
) -> None:
    said = beside.refresh(Request("bronze", DAYS * 40, False), lambda message: None)
    next(said)
    for process in active_children():
        process.kill()
    with pytest.raises(WorkerDiedError, match="bronze has died"):
        list(said)
    assert not active_children()
    for layer in LAYER_NAMES:
        gold = made(beside, layer)
    beside.fold_ahead({unit: one.manifest for unit, one in gold.items() if one.manifest is not None})
    for process in active_children():
        process.kill()
    publish_units(world.context, DAYS, until_folded=beside.until_folded)
    check_serving(world)
    assert not control.all_quarantined(world.context.store)


def test_an_error_of_one_is_raised_as_it_is(world: World, beside: WorkerCompute) -> None:
    # No layer after it is asked for ahead: it could be made before the manifest is damaged.
    assert len(list(beside.refresh(Request("bronze", DAYS, False), lambda message: None))) == len(DAYS)
    manifest = world.root / f"bronze/daily/{DAYS[0].key}/_manifest.json"
    manifest.write_text("{}")
    with pytest.raises(Exception) as here:
        world.process([DAYS[0]], reuse=False)
    with pytest.raises(type(here.value)):
        made(beside, "silver")


PROGRAM = """
import sys, time
from multiprocessing import active_children
from pipeline_assets.compute import workers
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.engine import Request
from pipeline_assets.compute.metering import Meter
from pipeline_assets.settings import Settings
from pipeline_assets.storage.counting import counting
from pipeline_assets.storage.units import Unit

if __name__ == "__main__":
    workers._LEAST_UNITS = 2
    settings = Settings(storage=sys.argv[1], workers=2)
    context = Context.of(settings)
    compute = workers.WorkerCompute(settings, context, Meter(counting(context.store)[1]))
    units = tuple(Unit("daily", f"2024-01-{day:02}") for day in range(10, 16))
    list(compute.refresh(Request("bronze", units, True), lambda message: None))
    print(*(child.pid for child in active_children()), flush=True)
    time.sleep(600)
"""


def test_they_end_with_the_process_that_started_them(world: World) -> None:
    script = world.root.parent / "program.py"
    script.write_text(PROGRAM)
    parent = subprocess.Popen([sys.executable, script, world.root], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    started = [int(number) for number in parent.stdout.readline().split()]
    assert len(started) == 2 and all(map(is_alive, started))
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while any(map(is_alive, started)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(is_alive, started))


def is_alive(process: int) -> bool:
    """Whether there is such a process, and not only its last word that nobody has asked for."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
