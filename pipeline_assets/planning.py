"""Planning: from what has landed and what is known to what must run. Pure functions, shared by all doors.

What belongs here: the decision. What does not: listing, claiming or launching anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256

from pipeline_assets.storage.landing import Landed
from pipeline_assets.storage.store import Entry
from pipeline_assets.storage.units import Unit


@dataclass(frozen=True)
class Plan:
    """Units to bring up to date, new incremental files for batches of their own, and folders out of range.

    `units` maps each unit to its files that are new or have changed; a unit that is only behind has none.
    `marks` says since when a unit is behind, by a name that no other time has.
    """

    units: Mapping[Unit, tuple[Entry, ...]] = field(default_factory=dict)
    new_files: tuple[Entry, ...] = ()
    out_of_range: tuple[str, ...] = ()
    marks: Mapping[Unit, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is new, changed or behind."""
        return not self.units and not self.new_files

    def version(self, unit: Unit) -> str:
        """What was seen of a unit: its news, else since when it is behind. Equal where nothing changed."""
        return version_of(self.units[unit]) if self.units[unit] else self.marks.get(unit, version_of(()))

    @property
    def news(self) -> list[Entry]:
        """Every file that is new or has changed."""
        return [*self.new_files, *(entry for entries in self.units.values() for entry in entries)]


def make_plan(
    landed: Landed,
    known: Mapping[str, tuple[str, str]],
    behind: Iterable[Unit],
    *,
    first_day: date,
    last_day: date,
) -> Plan:
    """What is new, changed or behind.

    `known` maps a path that was read to its unit and the etag of the version read; `behind` are units whose
    changes may not be published. A path that is known and no longer landed asks for nothing: deleting is
    retention. Daily folders outside `first_day` to `last_day` have no partition and are only named.
    """
    units: dict[Unit, list[Entry]] = {unit: [] for unit in behind}
    new_files = []
    for day, entries in landed.daily.items():
        changed = [entry for entry in entries if _is_news(entry, known)]
        if changed:
            units.setdefault(Unit("daily", day), []).extend(changed)
    for entry in landed.incremental:
        if entry.path not in known:
            new_files.append(entry)
        elif _is_news(entry, known):
            units.setdefault(Unit.parse(known[entry.path][0]), []).append(entry)
    days = {unit: date.fromisoformat(unit.key) for unit in units if unit.lane == "daily"}
    outside = {unit for unit, day in days.items() if not first_day <= day <= last_day}
    return Plan(
        {unit: tuple(units[unit]) for unit in sorted(units) if unit not in outside},
        tuple(sorted(new_files)),
        tuple(sorted(unit.key for unit in outside)),
    )


def version_of(entries: Iterable[Entry]) -> str:
    """A digest of what was seen of these files: equal where nothing has changed; 16 hex digits."""
    seen = "\x1f".join(f"{entry.path} {entry.etag}" for entry in sorted(entries))
    return sha256(seen.encode()).hexdigest()[:16]


def cut_batches(entries: Sequence[Entry], *, max_files: int, max_bytes: int) -> list[list[Entry]]:
    """Files in path order, cut into batches within both limits; a file over the limit is a batch alone."""
    batches: list[list[Entry]] = []
    size = 0
    for entry in sorted(entries):
        if not batches or len(batches[-1]) >= max_files or size + entry.size > max_bytes:
            batches.append([])
            size = 0
        batches[-1].append(entry)
        size += entry.size
    return batches


def contiguous_days(units: Iterable[Unit]) -> list[tuple[str, str]]:
    """Daily units as ranges (first and last day) without a gap: each range is one run."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(date.fromisoformat(unit.key) for unit in units if unit.lane == "daily"):
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return [(first.isoformat(), last.isoformat()) for first, last in ranges]


def days_between(first: str, last: str) -> list[str]:
    """Every day from `first` to `last`, both included."""
    start = date.fromisoformat(first)
    count = (date.fromisoformat(last) - start).days + 1
    return [(start + timedelta(days=ahead)).isoformat() for ahead in range(count)]


def settled(
    entries: Iterable[Entry], seen: Mapping[str, tuple[str, float]], now: float, settle_seconds: float
) -> tuple[list[Entry], dict[str, tuple[str, float]]]:
    """Files that have kept their version for long enough, and the sightings to remember for the others.

    `seen` maps a path to the etag it had and when it was first seen with it (seconds since the epoch). The
    time of change alone doesn't do: copying tools may set it to that of the original at the start.
    """
    ready = []
    waiting: dict[str, tuple[str, float]] = {}
    for entry in entries:
        etag, since = seen.get(entry.path, ("", now))
        if etag != entry.etag or since > now:  # it has changed, or the clock was set back
            since = now
        if now - since >= settle_seconds:
            ready.append(entry)
        else:
            waiting[entry.path] = (entry.etag, since)
    return ready, waiting


def _is_news(entry: Entry, known: Mapping[str, tuple[str, str]]) -> bool:
    return entry.path not in known or known[entry.path][1] != entry.etag
