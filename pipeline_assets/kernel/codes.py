"""Texts as numbers while rows are grouped, joined and sorted.

What belongs here: taking texts for numbers and back. What does not: what is done with the rows meanwhile.

Rollups are keyed by several texts, a user agent among them, and there are far fewer different ones than rows.
Hashing and comparing a number for each takes a third of the time.
"""

from __future__ import annotations

import polars as pl
from polars import selectors


def coded(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with every text column as categories: equal texts are equal, and they sort as texts do.

    The categories belong to these rows alone, so they go when the rows do.
    """
    return rows.with_columns(selectors.string().cast(pl.Categorical(pl.Categories.random())))


def spelled(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with their categories as texts again."""
    return rows.with_columns(selectors.categorical().cast(pl.String))
