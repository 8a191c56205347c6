"""Jobs of Spark make what this process makes: every table, row for row, from samples and any history."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from pipeline_assets import samples
from pipeline_assets.compute.spark import tasks, waves
from pipeline_assets.compute.spark.frames import Row
from pipeline_assets.kernel.codes import plain
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.kernel.schemas import LAYERS, MODEL, SERVING
from pipeline_assets.storage.manifests import LAYER_NAMES, Layer, read_manifest
from pipeline_assets.storage.parts import part_paths
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.spark.spark_world import SparkWorld
from pipeline_assets_tests.storages import AZURITE, Storage
from pipeline_assets_tests.test_promises import History, check_serving, tables
from pipeline_assets_tests.world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

FIRST, SECOND = Unit("daily", "2024-01-15"), Unit("daily", "2024-01-16")
ERROR = b"2024/01/15 10:00:00 [error] 7#8: *1 upstream timed out\n  at frame\n"


def line(number: int) -> bytes:
    return (
        b'192.0.2.%d - - [15/Jan/2024:10:%02d:%02d +0000] "GET /p%d HTTP/1.1" 200 100 "-" "Firefox/120.0"\n'
        % (number % 250, number // 60 % 60, number % 60, number % 17)
    )


MANY = b"".join(map(line, range(8_000)))


def rows(world: World, layer: Layer, unit: Unit, table: str) -> pl.DataFrame:
    """A layer's rows in an order of their own; of gold, those of equal keys are one."""
    manifest = read_manifest(world.context.store, layer, unit).value
    paths = part_paths(layer, unit, manifest.parts_of(table))
    empty = LAYERS[layer][table].empty()
    found = world.context.store.scan_parquet(paths) if paths else empty.lazy()
    if layer == "gold":
        return plain(ROLLUPS[table].merge_files([found.collect()])).sort(pl.all())
    return found.collect().sort("source_file", "line_number")


def check_equal(world: World, local: World) -> None:
    check_same_layers(world, local, local.units())
    check_same_tables(world, local)


def check_same_layers(world: World, local: World, units: Iterable[Unit]) -> None:
    for unit in units:
        for layer in LAYER_NAMES:
            for table in LAYERS[layer]:
                mine, theirs = rows(world, layer, unit, table), rows(local, layer, unit, table)
                assert mine.equals(theirs), (layer, unit, table)


def check_same_tables(world: World, local: World) -> None:
    mine, theirs = tables(world), tables(local)
    assert mine.keys() == {*SERVING, *MODEL}
    for name, expected in theirs.items():
        assert mine[name] == expected, name


def both(tmp_path: Path, session: SparkSession, files: Mapping[str, bytes]) -> tuple[SparkWorld, World]:
    """The same files in two storages; those of the second are processed without Spark."""
    world, local = SparkWorld(tmp_path / "spark", session), World(tmp_path / "local")
    for path, content in files.items():
        world.land(path, content)
        local.land(path, content)
    return world, local


def test_the_whole_graph_on_the_samples(tmp_path: Path, session: SparkSession) -> None:
    world, local = SparkWorld(tmp_path / "spark", session), World(tmp_path / "local")
    for each in (world, local):
        samples.write_samples(each.context.store)
        each.landed = {
            path.relative_to(each.root).as_posix(): b""
            for path in each.root.glob("logs/**/*")
            if path.is_file()
        }
        assert each.catch_up() == 1
    assert len(local.units()) > 20
    check_same_tables(world, local)
    check_same_layers(world, local, local.units()[:3])
    assert world.catch_up() == 0


def test_large_files_are_cut_and_others_taken_together(
    tmp_path: Path, session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that rollups are cut too, as those of more than 512 MiB are.
    monkeypatch.setattr(waves, "_BUCKET_BYTES", 400_000)
    world, local = both(
        tmp_path,
        session,
        {
            "logs/2024-01-15/access.log": MANY
            + b'192.0.2.1 - - [15/Jan/2024:10:00:00 +0000] "GET / HTTP/1.1" 200 1',
            "logs/2024-01-15/error.log": ERROR * 9_000,
            "logs/2024-01-15/small.log": line(1),
            "logs/2024-01-16/packed.log.gz": MANY + b"nonsense\n",
            "logs/2024-01-16/begun.log": MANY[: len(MANY) // 2 + 9],
        },
    )
    answers = world.job([FIRST, SECOND])
    assert [answer.fate for answer in answers] == ["made", "made"]
    assert all(answer.cpu_seconds > 0 for answer in answers)
    cut = [said for said in world.said if "can be cut" in said]
    assert cut == ["looking where 2 large files can be cut"]
    assert len(read_manifest(world.context.store, "bronze", FIRST).value.parts_of("requests")) >= 3
    assert len(read_manifest(world.context.store, "gold", FIRST).value.parts_of("traffic")) >= 3
    local.process([FIRST, SECOND], reuse=True)
    world.process([FIRST, SECOND], reuse=True)
    check_equal(world, local)


@pytest.mark.parametrize("kind", [AZURITE])
def test_an_account_is_opened_by_workers_that_have_no_secrets_of_their_own(
    storage: Storage, tmp_path: Path, session: SparkSession
) -> None:
    world, local = SparkWorld(storage, session), World(tmp_path)
    for each in (world, local):
        each.land("logs/2024-01-15/access.log", MANY)
        each.land("logs/2024-01-15/error.log.gz", ERROR)
    local.process([FIRST], reuse=True)
    assert world.process([FIRST], reuse=True) == []
    check_equal(world, local)


@pytest.mark.parametrize("seed", range(2))
def test_any_history_ends_in_the_truth(seed: int, tmp_path: Path, session: SparkSession) -> None:
    world = SparkWorld(tmp_path, session, anomaly_threshold=3.0, look_back_days=100_000)
    History(world, random.Random(seed), deletes=seed % 2 == 0).play(12)
    world.catch_up(everything=False)
    check_serving(world)
    shown = tables(world)
    assert world.catch_up() == 0
    world.full()
    check_serving(world)
    assert tables(world) == shown


def test_layers_can_be_made_one_by_one(tmp_path: Path, session: SparkSession) -> None:
    world, local = both(
        tmp_path, session, {"logs/2024-01-15/access.log": MANY, "logs/2024-01-16/e.log": ERROR}
    )
    local.process([FIRST, SECOND], reuse=True)
    for layer in LAYER_NAMES:
        assert [answer.fate for answer in world.job([FIRST, SECOND], layers=(layer,))] == ["made", "made"]
    world.process([FIRST, SECOND], reuse=True)
    check_equal(world, local)
    # Again in full: everything is made anew, and is the same.
    assert [answer.fate for answer in world.job([FIRST], layers=("silver", "gold"), reuse=False)] == ["made"]
    world.process([FIRST, SECOND], reuse=False)
    check_equal(world, local)


def test_where_nothing_has_landed_nothing_is_made(tmp_path: Path, session: SparkSession) -> None:
    world = SparkWorld(tmp_path, session)
    assert [answer.fate for answer in world.job([FIRST])] == ["empty"]
    assert [answer.fate for answer in world.job([FIRST], layers=("silver",))] == ["empty"]


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, session: SparkSession) -> None:
    world = SparkWorld(tmp_path, session)
    world.land("logs/2024-01-15/access.log", MANY)
    world.process([FIRST], reuse=True)
    world.said.clear()
    assert [answer.fate for answer in world.job([FIRST])] == ["made"]
    assert world.said == []


# ---- what befalls tasks: these run in Spark's workers, so they are told by files what to do once -----------
def _once(marker: str) -> bool:
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def die_once(variables: Mapping[str, str], task: tasks.Task) -> Iterator[Row]:
    """A worker that is killed after it has written its parts, the first time."""
    done = list(tasks.work(variables, task))
    if _once(variables["PIPELINE_STORAGE"] + "/.died"):
        os.kill(os.getpid(), signal.SIGKILL)
    yield from done


def refuse_one(variables: Mapping[str, str], task: tasks.Task) -> Iterator[Row]:
    """Rows of one delivery can't be committed."""
    if task.unit != FIRST:
        yield from tasks.work(variables, task)
        return
    for row in tasks.work(variables, task):
        if not row.key:
            answer = tasks.TaskAnswer(task.unit, task.attempt, bad=str(InvalidRowsError("<b>bad</b> rows")))
            yield Row("", tasks.packed(answer))


def change_meanwhile(variables: Mapping[str, str], task: tasks.Task) -> Iterator[Row]:
    """A file that is replaced while its stretches are read."""
    path = Path(variables["PIPELINE_STORAGE"]) / task.shares[0].entry.path
    if _once(variables["PIPELINE_STORAGE"] + "/.changed"):
        path.write_bytes(MANY + line(5))
    yield from tasks.work(variables, task)


def test_a_killed_worker_is_made_up_for(
    tmp_path: Path, session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, local = both(tmp_path, session, {"logs/2024-01-15/access.log": MANY})
    local.process([FIRST], reuse=True)
    monkeypatch.setattr(waves, "work", die_once)
    world.process([FIRST], reuse=True)
    assert (world.root / ".died").exists()
    check_equal(world, local)
    # What the killed worker had written is named by nothing, and goes with the next maintenance.
    world.maintain()
    named = {part.name for part in read_manifest(world.context.store, "bronze", FIRST).value.parts}
    assert {path.name for path in (world.root / "bronze/daily/2024-01-15").glob("*.parquet")} == named
    check_equal(world, local)


def test_bad_data_holds_back_its_unit_and_no_other(
    tmp_path: Path, session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = SparkWorld(tmp_path, session)
    world.land("logs/2024-01-15/access.log", line(1))
    world.land("logs/2024-01-16/access.log", line(2))
    monkeypatch.setattr(waves, "work", refuse_one)
    answers = {answer.unit: answer for answer in world.job([FIRST, SECOND])}
    assert (answers[FIRST].fate, answers[FIRST].reason) == ("quarantined", "<b>bad</b> rows")
    assert answers[SECOND].fate == "made"
    assert read_manifest(world.context.store, "bronze", FIRST).etag is None
    monkeypatch.undo()
    assert world.process([FIRST, SECOND], reuse=True) == []
    check_serving(world)


def test_a_file_that_changes_while_it_is_read_is_never_a_mixture(
    tmp_path: Path, session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = SparkWorld(tmp_path, session)
    world.land("logs/2024-01-15/access.log", MANY)
    world.land("logs/2024-01-15/other.log", line(3))
    monkeypatch.setattr(waves, "work", change_meanwhile)
    assert world.process([FIRST], reuse=True) == []
    world.landed["logs/2024-01-15/access.log"] = MANY + line(5)
    check_serving(world)
