"""What the footer of a Parquet part says.

What belongs here: its columns as Polars has them, and what its statistics say of all its rows. What does not:
the rows (`coded_parts`, `parts`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def schema_of(footer: pq.FileMetaData) -> pl.Schema:
    """The columns that the part has, with Polars' types for them."""
    import pyarrow as pa

    types = footer.schema.to_arrow_schema()
    # Its `empty_table` would import pandas.
    empty = pl.from_arrow(pa.table([pa.nulls(0, field.type) for field in types], schema=types))
    assert isinstance(empty, pl.DataFrame)
    return empty.schema


def rows_by_value(footer: pq.FileMetaData, name: str) -> dict[str, int] | None:
    """How many rows have which text in a column; None where a row group has others beside its smallest."""
    place = footer.schema.names.index(name)
    counts: Counter[str] = Counter()
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        known = group.column(place).statistics
        is_told = known is not None and known.has_min_max and known.has_null_count and not known.null_count
        if not is_told or known.min != known.max:
            return None
        counts[known.min] += group.num_rows
    return dict(counts)
