"""Days to serving and model: what people query is brought up to the units that have changed.

What belongs here: which days a change touches, projecting their states, and the commits, with their retries.
What does not: folding (`days`), projections (`kernel.projections`) or scores (`scores`).

The order makes a kill at any moment harmless. The state comes first, then the tables, then the note that
says which state the tables show, then the ledger, and the unit's pending marker goes last.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.days import ClosedDayError, Made, UnitView, fold_day, in_pieces, view_unit
from pipeline_assets.compute.projecting import Projecting, Rows
from pipeline_assets.compute.scores import score_days
from pipeline_assets.kernel.schemas import KERNEL_VERSION, MODEL, SERVING
from pipeline_assets.storage import control, ledger
from pipeline_assets.storage.manifests import DayState, Stored, day_folder, digest, read_day
from pipeline_assets.storage.store import Store, SwapConflictError
from pipeline_assets.storage.tables import (
    TABLES,
    TableConflictError,
    open_for_writing,
    open_table,
    overwrite_days,
    table_id,
)
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    from deltalake import DeltaTable

# Days in one commit of a table: few enough for the states of a busy month to fit in memory, many enough that
# a year is a dozen commits a table and not hundreds.
_DAYS_PER_COMMIT: Final = 31
_TRIES: Final = 60
_WRITERS: Final = 8
_LONGEST_WAIT_S: Final = 2.0
_PUBLISHED_NAME: Final = "_published.json"
_TABLE: Final = "table="

Progress = Callable[[str], None]


@dataclass
class Projected:
    """What was written: the days that were scored, and of each table the rows of each day."""

    scored_days: set[date] = field(default_factory=set)
    rows: dict[str, dict[date, int]] = field(default_factory=dict)

    def add(self, other: Projected) -> None:
        """Take in what was written elsewhere."""
        self.scored_days |= other.scored_days
        for name, by_day in other.rows.items():
            self.rows.setdefault(name, {}).update(by_day)


@dataclass
class Published:
    """What a publication did: days and their hits, units shown, units that are not yet complete, closed days.

    `written` speaks of days that the tables did not show already; `closed` maps a day that could not follow
    a change to the reason.
    """

    days: dict[date, int] = field(default_factory=dict)
    written: Projected = field(default_factory=Projected)
    units: list[Unit] = field(default_factory=list)
    incomplete: list[Unit] = field(default_factory=list)
    closed: dict[date, str] = field(default_factory=dict)


def publish_units(
    context: Context,
    units: Iterable[Unit],
    *,
    progress: Progress = lambda message: None,
    until_folded: Callable[[Collection[date]], None] = lambda days: None,
) -> Published:
    """Make serving and model show these units as their manifests say, on all days they touch or touched.

    `until_folded` waits for those who are folding these units into these days already.
    """
    store = context.store
    result = Published()
    # Markers are taken before the manifests are read: a change after that sets a marker of its own.
    markers = {unit: control.pending_markers(store, unit).get(unit, []) for unit in sorted(set(units))}
    views: dict[Unit, UnitView] = {}
    for unit in markers:
        view = view_unit(context, unit)
        views[unit] = view
        (result.units if view.complete else result.incomplete).append(unit)
    touched: dict[date, list[Unit]] = {}
    for unit, view in views.items():
        # A unit whose folders somebody deleted has no manifest left to say which days it was on.
        lost = set() if view.bronze.files else ledger.days_of_unit(store, unit)
        for day in view.touched_days | lost:
            touched.setdefault(day, []).append(unit)
    for days in _chunks(sorted(touched)):
        progress(f"publishing {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else ""))
        until_folded(days)
        made: Made = {}
        shown = _fold_days(context, {day: touched[day] for day in days}, result, made, progress)
        result.written.add(project_days(context, shown, made=made))
    reasons = {unit: control.quarantined(store, unit) for unit in markers}
    ledger.record(store, [(views[unit].bronze, reasons[unit]) for unit in markers])
    for unit in result.units:
        if reasons[unit] is None:
            control.clear_pending(store, markers[unit])
    return result


def _fold_days(
    context: Context,
    units: Mapping[date, list[Unit]],
    result: Published,
    made: Made,
    progress: Progress,
    *,
    remerge: bool = False,
) -> list[date]:
    """Fold units into the states of their days; the days whose state is to be shown."""
    shown = []
    for day, mine in units.items():
        try:
            result.days[day] = fold_day(context, day, mine, remerge=remerge, made=made).hits
        except ClosedDayError as error:
            progress(str(error))
            result.closed[day] = str(error)
            # Of a day that is lost, or that an older kernel merged, what people see is all there is.
            if not error.can_be_shown:
                continue
        shown.append(day)
    return shown


def project_days(
    context: Context, days: Iterable[date], *, force: bool = False, made: Made | None = None
) -> Projected:
    """Make the serving and model tables show the states of these days; what was written for it.

    Days that the tables show already are left alone, unless `force` says to write them again. States whose
    rollups are in `made` are not read.
    """
    wanted = sorted(set(days))
    for attempt in range(_TRIES):
        handles = _open(context.store, open_for_writing)
        identity = _identity(context, handles)
        before = {day: _read_note(context.store, day) for day in wanted}
        states = {day: read_day(context.store, day.isoformat(), KERNEL_VERSION).value for day in wanted}
        notes = {day: shown_note(state, identity) for day, state in states.items()}
        stale = [day for day in wanted if force or before[day].value != notes[day]]
        if not stale:
            return Projected()
        try:
            with Projecting(context) as projecting:
                projecting.add_all(in_pieces(context, [states[day] for day in stale], made))
                written = _write(handles, stale, projecting.tables())
                values = projecting.hourly_values()
            scored = score_days(context, stale, values)
            written.add(_write(handles, {*scored.days, *stale}, scored.tables.items(), scored.also))
            written.scored_days |= scored.days
        except TableConflictError:
            _wait(attempt)
            continue
        noted = [_note_published(context.store, day, notes[day], before[day].etag) for day in stale]
        if all(noted):
            return written
        # Another publisher has noted what it wrote: look again at what the tables show, and whether it holds.
        force = False
        _wait(attempt)
    raise RuntimeError(f"{wanted[0]} to {wanted[-1]}: lost {_TRIES} races for the serving tables")


def rebuild_days(
    context: Context, days: Iterable[date], *, progress: Progress = lambda message: None
) -> Published:
    """Merge days again from the gold of every delivery known to touch them, and write them."""
    wanted = sorted(set(days))
    known = ledger.units_of_days(context.store, wanted)
    result = Published()
    for chunk in _chunks(wanted):
        progress(f"rebuilding {chunk[0]} to {chunk[-1]}")
        units = {day: known.get(day, []) for day in chunk}
        made: Made = {}
        shown = _fold_days(context, units, result, made, progress, remerge=True)
        result.written.add(project_days(context, shown, force=True, made=made))
    return result


def tables_identity(context: Context) -> str:
    """What a note on a published day holds for: these very tables with these columns, and this threshold."""
    return _identity(context, _open(context.store, open_table))


def shown_note(state: DayState, identity: str) -> str:
    """The note that a day has when the tables of this identity show this state of it."""
    return f"{state.digest} {identity}"


def published_note(store: Store, day: date) -> str | None:
    """The note on which state the tables show, if any was published."""
    return _read_note(store, day).value


def lacks_new_tables_only(note: str | None, wanted: str) -> bool:
    """Whether the tables that a note speaks of show the wanted state, and others have been added since."""
    shown, expected = (note or "").split(), wanted.split()
    tables = {word for word in shown if word.startswith(_TABLE)}
    return shown[:1] == expected[:1] and bool(tables) and tables <= set(expected)


def _open(store: Store, opening: Callable[[Store, str], DeltaTable]) -> dict[str, DeltaTable]:
    names = [*SERVING, *MODEL]
    with ThreadPoolExecutor(_WRITERS, "tables") as pool:
        return dict(zip(names, pool.map(lambda name: opening(store, name), names), strict=True))


def _identity(context: Context, handles: dict[str, DeltaTable]) -> str:
    columns = digest(
        f"{name}.{column.name}: {column.dtype}" for name in sorted(handles) for column in TABLES[name].columns
    )
    ids = (f"{_TABLE}{digest([name, table_id(handles[name])])}" for name in sorted(handles))
    known_bots = [f"bots={context.known_bots_digest}"] if context.known_bots else []
    return " ".join((f"threshold={context.anomaly_threshold}", *known_bots, f"columns={columns}", *ids))


def _write(
    handles: dict[str, DeltaTable],
    days: Collection[date],
    tables: Iterable[tuple[str, Rows]],
    also: Mapping[str, Collection[date]] = MappingProxyType({}),
) -> Projected:
    """Overwrite these days of the tables, and of some tables other days as well.

    Each table is a commit of its own, and most of a commit is waiting for the storage, so the next rows are
    computed meanwhile. All are waited for, also where one fails.
    """
    with ThreadPoolExecutor(_WRITERS, "tables") as pool:
        commits = {
            name: pool.submit(_overwrite, handles[name], name, {*days, *also.get(name, ())}, rows)
            for name, rows in tables
        }
    return Projected(rows={name: commit.result() for name, commit in commits.items()})


def _overwrite(handle: DeltaTable, name: str, days: Collection[date], rows: Rows) -> dict[date, int]:
    """Overwrite these days of a table; how many rows each has now."""
    counts = dict.fromkeys(sorted(days), 0)

    def counted(frame: pl.DataFrame) -> pl.DataFrame:
        for day, count in frame.group_by("event_date").len().iter_rows():
            counts[day] += count
        return frame

    overwrite_days(
        handle, name, days, counted(rows) if isinstance(rows, pl.DataFrame) else map(counted, rows)
    )
    return counts


def _read_note(store: Store, day: date) -> Stored[str | None]:
    found = store.read(f"{day_folder(day.isoformat())}/{_PUBLISHED_NAME}")
    return Stored(str(json.loads(found.data)["shows"]), found.etag) if found else Stored(None, None)


def _note_published(store: Store, day: date, note: str, expected: str | None) -> bool:
    """Note what the tables show; whether no other publisher has, since the note of that version was read."""
    path = f"{day_folder(day.isoformat())}/{_PUBLISHED_NAME}"
    try:
        store.swap(path, json.dumps({"shows": note}).encode(), expected)
    except SwapConflictError:
        return False
    return True


def _chunks(days: list[date]) -> list[list[date]]:
    """Days in order, cut so that those of one commit lie close together: they are one file of each table."""
    chunks: list[list[date]] = []
    for day in days:
        if not chunks or (day - chunks[-1][0]).days >= _DAYS_PER_COMMIT:
            chunks.append([])
        chunks[-1].append(day)
    return chunks


def _wait(attempt: int) -> None:
    # Full jitter, so that two writers that have met once don't meet again and again.
    time.sleep(random.uniform(0, min(_LONGEST_WAIT_S, 0.02 * 2**attempt)))  # noqa: S311
