"""Rows by their keys: what NumPy says of them is what the engine says of the same groups."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel import codes
from pipeline_assets.kernel.codes import coded, plain
from pipeline_assets.kernel.groups import Groups

TIME = pl.Datetime("us", "UTC")
SCHEMA: dict[str, Any] = {
    "text": pl.String,
    "day": pl.Date,
    "bucket": pl.Int16,
    "is_bot": pl.Boolean,
    "n": pl.Int64,
    "at": TIME,
    "said": pl.String,
    "also": pl.String,
}
KEYS = ["text", "day", "bucket", "is_bot"]
SAID = st.none() | st.sampled_from(["", "a", "Z", "ä"])
TIMES = st.integers(-3, 3).map(lambda days: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days, 0, days))
ROWS = st.lists(
    st.tuples(
        SAID,
        st.sampled_from([date(1969, 12, 31), date(2024, 1, 15)]),
        st.none() | st.sampled_from([-1, 0, 300]),
        st.booleans(),
        st.none() | st.integers(-(2**60), 2**60),
        st.none() | TIMES,
        SAID,
        SAID,
    ),
    min_size=1,
    max_size=40,
)


@given(ROWS, st.sampled_from([1 << 64, 1, 8]))
def test_groups_say_what_the_engine_says(rows: list[tuple[Any, ...]], most: int) -> None:
    frame = coded(pl.DataFrame(rows, schema=SCHEMA, orient="row").lazy()).collect()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "NUMBERS", most)
        groups = Groups.of(frame, KEYS)
    found = frame.select(KEYS)[groups.first].with_columns(
        groups.total(frame["n"]),
        groups.bits(frame["n"]).alias("bits"),
        groups.least(frame["at"]).alias("least"),
        groups.most(frame["at"]).alias("most"),
        *(frame[name].gather(groups.row_of_least(frame[name])) for name in ("said", "also")),
        size=pl.Series(groups.sizes),
        differs=pl.Series(groups.differing([frame["said"], frame["also"]])),
    )
    wanted = frame.group_by(KEYS).agg(
        pl.col("n").sum(),
        pl.col("n").fill_null(0).bitwise_or().alias("bits"),
        pl.col("at").min().alias("least"),
        pl.col("at").max().alias("most"),
        pl.col("said", "also").min(),
        pl.len().cast(pl.Int64).alias("size"),
        differs=(pl.col("said").n_unique() > 1) | (pl.col("also").n_unique() > 1),
    )
    assert_frame_equal(*(plain(each).sort(KEYS) for each in (found, wanted)))


@given(ROWS)
def test_some_groups_are_as_they_are_among_all(rows: list[tuple[Any, ...]]) -> None:
    frame = coded(pl.DataFrame(rows, schema=SCHEMA, orient="row").lazy()).collect()
    groups = Groups.of(frame, KEYS)
    which = groups.sizes % 2 == 0
    some = groups.only(which)
    assert some.first.tolist() == groups.first[which].tolist()
    assert some.sizes.tolist() == groups.sizes[which].tolist()
    assert some.total(frame["n"]).to_list() == groups.total(frame["n"]).filter(pl.Series(which)).to_list()
