"""Rows that wait on the disk as numbers come back as they were, however their texts were coded."""

from __future__ import annotations

from contextlib import closing

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.compute.waiting import Waiting

ROWS = st.lists(st.tuples(st.none() | st.sampled_from(["", "a", "\x00", "ä"]) | st.text(), st.integers(0, 9)))
SCHEMA = {"text": pl.String, "n": pl.Int64}


@given(st.lists(st.tuples(ROWS, st.sampled_from(["alike", "alike", "by itself", "not"])), max_size=5))
def test_rows_come_back_with_their_texts(frames: list[tuple[list[tuple[str | None, int]], str]]) -> None:
    alike = pl.Categorical(pl.Categories.random())
    plain = [pl.DataFrame(rows, schema=SCHEMA, orient="row") for rows, _ in frames]
    with closing(Waiting()) as waiting:
        for rows, (_, how) in zip(plain, frames, strict=True):
            dtype = {"alike": alike, "by itself": pl.Categorical(pl.Categories.random()), "not": pl.String()}
            waiting.add(rows.cast({"text": dtype[how]}))
        waiting.settle()
        for found, rows in zip(waiting.frames(), plain, strict=True):
            assert_frame_equal(found, rows)


def test_texts_are_let_go_of_when_the_rows_wait() -> None:
    categories = pl.Categories.random()
    texts = pl.Series("text", ["a", "b"], pl.Categorical(categories))
    with closing(Waiting()) as waiting:
        waiting.add(texts.to_frame())
        waiting.settle()
        del texts
        # Numbers begin anew: nobody knows a text any more.
        again = pl.Series(["b"], dtype=pl.Categorical(categories))
        assert again.to_physical().to_list() == [0]
        assert [frame["text"].to_list() for frame in waiting.frames()] == [["a", "b"]]
