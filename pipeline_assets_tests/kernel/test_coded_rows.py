"""Rows of numbers for texts are the rows that they stand for, in which shard each of them is included."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel.coded_rows import CodedRows
from pipeline_assets.kernel.shards import shard_numbers

ASPECTS = ("path", "error", "bytes")
TEXTS = st.none() | st.sampled_from(["", "a", "b", "c\x00", "ä"])
ROWS = st.lists(
    st.tuples(st.sampled_from(ASPECTS), TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, 3)), max_size=20
)
SCHEMA = {
    **dict.fromkeys(("aspect", "key_1", "key_2", "key_3", "remote_host"), pl.String()),
    "hits": pl.Int64(),
}


@given(ROWS, st.sets(st.sampled_from(list(SCHEMA)[:-1])))
def test_rows_are_what_they_stand_for(rows: list[tuple[str | int | None, ...]], coded: set[str]) -> None:
    frame = pl.DataFrame(rows, SCHEMA, orient="row")
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    for number, name in enumerate(SCHEMA):
        if name in coded:
            texts = pa.array(frame[name].to_list(), pa.string()).dictionary_encode()
            table = table.set_column(number, name, texts)
    found = CodedRows.of_table(table)
    assert (set(found.texts), found.height) == (coded, frame.height)
    assert_frame_equal(found.frame(SCHEMA), frame)
    assert_frame_equal(found.frame(["key_2"]), frame.select("key_2"))
    backwards = np.arange(len(rows))[::-1]
    assert_frame_equal(found.at(backwards).frame(), frame.reverse(), check_column_order=False)
    for rollup, shards in (("visitors", 7), ("counts", 300), ("traffic", 2)):
        numbers = shard_numbers(rollup, found, shards)
        assert numbers.tolist() == shard_numbers(rollup, CodedRows.of(frame), shards).tolist()
        assert numbers.max(initial=0) < shards
        if rollup == "counts":
            assert not numbers[(frame["aspect"] == "bytes").to_numpy()].any()
