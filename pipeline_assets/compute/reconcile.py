"""Reconciliation: what every manifest says against what every day's state and the tables show.

What belongs here: finding units and days that disagree, whatever the cause (a bug, a deleted folder). What
does not: the everyday plan, which looks only at what is new. It reads every manifest, so the sensor never
does it; `run`, `status` and the nightly schedule do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import date

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.days import UnitView, held_back_by, view_unit
from pipeline_assets.compute.publish import (
    lacks_new_tables_only,
    published_note,
    shown_note,
    tables_identity,
)
from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.storage.manifests import DayState, read_day
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import LANES, Unit, is_date

Progress = Callable[[str], None]


@dataclass
class Reconciliation:
    """All units and days, and what is wrong with which.

    `day_hits` are the requests of each day and `day_units` how many units are folded into it.
    `closed` are days that can't follow a change, because retention has deleted what they would be merged
    from. `other_kernel` are units with anything that another kernel or configuration wrote, and `older_days`
    days whose state an older kernel merged, with the units folded in.
    """

    views: dict[Unit, UnitView] = field(default_factory=dict)
    days: list[date] = field(default_factory=list)
    day_hits: dict[date, int] = field(default_factory=dict)
    day_units: dict[date, int] = field(default_factory=dict)
    behind: set[Unit] = field(default_factory=set)
    disagreeing: dict[date, set[Unit]] = field(default_factory=dict)
    closed: dict[date, set[Unit]] = field(default_factory=dict)
    other_kernel: set[Unit] = field(default_factory=set)
    older_days: dict[date, set[Unit]] = field(default_factory=dict)

    @property
    def hits(self) -> int:
        """Requests on all days."""
        return sum(self.day_hits.values())

    @property
    def to_repair(self) -> set[Unit]:
        """Units whose run, without reading anything again, puts everything right."""
        return self.behind.union(*self.disagreeing.values())


def known_units(store: Store) -> list[Unit]:
    """Every unit with a bronze folder."""
    found = []
    for lane in LANES:
        for key in store.children(f"bronze/{lane}"):
            try:
                found.append(Unit.parse(f"{lane}/{key}"))
            except ValueError:  # not ours
                continue
    return found


def known_days(store: Store) -> list[date]:
    """Every event day with a state."""
    return [date.fromisoformat(name) for name in store.children("gold/days") if is_date(name)]


def reconcile(context: Context, progress: Progress = lambda message: None) -> Reconciliation:
    """Compare every unit's manifests with every day's state, and every state with what the tables show."""
    result = Reconciliation(days=known_days(context.store))
    expected: dict[date, dict[str, str]] = {day: {} for day in result.days}
    for unit in known_units(context.store):
        progress(f"looking at {unit}")
        view = view_unit(context, unit)
        if not view.bronze.files:
            continue
        result.views[unit] = view
        if not view.complete:
            result.behind.add(unit)
        if _is_of_another_kernel(view, context.config):
            result.other_kernel.add(unit)
        for day in view.touched_days:
            key = view.key_on(day)
            if key is not None:
                expected.setdefault(day, {})[str(unit)] = key
    identity = tables_identity(context)
    for day, contributions in sorted(expected.items()):
        progress(f"looking at {day}")
        state = read_day(context.store, day.isoformat(), KERNEL_VERSION).value
        result.day_hits[day] = state.hits
        result.day_units[day] = len(state.units)
        _judge(context, result, day, state, contributions, identity)
    return result


def to_rebuild(state: Reconciliation, landed: Collection[str], at_most: int) -> set[Unit]:
    """Units of an older kernel whose run makes something of this one, the newest first.

    `landed` are the paths that are there to be read again. What was made of a file that is gone, and of which
    gold is of this kernel, stays as it is.
    """
    found = {
        unit
        for unit, view in state.views.items()
        if (view.gold.kernel != KERNEL_VERSION and view.gold.attempts - set(view.gold.removed))
        or any(file.kernel != KERNEL_VERSION and file.path in landed for file in view.bronze.files)
    }
    found = found.union(*state.older_days.values()) & state.views.keys()
    return set(sorted(found, key=lambda unit: (unit.key, unit.lane), reverse=True)[:at_most])


def to_read_anew(state: Reconciliation, context: Context, landed: Collection[str]) -> set[Unit]:
    """Units with a file in a format that nobody knew, and that is to be read by other rules now.

    `landed` are the paths that are there to be read again.
    """
    return {
        unit
        for unit, view in state.views.items()
        if any(
            file.unknown_format
            and file.path in landed
            and (file.kernel, file.config) != (KERNEL_VERSION, context.config)
            for file in view.bronze.files
        )
    }


def _is_of_another_kernel(view: UnitView, config: str) -> bool:
    return view.gold.kernel not in ("", KERNEL_VERSION) or any(
        (file.kernel, file.config) != (KERNEL_VERSION, config) for file in view.bronze.files
    )


def _judge(
    context: Context,
    result: Reconciliation,
    day: date,
    state: DayState,
    contributions: dict[str, str],
    identity: str,
) -> None:
    """Put the day where it belongs: closed, disagreeing, of an older kernel, or nowhere, as all is well."""
    names = {*contributions, *state.units}
    differing = {name for name in names if contributions.get(name) != state.units.get(name)}
    is_older = bool(state.units) and state.kernel != KERNEL_VERSION
    if differing or is_older:
        known = {name: view for name in names if (view := result.views.get(Unit.parse(name)))}
        if held := held_back_by(day, state, known):
            result.closed[day] = {Unit.parse(name) for name in held}
            return
    shown, wanted = published_note(context.store, day), shown_note(state, identity)
    if not differing and shown != wanted and not (is_older and lacks_new_tables_only(shown, wanted)):
        differing = set(state.units) or set(_touching(result.views.values(), day))
    if differing:
        result.disagreeing[day] = {Unit.parse(name) for name in differing}
    if is_older:
        result.older_days[day] = {Unit.parse(name) for name in state.units}


def _touching(views: Iterable[UnitView], day: date) -> list[str]:
    return [str(view.unit) for view in views if day in view.touched_days]
