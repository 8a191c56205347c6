"""Arrivals: what a door (sensor, schedule, command line) does before a run: look, plan, and open batches.

What belongs here: the look and the claims, shared by all doors. What does not: the decision (`planning`), and
launching runs. It imports no Dagster, so that a look that finds nothing costs no more than the look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.reconcile import known_units, reconcile, to_read_anew, to_rebuild
from pipeline_assets.planning import Plan, cut_batches, make_plan
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control, ledger
from pipeline_assets.storage.landing import Landed, landed_at, list_landing
from pipeline_assets.storage.store import Entry
from pipeline_assets.storage.units import Unit


@dataclass(frozen=True)
class Look:
    """What has landed and what follows from it."""

    landed: Landed
    plan: Plan


def today() -> date:
    """The day of the last daily partition, UTC."""
    return datetime.now(UTC).date()


def look(context: Context, settings: Settings, *, everything: bool) -> Look:
    """List what has landed and plan.

    With `everything`, all of the landing area is listed, all manifests are compared with the published days,
    units of an older kernel are rebuilt a portion at a time, and files of an unknown format are read again
    where the configuration has changed; without, it is the folders of the look-back, incremental files that
    came or changed within it, and the units known to be pending.

    Raises `StorageUnavailableError` where the storage can't be listed.
    """
    since = None if everything else today() - timedelta(days=settings.look_back_days)
    landed = list_landing(context.store, since=since)
    marks = pending(context)
    behind = set(marks)
    if everything:
        state = reconcile(context)
        behind |= state.to_repair
        behind |= to_rebuild(state, landed.paths, settings.rebuild_units)
        behind |= to_read_anew(state, context, landed.paths)

    def planned(known: Mapping[str, tuple[str, str]]) -> Plan:
        return make_plan(landed, known, behind, first_day=settings.start_date, last_day=today())

    # What landed within the look-back was recorded after it: of the ledger, no more is read.
    plan = planned(ledger.known_files(context.store, since=since))
    if since is not None and _has_older(context, plan, behind):
        plan = planned(ledger.known_files(context.store))
    return Look(landed, replace(plan, marks=marks))


def look_at(context: Context, settings: Settings, paths: Collection[str], marks: Mapping[Unit, str]) -> Look:
    """As `look`, at some files of the landing area, and at the units that `pending` told of; lists nothing.

    Raises `StorageUnavailableError` where the storage can't be reached.
    """
    landed = landed_at(context.store, paths)
    since = today() - timedelta(days=settings.look_back_days)

    def planned(known: Mapping[str, tuple[str, str]]) -> Plan:
        return make_plan(landed, known, marks, first_day=settings.start_date, last_day=today())

    plan = planned(ledger.known_files(context.store, since=since) if landed.entries else {})
    if _has_older(context, plan, marks):
        plan = planned(ledger.known_files(context.store))
    return Look(landed, replace(plan, marks=marks))


def pending(context: Context) -> dict[Unit, str]:
    """Units that may be ahead of serving, each with the name of its oldest marker."""
    markers = control.pending_markers(context.store)
    return {unit: min(path.rpartition("/")[2] for path in paths) for unit, paths in markers.items()}


def put_on_record(context: Context, plan: Plan) -> None:
    """Note that these units have news, so that it is known without them having to be seen again."""
    for unit, entries in plan.units.items():
        if entries:
            control.mark_pending(context.store, unit)


def _has_older(context: Context, plan: Plan, behind: Collection[Unit]) -> bool:
    """Whether a file that seems new was read before the look-back, by a batch that is over.

    It has grown since, or somebody has touched the times of files.
    """
    owners = (control.claimed_by(context.store, entry.path) for entry in plan.new_files)
    return any(owner is not None and owner not in behind for owner in owners)


def all_units(context: Context, settings: Settings) -> list[Unit]:
    """Every delivery there is that has a partition; new files are put into batches first."""
    seen = look(context, settings, everything=True)
    open_batches(context, settings, seen.plan.new_files)
    units = {*known_units(context.store), *control.batches(context.store)}
    units |= {Unit("daily", day) for day in seen.landed.daily if day not in seen.plan.out_of_range}
    first, last = settings.start_date.isoformat(), today().isoformat()
    return sorted(unit for unit in units if unit.lane == "incremental" or first <= unit.key <= last)


def open_batches(
    context: Context,
    settings: Settings,
    entries: Iterable[Entry],
    *,
    at_most: int | None = None,
    now: datetime | None = None,
) -> list[Unit]:
    """Batches for new incremental files: those that claimed a file before, and new ones within the limits.

    `at_most` limits the new ones; files beyond stay unclaimed. New ones are named by the minute `now`.
    """
    owners: set[Unit] = set()
    unclaimed = []
    for entry in entries:
        owner = control.claimed_by(context.store, entry.path)
        if owner is None:
            unclaimed.append(entry)
        else:
            owners.add(owner)
    cut = cut_batches(unclaimed, max_files=settings.batch_max_files, max_bytes=settings.batch_max_bytes)
    for batch in cut[:at_most]:
        files = {entry.path: (entry.size, entry.etag) for entry in batch}
        unit = control.create_batch(context.store, files, now)
        for entry in batch:
            control.claim(context.store, entry.path, unit)
        owners.add(unit)
    return sorted(owners)
