"""What goes wrong around the data, and what the next run makes of it.

What belongs here: bad units, deleted folders, older configurations, files that are gone. What does not: random
histories (`test_promises`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pipeline_assets.compute import reading
from pipeline_assets.compute.forget import UnknownPathError, forget
from pipeline_assets.compute.publish import rebuild_days
from pipeline_assets.compute.reconcile import reconcile
from pipeline_assets.kernel.parse import FileReader
from pipeline_assets.storage import control, ledger
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.manifests import read_manifest
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.compute.three_deliveries import FIRST, SECOND, line
from pipeline_assets_tests.test_promises import check_serving
from pipeline_assets_tests.world import World


def test_lines_that_do_not_add_up_are_never_committed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = FileReader._complete_facts

    def lose_a_line(self: FileReader) -> None:
        complete(self)
        self.facts.parsed -= 1

    before = world.table("traffic_hourly")
    world.land("logs/2024-01-15/access.log", line(1) + line(2) + line(5))
    world.land("logs/2024-01-16/more.log", line(6, 16))
    monkeypatch.setattr(FileReader, "_complete_facts", lose_a_line)
    assert world.process([FIRST, SECOND], reuse=True) == [FIRST, SECOND]
    assert world.table("traffic_hourly") == before
    assert "lines read" in (control.quarantined(world.context.store, FIRST) or "")
    monkeypatch.undo()
    world.catch_up()
    check_serving(world)
    assert not control.all_quarantined(world.context.store)


def test_rows_that_are_missing_in_the_written_parts_are_never_committed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_rows(*args: Any) -> dict[str, int]:
        return {}

    world.land("logs/2024-01-15/access.log", line(1) + line(2) + line(5))
    monkeypatch.setattr(reading, "rows_by_file", lose_rows)
    assert world.process([FIRST], reuse=True) == [FIRST]
    assert "the parts hold 0 rows" in (control.quarantined(world.context.store, FIRST) or "")


def test_a_file_that_cant_be_read_holds_back_its_unit_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = FolderStore.open

    def refuse(self: FolderStore, path: str) -> BinaryIO:
        if path == "logs/2024-01-15/secret.log":
            raise PermissionError(13, "Permission denied", path)
        return opened(self, path)

    monkeypatch.setattr(FolderStore, "open", refuse)
    world.land("logs/2024-01-15/secret.log", line(7))
    world.land("logs/2024-01-16/more.log", line(8, 16))
    assert world.process([FIRST, SECOND], reuse=True) == [FIRST]
    assert "secret.log" in (control.quarantined(world.context.store, FIRST) or "")
    hits = {row[0].isoformat(): row[3] for row in world.table("status_daily")}
    assert hits == {"2024-01-15": 4, "2024-01-16": 3}
    monkeypatch.undo()
    world.catch_up()
    check_serving(world)


@pytest.mark.parametrize(
    "lost",
    [
        "serving",
        "serving/traffic_hourly",
        "model",
        "gold/days/2024-01-15",
        "gold/days",
        "gold/daily/2024-01-16",
        "silver",
        "bronze/daily/2024-01-15",
        "bronze/incremental",
        "bronze/_control",
    ],
)
def test_a_deleted_folder_is_made_anew_by_the_next_run(world: World, lost: str) -> None:
    shutil.rmtree(world.root / lost)
    world.catch_up()
    check_serving(world)
    assert world.catch_up() == 0


def test_a_source_that_is_gone_keeps_its_rows_in_a_full_run(world: World) -> None:
    world.remove("logs/2024-01-15/access.log")
    world.full()
    check_serving(world)


def test_a_unit_of_another_configuration_is_named_and_rebuilt_by_a_full_run(world: World) -> None:
    other = World(world.root, timezone="Europe/Berlin", look_back_days=100_000)
    other.landed = world.landed
    assert {FIRST, SECOND} < reconcile(other.context).other_kernel
    assert other.catch_up() == 0
    other.full()
    assert reconcile(other.context).other_kernel == set()


def test_a_copy_counts_once_the_first_is_forgotten(world: World) -> None:
    world.land("logs/incremental/copy.log", line(1) + line(2))
    world.catch_up()
    statuses = dict(ledger.latest(world.context.store).select("path", "status").iter_rows())
    assert statuses["logs/incremental/copy.log"] == "duplicate"
    world.forget("logs/2024-01-15/access.log")
    world.catch_up()
    check_serving(world)
    statuses = dict(ledger.latest(world.context.store).select("path", "status").iter_rows())
    assert statuses["logs/incremental/copy.log"] == "counted"
    assert statuses["logs/2024-01-15/access.log"] == "forgotten"


def test_what_was_never_read_cant_be_forgotten(world: World) -> None:
    with pytest.raises(UnknownPathError, match="no such file was read"):
        forget(world.context, "logs/2024-01-15/none.log")


def test_an_older_view_cant_replace_a_newer_one(world: World) -> None:
    stored = read_manifest(world.context.store, "bronze", FIRST)
    world.land("logs/2024-01-15/access.log", line(1) + line(2) + line(9))
    world.catch_up()
    from pipeline_assets.storage.manifests import swap_manifest
    from pipeline_assets.storage.store import SwapConflictError

    with pytest.raises(SwapConflictError):
        swap_manifest(world.context.store, FIRST, stored.value, stored.etag)


def test_a_day_rebuilt_from_gold_is_the_same(world: World) -> None:
    from datetime import date

    before = world.table("traffic_hourly")
    assert rebuild_days(world.context, [date(2024, 1, 15), date(2024, 1, 16)]).days == {
        date(2024, 1, 15): 4,
        date(2024, 1, 16): 2,
    }
    assert world.table("traffic_hourly") == before


def test_a_new_batch_reads_no_older_delivery(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land("logs/incremental/new.log", line(6))
    touched: list[str] = []
    for name in ("open", "read", "scan_parquet", "delta_address"):
        original = getattr(FolderStore, name)

        def noted(self: FolderStore, path: str | list[str], original: Any = original) -> Any:
            touched.extend([path] if isinstance(path, str) else path)
            return original(self, path)

        monkeypatch.setattr(FolderStore, name, noted)
    world.catch_up(everything=False)
    older = [path for path in touched if "/daily/" in path or path.startswith("logs/2024")]
    assert touched and older == []
    monkeypatch.undo()
    check_serving(world)


def test_a_file_whose_first_read_fails_quarantines_its_delivery_alone(tmp_path: Path) -> None:
    world = World(tmp_path / "storage")
    world.land("logs/2024-01-15/access.log", line(1, 15))
    bad = world.root / "logs/2024-01-16/access.log"
    bad.parent.mkdir(parents=True)
    # It opens, and every read of it fails, also for the superuser.
    bad.symlink_to("/proc/self/mem")
    unit = Unit("daily", "2024-01-16")
    assert world.process([Unit("daily", "2024-01-15"), unit], reuse=True) == [unit]
    assert "can't be read" in str(control.quarantined(world.context.store, unit))
    assert len(world.table("status_daily")) == 1
