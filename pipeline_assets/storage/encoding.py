"""Rows to the bytes of a Parquet part, as they come.

What belongs here: how a part of a layer is encoded, and how much of it waits in memory. What does not: where
parts lie (`parts`), and frames that the store encodes (`store.write_parquet`).

Encoding takes about half of the time that a landed file takes, so each column is encoded as it costs least
for about the same size: numbers that grow by their differences, texts that recur by a dictionary, and those
that hardly recur within a row group as they are. A column that is never null says so, and nothing is written
of which of its values are there. Statistics are kept of columns by which rows are chosen. Every reader of
Parquet format 2 knows these encodings.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel.codes import coded, of_few
from pipeline_assets.kernel.combined_lines import dictionary
from pipeline_assets.kernel.schemas import Table
from pipeline_assets.kernel.words import copied, series
from pipeline_assets.storage.behind import Behind
from pipeline_assets.storage.store import PARQUET_COMPRESSION_LEVEL

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# So many bytes of rows are one row group; two at most are in memory, one of them being encoded.
_GROUP_BYTES: Final = 32 << 20
# Silver and gold take a part into memory as a whole. With twice as many groups a log of a gigabyte takes
# 140 MB more to become silver, and 250 MB more to become gold.
_GROUPS: Final = 2
# Texts with few different values, which come as dictionaries.
_DICTIONARIES: Final = frozenset(
    {"method", "protocol", "site", "format", "source_file", "level", "module", "reason"}
)
_UNLIKE: Final = frozenset({"message", "extra", "raw", "line"})
# These recur in most logs, and then a dictionary makes a part a fifth smaller at the same cost. Where more
# than so many of a part's first rows have one of their own, it would only be in the way.
_PERHAPS_UNLIKE: Final = frozenset({"request", "target"})
_UNLIKE_SHARE: Final = 0.75
_SAMPLE_ROWS: Final = 10_000
# Ten times what a row group needs at a third of different targets; beyond it the writer falls back to texts.
_DICTIONARY_BYTES: Final = 8 << 20
# So many values are handed from Arrow to Parquet at once: by 1,024, as is usual, takes a twelfth longer.
_BATCH_ROWS: Final = 1 << 16
# More than a row group has. Each page has a compressor made for it: six a column, of 20,000 rows as is usual,
# take a twentieth longer. Long columns still have pages of a megabyte.
_PAGE_ROWS: Final = 1 << 20
# zstd makes these hardly smaller than their encoding does.
_UNCOMPRESSED: Final = frozenset({"bytes", "byte_offset"})
# By their differences; those of visits, which come by visitor, take a third less than by a dictionary, in a
# third of the time.
_GROWING: Final = frozenset(
    {
        *("line_number", "byte_offset", "bytes"),
        *("started_at", "ended_at", "entry_at", "entry_line", "exit_at", "exit_line"),
    }
)
# Much the same from row to row: zstd alone makes them as small as a dictionary, zones in a quarter of the
# time.
_STEADY: Final = frozenset({"timestamp", "utc_offset_minutes"})
_CHOSEN_BY: Final = frozenset(
    {"source_file", "site", "event_date", "hour", "timestamp", "line_number", "status"}
)


class Encoder:
    """One part in the making. Row groups are encoded `behind`, if that is given, while the next is gathered.

    Who makes several parts gives all of them the same: what a thread has used of Arrow's memory is used again
    by the same thread alone, and a new one for each part takes a twentieth of the CPU time for fresh pages.
    """

    def __init__(self, table: Table, behind: Behind | None = None) -> None:
        import pyarrow as pa

        self.rows = 0
        self._table = table
        self._waiting: list[pl.DataFrame | pa.Table] = []
        self._waiting_bytes = 0
        self._groups = 0
        self._sink = pa.BufferOutputStream()
        self._writer: pq.ParquetWriter | None = None
        self._behind = behind

    @property
    def is_full(self) -> bool:
        """Whether the part is large enough."""
        return self._groups >= _GROUPS

    def add(self, rows: pl.DataFrame | pa.Table, size: int) -> None:
        """Take rows of the table's columns, which keep about `size` bytes in memory."""
        self.rows += len(rows)
        self._waiting.append(rows)
        self._waiting_bytes += size
        if self._waiting_bytes >= _GROUP_BYTES:
            encode = partial(self._encode, self._group())
            encode() if self._behind is None else self._behind.run(encode)

    def encode(self, rows: pl.DataFrame | pa.Table) -> None:
        """Encode rows of the table's columns, here and now, as a row group of their own."""
        self.rows += len(rows)
        self._encode([rows])

    def close(self) -> memoryview:
        """The part, as it was encoded: some megabytes, which nobody copies."""
        if self._behind is not None:
            self._behind.wait()
        if self._waiting or self._writer is None:
            self._encode(self._group())
        assert self._writer is not None
        self._writer.close()
        return memoryview(self._sink.getvalue()).cast("B")

    def _group(self) -> list[pl.DataFrame | pa.Table]:
        group, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._groups += 1
        return group

    def _encode(self, parts: list[pl.DataFrame | pa.Table]) -> None:
        import pyarrow as pa

        if self._writer is None:
            self._writer = self._opened(max(parts, key=len, default=self._table.empty()))
        group = pa.concat_tables([_as_table(part, self._writer.schema) for part in parts])
        # Of one dictionary after another the writer would keep only the first.
        self._writer.write_table(group.unify_dictionaries(), row_group_size=group.num_rows)

    def _opened(self, rows: pl.DataFrame | pa.Table) -> pq.ParquetWriter:
        """The part's writer, given some of its first rows."""
        import pyarrow.parquet as pq

        names = self._table.column_names
        plain = _UNLIKE | _GROWING | _STEADY | _unlike(rows)
        return pq.ParquetWriter(
            self._sink,
            _schema(self._table, rows),
            compression={name: "none" if name in _UNCOMPRESSED else "zstd" for name in names},
            compression_level={
                name: PARQUET_COMPRESSION_LEVEL for name in names if name not in _UNCOMPRESSED
            },
            use_dictionary=[name for name in names if name not in plain],
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            column_encoding={name: "DELTA_BINARY_PACKED" for name in names if name in _GROWING},
            write_statistics=[name for name in names if name in _CHOSEN_BY],
            write_batch_size=_BATCH_ROWS,
            max_rows_per_page=_PAGE_ROWS,
            # Else readers would take the columns for dictionaries that were handed over as such.
            store_schema=False,
        )


def encoded(table: Table, rows: pl.DataFrame) -> memoryview:
    """A part of these rows of the table's columns, as one row group; their texts may be coded."""
    encoder = Encoder(table)
    encoder.encode(rows)
    return encoder.close()


def _unlike(rows: pl.DataFrame | pa.Table) -> set[str]:
    """Which of the columns that may recur don't in these rows; those that come as dictionaries do."""
    import pyarrow as pa

    found = set()
    names = rows.columns if isinstance(rows, pl.DataFrame) else rows.column_names
    for name in _PERHAPS_UNLIKE.intersection(names):
        some = rows[name][:_SAMPLE_ROWS]
        if isinstance(some, pl.Series):
            texts = some
        elif pa.types.is_dictionary(some.type):
            continue
        else:
            texts = series(name, some)
        if texts.n_unique() > _UNLIKE_SHARE * len(texts):
            found.add(name)
    return found


def _schema(table: Table, rows: pl.DataFrame | pa.Table) -> pa.Schema:
    """Arrow's types for the table's columns; texts are views unless these rows have them as they are.

    Those that these rows have as dictionaries are dictionaries in the whole part.
    """
    import pyarrow as pa

    empty = table.empty().to_arrow(compat_level=pl.CompatLevel.newest()).schema
    texts = pa.string_view()
    if isinstance(rows, pl.DataFrame):
        known = {name: pa.large_string() for name in _coded(rows)}
    else:
        already = (field.name for field in rows.schema if pa.types.is_dictionary(field.type))
        known = dict.fromkeys((*_DICTIONARIES, *already), pa.string())
        if texts not in rows.schema.types:
            texts = pa.string()
    types = {pl.String(): texts, pl.Binary(): pa.binary_view()}
    return pa.schema(
        [
            pa.field(
                column.name,
                pa.dictionary(pa.int32(), known[column.name])
                if column.name in known
                else types.get(column.dtype, empty.field(column.name).type),
                # Where a null is none the less, the writer raises an error.
                column.nullable,
            )
            for column in table.columns
        ]
    )


def _coded(rows: pl.DataFrame) -> list[str]:
    return [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Categorical)]


def _as_table(rows: pl.DataFrame | pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    if isinstance(rows, pl.DataFrame):
        already = _coded(rows)
        known = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        texts = [name for name in known if name not in already]
        numbers, said = of_few(coded(rows.lazy(), texts).collect() if texts else rows)
        table = numbers.to_arrow(compat_level=pl.CompatLevel.newest())
        columns = {name: table.column(name) for name in table.column_names}
        columns |= {name: _dictionary(columns[name], said[name]) for name in said}
    else:
        columns = {name: rows.column(name) for name in rows.column_names}
    return pa.table([_as_type(columns[field.name], field.type) for field in schema], schema=schema)


def _dictionary(numbers: pa.ChunkedArray, said: pl.Series) -> pa.ChunkedArray:
    """Coded texts as an Arrow dictionary. Their `to_arrow` takes ten times as long."""
    import pyarrow as pa

    known = said.to_arrow(compat_level=pl.CompatLevel.oldest())
    kind = pa.dictionary(pa.int32(), known.type)
    return pa.chunked_array(
        # Polars counts texts by numbers without a sign.
        (
            pa.DictionaryArray.from_arrays(chunk.view(pa.int32()), known, safe=False)
            for chunk in numbers.chunks
        ),
        kind,
    )


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """The column as another type, as a rule without a `cast`: that would import all of `pyarrow.compute`."""
    import pyarrow as pa

    if column.type == wanted:
        return column
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), wanted)])
    if pa.types.is_dictionary(wanted) and column.type == wanted.value_type:
        return _as_table(series("", column).to_frame(), pa.schema([pa.field("", wanted)])).column(0)
    if pa.types.is_dictionary(wanted) and pa.types.is_dictionary(column.type):
        return pa.chunked_array(
            dictionary(chunk.dictionary.to_pylist(), chunk.indices) for chunk in column.chunks
        )
    if wanted == pa.string() and column.type == pa.string_view():
        return pa.chunked_array([copied(column)])
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    return column.cast(wanted)
