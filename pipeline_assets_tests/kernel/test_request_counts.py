"""What requests say, counted by numbers: as the engine counts the texts themselves."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel import texts_by_number
from pipeline_assets.kernel.request_counts import counts
from pipeline_assets.kernel.request_rows import PATH_CHARACTERS, REQUEST_SCHEMA, prepared
from pipeline_assets.kernel.texts_by_number import plain_rows
from pipeline_assets_tests.kernel.rolling import silver_of

LINE = b'192.0.2.1 - - [15/Jan/2024:10:00:00 +0000] "GET /a HTTP/1.1" 200 9 "-" "x"\n'
ONE = silver_of("logs/x.log", LINE)["requests"].select(*REQUEST_SCHEMA)
# Some are the same without their query, or where they are cut.
LONG = "https://a.example/" + "x" * PATH_CHARACTERS
REFERERS = ["", "?", "\x00", "https://a.example/?q=1", "https://a.example/?q=2", LONG + "y", LONG + "z#"]
KEYS = ["site", "key_1", "key_2", "key_3"]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["s", "ä"]),
        st.none() | st.sampled_from(REFERERS),
        st.sampled_from(["own", "other"]),
        st.none() | st.integers(-(2**62), 2**62),
    ),
    min_size=1,
    max_size=30,
)


@given(ROWS, st.sampled_from([1 << 64, 1, 8]))
def test_referrers_are_counted_as_their_texts_are(rows: list[tuple[Any, ...]], most: int) -> None:
    schema = {name: REQUEST_SCHEMA[name] for name in ("site", "referer", "referrer_kind", "bytes")}
    bare = pl.col("referer").str.extract("^([^?#]*)").str.slice(0, PATH_CHARACTERS)
    said = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        # Of two that are the same without their query one may say what was searched for.
        search_phrase=pl.when(pl.col("referer").str.ends_with("1")).then(pl.lit("one"))
    )
    requests = said.join(ONE.drop(said.columns), how="cross").select(*REQUEST_SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts_by_number, "NUMBERS", most)
        found = plain_rows(counts(prepared(requests))).filter(pl.col("aspect") == "referrer")
    wanted = said.group_by(
        "site",
        key_1="referrer_kind",
        key_2=pl.when(bare != "").then(bare),
        key_3="search_phrase",
    ).agg(hits=pl.len().cast(pl.Int64), bytes=pl.col("bytes").sum())
    assert_frame_equal(found.select(wanted.columns).sort(KEYS), wanted.sort(KEYS))
