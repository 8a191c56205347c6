"""Keeping Delta tables small and quick to open: compaction, checkpoints, and deleting what no version needs.

What belongs here: every call into delta-rs that changes how a table is stored and not what it says. What does
not: reading and writing rows (`tables`), and when this is done (`compute.maintenance`).

All of it is optimistic, like every other commit. Whoever writes the same rows at the same moment wins, or
starts over with a fresh handle, and what could not be done is left for the next time.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.schemas import RECORDS
from pipeline_assets.storage.store import Entry, Store
from pipeline_assets.storage.tables import TABLES, open_for_writing, open_table

if TYPE_CHECKING:
    from deltalake import DeltaTable

# Files of one event day, or of one appended table, that are worth a commit that merges them.
_FILES: Final = 2
_APPENDED_FILES: Final = 8
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
    from deltalake.exceptions import CommitFailedError

    handle = open_table(store, done.name)
    files = _files(handle)
    if done.name in RECORDS:
        if files.height < _APPENDED_FILES:
            return
        filters, merged = None, files.height
    else:
        days = (
            files.group_by("event_date")
            .agg(pl.len(), pl.col("modified").max())
            .filter((pl.col("len") >= _FILES) & (pl.col("modified") < quiet))
        )
        if days.is_empty():
            return
        filters = [("event_date", "in", [day.isoformat() for day in days["event_date"].sort()])]
        merged = int(days["len"].sum())
    if not dry_run:
        try:
            handle.optimize.compact(partition_filters=filters)
        except CommitFailedError:
            done.left.append(f"{done.name}: not compacted, another writer was at the same days")
            return
    done.merged_files = merged


def _files(handle: DeltaTable) -> pl.DataFrame:
    """Current files: `event_date` (null where not by day) and `modified` (seconds since the epoch)."""
    files = pl.DataFrame(handle.get_add_actions(flatten=True))
    day = "partition.event_date"
    return files.select(
        (pl.col(day) if day in files.columns else pl.lit(None, pl.Date)).alias("event_date"),
        (pl.col("modification_time").cast(pl.Int64) / 1000).alias("modified"),
    )


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

    Rows appended meanwhile stay: the commit replaces the files that were read, and no others. Of two
    processes that do it at once, one wins and the other leaves it.
    """
    from deltalake import write_deltalake
    from deltalake.exceptions import CommitFailedError

    handle = open_for_writing(store, name)
    rows: pl.DataFrame = pl.scan_delta(handle).collect()
    kept: pl.DataFrame = keep(rows)
    superseded = rows.height - kept.height
    if superseded and not dry_run:
        try:
            write_deltalake(handle, kept.select(rows.columns), mode="overwrite")
        except CommitFailedError:
            return 0
    return superseded


def _first_line(error: Exception) -> str:
    with suppress(IndexError):
        return str(error).splitlines()[0]
    return type(error).__name__
