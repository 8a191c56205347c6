"""Texts that are coded alike are the texts that they were, however many there are."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.kernel.coded_alike import CodedAlike
from pipeline_assets.kernel.codes import spelled, together

TEXTS = st.none() | st.text(max_size=3) | st.integers(0, 400).map("text {}".format)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 3)), max_size=30)
COLUMNS = {"host": pl.String(), "path": pl.String(), "hits": pl.Int64()}


@given(st.lists(ROWS, max_size=5), st.sampled_from([0, 200, 1 << 20]))
def test_frames_come_back(given_rows: list[list[tuple[str | None, str | None, int]]], most: int) -> None:
    frames = [pl.DataFrame(rows, COLUMNS, orient="row") for rows in given_rows]
    alike = CodedAlike(most)
    again = alike.coded([alike.numbers(frame) for frame in frames])
    assert [spelled(frame.lazy()).collect().rows() for frame in again] == [frame.rows() for frame in frames]
    if again:
        rows = spelled(together(again, again[0].columns).lazy()).collect()
        assert rows.equals(pl.concat(frames))


def test_numbers_are_the_same_in_all_frames() -> None:
    alike = CodedAlike(1 << 20)
    first, second = (
        alike.numbers(pl.DataFrame({"host": hosts}, schema={"host": pl.String}))["host"].to_list()
        for hosts in (["a", "b", None], ["c", "b", "a"])
    )
    assert first == [0, 1, None]
    assert second == [2, 1, 0]


def test_many_texts_stay_as_they_are() -> None:
    alike = CodedAlike(1000)
    frames = [pl.DataFrame({"host": [f"{number} {row}" for row in range(50)]}) for number in range(3)]
    kept = [alike.numbers(frame).schema["host"] for frame in frames]
    assert kept == [pl.UInt8, pl.String, pl.String]


def test_a_frame_of_very_many_texts_is_not_taken_for_numbers() -> None:
    """What clients choose in a single part would else stay in memory, whatever it comes to."""
    rows = 50_000
    alike = CodedAlike(1000)
    many = alike.numbers(pl.DataFrame({"path": [f"/{number}" for number in range(rows)], "site": "a"}))
    assert many.schema == {"path": pl.String, "site": pl.UInt8}
    (again,) = alike.coded([many])
    assert again["path"].to_list() == [f"/{number}" for number in range(rows)]
    assert again["site"].to_physical().unique().to_list() == [0]


def test_numbers_of_rows_that_are_coded_in_steps_are_theirs() -> None:
    texts = [f"{number % 10_001}" if number % 7 else None for number in range(40_000)]
    alike = CodedAlike(1 << 20)
    numbers = alike.numbers(pl.DataFrame({"host": texts}))
    assert numbers.schema["host"] == pl.UInt16
    (again,) = alike.coded([numbers])
    assert again["host"].cast(pl.String).to_list() == texts
