"""The ledger: what became of every delivery and file, as tables to query. Derived, and coordinates nothing.

What belongs here: manifests as rows, and reading the latest row of each. What does not: decisions. Rows are
appended; of a unit, those of its highest generation that were recorded last hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import polars as pl

from pipeline_assets.kernel.schemas import LEDGER, UNIT_DAYS
from pipeline_assets.storage.manifests import FileRecord, Manifest
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.table_care import replace_rows
from pipeline_assets.storage.tables import (
    TableMark,
    append_rows,
    is_continued,
    mark,
    open_table,
    read_table,
    still_holds,
)
from pipeline_assets.storage.units import Unit

# The last answers of `known_files` by the day asked for.
_known: dict[date | None, _Answer] = {}
_KEPT_ANSWERS: Final = 2
# Rows may be recorded by several machines, and become visible in another order than that of their times.
_CLOCKS_DIFFER: Final = timedelta(hours=1)
_COUNTS = ("bytes", "lines", "parsed", "continuation", "rejected", "blank", "comment")


@dataclass(frozen=True)
class _Answer:
    """What was known, from which rows, and how to tell whether it still holds."""

    mark: TableMark
    rows: pl.DataFrame
    known: dict[str, tuple[str, str]]


def record(store: Store, manifests: Iterable[tuple[Manifest, str | None]]) -> None:
    """Append the rows of bronze manifests that serving now shows.

    Each comes with why the unit is quarantined, if it is: the rows then are what it was before.
    """
    now = datetime.now(UTC)
    listed = [(manifest, reason) for manifest, reason in manifests if manifest.files or reason]
    if not listed:
        return
    rows = [row | {"recorded_at": now} for manifest, reason in listed for row in _rows(manifest, reason)]
    append_rows(store, "ledger", pl.DataFrame(rows, schema=LEDGER.schema, orient="row"))
    days = [row for manifest, _ in listed for row in _day_rows(manifest)]
    append_rows(store, "unit_days", pl.DataFrame(days, schema=UNIT_DAYS.schema, orient="row"))


def latest(store: Store) -> pl.DataFrame:
    """The ledger as it holds now: of each unit the rows of its highest generation, recorded last."""
    return (
        read_table(store, "ledger")
        .filter(pl.col("generation") == pl.col("generation").max().over("unit"))
        .filter(pl.col("recorded_at") == pl.col("recorded_at").max().over("unit"))
        .unique()
        .sort("unit", "path", nulls_last=False)
        .collect()
    )


def known_files(store: Store, *, since: date | None = None) -> dict[str, tuple[str, str]]:
    """Landed paths that were read, with the unit and the etag of the version read.

    With `since`, only those recorded on that day or later. The answer is kept until the table changes, and
    then only what has been recorded lately is read: the sensor asks twice a second.
    """
    answer = _known.get(since)
    if answer and still_holds(store, "ledger", answer.mark):
        return answer.known
    handle = open_table(store, "ledger")
    # Files of the table are chosen by the bounds of this column, so older rows are not read.
    recorded = pl.col("recorded_at")
    rows = read_table(store, "ledger", handle).filter(pl.col("path").is_not_null())
    if since is not None:
        rows = rows.filter(recorded >= datetime(since.year, since.month, since.day, tzinfo=UTC))
    before = []
    # A table that was put back from a copy knows less than it did.
    if answer and answer.rows.height and is_continued(store, "ledger", answer.mark):
        newest = answer.rows["recorded_at"].max()
        assert isinstance(newest, datetime)
        rows = rows.filter(recorded >= newest - _CLOCKS_DIFFER)
        before = [answer.rows]
    fresh = rows.select("path", "unit", "etag", "generation", "recorded_at").collect()
    latest = (
        pl.concat([*before, fresh])
        .sort("generation", "recorded_at")
        .unique("path", keep="last", maintain_order=True)
    )
    known = {path: (unit, etag) for path, unit, etag in latest.select("path", "unit", "etag").iter_rows()}
    _known.pop(since, None)
    while len(_known) >= _KEPT_ANSWERS:
        _known.pop(next(iter(_known)))
    _known[since] = _Answer(mark(store, "ledger", handle), latest, known)
    return known


def forget_answers() -> None:
    """Ask anew, as a new process does: for whoever writes rows as of long ago."""
    _known.clear()


def fold(store: Store, *, dry_run: bool = False) -> int:
    """Leave out rows that later ones have superseded; how many.

    Every question above has the same answer before and after: what stays are a unit's latest rows, the latest
    of each path, and of each event day that a unit ever touched the latest row.
    """
    return replace_rows(store, "ledger", _still_asked_for, dry_run=dry_run) + replace_rows(
        store, "unit_days", _latest_days, dry_run=dry_run
    )


def _still_asked_for(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.with_columns(
            pl.col("generation").max().over(key).alias(f"generation_of_{key}") for key in ("unit", "path")
        )
        .with_columns(
            pl.col("recorded_at")
            .filter(pl.col("generation") == pl.col(f"generation_of_{key}"))
            .max()
            .over(key)
            .alias(f"recorded_of_{key}")
            for key in ("unit", "path")
        )
        .filter(_is_newest_of("unit") | (pl.col("path").is_not_null() & _is_newest_of("path")))
        .select(rows.columns)
        .unique(maintain_order=True)
        .sort("recorded_at", maintain_order=True)
    )


def _is_newest_of(key: str) -> pl.Expr:
    return (pl.col("generation") == pl.col(f"generation_of_{key}")) & (
        pl.col("recorded_at") == pl.col(f"recorded_of_{key}")
    )


def _latest_days(rows: pl.DataFrame) -> pl.DataFrame:
    latest = rows.sort("generation").unique(["event_date", "unit"], keep="last", maintain_order=True)
    return latest.sort("event_date", maintain_order=True)


def units_of_days(store: Store, days: Iterable[date]) -> dict[date, list[Unit]]:
    """Units that have, or once had, rows on these event days."""
    rows = (
        read_table(store, "unit_days")
        .filter(pl.col("event_date").is_in(sorted(set(days))))
        .select("event_date", "unit")
        .unique()
        .collect()
    )
    found: dict[date, list[Unit]] = {}
    for day, unit in rows.iter_rows():
        found.setdefault(day, []).append(Unit.parse(unit))
    return found


def days_of_unit(store: Store, unit: Unit) -> set[date]:
    """Event days that a unit has, or once had, rows on."""
    rows = read_table(store, "unit_days").filter(pl.col("unit") == str(unit)).select("event_date").collect()
    return set(rows["event_date"])


def _rows(manifest: Manifest, reason: str | None) -> list[dict[str, Any]]:
    common: dict[str, Any] = {
        "unit": manifest.unit,
        "generation": manifest.generation,
        "published_generation": manifest.generation or None,
    }
    files: list[dict[str, Any]] = [common | _file_row(file) for file in manifest.files]
    moments = [row[name] for row in files for name in ("first_event", "last_event") if row[name]]
    whole: dict[str, Any] = common | {
        "status": "quarantined" if reason else "counted",
        "reason": reason,
        "first_event": min(moments, default=None),
        "last_event": max(moments, default=None),
        "event_days": sorted({day for row in files for day in row["event_days"]}),
        "kernel_version": manifest.kernel,
        "config_digest": manifest.config,
    }
    whole |= {name: sum(row[name] for row in files) for name in _COUNTS}
    return [whole, *files]


def _file_row(file: FileRecord) -> dict[str, Any]:
    return {
        "path": file.path,
        "status": file.status,
        "etag": file.etag,
        "digest": file.digest,
        "first_event": _moment(file.first_event),
        "last_event": _moment(file.last_event),
        "event_days": sorted(date.fromisoformat(day) for day in {*file.request_days, *file.error_days}),
        "kernel_version": file.kernel,
        "config_digest": file.config,
        **{name: getattr(file, name) for name in _COUNTS},
    }


def _day_rows(manifest: Manifest) -> list[dict[str, Any]]:
    hits: dict[str, int] = dict.fromkeys(manifest.touched_days, 0)
    for file in manifest.files:
        if file.status == "counted":
            for day, rows in file.request_days.items():
                hits[day] = hits.get(day, 0) + rows
    return [
        {
            "event_date": date.fromisoformat(day),
            "unit": manifest.unit,
            "generation": manifest.generation,
            "hits": count,
        }
        for day, count in sorted(hits.items())
    ]


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
