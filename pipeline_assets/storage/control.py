"""Coordination between processes that share nothing but the storage: batches, claims, and what is pending.

What belongs here: the small objects below `bronze/_control/` that are created before work begins, so that
whoever comes next finds what a killed process left. What does not: anything a table is computed from.

- A *claim* ties an incremental path to its batch, for ever. It is a conditional create, so one of two wins.
- A *pending* marker says that a unit may be ahead of serving. It is set before a unit changes and removed
  after the unit is published; a process killed in between leaves it, and the next run starts there.
- A *head* entry lists the files that begin with the same line: only those can be copies of each other.
- A *quarantine* note says why a unit could not be read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

from pipeline_assets.storage.manifests import new_attempt
from pipeline_assets.storage.store import Entry, Store, SwapConflictError
from pipeline_assets.storage.units import Unit

_CONTROL: Final = "bronze/_control"
_PENDING: Final = f"{_CONTROL}/pending"
_CLAIMS: Final = f"{_CONTROL}/claims"
_HEADS: Final = f"{_CONTROL}/heads"
_QUARANTINE: Final = f"{_CONTROL}/quarantine"
_MAINTENANCE: Final = f"{_CONTROL}/maintenance.json"
_BATCH_NAME: Final = "_batch.json"
_FLIPPED: Final = "flipped-"


def create_batch(store: Store, entries: dict[str, tuple[int, str]], now: datetime | None = None) -> Unit:
    """Create a batch of paths (each with its size in bytes and its etag) under a key of its own.

    The key is the minute, UTC, with a suffix where that minute has a batch already. The batch is on record
    before any path is claimed for it: `batch_paths` completes the claims, also after a crash.
    """
    minute = f"{now or datetime.now(UTC):%Y-%m-%d-%H%M}"
    body = {"files": [{"path": path, "size": size, "etag": etag} for path, (size, etag) in entries.items()]}
    for number in count(1):
        unit = Unit("incremental", minute if number == 1 else f"{minute}-{number}")
        if store.read(_batch_path(unit)) is not None:
            continue
        # Pending first: killed right after, it names a batch that does not exist, which costs one look.
        mark_pending(store, unit)
        if store.create(_batch_path(unit), _json({"unit": str(unit), **body})):
            break
    return unit


def batch_paths(store: Store, unit: Unit) -> list[str]:
    """The paths that belong to a batch: those on its list that it could claim.

    A batch whose record somebody deleted is known by its claims alone; finding them costs reading all.
    """
    found = store.read(_batch_path(unit))
    if found is None:
        claims = (json.loads(item.data) for item in map(store.read, _paths(store, _CLAIMS)) if item)
        return sorted(claim["path"] for claim in claims if claim["unit"] == str(unit))
    paths = [record["path"] for record in json.loads(found.data)["files"]]
    return [path for path in paths if claim(store, path, unit) == unit]


def batches(store: Store) -> list[Unit]:
    """Every batch there is, oldest first. Costs a listing of all of them: for `full` and `status` only."""
    keys = store.children("bronze/incremental")
    return [unit for unit in (Unit("incremental", key) for key in keys) if store.read(_batch_path(unit))]


def claim(store: Store, path: str, unit: Unit) -> Unit:
    """Claim a path for a unit; the unit that owns it, which is another one where that came first."""
    owner = claimed_by(store, path)
    if owner is not None:
        return owner
    if store.create(f"{_CLAIMS}/{_key(path)}", _json({"path": path, "unit": str(unit)})):
        return unit
    owner = claimed_by(store, path)
    assert owner is not None, "claims are never deleted"
    return owner


def claimed_by(store: Store, path: str) -> Unit | None:
    """The unit that a path was claimed for, if it was."""
    found = store.read(f"{_CLAIMS}/{_key(path)}")
    return Unit.parse(json.loads(found.data)["unit"]) if found else None


def mark_pending(store: Store, unit: Unit, *, flipped: bool = False) -> None:
    """Say that a unit may be ahead of serving from now on.

    `flipped` says that nobody runs this unit: a file elsewhere made one of its files count, or not. Whoever
    did it publishes this unit too.
    """
    store.create(f"{_PENDING}/{unit}/{_FLIPPED if flipped else ''}{new_attempt()}", b"")


def pending_markers(store: Store, unit: Unit | None = None) -> dict[Unit, list[str]]:
    """Pending units and the paths of their markers."""
    markers: dict[Unit, list[str]] = {}
    for entry in store.list(f"{_PENDING}/{unit}" if unit else _PENDING):
        name = entry.path.removeprefix(f"{_PENDING}/").rpartition("/")[0]
        markers.setdefault(Unit.parse(name), []).append(entry.path)
    return markers


def flipped(store: Store) -> list[Unit]:
    """Units that are pending because of a file elsewhere."""
    return sorted(
        unit
        for unit, markers in pending_markers(store).items()
        if any(path.rpartition("/")[2].startswith(_FLIPPED) for path in markers)
    )


def clear_pending(store: Store, markers: list[str]) -> None:
    """Remove the markers seen before the work began; a marker set since stays."""
    for path in markers:
        store.delete(path)


def register_head(store: Store, head: str, path: str, unit: Unit) -> None:
    """Put a file on the list of those that begin with the same line."""
    store.create(f"{_HEADS}/{head}/{_key(path)}", _json({"path": path, "unit": str(unit)}))


def units_with_head(store: Store, head: str) -> set[Unit]:
    """Units with a file that begins, or once began, with that line."""
    entries = (store.read(entry.path) for entry in store.list(f"{_HEADS}/{head}"))
    return {Unit.parse(json.loads(found.data)["unit"]) for found in entries if found}


def quarantine(store: Store, unit: Unit, reason: str) -> None:
    """Note why a unit could not be read; replaces an earlier note."""
    path = _quarantine_path(unit)
    store.delete(path)
    store.create(path, _json({"unit": str(unit), "reason": reason}))


def quarantined(store: Store, unit: Unit) -> str | None:
    """Why a unit could not be read, if it could not."""
    found = store.read(_quarantine_path(unit))
    return str(json.loads(found.data)["reason"]) if found else None


def all_quarantined(store: Store) -> dict[Unit, str]:
    """Every quarantined unit and why."""
    found = (store.read(entry.path) for entry in store.list(_QUARANTINE))
    notes = (json.loads(item.data) for item in found if item)
    return {Unit.parse(note["unit"]): note["reason"] for note in notes}


def release(store: Store, unit: Unit) -> None:
    """Drop the note: the unit could be read."""
    store.delete(_quarantine_path(unit))


def note_maintenance(store: Store, fields: Mapping[str, object]) -> None:
    """Note what the last maintenance did; of two that end at once, either may stay."""
    found = store.read(_MAINTENANCE)
    with suppress(SwapConflictError):
        store.swap(_MAINTENANCE, _json(dict(fields)), found.etag if found else None)


def last_maintenance(store: Store) -> dict[str, Any] | None:
    """What the last maintenance did, if there was one."""
    found = store.read(_MAINTENANCE)
    return dict(json.loads(found.data)) if found else None


def old_markers(store: Store, cutoff: float) -> dict[Unit, list[Entry]]:
    """Pending markers set before `cutoff` (seconds since the epoch), by unit."""
    markers: dict[Unit, list[Entry]] = {}
    for entry in store.list(_PENDING):
        if entry.modified < cutoff:
            name = entry.path.removeprefix(f"{_PENDING}/").rpartition("/")[0]
            markers.setdefault(Unit.parse(name), []).append(entry)
    return markers


def old_claims(store: Store, cutoff: float) -> Iterator[tuple[Entry, str, Unit]]:
    """Claims made before `cutoff`, each with its path and the unit that owns it. Reads every one of them."""
    return _old_entries(store, _CLAIMS, cutoff)


def old_heads(store: Store, cutoff: float) -> Iterator[tuple[Entry, str, Unit]]:
    """Entries of files under their first line, made before `cutoff`, each with its path and unit."""
    return _old_entries(store, _HEADS, cutoff)


def head_of(entry: Entry) -> str:
    """The head that an entry of `old_heads` stands under."""
    return entry.path.removeprefix(f"{_HEADS}/").partition("/")[0]


def has_batch(store: Store, unit: Unit) -> bool:
    """Whether a batch is on record."""
    return store.stat(_batch_path(unit)) is not None


def _old_entries(store: Store, prefix: str, cutoff: float) -> Iterator[tuple[Entry, str, Unit]]:
    for entry in store.list(prefix):
        if entry.modified < cutoff and (found := store.read(entry.path)):
            fields = json.loads(found.data)
            yield entry, fields["path"], Unit.parse(fields["unit"])


def _paths(store: Store, prefix: str) -> list[str]:
    return [entry.path for entry in store.list(prefix)]


def _batch_path(unit: Unit) -> str:
    return f"bronze/{unit}/{_BATCH_NAME}"


def _quarantine_path(unit: Unit) -> str:
    return f"{_QUARANTINE}/{unit}.json"


def _key(path: str) -> str:
    # Landing names may hold anything, so they are never part of a path of ours.
    return f"{hashlib.sha256(path.encode()).hexdigest()[:32]}.json"


def _json(fields: object) -> bytes:
    return json.dumps(fields).encode()
