"""Columns of texts as numbers: rows say the same texts, whatever they are made of."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.kernel import texts_by_number
from pipeline_assets.kernel.texts_by_number import Texts, joined

TEXTS = st.lists(st.none() | st.sampled_from(["", "a", "ä", "\x00"]) | st.text(max_size=2), max_size=20)


def from_parts(texts: list[str | None], cut: int) -> list[Texts]:
    """A column of these texts as each kind of column gives it; Arrow's has two dictionaries, and begins later."""
    plain = pl.Series(texts, dtype=pl.String)
    chunks = [
        pa.array([None, "before", *some], pa.string()).dictionary_encode()[2:]
        for some in (texts[:cut], texts[cut:])
    ]
    return [
        Texts.of(plain),
        Texts.of(plain.cast(pl.Categorical)),
        Texts.of_dictionary(pa.chunked_array(chunks)),
    ]


@given(TEXTS, st.integers(0, 20), st.booleans())
def test_rows_say_the_same_texts_whatever_they_are_made_of(
    texts: list[str | None], cut: int, are_many: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if are_many:
            patch.setattr(texts_by_number, "_FEW_ROWS", 0)
            patch.setattr(texts_by_number, "_FEW_TEXTS", 0)
        check_columns(texts, cut)


def check_columns(texts: list[str | None], cut: int) -> None:
    """Each kind of column says these texts, and does as it is asked."""
    for column in from_parts(texts, cut):
        assert column.plain().to_list() == texts
        assert column.known[:-1].n_unique() == column.size - 1 and column.known[-1] is None
        assert column.is_null().tolist() == [text is None for text in texts]
        other = column.told(column.known.str.slice(0, 1))
        assert other.plain().to_list() == [text if text is None else text[:1] for text in texts]
        assert other.known.n_unique() == other.size
        asked = column.asked(lambda known: pl.DataFrame({"length": known.str.len_bytes()}))["length"]
        lengths = asked.gather(column.numbers).to_list()
        backwards = column.at(np.arange(len(texts))[::-1])
        assert backwards.of_few().dictionary().to_pylist() == texts[::-1]
        assert lengths == [None if text is None else len(text.encode()) for text in texts]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 3)), max_size=20),
    st.booleans(),
)
def test_rows_have_the_same_number_where_they_have_the_same_in_all_columns(
    rows: list[tuple[str, int, int]], are_far_apart: bool
) -> None:
    one = Texts.of(pl.Series([row[0] for row in rows], dtype=pl.String))
    # As if there might be so many that their numbers together don't fit.
    size = 1 << 40 if are_far_apart else 4
    two, three = ((np.array([row[place] for row in rows], np.int64), size) for place in (1, 2))
    numbers = joined([two, one, three], len(rows)).tolist()
    assert len(set(numbers)) == len(set(rows)) == len(set(zip(rows, numbers, strict=True)))
