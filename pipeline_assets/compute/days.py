"""Gold to a day's state: the deliveries that have rows on an event day, folded together.

What belongs here: which contributions are in a day's state, and folding in what is missing. What does not:
what people see of it (`publish`). A new contribution is merged into the stored state and nothing else is
read; only when one that was folded in has changed is the day merged again from all its deliveries' gold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain, zip_longest
from typing import Final

import polars as pl

from pipeline_assets.compute.abreast import abreast
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.gold import refresh_gold
from pipeline_assets.compute.projecting import Gathered, Given, projected
from pipeline_assets.compute.sharding import Piece, Pieces, Shard, are_few, in_shards
from pipeline_assets.compute.silver import refresh_silver
from pipeline_assets.kernel.coded_rows import CodedRows
from pipeline_assets.kernel.rollups import ROLLUPS, proven_rows
from pipeline_assets.kernel.schemas import KERNEL_VERSION, LAYERS
from pipeline_assets.storage.coded_parts import read_coded
from pipeline_assets.storage.encoding import encoded
from pipeline_assets.storage.manifests import (
    DayState,
    Manifest,
    Part,
    contribution,
    contribution_key,
    day_folder,
    digest,
    new_attempt,
    read_day,
    read_manifest,
    swap_day,
)
from pipeline_assets.storage.memory import give_back
from pipeline_assets.storage.parts import part_paths, scan_live, scan_table
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.store import SwapConflictError
from pipeline_assets.storage.units import Unit

_TRIES: Final = 50

Rollups = dict[str, pl.DataFrame]
# Rollups of states that were made just now, by the parts that hold them: no two have the same, but for empty
# ones, which are alike. Of those that were merged in shards it is what these give to the tables.
Made = dict[tuple[Part, ...], Rollups | Gathered]
# Files by the attempt that holds their rows.
Live = dict[str, set[str]]
Files = Mapping[str, Collection[str]]


class ClosedDayError(Exception):
    """A day can't follow a change: what it holds of some deliveries can't be told apart any more.

    Retention has deleted their gold, so the day stays as it is.
    """

    def __init__(self, state: DayState, units: Iterable[str]) -> None:
        self.can_be_shown = bool(state.units) and state.kernel == KERNEL_VERSION
        super().__init__(
            f"{state.day} stays as it is: it would have to be merged again, and retention has deleted the"
            f" gold of {', '.join(sorted(units)[:5])}"
        )


@dataclass(frozen=True)
class UnitView:
    """A unit's bronze and gold manifests, read at one time."""

    unit: Unit
    bronze: Manifest
    gold: Manifest

    @property
    def complete(self) -> bool:
        """Whether gold has caught up with bronze."""
        return self.bronze.attempts == self.gold.attempts

    @property
    def touched_days(self) -> set[date]:
        """Every event day that this unit has, or ever had, rows on."""
        return {date.fromisoformat(day) for day in (*self.gold.touched_days, *self.bronze.touched_days)}

    def key_on(self, day: date) -> str | None:
        """The digest of what the unit gives to a day; None where it gives nothing."""
        return contribution(self.gold, self.bronze, day)[0]

    def live_on(self, day: date) -> Live:
        """The files that the unit gives to a day, by the attempt that holds their rows."""
        return contribution(self.gold, self.bronze, day)[1]

    def lost_on(self, day: date) -> set[str]:
        """Attempts whose rows of a day retention has deleted, or has left as an older kernel made them."""
        lost = {*self.gold.removed, *self.gold.older}
        return lost & self.live_on(day).keys() if lost else set()


def view_unit(context: Context, unit: Unit) -> UnitView:
    """A unit as its manifests say now. Gold first: bronze may then only be ahead of it."""
    gold = read_manifest(context.store, "gold", unit).value
    return UnitView(unit, read_manifest(context.store, "bronze", unit).value, gold)


def fold_day(
    context: Context, day: date, units: Iterable[Unit], *, remerge: bool = False, made: Made | None = None
) -> DayState:
    """Bring a day's state up to what these units give to it; the state as it is then.

    With `remerge` the day is merged again from the gold of these units and of all that are folded in. `made`
    takes what a state has, or gives, that was made here.

    Raises `ClosedDayError` where that needs gold that retention has deleted.
    """
    wanted_units = sorted(set(units))
    for _ in range(_TRIES):
        stored = read_day(context.store, day.isoformat(), KERNEL_VERSION)
        state = stored.value
        views = {str(unit): view_unit(context, unit) for unit in wanted_units}
        wanted = {name: view.key_on(day) for name, view in views.items()}
        stale = {name for name, key in wanted.items() if state.units.get(name, key) != key}
        new = {name for name, key in wanted.items() if key is not None and name not in state.units}
        outdated = remerge or state.kernel != KERNEL_VERSION
        if not (new or stale or outdated):
            return state
        if stale or outdated:
            names = {*state.units, *wanted}
            views |= {name: view_unit(context, Unit.parse(name)) for name in names - views.keys()}
            following, merged = _merge_again(context, day, state, views, is_shown=made is not None)
        else:
            fresh = [views[name] for name in sorted(new)]
            following, merged = _fold_in(context, day, state, fresh, is_shown=made is not None)
        try:
            swap_day(context.store, following, stored.etag)
        except SwapConflictError:
            if isinstance(merged.made, Gathered):
                merged.made.close()
            continue
        if made is not None:
            _keep(made, following.parts, merged)
        return following
    raise RuntimeError(f"{day}: lost {_TRIES} races for its state")


def close_day(context: Context, day: date, unit: Unit) -> bool:
    """Make a day independent of a unit's gold, so that it can be deleted; whether the day is so now.

    A day that does not show the unit as its manifests say is left to the next run.
    """
    for _ in range(_TRIES):
        stored = read_day(context.store, day.isoformat(), KERNEL_VERSION)
        state, name = stored.value, str(unit)
        view = view_unit(context, unit)
        live = view.live_on(day)
        if state.kernel != KERNEL_VERSION or state.units.get(name) != view.key_on(day):
            return False
        kept = state.closed.get(name, {})
        rest = _beyond(live, kept)
        if _beyond(kept, live) or view.lost_on(day) & rest.keys():
            return False
        if rest and state.closed and state.closed_columns != _columns():
            return False
        if not rest:
            return True
        closed = {**state.closed, name: {attempt: sorted(paths) for attempt, paths in live.items()}}
        if {other: contribution_key(files) for other, files in closed.items()} == state.units:
            parts = state.parts
        else:
            parts = _merge(context, day, [(view, rest)], state.closed_parts).parts
        try:
            following = replace(state, closed=closed, closed_parts=parts, closed_columns=_columns())
            swap_day(context.store, following, stored.etag)
        except SwapConflictError:
            continue
        return True
    raise RuntimeError(f"{day}: lost {_TRIES} races for its state")


def held_back_by(day: date, state: DayState, views: Mapping[str, UnitView]) -> set[str]:
    """Units because of which a day can't be merged again; empty where it can.

    That is where retention has deleted rows that the day has not kept apart, or where it has kept apart rows
    of files that don't count any more: they can't be taken out again. It is also where what was kept lacks
    rollups or columns of this kernel: the day would lose what it says now.
    """
    if not any(view.lost_on(day) for view in views.values()):
        return set()
    if state.closed and state.closed_columns != _columns():
        return set(state.closed)
    held = set()
    for name in views.keys() | state.closed.keys():
        view = views.get(name)
        live, lost = (view.live_on(day), view.lost_on(day)) if view else ({}, set())
        kept = state.closed.get(name, {})
        if _beyond(kept, live) or lost & _beyond(live, kept).keys():
            held.add(name)
    return held


def in_pieces(
    context: Context, states: Iterable[DayState], made: Made | None = None
) -> Iterator[Pieces | Gathered]:
    """Rollups of these days by name, as many together as may be in memory at once, without a key in common.

    A state that was merged in shards has its parts by shard. Those that are in `made` are taken out of it
    instead of being read.
    """
    together: Pieces = {}
    rows = taken = 0
    for state in states:
        known = made.pop(state.parts, None) if made else None
        if isinstance(known, Gathered):
            taken += 1
            yield known
            continue
        for parts in _by_shard(state.parts):
            more = sum(part.rows for part in parts)
            if together and not are_few(rows + more):
                complete, together, rows = [together], {}, 0
                yield complete.pop()  # whoever takes it lets go of it
            day = date.fromisoformat(state.day)
            for name, frame in known.items() if known else _stored_rows(context, day, parts):
                together.setdefault(name, []).append(frame)
            rows += more
    if together or not taken:
        yield together


def _by_shard(parts: Iterable[Part]) -> list[list[Part]]:
    """The parts of a state that were written together (`_write_parts`, `_write_shard`)."""
    shards: dict[str, list[Part]] = {}
    for part in parts:
        shards.setdefault(part.name.removeprefix(part.table), []).append(part)
    return list(shards.values())


def _stored_rows(context: Context, day: date, parts: Iterable[Part]) -> Iterator[tuple[str, pl.DataFrame]]:
    for name, path in _stored_paths(day, parts):
        yield name, scan_table(context.store, [path], ROLLUPS[name].no_day.schema, path).collect()


def _stored_coded(context: Context, day: date, parts: Iterable[Part]) -> Iterator[Piece]:
    """As `_stored_rows`, of parts that are many rows together."""
    for name, path in _stored_paths(day, parts):
        rows = read_coded(context.store, path, ROLLUPS[name].no_day.schema, path)
        if rows is not None:
            yield name, rows


def _stored_paths(day: date, parts: Iterable[Part]) -> Iterator[tuple[str, str]]:
    folder = day_folder(day.isoformat())
    return ((part.table, f"{folder}/{part.name}") for part in parts if part.table in ROLLUPS)


def _fold_in(
    context: Context, day: date, state: DayState, views: Iterable[UnitView], *, is_shown: bool
) -> tuple[DayState, _Merged]:
    """The state with what these units give to it, and what was merged; nothing else is read."""
    fresh = [_of_this_kernel(context, view) for view in views]
    lost = [str(view.unit) for view in fresh if view.lost_on(day)]
    if lost:
        raise ClosedDayError(state, lost)
    given = [(view, view.live_on(day)) for view in fresh]
    merged = _merge(context, day, given, state.parts, is_shown=is_shown)
    units = state.units | {str(view.unit): key for view in fresh if (key := view.key_on(day))}
    return replace(state, units=units, parts=merged.parts, hits=merged.hits), merged


def _merge_again(
    context: Context, day: date, state: DayState, views: Mapping[str, UnitView], *, is_shown: bool
) -> tuple[DayState, _Merged]:
    """The state of what these units give, and what was merged.

    They come from the units' gold, and from what the day has kept of closed ones.
    """
    fresh = {name: _of_this_kernel(context, view) for name, view in sorted(views.items())}
    held = held_back_by(day, state, fresh)
    if held:
        raise ClosedDayError(state, held)
    if any(view.lost_on(day) for view in fresh.values()):
        closed, closed_parts, columns = state.closed, state.closed_parts, state.closed_columns
    else:
        closed, closed_parts, columns = {}, (), ""
    rest = [(view, _beyond(view.live_on(day), closed.get(name, {}))) for name, view in fresh.items()]
    merged = _merge(context, day, rest, closed_parts, is_shown=is_shown)
    following = DayState(
        day.isoformat(),
        KERNEL_VERSION,
        {name: key for name, view in fresh.items() if (key := view.key_on(day))},
        merged.parts,
        merged.hits,
        closed,
        closed_parts,
        columns,
    )
    return following, merged


def _beyond(files: Files, known: Files) -> Live:
    """Files, by attempt, without those that are known."""
    rest = {attempt: set(paths) - set(known.get(attempt, ())) for attempt, paths in files.items()}
    return {attempt: paths for attempt, paths in rest.items() if paths}


def _of_this_kernel(context: Context, view: UnitView) -> UnitView:
    """The unit with gold of this kernel, so that a day is never merged from rows of two.

    Its landed files are not read again: its attempts stay what they are, and so do its other days, which are
    rebuilt in their turn.
    """
    if not view.gold.files or view.gold.kernel == KERNEL_VERSION:
        return view
    refresh_silver(context, view.unit, reuse=True)
    refresh_gold(context, view.unit, reuse=True)
    return view_unit(context, view.unit)


@dataclass(frozen=True)
class _Merged:
    """A day's rollups as they were written: their parts and hits.

    `made` has all rows where they are few, else what they give to the tables, should they be shown.
    """

    parts: tuple[Part, ...]
    hits: int
    made: Rollups | Gathered | None


def _merge(
    context: Context,
    day: date,
    contributions: Iterable[tuple[UnitView, Live]],
    base: Iterable[Part],
    *,
    is_shown: bool = False,
) -> _Merged:
    """Write what is merged already, with the rows of a day from these units' gold, of these files only."""
    given = [(view, live) for view, live in contributions if live]
    stored = list(base)
    rows = sum(part.rows for part in stored) + sum(_rows_on(day, view) for view, _ in given)
    stored_rows, given_rows = (_stored_rows, _given_rows) if are_few(rows) else (_stored_coded, _given_coded)
    pieces: Iterator[Piece] = chain(
        stored_rows(context, day, stored),
        *(_proven(day, view, live, given_rows(context, day, view, live)) for view, live in given),
    )
    with in_shards(pieces, rows) as shards:
        first = next(shards)
        if first.of > 1:
            return _merge_shards(context, day, chain([first], shards), new_attempt(), is_shown=is_shown)
        only = first.pieces()
    merged = {name: rollup.merge_day(only.get(name, [])) for name, rollup in ROLLUPS.items()}
    return _Merged(tuple(_write_parts(context, day, merged, new_attempt())), _hits(merged), merged)


def _merge_shards(
    context: Context, day: date, shards: Iterable[Shard], attempt: str, *, is_shown: bool
) -> _Merged:
    """Write shard after shard; while their texts are coded, what they give to the tables is computed."""

    def merge(shard: Shard) -> tuple[tuple[Part, ...], int, Given | None]:
        pieces = shard.pieces()
        merged = {name: rollup.merge_coded(pieces.pop(name, [])) for name, rollup in ROLLUPS.items()}
        parts = tuple(_write_shard(context, day, merged, attempt, shard.number))
        return parts, _hits(merged), projected(merged, context.known_bots) if is_shown else None

    gathered = Gathered() if is_shown else None
    parts: list[Part] = []
    hits = 0
    for written, more, given in abreast(merge, shards):
        parts += written
        hits += more
        if gathered is not None and given is not None:
            gathered.take(given)
    if gathered is not None:
        gathered.settle()
    give_back()
    return _Merged(tuple(parts), hits, gathered)


def _hits(merged: Rollups) -> int:
    return int(merged["traffic"]["hits"].sum())


def _rows_on(day: date, view: UnitView) -> int:
    """About how many rows a unit's gold has on a day: as large a share as of its entries."""
    key = day.isoformat()
    entries = [days for file in view.gold.files for days in (file.request_days, file.error_days)]
    share = sum(days.get(key, 0) for days in entries) / max(1, sum(sum(days.values()) for days in entries))
    rows = sum(part.rows for part in view.gold.parts)
    # Entries of one day may come to many more rows than those of another, and shards too large for memory are
    # worse than too many.
    return max(round(share * rows), rows // 8)


def _given_rows(
    context: Context, day: date, view: UnitView, live: Live
) -> Iterator[tuple[str, pl.DataFrame]]:
    """What a unit's gold has of these files on a day, by the rollup's name.

    Part by part: rows of one part are merged already, those of two may have equal keys.
    """
    for name in ROLLUPS:
        for part in view.gold.parts_of(name):
            rows = scan_live(context.store, "gold", view.unit, [part], live, LAYERS["gold"][name])
            yield name, rows.filter(pl.col("event_date") == day).collect()


def _given_coded(context: Context, day: date, view: UnitView, live: Live) -> Iterator[Piece]:
    """As `_given_rows`, of units that give many rows together.

    Parts of rollups come in turn: those of the same part of silver have the same clients' dictionary.
    """
    by_name = [view.gold.parts_of(name) for name in ROLLUPS]
    for part in filter(None, chain.from_iterable(zip_longest(*by_name))):
        if not (files := live.get(part.attempt)):
            continue
        among = {"event_date": (day,), "source_file": sorted(files)}
        (path,) = part_paths("gold", view.unit, [part])
        schema = LAYERS["gold"][part.table].schema
        rows = read_coded(context.store, path, schema, f"gold/{view.unit}", among)
        if rows is not None:
            yield part.table, rows


def _proven(day: date, view: UnitView, live: Live, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces as they come, which are exactly the requests and errors that bronze counted for the day.

    Raises `InvalidRowsError` at their end where rows lack, or are too many.
    """
    found = dict.fromkeys(("requests", "errors"), 0)
    for name, rows in pieces:
        for source in found:
            if source in ROLLUPS[name].proofs:
                found[source] += proven_rows({name: _telling(name, source, rows)}, source)
        yield name, rows
    counted = {path for files in live.values() for path in files}
    files = [file for file in view.gold.files if file.path in counted]
    key = day.isoformat()
    wanted = {
        "requests": sum(file.request_days.get(key, 0) for file in files),
        "errors": sum(file.error_days.get(key, 0) for file in files),
    }
    for source, count in wanted.items():
        if found[source] != count:
            raise InvalidRowsError(
                f"{view.unit}: bronze has {count} {source} on {day}, gold has {found[source]}"
            )


def _telling(name: str, source: str, rows: pl.DataFrame | CodedRows) -> pl.DataFrame:
    """Those columns of the rows by which they are proven."""
    if isinstance(rows, pl.DataFrame):
        return rows
    return rows.frame({"hits", *ROLLUPS[name].proofs[source].meta.root_names()})


def _keep(made: Made, parts: tuple[Part, ...], merged: _Merged) -> None:
    """Keep rollups that were made, as long as all that are kept are few; or what shards gave."""
    if isinstance(merged.made, Gathered):
        made[parts] = merged.made
    elif merged.made is not None:
        kept = sum(part.rows for known, rows in made.items() for part in known if isinstance(rows, dict))
        if are_few(kept + sum(part.rows for part in parts)):
            made[parts] = merged.made


def _columns() -> str:
    """Digest of the rollups and their columns: rows merged under another one lack some of them."""
    return digest(
        f"{name}.{column}: {dtype}"
        for name in sorted(ROLLUPS)
        for column, dtype in ROLLUPS[name].table.schema.items()
    )


def _write_parts(context: Context, day: date, merged: Rollups, attempt: str) -> Iterator[Part]:
    for name, frame in merged.items():
        if frame.height:
            path = f"{day_folder(day.isoformat())}/{name}-{attempt}.parquet"
            size = context.store.write_parquet(path, frame)
            yield Part(name, path.rpartition("/")[2], attempt, frame.height, size)


def _write_shard(context: Context, day: date, merged: Rollups, attempt: str, number: int) -> Iterator[Part]:
    """As `_write_parts`, of rollups whose texts are coded: they are encoded as such."""
    for name, frame in merged.items():
        if frame.height:
            path = f"{day_folder(day.isoformat())}/{name}-{attempt}-{number:04}.parquet"
            data = encoded(ROLLUPS[name].day_table, frame)
            context.store.create(path, data)
            yield Part(name, path.rpartition("/")[2], attempt, frame.height, len(data))
