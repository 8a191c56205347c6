"""Delta tables: creating them, reading them, and overwriting days of them.

What belongs here: every call into delta-rs. What does not: when a day is written, and from what
(`compute.publish`).

The rule that keeps two writers apart: open the handle, *then* read the inputs, then write with that handle.
Whoever wrote the same days in between makes the write raise `TableConflictError`; other days don't conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.schemas import MODEL, RECORDS, SERVING, Table
from pipeline_assets.storage.store import DeltaAddress, Store

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable, Schema

TABLES: Final[dict[str, Table]] = {**SERVING, **MODEL, **RECORDS}
# Every commit adds a file; past this many the appended records are compacted by whoever comes by. Files that
# have reached the size are left alone, so that compacting costs the same however long the history is.
_COMPACT_FILES: Final = 64
RECORDS_FILE_BYTES: Final = 32 << 10
# Opening a table reads the last checkpoint and every commit after it, so these bound what it costs. Bounds of
# values are kept only of the column by which files are chosen: with all columns', the log of a table would be
# three times as large.
_PROPERTIES: Final = {"delta.checkpointInterval": "20", "delta.logRetentionDuration": "interval 7 days"}
_CHOSEN_BY: Final = {"ledger": "recorded_at", "runs": "recorded_at"}

# Rows that are handed over at once, where they come one after another.
_BATCH_ROWS: Final = 50_000
# So many are a row group, which the writer keeps in memory: of a million, as is usual, 70 MB more.
_GROUP_ROWS: Final = 1 << 17
# A lost race for the columns of a table or for an append means that another process has just succeeded.
_TRIES: Final = 50


class TableConflictError(Exception):
    """Another writer has changed the same days since the handle was opened."""


class TableShapeError(Exception):
    """A stored table has a column of another type than the catalogue; the message says what to do."""


def open_table(store: Store, name: str) -> DeltaTable:
    """A handle on a table as it is now; the table is created, empty, on first use."""
    from deltalake.exceptions import TableNotFoundError

    from pipeline_assets.storage.delta_table import NamedDeltaTable

    address = _address(store, name)
    try:
        return NamedDeltaTable(address.uri, storage_options=_options(address))
    except TableNotFoundError:
        return _create(store, name)


def open_for_writing(store: Store, name: str) -> DeltaTable:
    """A handle on a table that has every column of the catalogue.

    A table written by an older version gains the columns that it lacks; they are null in its rows. Two
    processes may come to it at once: one adds them, and the other finds them there.

    Raises `TableShapeError` where a column has another type than the catalogue's.
    """
    from deltalake.exceptions import CommitFailedError

    for _ in range(_TRIES):
        handle = open_table(store, name)
        missing = _missing_columns(handle, name)
        if not missing:
            return handle
        with suppress(CommitFailedError):
            handle.alter.add_columns(missing)
    raise RuntimeError(f"{name}: lost {_TRIES} races for its columns")


def read_table(store: Store, name: str, handle: DeltaTable | None = None) -> pl.LazyFrame:
    """A table's rows, lazily, with the catalogue's columns; one that the table has not got yet is null.

    Raises `TableShapeError` where a column has another type than the catalogue's.
    """
    rows = pl.scan_delta(handle or open_table(store, name))
    there = _checked(rows.collect_schema(), name)
    return rows.select(
        pl.col(column) if column in there else pl.lit(None, dtype).alias(column)
        for column, dtype in TABLES[name].schema.items()
    )


def overwrite_days(
    handle: DeltaTable, name: str, days: Iterable[date], rows: pl.DataFrame | Iterable[pl.DataFrame]
) -> None:
    """Replace all rows of these event days, in one commit; a day without rows is emptied.

    Frames are written one after another, as they come.

    Raises `TableConflictError` where one of the days has changed since the handle was opened.
    """
    from deltalake import WriterProperties, write_deltalake
    from deltalake.exceptions import CommitFailedError

    stored = _as_stored(handle, name)
    data = stored(rows) if isinstance(rows, pl.DataFrame) else _streamed(stored, name, rows)
    written = WriterProperties(compression="SNAPPY", max_row_group_size=_GROUP_ROWS)
    try:
        write_deltalake(handle, data, mode="overwrite", predicate=_on_days(days), writer_properties=written)
    except CommitFailedError as error:
        raise TableConflictError(f"{name}: {error}") from error


def _streamed(
    stored: Callable[[pl.DataFrame], pl.DataFrame], name: str, frames: Iterable[pl.DataFrame]
) -> pa.RecordBatchReader:
    import pyarrow as pa

    schema = stored(TABLES[name].empty()).to_arrow().schema
    tables = (stored(frame).to_arrow() for frame in frames)
    return pa.RecordBatchReader.from_batches(
        schema, (batch for table in tables for batch in table.to_batches(max_chunksize=_BATCH_ROWS))
    )


def append_rows(store: Store, name: str, rows: pl.DataFrame) -> None:
    """Add rows. Appends conflict with each other never, and with whoever merges their small files at once."""
    from deltalake import write_deltalake
    from deltalake.exceptions import CommitFailedError

    for _ in range(_TRIES):
        handle = open_for_writing(store, name)
        try:
            write_deltalake(handle, _as_stored(handle, name)(rows), mode="append")
        except CommitFailedError:
            continue
        break
    else:
        raise RuntimeError(f"{name}: lost {_TRIES} races for an append")
    if len(handle.file_uris()) > _COMPACT_FILES:
        with suppress(CommitFailedError):  # somebody else compacts at this moment
            handle.optimize.compact(target_size=RECORDS_FILE_BYTES)


def between(first: date, last: date) -> str:
    """The days from `first` to `last` as delta-rs is asked for them.

    A range, because files are chosen by the bounds of their days, and a list of more than twenty chooses all.
    """
    return f"(event_date >= '{first.isoformat()}' AND event_date <= '{last.isoformat()}')"


def _on_days(days: Iterable[date]) -> str:
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and (day - ranges[-1][1]).days == 1:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return " OR ".join(between(first, last) for first, last in ranges)


def table_id(handle: DeltaTable) -> str:
    """The identity a table was created with: another one where it was deleted and made anew."""
    return str(handle.metadata().id)


@dataclass(frozen=True)
class TableMark:
    """A version of a table, and the object that tells whether it is still the newest."""

    address: str
    version: int
    etag: str | None


def mark(store: Store, name: str, handle: DeltaTable) -> TableMark:
    """What to keep beside something read from this handle, to ask later whether it still holds."""
    commit = store.stat(_commit_path(name, handle.version()))
    address = store.uri(_table_path(name))
    return TableMark(address, handle.version(), commit.etag if commit else None)


def is_continued(store: Store, name: str, made: TableMark) -> bool:
    """Whether the table has that version in its past, or is at it: whatever was read then has been there.

    Not so where it was deleted and made anew, or put back from a copy, and where that version's commit has
    been cleaned away.
    """
    if made.etag is None or made.address != store.uri(_table_path(name)):
        return False
    commit = store.stat(_commit_path(name, made.version))
    return commit is not None and commit.etag == made.etag


def still_holds(store: Store, name: str, made: TableMark) -> bool:
    """Whether the table is still at that version. Asking is two small requests, opening it one a commit."""
    return is_continued(store, name, made) and store.stat(_commit_path(name, made.version + 1)) is None


def _schema(name: str, columns: Sequence[str]) -> Schema:
    """Columns of a table as delta-rs describes them; what they hold is in its log, for whoever opens it."""
    import pyarrow as pa
    from deltalake import Schema

    table = TABLES[name]
    said = {column.name: {"comment": column.description} for column in table.columns}
    fields = table.empty().select(columns).to_arrow().schema
    return Schema.from_arrow(pa.schema([field.with_metadata(said[field.name]) for field in fields]))


def _create(store: Store, name: str) -> DeltaTable:
    """Create a table; where two do at once, the log's first entry can be written by one only."""
    from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

    from pipeline_assets.storage.delta_table import NamedDeltaTable

    address = _address(store, name)
    options = _options(address)
    try:
        return NamedDeltaTable.create(
            address.uri,
            _schema(name, TABLES[name].column_names),
            mode="error",
            description=TABLES[name].description,
            configuration=_PROPERTIES
            | {"delta.dataSkippingStatsColumns": _CHOSEN_BY.get(name, "event_date")},
            storage_options=options,
        )
    except (CommitFailedError, DeltaError, FileExistsError) as error:
        try:
            return NamedDeltaTable(address.uri, storage_options=options)  # somebody else has just created it
        except TableNotFoundError:
            raise error from None


def _missing_columns(handle: DeltaTable, name: str) -> list[Any]:
    """Columns of the catalogue that the table has not got, as delta-rs describes columns."""
    there = _checked(pl.scan_delta(handle).collect_schema(), name)
    missing = [column for column in TABLES[name].column_names if column not in there]
    if not missing:
        return []
    return list(_schema(name, missing).fields)


def _as_stored(handle: DeltaTable, name: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Rows to such with every column that the table has: null in those that the catalogue has dropped."""
    known = TABLES[name].column_names
    dropped = []
    # To ask for the types takes a millisecond, which few tables need.
    if not {field.name for field in handle.schema().fields} <= set(known):
        there = pl.scan_delta(handle).collect_schema()
        dropped = [
            pl.lit(None, dtype).alias(column) for column, dtype in there.items() if column not in known
        ]
    return lambda rows: rows.select(known).with_columns(dropped)


def _checked(there: pl.Schema, name: str) -> pl.Schema:
    table = TABLES[name]
    differing = [
        f"column {column} is {there[column]}, and this version writes {dtype}"
        for column, dtype in table.schema.items()
        if there.get(column, dtype) != dtype
    ]
    if differing:
        raise TableShapeError(
            f"{table.layer}/{name} was written by another version: {'; '.join(differing)}. Move the folder"
            f" {table.layer}/{name} away and run again: the next run makes the table anew"
        )
    return there


def _address(store: Store, name: str) -> DeltaAddress:
    return store.delta_address(_table_path(name))


def _table_path(name: str) -> str:
    return f"{TABLES[name].layer}/{name}"


def _commit_path(name: str, version: int) -> str:
    # https://github.com/delta-io/delta/blob/master/PROTOCOL.md#delta-log-entries
    return f"{_table_path(name)}/_delta_log/{version:020}.json"


def _options(address: DeltaAddress) -> dict[str, str] | None:
    return None if address.options is None else dict(address.options)
