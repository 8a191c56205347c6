"""What a part holds is what was added, for whoever reads it.

What belongs here: encoding, row groups, and several readers. What does not: manifests (`test_manifests`).
"""

from __future__ import annotations

import io
import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_assets.compute.context import Context
from pipeline_assets.kernel.codes import coded
from pipeline_assets.kernel.parse import FileReader
from pipeline_assets.kernel.schemas import BRONZE, GOLD_VISITS
from pipeline_assets.settings import Settings
from pipeline_assets.storage import encoding, parts
from pipeline_assets.storage.encoding import Encoder
from pipeline_assets.storage.parts import PartWriter
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.kernel import fuzz
from pipeline_assets_tests.kernel.rebuild import ANY_TIME, access_line, joined


def some_log(lines: int) -> bytes:
    """Lines of all formats, most of them Combined, and many damaged."""
    generator = random.Random(5)
    damaged = fuzz.some_file(generator, lines).split(b"\n")
    usual = [
        access_line(
            host=f"10.0.0.{number % 200}", bytes="-" if number % 7 == 0 else str(number), user="frank"
        )
        for number in range(lines)
    ]
    both = damaged + usual
    generator.shuffle(both)
    return b"x\n" + b"\n".join(both)


@pytest.mark.parametrize("group_bytes", [1, 100_000, 1 << 30])
def test_every_engine_reads_the_rows_that_were_added(
    group_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_GROUP_BYTES", group_bytes)
    chunks = list(FileReader(io.BytesIO(some_log(1_500)), "logs/x/a.log", ANY_TIME, chunk_bytes=40_000))
    for name, table in BRONZE.items():
        encoder = Encoder(table)
        added = []
        for chunk in chunks:
            for of, rows, size in chunk.tables():
                if of == name:
                    encoder.add(rows, size)
            added.append(getattr(chunk, name))
        data = encoder.close()
        wanted = pl.concat(added).sort("line_number")
        assert wanted.height == encoder.rows
        found = pl.read_parquet(bytes(data))
        assert found.schema == table.schema
        assert found.sort("line_number").equals(wanted, null_equal=True)
        others = pq.read_table(io.BytesIO(data)).sort_by("line_number").to_pylist()
        assert others == wanted.to_arrow(compat_level=pl.CompatLevel.oldest()).to_pylist()
        if name == "requests":
            groups = pq.ParquetFile(io.BytesIO(data)).metadata.num_row_groups
            assert groups == 1 if group_bytes > 1 << 20 else groups > 1


def test_a_part_is_full_after_some_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_GROUP_BYTES", 10)
    (chunk,) = FileReader(io.BytesIO(access_line()), "logs/x/a.log", ANY_TIME)
    encoder = Encoder(BRONZE["requests"])
    encoder.add(chunk.requests, 10)
    assert not encoder.is_full
    encoder.add(chunk.requests, 10)
    assert encoder.is_full
    assert pl.read_parquet(bytes(encoder.close())).height == encoder.rows == 2


@pytest.mark.parametrize("frame_first", [True, False])
def test_frames_and_tables_make_one_part_whichever_comes_first(
    frame_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_GROUP_BYTES", 1)
    log = joined([access_line(), access_line(request="BREW /a HTTP/1.1"), access_line(bytes="-")])
    (chunk,) = FileReader(io.BytesIO(log), "logs/x/a.log", ANY_TIME)
    rows = [frame for name, frame, _ in chunk.tables() if name == "requests"]
    assert {type(each) for each in rows} == {pa.Table, pl.DataFrame}
    encoder = Encoder(BRONZE["requests"])
    for each in sorted(rows, key=lambda each: isinstance(each, pl.DataFrame) is not frame_first):
        encoder.add(each, 10)
    found = pl.read_parquet(bytes(encoder.close()))
    assert found.sort("line_number").equals(chunk.requests, null_equal=True)


@pytest.mark.parametrize("few_bytes", [1, 1 << 25])
def test_frames_wait_for_one_another(few_bytes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parts, "_FEW_BYTES", few_bytes)
    store = Context.of(Settings(storage=str(tmp_path))).store
    writer = PartWriter(store, "bronze", Unit("daily", "2025-12-17"), "attempt")
    added: dict[str, list[pl.DataFrame]] = {name: [] for name in BRONZE}
    for chunk in FileReader(io.BytesIO(some_log(1_500)), "logs/x/a.log", ANY_TIME, chunk_bytes=40_000):
        for name, rows, size in chunk.tables():
            writer.add(name, rows, size)
        for name, frames in added.items():
            frames.append(getattr(chunk, name))
    for part in writer.close():
        wanted = pl.concat(added.pop(part.table)).sort("line_number")
        (path,) = tmp_path.rglob(part.name)
        found = pl.read_parquet(path)
        assert part.rows == found.height
        assert found.sort("line_number").equals(wanted, null_equal=True)
    assert not added


def test_coded_texts_are_stored_as_texts() -> None:
    """In row groups whose dictionaries differ, one of them of nulls alone and one with codes of no row."""
    table = BRONZE["requests"]
    (chunk,) = FileReader(io.BytesIO(b"\n".join([access_line()] * 3)), "logs/x/a.log", ANY_TIME)
    groups = [
        chunk.requests.with_columns(user_agent=pl.Series(agents, dtype=pl.String))
        for agents in (["b", "a", "b"], [None, None, None], ["c", None, "ä" * 70])
    ]
    encoder = Encoder(table)
    for group in groups:
        encoder.encode(coded(group.lazy(), ["user_agent", "method"]).collect()[1:])
    data = encoder.close()
    wanted = pl.concat([group[1:] for group in groups])
    assert encoder.rows == wanted.height
    found = pl.read_parquet(bytes(data))
    assert found.schema == table.schema
    assert found.equals(wanted, null_equal=True)
    file = pq.ParquetFile(io.BytesIO(data))
    assert file.metadata.num_row_groups == len(groups)
    assert file.read().column("user_agent").to_pylist() == wanted["user_agent"].to_list()


@pytest.mark.parametrize("older_first", [True, False])
def test_columns_are_never_null_as_the_catalogue_says(older_first: bool, tmp_path: Path) -> None:
    """Parts of another writer, as of an older version, where any column may be null, are read beside them."""
    table = BRONZE["requests"]
    (chunk,) = FileReader(io.BytesIO(access_line()), "logs/x/a.log", ANY_TIME)
    data = encoding.encoded(table, chunk.requests)
    written = pq.read_schema(io.BytesIO(data))
    assert [written.field(column.name).nullable for column in table.columns] == [
        column.nullable for column in table.columns
    ]
    store = Context.of(Settings(storage=str(tmp_path))).store
    store.write_parquet("older.parquet", chunk.requests)
    store.create("newer.parquet", data)
    assert pq.read_schema(tmp_path / "older.parquet").field("site").nullable
    paths = sorted(["newer.parquet", "older.parquet"], reverse=older_first)
    found = parts.scan_table(store, paths, table.schema, "it").collect()
    assert found.equals(pl.concat([chunk.requests] * 2), null_equal=True)


def test_a_null_where_none_may_be_is_no_part() -> None:
    (chunk,) = FileReader(io.BytesIO(access_line()), "logs/x/a.log", ANY_TIME)
    with pytest.raises(pa.ArrowInvalid, match="'site' is declared non-nullable"):
        encoding.encoded(BRONZE["requests"], chunk.requests.with_columns(site=pl.lit(None, pl.String())))


@pytest.mark.parametrize(
    "numbers", [[2**63 - 1, -(2**63), None, 0, -1, 2**63 - 1], [None] * 6, [7] * 6, [None, 7] * 3]
)
def test_numbers_kept_by_their_differences_may_be_any(numbers: list[int | None]) -> None:
    never_null = [7 if number is None else number for number in numbers]
    columns = {
        column.name: pl.Series(numbers if column.nullable else never_null, dtype=pl.Int64).cast(column.dtype)
        if column.name in encoding._GROWING
        else pl.Series(["x" if column.dtype == pl.String else 0] * 6).cast(column.dtype)
        for column in GOLD_VISITS.columns
    }
    wanted = pl.DataFrame(columns)
    data = encoding.encoded(GOLD_VISITS, coded(wanted.lazy()).collect())
    assert pl.read_parquet(bytes(data)).equals(wanted, null_equal=True)
    found = pl.from_arrow(pq.read_table(io.BytesIO(data)))
    assert isinstance(found, pl.DataFrame) and found.equals(wanted, null_equal=True)
