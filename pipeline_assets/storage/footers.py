"""What the footer of a Parquet part says.

What belongs here: its columns as Polars has them, and what statistics say of all rows of a row group. What
does not: the rows (`coded_parts`, `parts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def only_value(column: pq.ColumnChunkMetaData) -> Any:
    """The value that all rows of a row group have in a column; None where statistics don't tell of one."""
    known = column.statistics
    is_told = known is not None and known.has_min_max and known.has_null_count and not known.null_count
    return known.min if is_told and known.min == known.max else None
