"""Sweeping: what killed and overtaken work left behind, and no manifest names.

What belongs here: finding leftovers, and never taking for one what somebody still writes or reads. What does
not: deleting what is named (`retention`).

Three rules keep running work safe. An object must be older than the grace period by its own time of change
and by the time in its attempt's name. The manifest is read after the listing, so what was named meanwhile is
kept. And the manifest itself must be older than the grace period: a reader that has just read the one before
it still needs the parts that this one has dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.maintenance.report import Report
from pipeline_assets.storage.manifests import LAYER_NAMES, MANIFEST_NAME, attempt_stamp, manifest_fields
from pipeline_assets.storage.store import Entry, Store
from pipeline_assets.storage.units import LANES

Progress = Callable[[str], None]

# A part of ours: its table, the time and name of its attempt, and its number. Anything else is left alone.
_PART: Final = re.compile(r".+-(\d{8}T\d{6})-[0-9a-f]{10}(?:-\d{4})?\.parquet", re.DOTALL)
_MANIFEST: Final = re.compile(r"_manifest.*\.json", re.DOTALL)
_DAYS: Final = "gold/days"


def sweep_parts(context: Context, report: Report, cutoff: float, progress: Progress) -> None:
    """Delete parts that no manifest names. `cutoff` is the grace period's start, seconds since the epoch."""
    for entry in leftover_parts(context.store, cutoff, progress):
        report.delete(context.store, "parts that no manifest names", entry)


def sweep_temporaries(context: Context, report: Report, cutoff: float) -> None:
    """Delete files that killed processes had begun to write aside."""
    for entry in context.store.temporaries():
        if entry.modified < cutoff:
            report.delete(context.store, "unfinished files of killed processes", entry)


def leftover_parts(store: Store, cutoff: float, progress: Progress) -> Iterator[Entry]:
    """Parts of deliveries and days that no manifest names and nobody can still need."""
    for place in _places():
        progress(f"sweeping {place}")
        for folder, entries in _by_folder(store.list(place), place).items():
            yield from _leftovers(store, folder, entries, cutoff)


def _places() -> Iterator[str]:
    for layer in LAYER_NAMES:
        for lane in LANES:
            yield f"{layer}/{lane}"
    yield _DAYS


def _by_folder(entries: Iterable[Entry], place: str) -> dict[str, list[Entry]]:
    """Objects directly in the folders directly below a place; what lies deeper is not ours."""
    folders: dict[str, list[Entry]] = {}
    for entry in entries:
        name, _, rest = entry.path.removeprefix(f"{place}/").partition("/")
        if rest and "/" not in rest:
            folders.setdefault(f"{place}/{name}", []).append(entry)
    return folders


def _leftovers(store: Store, folder: str, entries: list[Entry], cutoff: float) -> list[Entry]:
    names = {entry.path: entry.path.rpartition("/")[2] for entry in entries}
    old = [entry for entry in entries if _is_old_part(names[entry.path], entry, cutoff)]
    if not old:
        return []
    manifests = [path for path, name in names.items() if _MANIFEST.fullmatch(name)]
    # A first manifest may have come since the listing.
    named = _named(store, {*manifests, f"{folder}/{MANIFEST_NAME}"}, cutoff)
    if named is None:
        return []
    return [entry for entry in old if names[entry.path] not in named]


def _is_old_part(name: str, entry: Entry, cutoff: float) -> bool:
    part = _PART.fullmatch(name)
    if part is None or entry.modified >= cutoff:
        return False
    return attempt_stamp(part[1]).timestamp() < cutoff


def _named(store: Store, manifests: Iterable[str], cutoff: float) -> set[str] | None:
    """Names of the parts that these manifests hold on to; None where one has changed lately or is no JSON."""
    named: set[str] = set()
    for path in sorted(manifests):
        found = store.read(path)
        if found is None:
            continue
        # Looked at after it was read: if this is old, then so is what was read.
        now = store.stat(path)
        if now is None or now.modified >= cutoff:
            return None
        try:
            fields = manifest_fields(found.data)
        except ValueError:
            return None
        parts = [*fields.get("parts", ()), *fields.get("closed_parts", ())]
        named |= {part["name"] for part in parts}
        if "part" in fields:  # a table of the user's own names its one part by its path
            named.add(str(fields["part"]).rpartition("/")[2])
    return named
