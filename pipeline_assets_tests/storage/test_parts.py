"""Rows of parts by landed file: told by footers where they can tell, else by the names themselves."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.parts import rows_by_file
from pipeline_assets.storage.quarantine import InvalidRowsError

ONE, OTHER, LONG = "logs/a.log", "logs/ä b.log", "logs/" + "long/" * 1000 + "c.log"

Groups = Sequence[Sequence[str]]


def a_part(root: Path, name: str, groups: Groups, *, statistics: bool = True) -> str:
    """A part of these row groups, each with the files of its rows."""
    schema = pa.schema([("line_number", pa.int64()), ("source_file", pa.string())])
    with pq.ParquetWriter(root / name, schema, write_statistics=statistics) as writer:
        for files in groups:
            writer.write_table(pa.table([range(len(files)), list(files)], schema=schema))
    return name


@pytest.mark.parametrize(
    ("groups", "statistics", "read"),
    [
        ([[ONE] * 3], True, []),
        ([[ONE] * 3, [OTHER] * 2], True, []),
        ([[ONE] * 3, [ONE, OTHER]], True, [1]),
        ([[ONE] * 3], False, [0]),
        # Statistics leave out what is too long.
        ([[LONG] * 2], True, [0]),
        ([], True, []),
    ],
)
def test_only_row_groups_of_which_the_footer_does_not_tell_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: Groups, *, statistics: bool, read: list[int]
) -> None:
    opened: list[int] = []
    reading = pq.ParquetFile.read_row_group

    def noted(self: pq.ParquetFile, number: int, *args: Any, **named: Any) -> pa.Table:
        opened.append(number)
        return reading(self, number, *args, **named)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    told = a_part(tmp_path, "told.parquet", [[OTHER]])
    part = a_part(tmp_path, "part.parquet", groups, statistics=statistics)
    wanted = Counter([OTHER, *(file for files in groups for file in files)])
    assert rows_by_file(FolderStore(tmp_path), [told, part]) == dict(wanted)
    assert opened == read


def test_a_part_that_is_cut_off_is_named(tmp_path: Path) -> None:
    part = tmp_path / a_part(tmp_path, "part.parquet", [[ONE]])
    part.write_bytes(part.read_bytes()[:-4])
    with pytest.raises(InvalidRowsError, match=r"^part\.parquet: Parquet magic bytes not found"):
        rows_by_file(FolderStore(tmp_path), [part.name])


def test_no_parts_hold_no_rows(tmp_path: Path) -> None:
    assert rows_by_file(FolderStore(tmp_path), []) == {}


@given(st.lists(st.lists(st.lists(st.sampled_from([ONE, OTHER, LONG, ""]), min_size=1), max_size=3)))
def test_rows_are_counted_however_they_lie(parts: list[list[list[str]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = [a_part(root, f"{number}.parquet", groups) for number, groups in enumerate(parts)]
        wanted = Counter(file for groups in parts for files in groups for file in files)
        assert rows_by_file(FolderStore(root), paths) == dict(wanted)
