"""Rows of a gold table from their columns, as Arrow has them, texts as dictionaries.

What belongs here: putting columns together. What does not: what is in them (`request_visitors`,
`request_counts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from pipeline_assets.kernel.schemas import Table
from pipeline_assets.kernel.texts_by_number import Texts

if TYPE_CHECKING:
    import pyarrow as pa


def rows_of(
    table: Table, known: Mapping[str, Texts | pl.Series], **others: Texts | pl.Series | str | int
) -> pa.Table:
    """Rows of a table from its columns, of which some may be of one value; those not given are null."""
    import numpy as np
    import pyarrow as pa

    columns = {**known, **others}
    rows, types = len(next(iter(known.values()))), _arrow_types(table)
    arrays = []
    for column in table.columns:
        values = columns.get(column.name)
        if isinstance(values, pl.Series) and column.dtype == pl.String():
            values = Texts.of(values)
        if isinstance(values, Texts):
            arrays.append(values.of_few().dictionary())
        elif isinstance(values, pl.Series):
            arrays.append(values.cast(column.dtype).to_arrow(compat_level=pl.CompatLevel.oldest()))
        elif values is None:
            arrays.append(pa.nulls(rows, types.field(column.name).type))
        elif isinstance(values, int):
            arrays.append(
                pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(np.full(rows, values))])
            )
        else:
            arrays.append(Texts(np.zeros(rows, np.int32), pl.Series([values, None])).dictionary())
    return pa.table(arrays, table.column_names)


@lru_cache
def _arrow_types(table: Table) -> pa.Schema:
    """A table's types in Arrow, whose texts are dictionaries."""
    import pyarrow as pa

    texts = pa.dictionary(pa.int32(), pa.string())
    types = table.empty().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return pa.schema(
        field.with_type(texts) if pa.types.is_large_string(field.type) else field for field in types
    )
