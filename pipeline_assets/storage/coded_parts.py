"""Parts read with their texts coded, as they are stored.

What belongs here: reading a part of many rows by its row groups, as the catalogue has them now. What does
not: parts of few rows, which Polars reads (`parts.scan_table`), and what is done with the dictionaries
(`kernel.texts_by_number`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import polars as pl

from pipeline_assets.kernel.coded_rows import CodedRows
from pipeline_assets.storage.footers import only_value, schema_of
from pipeline_assets.storage.parts import check_types
from pipeline_assets.storage.store import Store

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Values that rows have in some columns.
Among = Mapping[str, Collection[Any]]


def read_groups(
    store: Store, path: str, schema: Mapping[str, pl.DataType], of: str, fewest_rows: int
) -> Iterator[pa.Table]:
    """Rows of a part's row groups in their order; so many groups at once that they have `fewest_rows`.

    They have the columns of `schema`, and null in one that the part lacks. Texts are dictionaries where the
    part keeps them so. Raises `InvalidRowsError` as `scan_table` does.
    """
    with store.open(path) as stream:
        part, names = _opened(stream, schema, of)
    last = part.metadata.num_row_groups - 1
    if last < 0:
        yield _as_catalogued(part.read(names), schema)
    groups: list[int] = []
    rows = 0
    for group in range(last + 1):
        groups.append(group)
        rows += part.metadata.row_group(group).num_rows
        if rows >= fewest_rows or group == last:
            yield _as_catalogued(part.read_row_groups(groups, names, use_threads=False), schema)
            groups, rows = [], 0


def read_coded(
    store: Store,
    path: str,
    schema: Mapping[str, pl.DataType],
    of: str,
    among: Among | None = None,
) -> CodedRows | None:
    """Rows of a part as `scan_table` has them, with coded texts; of columns in `among` only those values.

    None where there are no such rows. Where its statistics say so it is not read.
    """
    import numpy as np
    import pyarrow.parquet as pq

    with store.open(path) as stream:
        metadata = pq.read_metadata(stream)
        groups, asked = _chosen(metadata, among or {})
        if not groups:
            return None
        part, names = _opened(stream, schema, of, metadata)
    table = part.read_row_groups(groups, names, use_threads=False)
    rows = CodedRows.of_table(_as_catalogued(table, schema))
    for name, values in asked.items():
        wanted = rows.told(name, partial(_are_among, values=values))
        if not wanted.all():
            rows = rows.at(np.flatnonzero(wanted))
    return rows if rows.height else None


def _are_among(known: pl.Series, values: Collection[Any]) -> pl.Series:
    return known.is_in(values).fill_null(value=False)


def _chosen(metadata: Any, among: Among) -> tuple[list[int], Among]:
    """Row groups that may have such rows, and what is to be asked of these: statistics may tell it of all."""
    place = _places(metadata)
    groups = []
    asked: dict[str, Collection[Any]] = {}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        left = {}
        for name, values in among.items():
            known = group.column(place[name]).statistics if name in place else None
            if known is None or not known.has_min_max:
                left[name] = values
                continue
            if not any(known.min <= value <= known.max for value in values):
                break
            if only_value(group.column(place[name])) is None:
                left[name] = values
        else:
            groups.append(number)
            asked |= left
    return groups, asked


def _opened(
    stream: BinaryIO, schema: Mapping[str, pl.DataType], of: str, metadata: Any = None
) -> tuple[pq.ParquetFile, list[str]]:
    """A part whose texts are read as dictionaries, where it keeps them so; and which columns it has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # It is some megabytes; its columns lie all over it.
    stream.seek(0)
    data = pa.BufferReader(stream.read())
    metadata = metadata or pq.read_metadata(data)
    there = schema_of(metadata)
    check_types(there, schema, of)
    names = [name for name in schema if name in there]
    texts = [name for name in names if there[name] == pl.String()]
    coded = _in_dictionaries(metadata, texts)
    return pq.ParquetFile(data, metadata=metadata, read_dictionary=coded), names


def _in_dictionaries(metadata: Any, texts: list[str]) -> list[str]:
    """Those text columns that have a dictionary in every row group."""
    place = _places(metadata)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return [name for name in texts if all(group.column(place[name]).has_dictionary_page for group in groups)]


def _places(metadata: Any) -> dict[str, int]:
    return {name: number for number, name in enumerate(metadata.schema.names)}


def _as_catalogued(rows: pa.Table, schema: Mapping[str, pl.DataType]) -> pa.Table:
    import pyarrow as pa

    missing = pl.DataFrame(schema={name: schema[name] for name in schema if name not in rows.column_names})
    for field in missing.to_arrow(compat_level=pl.CompatLevel.oldest()).schema:
        rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(list(schema))
