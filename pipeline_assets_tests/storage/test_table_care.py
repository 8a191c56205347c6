"""Files of tables by event day: that merging them keeps every row, and that two writers of a day never both win.

What belongs here: the tables by themselves. What does not: maintenance beside running work (`test_interleavings`).
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel.schemas import SERVING
from pipeline_assets.storage import tables
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.table_care import care_for_table
from pipeline_assets.storage.tables import TableConflictError, open_table, overwrite_days, read_table

TABLE = "status_daily"
FAR_AHEAD = 1e12


def day(number: int) -> date:
    return date(2024, 1, 1) + timedelta(days=number)


def rows(hits: dict[int, int]) -> pl.DataFrame:
    """A row for each day of some number of hits; none for a day of 0 hits."""
    whole = {"site": "a.example", "status": 200, "bytes": 0}
    listed = [{"event_date": day(number), "hits": count} | whole for number, count in hits.items() if count]
    return pl.DataFrame(listed, schema=SERVING[TABLE].schema)


def write(store: Store, hits: dict[int, int]) -> None:
    overwrite_days(open_table(store, TABLE), TABLE, map(day, hits), rows(hits))


def held(store: Store) -> list[tuple[date, int]]:
    return sorted(read_table(store, TABLE).select("event_date", "hits").collect().rows())


def merge(store: Store, *, quiet: float = FAR_AHEAD) -> int:
    done = care_for_table(store, TABLE, history=timedelta(days=7), quiet=quiet, dry_run=False)
    assert not done.left
    return done.merged_files


# Hits of a few days that lie close together, as a publication writes them.
DAYS = st.builds(
    lambda first, hits: {first + later: count for later, count in hits.items()},
    st.integers(0, 800),
    st.dictionaries(st.integers(0, 30), st.integers(0, 9), min_size=1, max_size=5),
)


def test_a_large_table_is_written_in_row_groups_that_its_writer_can_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_GROUP_ROWS", 2)
    store = FolderStore(tmp_path)
    write(store, {0: 1})
    many = pl.concat(
        [rows({0: 1}).with_columns(status=pl.lit(200 + k, rows({}).schema["status"])) for k in range(5)]
    )
    overwrite_days(open_table(store, TABLE), TABLE, [day(0)], iter([many[:3], many[3:]]))
    (file,) = open_table(store, TABLE).file_uris()
    held_rows = pq.read_metadata(file)
    assert [held_rows.row_group(number).num_rows for number in range(held_rows.num_row_groups)] == [2, 2, 1]
    assert held_rows.row_group(0).column(0).compression == "SNAPPY"


@settings(max_examples=15)
@given(st.lists(st.one_of(DAYS, st.just("merge")), max_size=10))
def test_a_table_holds_what_was_written_last_however_its_files_are_merged(
    steps: list[dict[int, int] | str],
) -> None:
    with TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        expected: dict[int, int] = {}
        for step in [*steps, "merge"]:
            if isinstance(step, dict):
                write(store, step)
                expected |= step
            else:
                merge(store)
            assert held(store) == sorted((day(number), count) for number, count in expected.items() if count)
        # Two years and a bit in ranges of at most a year.
        assert len(open_table(store, TABLE).file_uris()) <= 4
        assert merge(store) == 0, "merging goes on for ever"


def test_many_days_become_a_file_a_year(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for number in range(0, 800, 25):
        write(store, {number: 1})
    assert merge(store) == 32
    files = pl.DataFrame(open_table(store, TABLE).get_add_actions(flatten=True))
    spans = files.select(pl.col("max.event_date") - pl.col("min.event_date")).to_series().to_list()
    assert len(spans) == 3 and max(spans) < timedelta(days=366)


def test_days_at_which_somebody_is_are_left_alone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for number in range(3):
        write(store, {number: 1})
    assert merge(store, quiet=0) == 0


@pytest.mark.parametrize("number", [3, 20, 40], ids=["in a merged file", "in a file of its own", "in none"])
@pytest.mark.parametrize("first", [0, 7], ids=["emptied first", "written first"])
@pytest.mark.parametrize("second", [0, 8], ids=["emptied second", "written second"])
def test_of_two_writers_of_a_day_the_second_is_told(
    tmp_path: Path, number: int, first: int, second: int
) -> None:
    store = FolderStore(tmp_path)
    write(store, dict.fromkeys(range(10), 1))
    write(store, {20: 1})
    one, other = open_table(store, TABLE), open_table(store, TABLE)
    overwrite_days(one, TABLE, [day(number)], rows({number: first}))
    before = held(store)
    nothing_changed = number == 40 and first == 0
    if nothing_changed:
        overwrite_days(other, TABLE, [day(number)], rows({number: second}))
        return
    with pytest.raises(TableConflictError):
        overwrite_days(other, TABLE, [day(number)], rows({number: second}))
    assert held(store) == before


def test_writers_of_days_in_files_of_their_own_dont_meet(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for number in (20, 21):
        write(store, {number: 1})
    one, other, third = (open_table(store, TABLE) for _ in range(3))
    overwrite_days(one, TABLE, [day(20)], rows({20: 2}))
    overwrite_days(other, TABLE, [day(21)], rows({21: 3}))
    overwrite_days(third, TABLE, [day(22)], rows({22: 4}))
    assert held(store) == [(day(20), 2), (day(21), 3), (day(22), 4)]


def test_a_day_is_read_without_the_files_of_others(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    write(store, {0: 1})
    (other,) = open_table(store, TABLE).file_uris()
    write(store, {1: 5})
    Path(other).unlink()
    chosen = read_table(store, TABLE).filter(pl.col("event_date") == day(1))
    assert chosen.select("hits").collect().rows() == [(5,)]
    write(store, {1: 6})
    assert chosen.select("hits").collect().rows() == [(5,)]


def test_a_table_that_keeps_days_apart_is_still_written_and_merged(tmp_path: Path) -> None:
    from deltalake import write_deltalake

    store = FolderStore(tmp_path)
    # As earlier versions made them.
    folder = store.delta_address(f"serving/{TABLE}").uri
    write_deltalake(folder, SERVING[TABLE].empty(), partition_by=["event_date"])
    for number in (1, 2):
        write(store, {number: 1})
    write_deltalake(folder, rows({1: 4}), mode="append")
    assert merge(store) == 2
    write(store, {2: 3, 3: 9})
    assert held(store) == [(day(1), 1), (day(1), 4), (day(2), 3), (day(3), 9)]


@pytest.mark.parametrize("name", ["my data", "Größe 日本", "100%", "a#b?c", 'it\'s "{here}" <&>'])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    store = FolderStore(tmp_path / name)
    for number in range(3):
        write(store, {number: number + 1})
    assert held(store) == [(day(number), number + 1) for number in range(3)]
    assert merge(store) > 0
    write(store, {1: 7})
    assert held(store) == [(day(0), 1), (day(1), 7), (day(2), 3)]
    assert all(Path(file).is_file() for file in open_table(store, TABLE).file_uris())
