"""Keeping Delta tables small and quick to open: compaction, checkpoints, and deleting what no version needs.

What belongs here: every call into delta-rs that changes how a table is stored and not what it says. What does
not: reading and writing rows (`tables`), and when this is done (`compute.maintenance`).

All of it is optimistic, like every other commit. Whoever writes the same rows at the same moment wins, or
starts over with a fresh handle, and what could not be done is left for the next time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.schemas import RECORDS
from pipeline_assets.storage.store import Entry, Store
from pipeline_assets.storage.tables import RECORDS_FILE_BYTES, TABLES, between, open_for_writing, open_table

if TYPE_CHECKING:
    from deltalake import DeltaTable

# Files of neighbouring days, or of one appended table, that are worth a commit that merges them.
_FILES: Final = 2
_APPENDED_FILES: Final = 8
# A merged file holds at most so many days and bytes. A delivery for a day inside it writes the whole file
# anew, so these bound what a late one costs; without merging, opening a table would cost more with every day.
_MERGED_DAYS: Final = 366
_MERGED_BYTES: Final = 4 << 20
# Files of days that overlap one larger than that, which are worth writing it anew.
_OVERLAPPING: Final = 8
# Commits after the last checkpoint that make opening a table slower than one more checkpoint is worth.
_COMMITS: Final = 10
_LOG: Final = "_delta_log"
_COMMIT: Final = re.compile(r"(\d{20})\.json")
_CHECKPOINT: Final = re.compile(r"(\d{20})\.checkpoint\..*parquet")
_UNCOMMITTED: Final = re.compile(r"_commit_[0-9a-f-]+\.json\.tmp|.+#\d+")


@dataclass
class TableCare:
    """What was done to one table: what was merged, what was deleted, and what another writer prevented.

    In a dry run it is what would be.
    """

    name: str
    merged_files: int = 0
    checkpointed: bool = False
    deleted: list[Entry] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def exists(store: Store, name: str) -> bool:
    """Whether a table has been created."""
    return bool(store.children(f"{table_folder(name)}/{_LOG}"))


def table_folder(name: str) -> str:
    """Where a table lies, below the storage root."""
    return f"{TABLES[name].layer}/{name}"


def care_for_table(store: Store, name: str, *, history: timedelta, quiet: float, dry_run: bool) -> TableCare:
    """Merge small files, write a checkpoint, and delete what versions older than `history` needed alone.

    Files changed after `quiet` (seconds since the epoch) are left alone, so that a day somebody is writing is
    not touched. A reader keeps the version that it has opened for as long as `history`.
    """
    done = TableCare(name)
    _compact(store, done, quiet, dry_run)
    _checkpoint(store, done, dry_run)
    _vacuum(store, done, history, dry_run)
    _delete_uncommitted(store, done, quiet, dry_run)
    return done


def _compact(store: Store, done: TableCare, quiet: float, dry_run: bool) -> None:
    handle = open_table(store, done.name)
    files = _files(handle)
    if done.name in RECORDS:
        if files.height >= _APPENDED_FILES and _compacted(handle, done, dry_run):
            done.merged_files = files.height
        return
    if handle.metadata().partition_columns:
        _compact_by_day(handle, files, done, quiet, dry_run)
        return
    for first, last, merged in _to_merge(files, quiet):
        if not dry_run and not _merged(open_table(store, done.name), done, first, last):
            return
        done.merged_files += merged


def _compact_by_day(
    handle: DeltaTable, files: pl.DataFrame, done: TableCare, quiet: float, dry_run: bool
) -> None:
    """Merge the files of each day of a table that keeps the days apart."""
    days = (
        files.group_by(event_date="first")
        .agg(pl.len(), pl.col("modified").max())
        .filter((pl.col("len") >= _FILES) & (pl.col("modified") < quiet))
    )
    if days.is_empty():
        return
    listed = [day.isoformat() for day in days["event_date"].sort()]
    if _compacted(handle, done, dry_run, [("event_date", "in", listed)]):
        done.merged_files = int(days["len"].sum())


def _compacted(handle: DeltaTable, done: TableCare, dry_run: bool, filters: Any = None) -> bool:
    from deltalake.exceptions import CommitFailedError

    try:
        if not dry_run:
            handle.optimize.compact(
                partition_filters=filters, target_size=RECORDS_FILE_BYTES if done.name in RECORDS else None
            )
    except CommitFailedError:
        done.left.append(f"{done.name}: not compacted, another writer was at the same rows")
        return False
    return True


def _merged(handle: DeltaTable, done: TableCare, first: date, last: date) -> bool:
    """Write the days from `first` to `last` anew as few files; whether nobody else wrote one of them."""
    from deltalake import write_deltalake
    from deltalake.exceptions import CommitFailedError

    day = pl.col("event_date")
    rows = pl.scan_delta(handle).filter(day.is_between(first, last)).sort("event_date", maintain_order=True)
    try:
        write_deltalake(
            handle,
            rows.collect(),
            mode="overwrite",
            predicate=between(first, last),
            target_file_size=_MERGED_BYTES,
        )
    except CommitFailedError:
        done.left.append(f"{done.name}: not compacted, another writer was at the same days")
        return False
    return True


def _to_merge(files: pl.DataFrame, quiet: float) -> Iterator[tuple[date, date, int]]:
    """Ranges of days (first, last, files) that are each worth a commit, with nobody at them since `quiet`.

    Files are taken by their days in order, up to the limits of a merged file. Those whose days overlap stay
    together: a range is written with all that lies in it.
    """
    group: list[_Days] = []
    for days in [*_overlapping(files), None]:
        if days is not None and days.modified < quiet and _fits([*group, days]):
            group.append(days)
            continue
        count = sum(each.files for each in group)
        if count >= (_FILES if len(group) > 1 or _fits(group) else _OVERLAPPING):
            yield group[0].first, group[-1].last, count
        group = [days] if days is not None and days.modified < quiet else []


def _fits(group: list[_Days]) -> bool:
    return not group or (
        (group[-1].last - group[0].first).days < _MERGED_DAYS
        and sum(days.size for days in group) <= _MERGED_BYTES
    )


@dataclass
class _Days:
    """Files whose days overlap: the range of their days, how many, their bytes, and the last change."""

    first: date
    last: date
    files: int
    size: int
    modified: float


def _overlapping(files: pl.DataFrame) -> list[_Days]:
    """Files in the order of their days, those that overlap as one."""
    found: list[_Days] = []
    for first, last, size, modified in files.drop_nulls("first").sort("first", "last").iter_rows():
        if found and first <= found[-1].last:
            before = found[-1]
            found[-1] = _Days(
                before.first,
                max(before.last, last),
                before.files + 1,
                before.size + size,
                max(before.modified, modified),
            )
        else:
            found.append(_Days(first, last, 1, size, modified))
    return found


def _files(handle: DeltaTable) -> pl.DataFrame:
    """Current files: `first` and `last` event day (null where unknown), `size` in bytes, and `modified`.

    The time of change is in seconds since the epoch.
    """
    files = pl.DataFrame(handle.get_add_actions(flatten=True))
    by_day = "partition.event_date"
    names = (by_day, by_day) if by_day in files.columns else ("min.event_date", "max.event_date")
    chosen = [
        files[name].alias(alias)
        if name in files.columns
        else pl.Series(alias, [None] * files.height, pl.Date)
        for name, alias in zip(names, ("first", "last"), strict=True)
    ]
    modified = files["modification_time"].cast(pl.Int64) / 1000
    return pl.DataFrame([*chosen, files["size_bytes"].alias("size"), modified.alias("modified")])


def _checkpoint(store: Store, done: TableCare, dry_run: bool) -> None:
    names = store.children(f"{table_folder(done.name)}/{_LOG}")
    versions = [int(found[1]) for name in names if (found := _COMMIT.fullmatch(name))]
    last = max((int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name))), default=-1)
    if sum(version > last for version in versions) < _COMMITS:
        return
    done.checkpointed = True
    if not dry_run:
        handle = open_table(store, done.name)
        handle.create_checkpoint()
        handle.cleanup_metadata()


def _vacuum(store: Store, done: TableCare, history: timedelta, dry_run: bool) -> None:
    """Delete data files that no version within `history` names, and what killed writers left behind."""
    from deltalake.exceptions import CommitFailedError, DeltaError

    handle = open_table(store, done.name)
    there = {entry.path.rpartition("/")[2]: entry for entry in store.list(table_folder(done.name))}
    hours = int(history.total_seconds() // 3600)
    try:
        found = handle.vacuum(hours, dry_run=dry_run, enforce_retention_duration=False, full=True)
    except (CommitFailedError, DeltaError, OSError) as error:
        done.left.append(f"{done.name}: old files not deleted ({_first_line(error)})")
        return
    for path in found:
        entry = there.get(str(path).rpartition("/")[2])
        if entry is not None:
            done.deleted.append(entry)


def _delete_uncommitted(store: Store, done: TableCare, quiet: float, dry_run: bool) -> None:
    """Commits that killed writers had written aside and not yet put in place."""
    for entry in store.list(f"{table_folder(done.name)}/{_LOG}"):
        if _UNCOMMITTED.fullmatch(entry.path.rpartition("/")[2]) and entry.modified < quiet:
            if not dry_run:
                store.delete(entry.path)
            done.deleted.append(entry)


def replace_rows(store: Store, name: str, keep: Any, *, dry_run: bool) -> int:
    """Rewrite an appended table as `keep(rows)` of what it holds; how many rows that leaves out.

    Rows stay in the order of `keep`, so that few files hold those of one time. Rows appended meanwhile stay:
    the commit replaces the files that were read, and no others. Of two processes that do it at once, one wins
    and the other leaves it.
    """
    from deltalake import write_deltalake
    from deltalake.exceptions import CommitFailedError

    handle = open_for_writing(store, name)
    rows: pl.DataFrame = pl.scan_delta(handle).collect()
    kept: pl.DataFrame = keep(rows)
    superseded = rows.height - kept.height
    if superseded and not dry_run:
        try:
            write_deltalake(
                handle, kept.select(rows.columns), mode="overwrite", target_file_size=RECORDS_FILE_BYTES
            )
        except CommitFailedError:
            return 0
    return superseded


def _first_line(error: Exception) -> str:
    with suppress(IndexError):
        return str(error).splitlines()[0]
    return type(error).__name__
