"""What the footer of a Parquet part says.

What belongs here: its columns as Polars has them. What does not: the rows (`coded_parts`, `parts`).
"""

from __future__ import annotations

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
