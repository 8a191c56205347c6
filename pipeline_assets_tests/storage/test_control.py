"""Control: batches, claims and markers, by one process and by several.

What belongs here: who owns a path and what is pending. What does not: what a batch becomes.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline_assets.storage import control
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.units import Unit

NOW = datetime(2024, 1, 17, 14, 30, 59, tzinfo=UTC)
PATHS = [f"logs/incremental/{number:02}.log" for number in range(25)]
UNIT = Unit("daily", "2024-01-15")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def listed(paths: list[str]) -> dict[str, tuple[int, str]]:
    return dict.fromkeys(paths, (1, "etag"))


def test_batches_of_one_minute_have_keys_of_their_own(store: FolderStore) -> None:
    made = [str(control.create_batch(store, listed([path]), NOW)) for path in PATHS[:3]]
    assert made == [
        "incremental/2024-01-17-1430",
        "incremental/2024-01-17-1430-2",
        "incremental/2024-01-17-1430-3",
    ]
    assert sorted(map(str, control.batches(store))) == made


def test_a_batch_is_pending_as_soon_as_it_is_on_record(store: FolderStore) -> None:
    unit = control.create_batch(store, listed(PATHS[:2]), NOW)
    assert unit in control.pending_markers(store)
    assert control.batch_paths(store, unit) == PATHS[:2]


def test_a_path_belongs_to_the_first_who_claims_it_for_ever(store: FolderStore) -> None:
    first = control.create_batch(store, listed(PATHS[:3]), NOW)
    second = control.create_batch(store, listed(PATHS[1:5]), NOW)
    assert control.claim(store, PATHS[2], second) == second
    assert control.batch_paths(store, first) == PATHS[:2]
    assert control.batch_paths(store, second) == PATHS[2:5]
    assert control.claim(store, PATHS[2], first) == second
    assert control.claimed_by(store, PATHS[10]) is None


def test_a_batch_without_its_record_is_known_by_its_claims(store: FolderStore, tmp_path: Path) -> None:
    unit = control.create_batch(store, listed(PATHS[:2]), NOW)
    assert control.batch_paths(store, unit) == PATHS[:2]
    shutil.rmtree(tmp_path / "bronze" / str(unit))
    assert control.batch_paths(store, unit) == PATHS[:2]


def claim_all(root: str) -> None:
    store = FolderStore(Path(root))
    for start in range(0, len(PATHS), 5):
        unit = control.create_batch(store, listed(PATHS[start:]), NOW)
        control.batch_paths(store, unit)


def test_of_processes_that_want_the_same_paths_each_path_goes_to_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=claim_all, args=(str(tmp_path),)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = FolderStore(tmp_path)
    made = control.batches(store)
    assert len(made) == 15, "two processes shared a key"
    owners = Counter(path for unit in made for path in control.batch_paths(store, unit))
    assert owners == dict.fromkeys(PATHS, 1)


def test_a_marker_set_during_the_work_stays(store: FolderStore) -> None:
    control.mark_pending(store, UNIT)
    seen = control.pending_markers(store, UNIT)[UNIT]
    control.mark_pending(store, UNIT)
    control.clear_pending(store, seen)
    left = control.pending_markers(store)
    assert list(left) == [UNIT]
    control.clear_pending(store, left[UNIT])
    assert control.pending_markers(store) == {}


def test_markers_of_one_unit_are_not_those_of_a_unit_whose_name_begins_alike(store: FolderStore) -> None:
    one, other = Unit("incremental", "2024-01-17-1430"), Unit("incremental", "2024-01-17-1430-2")
    control.mark_pending(store, one)
    control.mark_pending(store, other)
    assert list(control.pending_markers(store, one)) == [one]


def test_flipped_units_are_told_from_those_that_are_run_anyway(store: FolderStore) -> None:
    other = Unit("daily", "2024-01-16")
    control.mark_pending(store, UNIT)
    control.mark_pending(store, other, flipped=True)
    assert control.flipped(store) == [other]


def test_a_note_of_quarantine_is_replaced_and_dropped(store: FolderStore) -> None:
    assert control.quarantined(store, UNIT) is None
    control.quarantine(store, UNIT, "first")
    control.quarantine(store, UNIT, "second\x1b[31m")
    assert control.all_quarantined(store) == {UNIT: "second\x1b[31m"}
    control.release(store, UNIT)
    control.release(store, UNIT)
    assert control.all_quarantined(store) == {}


def test_heads_find_the_units_with_that_line(store: FolderStore) -> None:
    other = Unit("incremental", "2024-01-17-1430")
    control.register_head(store, "line-1", "logs/2024-01-15/a.log", UNIT)
    control.register_head(store, "line-1", PATHS[0], other)
    control.register_head(store, "line-2", PATHS[1], other)
    assert control.units_with_head(store, "line-1") == {UNIT, other}
    assert control.units_with_head(store, "line-2") == {other}
    assert control.units_with_head(store, "line-3") == set()
