"""Parts of many rows are read as Polars reads them, by whatever row groups."""

from __future__ import annotations

import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel.codes import coded
from pipeline_assets.kernel.schemas import GOLD_TRAFFIC, SILVER_ERRORS, TIMESTAMP
from pipeline_assets.storage import encoding
from pipeline_assets.storage.coded_parts import read_coded, read_groups
from pipeline_assets.storage.encoding import Encoder
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.quarantine import InvalidRowsError

PART = "silver/daily/2024-01-15/errors-x-0000.parquet"


def a_part(root: Path) -> pl.DataFrame:
    """A part of three row groups; its rows."""
    encoder = Encoder(SILVER_ERRORS)
    groups = []
    for number in range(3):
        some = {pl.String(): "a", pl.Date(): date(2024, 1, 15), TIMESTAMP: datetime(2024, 1, 15)}
        same = {
            column.name: [None if column.nullable else some.get(column.dtype, 0)] * 4
            for column in SILVER_ERRORS.columns
        }
        texts = {"level": ["error", None, "warn", "error"], "template": ["a", "b", "a", f"c{number}"]}
        numbers = {"line_number": [4 * number + place for place in range(4)]}
        groups.append(pl.DataFrame(same | texts | numbers, schema=SILVER_ERRORS.schema))
        encoder.encode(groups[-1])
    path = root / PART
    path.parent.mkdir(parents=True)
    path.write_bytes(encoder.close())
    return pl.concat(groups)


@pytest.mark.parametrize(("fewest", "tables"), [(0, 3), (4, 3), (5, 2), (100, 1)])
def test_rows_come_by_row_groups_as_they_were_written(tmp_path: Path, fewest: int, tables: int) -> None:
    rows = a_part(tmp_path)
    found = list(read_groups(FolderStore(tmp_path), PART, SILVER_ERRORS.schema, "it", fewest))
    assert len(found) == tables
    assert pa.types.is_dictionary(found[0].schema.field("level").type)
    whole = pl.concat([pl.DataFrame(table.to_pydict(), schema=SILVER_ERRORS.schema) for table in found])
    assert_frame_equal(whole, rows)


def test_a_column_that_is_missing_is_null_and_another_type_is_told(tmp_path: Path) -> None:
    rows = a_part(tmp_path)
    schema = {"new": pl.String(), "level": pl.String(), "newer": pl.Int16()}
    (found,) = read_groups(FolderStore(tmp_path), PART, schema, "it", rows.height)
    assert found.column_names == ["new", "level", "newer"]
    assert found.to_pydict() == {"new": [None] * 12, "level": rows["level"].to_list(), "newer": [None] * 12}
    with pytest.raises(InvalidRowsError, match=r"it: .*level is String, want Int64"):
        list(read_groups(FolderStore(tmp_path), PART, {"level": pl.Int64()}, "it", 1))


@pytest.mark.parametrize(
    ("among", "wanted"),
    [
        ({}, range(12)),
        ({"line_number": (5, 6)}, (5, 6)),
        ({"line_number": range(2, 6)}, range(2, 6)),
        ({"line_number": range(4, 9), "level": ["warn", "x"]}, (6,)),
        ({"level": ["error"], "event_date": (date(2024, 1, 15),)}, (0, 3, 4, 7, 8, 11)),
        ({"event_date": (date(2024, 1, 14),)}, ()),
        ({"source_file": ["b"]}, ()),
        ({"newer": [1]}, ()),
    ],
)
def test_rows_are_chosen_by_what_they_have(
    tmp_path: Path, among: dict[str, Any], wanted: range | tuple[int, ...]
) -> None:
    rows = a_part(tmp_path)
    schema = {**SILVER_ERRORS.schema, "newer": pl.Int16(), "newest": pl.String()}
    found = read_coded(FolderStore(tmp_path), PART, schema, "it", among)
    if not wanted:
        assert found is None
        return
    assert found is not None
    assert {"level", "template", "source_file"} <= found.texts.keys()
    lacking = pl.lit(None, pl.Int16()).alias("newer"), pl.lit(None, pl.String()).alias("newest")
    assert_frame_equal(found.frame(schema), rows[list(wanted)].with_columns(lacking))


# Longer than what statistics keep, hardly different, and what comes last of all.
FILES = ("", "\x00", "a" * 5000, "a" * 5000 + "b", "ä", "e\u0301", "\U0010ffff" * 40)
ROWS = st.lists(st.tuples(st.sampled_from(FILES), st.integers(15, 16), st.integers(0, 99)), min_size=1)


@given(
    st.lists(ROWS, min_size=1, max_size=3),
    st.sets(st.sampled_from(FILES), min_size=1),
    st.sampled_from([1, 100, 8 << 20]),
    st.booleans(),
)
def test_rows_are_chosen_by_any_file_where_dictionaries_are_too_large(
    groups: list[list[tuple[str, int, int]]], files: set[str], most_bytes: int, are_coded: bool
) -> None:
    """The writer goes on with texts as they are then, in those row groups that have more."""
    frames = [
        GOLD_TRAFFIC.empty()
        .clear(len(rows))
        .with_columns(
            pl.Series("source_file", [file for file, _, _ in rows]),
            pl.Series("event_date", [date(2024, 1, day) for _, day, _ in rows]),
            pl.Series("method", [None if text < 9 else f"{text}" * 9 for _, _, text in rows], pl.String),
            pl.Series("hits", range(len(rows)), pl.Int64),
            *(
                pl.lit(0, GOLD_TRAFFIC.schema[name]).alias(name)
                for name in ("hour", "minute", "status", "bytes")
            ),
            site=pl.lit("a"),
            is_bot=pl.lit(value=False),
        )
        for rows in groups
    ]
    whole = pl.concat(frames)
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_DICTIONARY_BYTES", most_bytes)
        # It looks how large they are after each of these.
        patch.setattr(encoding, "_BATCH_ROWS", 2)
        encoder = encoding.Encoder(GOLD_TRAFFIC)
        for frame in frames:
            encoder.encode(coded(frame.lazy()).collect() if are_coded else frame)
        (Path(root) / "part.parquet").write_bytes(encoder.close())
        among = {"event_date": (date(2024, 1, 15),), "source_file": sorted(files)}
        found = read_coded(FolderStore(Path(root)), "part.parquet", GOLD_TRAFFIC.schema, "it", among)
    wanted = whole.filter(pl.col("source_file").is_in(files), pl.col("event_date") == date(2024, 1, 15))
    assert (found.frame(GOLD_TRAFFIC.schema).rows() if found else []) == wanted.rows()


def test_what_statistics_rule_out_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_part(tmp_path)
    read: list[list[int]] = []
    whole = pq.ParquetFile.read_row_groups

    def noted(part: pq.ParquetFile, groups: list[int], *args: Any, **options: Any) -> pa.Table:
        read.append(groups)
        return whole(part, groups, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noted)
    store, schema = FolderStore(tmp_path), SILVER_ERRORS.schema
    assert read_coded(store, PART, schema, "it", {"line_number": (12,)}) is None
    assert read_coded(store, PART, schema, "it", {"line_number": (3, 9)}) is not None
    assert read == [[0, 2]]


def test_a_part_without_rows_and_one_of_another_type(tmp_path: Path) -> None:
    store, schema = FolderStore(tmp_path), {"level": pl.String(), "hits": pl.Int64()}
    store.write_parquet("empty.parquet", pl.DataFrame(schema=schema))
    assert read_coded(store, "empty.parquet", schema, "it") is None
    store.write_parquet("polars.parquet", pl.DataFrame({"level": ["a", None, "a"], "hits": [1, 2, 3]}))
    found = read_coded(store, "polars.parquet", schema, "it", {"level": ["a"], "hits": [3, 4]})
    assert found is not None and found.frame(schema).rows() == [("a", 3)]
    with pytest.raises(InvalidRowsError, match=r"it: .*level is String, want Int64"):
        read_coded(store, "polars.parquet", {"level": pl.Int64()}, "it")
