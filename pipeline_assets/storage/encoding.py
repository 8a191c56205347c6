"""Rows to the bytes of a Parquet part, as they come.

What belongs here: how a part is encoded, and how much of it waits in memory. What does not: where parts lie
(`parts`), and frames that are written as a whole (`store.write_parquet`).

Encoding takes about half of the time that a landed file takes, so each column is encoded as it costs least
for about the same size: numbers that grow by their differences, texts that recur by a dictionary, and paths,
which hardly recur within a row group, as they are. Statistics are kept of columns by which rows are chosen.
Every reader of Parquet format 2 knows these encodings.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, cast

import polars as pl

from pipeline_assets.kernel.schemas import Table
from pipeline_assets.storage.store import PARQUET_COMPRESSION_LEVEL

if TYPE_CHECKING:
    import pyarrow as pa

# So many bytes of rows are one row group; two at most are in memory, one of them being encoded.
_GROUP_BYTES: Final = 32 << 20
_GROUPS: Final = 4
# Texts with few different values, which come as dictionaries.
_DICTIONARIES: Final = frozenset(
    {"method", "protocol", "site", "format", "source_file", "level", "module", "reason"}
)
_UNLIKE: Final = frozenset({"request", "target", "message", "extra", "raw", "line"})
_GROWING: Final = frozenset({"line_number", "byte_offset", "bytes"})
_CHOSEN_BY: Final = frozenset({"source_file", "site", "timestamp", "line_number", "status"})


class Encoder:
    """One part in the making. Row groups are encoded by a second thread while the next is gathered."""

    def __init__(self, table: Table) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.rows = 0
        self._schema = _schema(table)
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._groups = 0
        self._sink = pa.BufferOutputStream()
        names = table.column_names
        self._writer = pq.ParquetWriter(
            self._sink,
            self._schema,
            compression="zstd",
            compression_level=PARQUET_COMPRESSION_LEVEL,
            use_dictionary=[name for name in names if name not in _UNLIKE | _GROWING | {"timestamp"}],
            column_encoding={name: "DELTA_BINARY_PACKED" for name in names if name in _GROWING},
            write_statistics=[name for name in names if name in _CHOSEN_BY],
            # Else readers would take the columns for dictionaries that were handed over as such.
            store_schema=False,
        )
        self._worker: ThreadPoolExecutor | None = None
        self._encoding: Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the part is large enough."""
        return self._groups >= _GROUPS

    def add(self, rows: pl.DataFrame | pa.Table, size: int) -> None:
        """Take rows of the table's columns, which keep about `size` bytes in memory."""
        part = _as_table(rows, self._schema)
        self.rows += part.num_rows
        self._waiting.append(part)
        self._waiting_bytes += size
        if self._waiting_bytes >= _GROUP_BYTES:
            group = self._group()
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, "encode")
            self._wait()
            self._encoding = self._worker.submit(self._encode, group)

    def close(self) -> bytes:
        """The part."""
        self._wait()
        if self._worker is not None:
            self._worker.shutdown()
        if self._waiting:
            self._encode(self._group())
        self._writer.close()
        return cast(bytes, self._sink.getvalue().to_pybytes())

    def _group(self) -> list[pa.Table]:
        group, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._groups += 1
        return group

    def _wait(self) -> None:
        if self._encoding is not None:
            self._encoding.result()
            self._encoding = None

    def _encode(self, parts: list[pa.Table]) -> None:
        import pyarrow as pa

        group = pa.concat_tables(parts)
        # Of one dictionary after another the writer would keep only the first.
        self._writer.write_table(group.unify_dictionaries(), row_group_size=group.num_rows)


def _schema(table: Table) -> pa.Schema:
    import pyarrow as pa

    types = {pl.String(): pa.string_view(), pl.Binary(): pa.binary_view()}
    empty = table.empty().to_arrow(compat_level=pl.CompatLevel.newest()).schema
    return pa.schema(
        [
            pa.field(
                column.name,
                pa.dictionary(pa.int32(), pa.string())
                if column.name in _DICTIONARIES
                else types.get(column.dtype, empty.field(column.name).type),
            )
            for column in table.columns
        ]
    )


def _as_table(rows: pl.DataFrame | pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    if isinstance(rows, pl.DataFrame):
        rows = rows.to_arrow(compat_level=pl.CompatLevel.newest())
    return pa.table([_as_type(rows.column(field.name), field.type) for field in schema], schema=schema)


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa

    if column.type == wanted:
        return column
    if pa.types.is_dictionary(wanted):
        return column.cast(pa.string()).dictionary_encode()
    return column.cast(wanted)
