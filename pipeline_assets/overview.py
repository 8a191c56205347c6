"""The state of the pipeline at a glance, gathered from the ledger, the manifests and serving.

What belongs here: gathering facts. What does not: printing them (`cli`, `terminal`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import polars as pl

from pipeline_assets.automation.arrivals import today
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.maintenance.sweep import leftover_parts
from pipeline_assets.compute.reconcile import Reconciliation, reconcile, to_rebuild
from pipeline_assets.models.incidents import whole
from pipeline_assets.planning import make_plan
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control, ledger
from pipeline_assets.storage.landing import Landed, list_landing
from pipeline_assets.storage.manifests import LAYER_NAMES, FileRecord, attempt_stamp
from pipeline_assets.storage.tables import read_table
from pipeline_assets.storage.units import LANES, Unit

FATES = ("parsed", "continuation", "rejected", "blank", "comment")
Progress = Callable[[str], None]
_RECENT_DAYS: Final = 7


@dataclass(frozen=True)
class LaneFacts:
    """A lane's deliveries: how many, the last one, when it was last read (UTC), and its files that count."""

    deliveries: int
    last_delivery: str
    last_read: str
    files: int
    bytes: int


@dataclass(frozen=True)
class DayFacts:
    """An event day: what was delivered on it, line by line, and what serving shows of it.

    `files` and `lines` are of the deliveries of that day, whatever days their events are on; `deliveries` and
    `hits` are of the event day. `state` is one word or a few for where it stands.
    """

    day: date
    deliveries: int
    hits: int
    files: int
    lines: dict[str, int]
    state: str


@dataclass(frozen=True)
class Overview:
    """What has landed, what became of it, and what is not as it should be.

    `other_kernel` are deliveries of an older kernel or another configuration that can be read or made again,
    and `kept_as_read` those whose landed files are gone. `closed` are days that can't follow a change, since
    retention has deleted what they would be merged from. `missing_days` lie between two daily deliveries.
    """

    root: str
    landed_files: int
    landed_bytes: int
    ignored: dict[str, str]
    out_of_range: list[str]
    units: dict[str, int]
    lanes: dict[str, LaneFacts]
    files: dict[str, int]
    lines: dict[str, int]
    reject_rate: float
    newest_event: datetime | None
    days: int
    first_day: date | None
    last_day: date | None
    recent_days: list[DayFacts]
    missing_days: list[str]
    hits: int
    behind: list[str]
    new_files: list[str]
    disagreeing: dict[str, list[str]]
    closed: dict[str, list[str]]
    quarantined: dict[str, str]
    other_kernel: list[str]
    older_days: list[str]
    kept_as_read: list[str]
    unknown_formats: list[str]
    last_maintenance: dict[str, Any] | None

    @property
    def is_current(self) -> bool:
        """Whether serving shows everything that has landed."""
        return not (self.behind or self.new_files or self.disagreeing or self.quarantined)


@dataclass(frozen=True)
class StorageUse:
    """Bytes stored by layer, and how many of them nothing needs: the next maintenance deletes those."""

    stored_bytes: dict[str, int]
    leftover_files: int
    leftover_bytes: int


def overview(context: Context, settings: Settings, progress: Progress = lambda message: None) -> Overview:
    """Gather everything; reads every manifest. Raises `StorageUnavailableError`."""
    state = reconcile(context, progress)
    progress("listing what has landed")
    landed = list_landing(context.store)
    plan = make_plan(
        landed,
        ledger.known_files(context.store),
        {*control.pending_markers(context.store), *state.behind},
        first_day=settings.start_date,
        last_day=today(),
    )
    files = [file for view in state.views.values() for file in view.bronze.files]
    counted = [file for file in files if file.status == "counted"]
    lines = _lines(counted)
    rebuildable = _rebuildable(state, landed, context.config)
    with_events = _days_with_events(state)
    return Overview(
        root=context.store.location,
        landed_files=len(landed.entries),
        landed_bytes=sum(entry.size for entry in landed.entries),
        ignored=landed.ignored,
        out_of_range=_out_of_range(landed, settings),
        units=_count(unit.lane for unit in state.views),
        lanes=_lanes(state),
        files=_count(file.status for file in files),
        lines=lines,
        reject_rate=lines["rejected"] / lines["lines"] if lines["lines"] else 0.0,
        newest_event=max(
            (datetime.fromisoformat(file.last_event) for file in counted if file.last_event), default=None
        ),
        days=len(with_events),
        first_day=min(with_events, default=None),
        last_day=max(with_events, default=None),
        recent_days=_recent_days(state),
        missing_days=_missing_days(state),
        hits=state.hits,
        behind=sorted(map(str, plan.units)),
        new_files=[entry.path for entry in plan.new_files],
        disagreeing=_by_day(state.disagreeing),
        closed=_by_day(state.closed),
        quarantined={str(unit): why for unit, why in control.all_quarantined(context.store).items()},
        other_kernel=sorted(map(str, rebuildable)),
        older_days=sorted(map(str, state.older_days)),
        kept_as_read=sorted(map(str, state.other_kernel - rebuildable)),
        unknown_formats=sorted(file.path for file in counted if file.unknown_format),
        last_maintenance=control.last_maintenance(context.store),
    )


def storage_use(
    context: Context, settings: Settings, progress: Progress = lambda message: None
) -> StorageUse:
    """Bytes by layer, and leftovers. Lists every object."""
    stored = {}
    for layer in ("logs", *LAYER_NAMES, "serving", "model"):
        progress(f"adding up {layer}")
        stored[layer] = sum(entry.size for entry in context.store.list(layer))
    cutoff = time.time() - settings.sweep_grace_hours * 3600
    sizes = [entry.size for entry in leftover_parts(context.store, cutoff, progress)]
    return StorageUse(stored, len(sizes), sum(sizes))


def top_numbers(context: Context) -> dict[str, Any]:
    """A few numbers from serving that a person wants first."""
    traffic = read_table(context.store, "traffic_hourly")
    incidents = read_table(context.store, "incidents")
    sites = traffic.group_by("site").agg(pl.col("hits", "bytes").sum()).sort("hits", descending=True)
    busiest = (
        traffic.group_by("event_date", "hour").agg(pl.col("hits").sum()).sort("hits", descending=True).head(1)
    )
    statuses = (
        read_table(context.store, "status_daily")
        .group_by("status")
        .agg(pl.col("hits").sum())
        .sort("hits", descending=True)
    )
    odd = whole(incidents).sort("distance", "started_at", "site", descending=[True, False, False]).head(3)
    bots = traffic.filter("is_bot").select(pl.col("hits").sum())
    frames = pl.collect_all([sites, busiest, statuses, odd, bots])
    return dict(zip(("sites", "busiest", "statuses", "anomalies", "bots"), frames, strict=True))


def _out_of_range(landed: Landed, settings: Settings) -> list[str]:
    return sorted(
        day for day in landed.daily if not settings.start_date <= date.fromisoformat(day) <= today()
    )


def _rebuildable(state: Reconciliation, landed: Landed, config: str) -> set[Unit]:
    """Units of an older kernel or another configuration that a run can make something else of."""
    paths = landed.paths
    of_config = {
        unit
        for unit in state.other_kernel
        if any(file.config != config and file.path in paths for file in state.views[unit].bronze.files)
    }
    return of_config | to_rebuild(state, paths, len(state.views))


def _lanes(state: Reconciliation) -> dict[str, LaneFacts]:
    facts: dict[str, LaneFacts] = {}
    for lane in LANES:
        views = [view for unit, view in state.views.items() if unit.lane == lane]
        if views:
            files = [file for view in views for file in view.bronze.files if file.status == "counted"]
            read = max(attempt_stamp(attempt) for view in views for attempt in view.bronze.attempts)
            facts[lane] = LaneFacts(
                deliveries=len(views),
                last_delivery=max(view.unit.key for view in views),
                last_read=read.isoformat(timespec="seconds"),
                files=len(files),
                bytes=sum(file.bytes for file in files),
            )
    return facts


def _recent_days(state: Reconciliation) -> list[DayFacts]:
    """The last days that have events or a daily delivery, the newest first."""
    delivered: dict[date, list[FileRecord]] = {}
    for unit, view in state.views.items():
        files = [file for file in view.bronze.files if file.status == "counted"]
        delivered.setdefault(date.fromisoformat(unit.key[:10]), []).extend(files)
    return [
        DayFacts(
            day=day,
            deliveries=state.day_units.get(day, 0),
            hits=state.day_hits.get(day, 0),
            files=len(delivered.get(day, [])),
            lines=_lines(delivered.get(day, [])),
            state=_state_of(state, day),
        )
        for day in sorted({*_days_with_events(state), *_delivered_days(state)}, reverse=True)[:_RECENT_DAYS]
    ]


def _days_with_events(state: Reconciliation) -> set[date]:
    """Days with a request or an error entry.

    Others may have a state as well, as visitors also count by the date that a log in another zone writes.
    """
    files = (file for view in state.views.values() for file in view.bronze.files if file.status == "counted")
    return {date.fromisoformat(day) for file in files for day in (*file.request_days, *file.error_days)}


def _state_of(state: Reconciliation, day: date) -> str:
    if day in state.closed:
        return "can't follow a change"
    if day in state.disagreeing:
        return "disagrees"
    if any(day in state.views[unit].touched_days for unit in state.behind if unit in state.views):
        return "behind"
    if day in state.older_days:
        return "of an older kernel"
    return "shown" if state.day_units.get(day) else "no events"


def _missing_days(state: Reconciliation) -> list[str]:
    """Days without a daily delivery, between the first and the last that have one."""
    there = _delivered_days(state)
    if not there:
        return []
    first, last = min(there), max(there)
    every = (first + timedelta(days=ahead) for ahead in range((last - first).days))
    return [day.isoformat() for day in every if day not in there]


def _delivered_days(state: Reconciliation) -> set[date]:
    return {date.fromisoformat(unit.key) for unit in state.views if unit.lane == "daily"}


def _lines(files: Iterable[FileRecord]) -> dict[str, int]:
    listed = list(files)
    return {fate: sum(getattr(file, fate) for file in listed) for fate in ("lines", *FATES)}


def _by_day(units: dict[date, set[Unit]]) -> dict[str, list[str]]:
    return {str(day): sorted(map(str, mine)) for day, mine in sorted(units.items())}


def _count(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))
