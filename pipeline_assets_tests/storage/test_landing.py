"""Landing: which files are read, in which delivery, and why the others are not.

What belongs here: the naming rules of units and the sorting of a listing. What does not: what becomes of a
file.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.landing import daily_files, list_landing, why_ignored
from pipeline_assets.storage.units import LANES, Unit, is_date, landing_lane


def land(root: Path, *paths: str) -> FolderStore:
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x\n")
    return FolderStore(root)


@pytest.mark.parametrize(
    ("path", "lane"),
    [
        ("logs/2024-01-15/access.log", "daily"),
        ("logs/2024-01-15/web-1/access.log", "daily"),
        ("logs/incremental/a.log", "incremental"),
        ("logs/incremental/2024-01-15/a.log", "incremental"),
        ("logs/a.log", None),
        ("logs/2024-01-15", None),
        ("logs/2024-02-30/a.log", None),
        ("logs/2024-1-5/a.log", None),
        ("logs/20240115/a.log", None),
        ("logs/Incremental/a.log", None),
        ("bronze/2024-01-15/a.log", None),
        ("/logs/2024-01-15/a.log", None),
    ],
)
def test_the_lane_of_a_path(path: str, lane: str | None) -> None:
    assert landing_lane(path) == lane


@given(st.text(max_size=12))
def test_a_date_is_only_what_writes_itself_the_same(text: str) -> None:
    if is_date(text):
        assert text.isascii()
        assert len(text) == 10


@given(st.sampled_from(LANES), st.dates(), st.integers(0, 2359), st.integers(0, 99))
def test_a_unit_is_read_back_from_its_name(lane: str, day: object, minute: int, number: int) -> None:
    key = str(day) if lane == "daily" else f"{day}-{minute:04}" + (f"-{number}" if number else "")
    assert str(Unit.parse(f"{lane}/{key}")) == f"{lane}/{key}"


@pytest.mark.parametrize(
    "name",
    ["", "daily", "daily/", "daily/2024-02-30", "incremental/2024-01-15", "gold/2024-01-15", "daily/../x"],
)
def test_what_is_no_unit_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a unit"):
        Unit.parse(name)


def test_files_are_sorted_into_deliveries(tmp_path: Path) -> None:
    store = land(
        tmp_path,
        "logs/2024-01-15/b.log",
        "logs/2024-01-15/sub/a.log",
        "logs/2024-01-16/a.log",
        "logs/incremental/x/y.log",
    )
    landed = list_landing(store)
    assert {day: [entry.path for entry in files] for day, files in landed.daily.items()} == {
        "2024-01-15": ["logs/2024-01-15/b.log", "logs/2024-01-15/sub/a.log"],
        "2024-01-16": ["logs/2024-01-16/a.log"],
    }
    assert [entry.path for entry in landed.incremental] == ["logs/incremental/x/y.log"]
    assert landed.ignored == {}


def test_what_is_not_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    store = land(
        tmp_path,
        "logs/loose.log",
        "logs/2024-01-32/a.log",
        "logs/January/a.log",
        "logs/incremental/a.log.part",
        "logs/2024-01-15/a.log~",
        "logs/2024-01-15/.hidden.log",
    )
    landed = list_landing(store)
    assert (landed.daily, landed.incremental) == ({}, [])
    assert set(landed.ignored) == {
        "logs/loose.log",
        "logs/2024-01-32/a.log",
        "logs/January/a.log",
        "logs/incremental/a.log.part",
        "logs/2024-01-15/a.log~",
    }
    assert "move it to logs/" in landed.ignored["logs/loose.log"]
    assert "still being copied" in landed.ignored["logs/incremental/a.log.part"]


def test_a_file_named_like_a_day_is_loose_and_not_a_delivery(tmp_path: Path) -> None:
    landed = list_landing(land(tmp_path, "logs/2024-01-15", "logs/incremental"))
    assert set(landed.ignored) == {"logs/2024-01-15", "logs/incremental"}


def test_a_name_that_is_not_utf_8_is_named_and_can_be_printed(tmp_path: Path) -> None:
    folder = tmp_path / "logs/2024-01-15"
    folder.mkdir(parents=True)
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.log"))).write_bytes(b"x\n")
    store = land(tmp_path, "logs/2024-01-15/café.log")
    landed = list_landing(store)
    assert [entry.path for entry in landed.daily["2024-01-15"]] == ["logs/2024-01-15/café.log"]
    ((name, reason),) = landed.ignored.items()
    name.encode()
    assert "rename" in reason
    assert [entry.path for entry in daily_files(store, Unit("daily", "2024-01-15"))] == [
        "logs/2024-01-15/café.log"
    ]


def test_only_folders_since_a_day_are_listed_and_all_incremental_files(tmp_path: Path) -> None:
    store = land(tmp_path, "logs/2024-01-14/a.log", "logs/2024-01-15/a.log", "logs/incremental/a.log")
    landed = list_landing(store, since=date(2024, 1, 15))
    assert list(landed.daily) == ["2024-01-15"]
    assert len(landed.incremental) == 1


def test_nothing_landed_yet_is_no_error(tmp_path: Path) -> None:
    landed = list_landing(FolderStore(tmp_path))
    assert (landed.daily, landed.incremental, landed.ignored) == ({}, [], {})


@given(st.text(min_size=1, max_size=20).filter(lambda name: "/" not in name))
def test_every_path_is_either_read_or_has_a_reason(name: str) -> None:
    path = f"logs/incremental/{name}"
    assert (why_ignored(path) == "") == (landing_lane(path) == "incremental" and not why_ignored(path))
    assert not why_ignored("logs/incremental/a.log")
