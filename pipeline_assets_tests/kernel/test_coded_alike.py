"""Texts that are coded alike are the texts that they were, however many there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.kernel import coded_alike
from pipeline_assets.kernel.coded_alike import CodedAlike
from pipeline_assets.kernel.coded_rows import CodedRows

TEXTS = st.none() | st.text(max_size=3) | st.integers(0, 400).map("text {}".format)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 3)), max_size=30)
COLUMNS = {"host": pl.String(), "path": pl.String(), "hits": pl.Int64()}
Numbers = npt.NDArray[np.unsignedinteger[Any]]


def as_dictionaries(frame: pl.DataFrame) -> CodedRows:
    """The rows with their first column as a dictionary of Arrow's."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    texts = pa.array(frame["host"].to_list(), pa.string()).dictionary_encode()
    return CodedRows.of_table(table.set_column(0, "host", texts))


def said(alike: CodedAlike, rows: pl.DataFrame | CodedRows) -> list[tuple[Any, ...]]:
    """The rows, by what their numbers stand for."""
    numbers, others = alike.numbers(CodedRows.of(rows))
    bare = {
        name: [None if number == np.iinfo(found.dtype).max else number for number in found.tolist()]
        for name, found in numbers.items()
    }
    columns = [pl.Series(name, found, pl.UInt32()) for name, found in bare.items()]
    coded = alike.coded(others.with_columns(columns))
    assert {name for name, dtype in coded.schema.items() if isinstance(dtype, pl.Categorical)} == set(numbers)
    return coded.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items()).rows()


@given(st.lists(ROWS, max_size=5), st.sampled_from([0, 200, 1 << 20]), st.integers(1, 40))
def test_rows_come_back(given_rows: list[list[tuple[Any, ...]]], most: int, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coded_alike, "_AT_ONCE", at_once)
        alike = CodedAlike(most)
        for rows in given_rows:
            frame = pl.DataFrame(rows, COLUMNS, orient="row")
            assert said(alike, frame) == rows
            assert said(alike, as_dictionaries(frame)) == rows


def test_numbers_are_the_same_in_all_frames() -> None:
    alike = CodedAlike(1 << 20)
    frames = [pl.DataFrame({"host": hosts, "hits": 1}) for hosts in (["a", "b", None], ["c", "b", "a"])]
    first, second = (alike.numbers(CodedRows.of(frame))[0]["host"].tolist() for frame in frames)
    assert (first, second) == ([0, 1, 255], [2, 1, 0])
    assert alike.numbers(as_dictionaries(frames[1]))[0]["host"].tolist() == second


def test_many_texts_stay_as_they_are() -> None:
    """What clients choose in a single part would else stay in memory, whatever it comes to."""
    alike = CodedAlike(1000)
    frames = [pl.DataFrame({"host": [f"{number} {row}" for row in range(50)]}) for number in range(3)]
    found = [alike.numbers(CodedRows.of(frame)) for frame in frames]
    assert [list(numbers) for numbers, _ in found] == [["host"], [], []]
    assert found[2][1].equals(frames[2])
    assert alike.coded(found[2][1]).equals(frames[2])


@pytest.mark.parametrize(("different", "kind"), [(255, np.uint8), (256, np.uint16), (65_536, np.uint32)])
def test_numbers_leave_the_highest_for_null(different: int, kind: Any) -> None:
    texts = [*(f"{number}" for number in range(different)), None]
    numbers = CodedAlike(1 << 30).numbers(CodedRows.of(pl.DataFrame({"host": texts})))[0]["host"]
    assert numbers.dtype == kind
    assert numbers.tolist() == [*range(different), np.iinfo(kind).max]
