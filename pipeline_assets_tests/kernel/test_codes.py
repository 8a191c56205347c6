"""Texts as numbers: what is asked of distinct texts comes back to the rows that said them."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel import codes
from pipeline_assets.kernel.codes import answers, coded, in_order, numbered, plain, sorting

TEXTS = st.lists(
    st.none() | st.sampled_from(["", "a", "b", "ä", "Z", "\x00"]) | st.text(max_size=3), max_size=30
)


@given(TEXTS)
def test_each_distinct_text_is_asked_once_and_answers_every_row_that_says_it(texts: list[str | None]) -> None:
    asked: list[str] = []

    def ask(distinct: pl.Series) -> pl.DataFrame:
        asked.extend(distinct.to_list())
        return pl.DataFrame({"said": distinct + "!", "length": distinct.str.len_bytes()})

    found = answers(pl.Series(texts, dtype=pl.String), ask)
    assert found["said"].to_list() == [None if text is None else f"{text}!" for text in texts]
    assert found["length"].to_list() == [None if text is None else len(text.encode()) for text in texts]
    assert sorted(asked) == sorted({text for text in texts if text is not None})


@given(TEXTS, TEXTS)
def test_coded_rows_group_and_sort_as_their_texts_do(one: list[str | None], two: list[str | None]) -> None:
    size = min(len(one), len(two))
    rows = pl.DataFrame(
        {"one": one[:size], "two": two[:size], "n": range(size)},
        schema={"one": pl.String, "two": pl.String, "n": pl.Int64},
    ).lazy()

    def added_up(frame: pl.LazyFrame) -> pl.LazyFrame:
        by_one = frame.group_by("one").agg(pl.col("two").min(), pl.col("n").sum())
        return by_one.sort("one", nulls_last=True)

    assert_frame_equal(plain(added_up(coded(rows)).collect()), added_up(rows).collect())
    assert_frame_equal(plain(coded(rows).collect()), rows.collect())


@pytest.mark.parametrize("rows", [0, 1])
def test_codes_of_one_frame_are_not_those_of_another(rows: int) -> None:
    frame = pl.DataFrame({"text": ["x"] * rows}, schema={"text": pl.String}).lazy()
    assert coded(frame).collect_schema() != coded(frame).collect_schema()


@given(TEXTS, TEXTS, st.sampled_from([1 << 64, 1, 8]))
def test_rows_have_the_same_number_where_they_say_the_same(
    one: list[str | None], two: list[str | None], most: int
) -> None:
    size = min(len(one), len(two))
    columns = [pl.Series(texts[:size], dtype=pl.String) for texts in (one, two)]
    frame = coded(pl.DataFrame({"one": columns[0], "two": columns[1]}).lazy()).collect()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "NUMBERS", most)
        numbers = numbered(frame.get_columns()).tolist()
    said = list(zip(one, two, strict=False))
    assert [[here == there for there in numbers] for here in numbers] == [
        [here == there for there in said] for here in said
    ]


@given(st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=30))
def test_places_come_in_the_order_of_numbers_and_else_as_they_are(numbers: list[int]) -> None:
    wanted = sorted(range(len(numbers)), key=lambda place: numbers[place])
    assert sorting(np.array(numbers, np.uint64)).tolist() == wanted


@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from(["", "a", "b", "ä", "Z", "ab"]),
            st.none() | st.integers(-(2**62), 2**62),
            st.none() | st.dates(date(1900, 1, 1), date(2100, 1, 1)),
            st.none() | st.booleans(),
            st.none() | st.sampled_from(["x", "y"]),
        ),
        max_size=30,
    )
)
def test_rows_come_in_the_order_that_sorting_gives_them(rows: list[tuple[Any, ...]]) -> None:
    schema = {"one": pl.String, "n": pl.Int64, "day": pl.Date, "is": pl.Boolean, "two": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    keys = ["two", "day", "one", "is", "n"]
    found = plain(in_order(coded(frame.lazy()).collect(), keys))
    assert_frame_equal(found, frame.sort(keys, nulls_last=True))


def test_frames_come_together_however_their_texts_are_coded() -> None:
    one, other = (
        coded(pl.DataFrame({"text": texts, "n": [1, 2], "more": ""}).lazy()).collect()
        for texts in (["x", None], ["z", "x"])
    )
    said = plain(other)
    for second in (one, other, said, other.select("n", "text")):
        found = codes.together([one, second], ["n", "text"])
        assert found.columns == ["n", "text"]
        texts = second["text"].cast(pl.String).to_list()
        assert found["text"].cast(pl.String).to_list() == ["x", None, *texts]


@pytest.mark.parametrize("missing", [[], [None]])
def test_columns_of_few_of_the_known_texts_know_no_others(missing: list[None]) -> None:
    hosts = [f"h{number}" for number in range(5000)] + missing
    everything = coded(pl.DataFrame({"host": hosts, "n": range(len(hosts)), "site": "a"}).lazy()).collect()
    for begin, end, known in ((4000, 4003, 3), (4998, 5001, 2), (0, 3, 3), (0, 0, 0), (0, 5001, 5000)):
        some = everything[begin:end]
        numbers, said = codes.of_few(some)
        assert numbers.columns == some.columns
        for name in ("host", "site"):
            assert said[name].gather(numbers[name]).to_list() == some[name].cast(pl.String).to_list()
        # Threads that code a column number its texts as they come to them, which may be in any order.
        highest = some["host"].to_physical().max()
        numbered = highest + 1 if isinstance(highest, int) else 0
        if numbered > codes._MANY_TEXTS and known <= numbered // 2:
            assert known <= said["host"].len() <= known + 1
        else:
            assert said["host"].len() == numbered
        spelled = codes.spellings(some["host"])
        assert spelled.len() == numbered
        assert spelled.gather(some["host"].to_physical()).to_list() == some["host"].cast(pl.String).to_list()
    assert codes.of_few(everything.select("n"))[1] == {}
