"""Rows come back from records as they were, whatever they have and however they are cut."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel.records import Records, as_frame
from pipeline_assets.kernel.schemas import TIMESTAMP

SCHEMA = {
    "day": pl.Date(),
    "hour": pl.Int8(),
    "is_bot": pl.Boolean(),
    "at": TIMESTAMP,
    "hits": pl.Int64(),
    "path": pl.String(),
    "paths": pl.List(pl.Int32()),
}
VALUES = (
    st.dates(date(1, 1, 1), date(9999, 1, 1)),
    st.integers(-128, 127),
    st.booleans(),
    st.datetimes(datetime(1, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
)
ROWS = st.lists(st.tuples(*(st.none() | values for values in VALUES)), max_size=12)


@given(st.lists(st.tuples(ROWS, st.randoms(use_true_random=False)), max_size=4), st.integers(1, 4))
def test_rows_come_back_from_records_that_were_cut(
    given_rows: list[tuple[list[Any], Any]], cuts: int
) -> None:
    waiting: dict[tuple[Any, ...], bytearray] = {}
    wanted: list[list[tuple[Any, ...]]] = [[] for _ in range(cuts)]
    for rows, draw in given_rows:
        frame = pl.DataFrame(rows, SCHEMA, orient="row")
        number = np.array([draw.randrange(cuts) for _ in rows], np.uint8)
        records = Records.of({}, frame, np.argsort(number, kind="stable"))
        for stream, data, sizes in records.cut(np.bincount(number, minlength=cuts)):
            assert sum(sizes) == len(data) and len(sizes) == cuts
            ends = np.append(0, np.cumsum(sizes))
            for cut in range(cuts):
                waiting.setdefault((cut, records.layout, stream), bytearray()).extend(
                    data[ends[cut] : ends[cut + 1]]
                )
        for cut in range(cuts):
            wanted[cut] += [row for row, place in zip(frame.rows(), number, strict=True) if place == cut]
    layouts = dict.fromkeys(layout for _, layout, _ in waiting)
    for cut, rows in enumerate(wanted):
        frames = [
            as_frame(layout, lambda stream, key=(cut, layout): waiting[*key, stream])  # type: ignore[misc]
            for layout in layouts
        ]
        assert all(frame.schema == SCHEMA for frame in frames)
        found = [row for frame in frames for row in frame.rows()]
        assert sorted(found, key=repr) == sorted(rows, key=repr)


def test_numbers_that_stand_for_texts_come_back_with_null_for_the_highest() -> None:
    numbers: dict[str, npt.NDArray[np.unsignedinteger[Any]]] = {
        "host": np.array([2, 255, 0], np.uint8),
        "path": np.array([255, 65535, 7], np.uint16),
    }
    others = pl.DataFrame({"hits": [1, 2, 3]})
    records = Records.of(numbers, others, np.array([2, 0, 1]))
    ((_, data, sizes),) = records.cut(np.array([1, 2]))
    assert sizes == [11, 22]
    frame = as_frame(records.layout, lambda _: bytearray(data))
    schema = {"host": pl.UInt8(), "path": pl.UInt16(), "hits": pl.Int64()}
    assert_frame_equal(
        frame, pl.DataFrame({"host": [0, 2, None], "path": [7, 255, None], "hits": [3, 1, 2]}, schema)
    )
