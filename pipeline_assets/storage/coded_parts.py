"""Parts read with their texts coded, as they are stored.

What belongs here: reading a part of many rows by its row groups, as the catalogue has them now. What does
not: parts of few rows, which Polars reads (`parts.scan_table`), and what is done with the dictionaries
(`kernel.texts_by_number`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline_assets.storage.parts import check_types
from pipeline_assets.storage.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


def read_groups(
    store: Store, path: str, schema: Mapping[str, pl.DataType], of: str, fewest_rows: int
) -> Iterator[pa.Table]:
    """Rows of a part's row groups in their order; so many groups at once that they have `fewest_rows`.

    They have the columns of `schema`, and null in one that the part lacks. Texts are dictionaries where the
    part keeps them so. Raises `InvalidRowsError` as `scan_table` does.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A part is some megabytes; its columns lie all over it.
    with store.open(path) as stream:
        data = pa.BufferReader(stream.read())
    metadata = pq.read_metadata(data)
    types = metadata.schema.to_arrow_schema()
    # Its `empty_table` would import pandas.
    there = pl.from_arrow(pa.table([pa.nulls(0, field.type) for field in types], schema=types))
    assert isinstance(there, pl.DataFrame)
    check_types(there.schema, schema, of)
    names = [name for name in schema if name in there.columns]
    texts = [name for name in names if there.schema[name] == pl.String()]
    part = pq.ParquetFile(data, metadata=metadata, read_dictionary=_in_dictionaries(metadata, texts))
    if not metadata.num_row_groups:
        yield _as_catalogued(part.read(names), schema)
    groups: list[int] = []
    rows = 0
    for group in range(metadata.num_row_groups):
        groups.append(group)
        rows += metadata.row_group(group).num_rows
        if rows >= fewest_rows or group == metadata.num_row_groups - 1:
            yield _as_catalogued(part.read_row_groups(groups, names, use_threads=False), schema)
            groups, rows = [], 0


def _in_dictionaries(metadata: Any, texts: list[str]) -> list[str]:
    """Those text columns that have a dictionary in every row group."""
    place = {name: number for number, name in enumerate(metadata.schema.names)}
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return [name for name in texts if all(group.column(place[name]).has_dictionary_page for group in groups)]


def _as_catalogued(rows: pa.Table, schema: Mapping[str, pl.DataType]) -> pa.Table:
    import pyarrow as pa

    missing = pl.DataFrame(schema={name: schema[name] for name in schema if name not in rows.column_names})
    for field in missing.to_arrow(compat_level=pl.CompatLevel.oldest()).schema:
        rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(list(schema))
