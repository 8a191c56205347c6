"""What has landed: the files below `logs/`, listed and sorted into lanes.

What belongs here: reading the landing area. What does not: who claims a file (`claims`), what a file has
become (`manifests`), or how a user's own logs get here (`importing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from pipeline_assets.storage.store import Entry, Store
from pipeline_assets.storage.units import Unit, is_unfinished, landing_lane

LANDING = "logs"
INCREMENTAL = f"{LANDING}/incremental"
_LOOKS_AT_ONCE = 8


@dataclass(frozen=True)
class Landed:
    """One listing of the landing area; `ignored` maps a path to why it is not read."""

    daily: dict[str, list[Entry]] = field(default_factory=dict)
    incremental: list[Entry] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        """Every file that is read."""
        return [*self.incremental, *(entry for files in self.daily.values() for entry in files)]

    @property
    def paths(self) -> set[str]:
        """The paths of every file that is read."""
        return {entry.path for entry in self.entries}


def list_landing(store: Store, *, since: date | None = None) -> Landed:
    """Files in daily folders from day `since` on, and incremental ones that were put there or changed since.

    Raises `StorageUnavailableError` where the landing area can't be listed.
    """
    landed = Landed()
    if since is None:
        after, moment = "", 0.0
    else:
        after, moment = (
            since.isoformat(),
            datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp(),
        )
    # Names of days sort as the days do, and before `incremental`, so one listing from a day on has both.
    for entry in store.list(LANDING, after=after):
        if entry.news_since >= moment or not entry.path.startswith(f"{INCREMENTAL}/"):
            _sort_in(landed, entry)
    return landed


def landed_at(store: Store, paths: Iterable[str]) -> Landed:
    """Those of these files that are there now; one request for each.

    Empty ones are left out: they may stand for folders, which only a listing can tell.
    """
    landed = Landed()
    wanted = sorted(set(paths))
    if wanted:
        with ThreadPoolExecutor(min(_LOOKS_AT_ONCE, len(wanted))) as pool:
            for entry in pool.map(store.stat, wanted):
                if entry is not None and entry.size:
                    _sort_in(landed, entry)
    return landed


def daily_files(store: Store, unit: Unit) -> list[Entry]:
    """The readable files of a daily folder, as landed now."""
    listed = store.list(f"{LANDING}/{unit.key}")
    return [entry for entry in listed if not (entry.problem or why_ignored(entry.path))]


def why_ignored(path: str) -> str:
    """Why a landing path is not read, with what to do; empty where it is read."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if landing_lane(path) is None:
        return "it lies in no delivery; move it to logs/YYYY-MM-DD/ or logs/incremental/"
    if is_unfinished(path):
        return "its name says that it is still being copied"
    return ""


def _sort_in(landed: Landed, entry: Entry) -> None:
    reason = entry.problem or why_ignored(entry.path)
    if reason:
        landed.ignored[entry.path.encode(errors="backslashreplace").decode()] = reason
    elif landing_lane(entry.path) == "incremental":
        landed.incremental.append(entry)
    else:
        landed.daily.setdefault(entry.path.split("/")[1], []).append(entry)
