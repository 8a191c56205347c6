"""Contents that have landed, looked up by path or by first line.

What belongs here: what lies, or once lay, under a landing path, from the cheapest place that knows it. What
does not: what follows from it (`import_rule`).

A file that was read is in its unit's manifest, for ever, also when it has been deleted or forgotten. One that
nobody has read yet is read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pipeline_assets.kernel.decompress import DamagedStreamError, open_decompressed
from pipeline_assets.kernel.digests import content_digest
from pipeline_assets.storage import control, ledger
from pipeline_assets.storage.import_rule import Content, Known
from pipeline_assets.storage.landing import LANDING
from pipeline_assets.storage.manifests import FileRecord, read_manifest
from pipeline_assets.storage.store import Entry, Store
from pipeline_assets.storage.units import Unit, daily_unit, landing_lane

_READ_BYTES: Final = 1 << 20


@dataclass
class LandedContents:
    """The landing area and the manifests, as they were when first asked, and what was noted since."""

    store: Store
    _landed: dict[str, Entry] = field(init=False)
    _records: dict[Unit, dict[str, FileRecord]] = field(default_factory=dict, init=False)
    _noted: dict[str, Known] = field(default_factory=dict, init=False)
    _heads: dict[str, set[str]] = field(default_factory=dict, init=False)
    _recorded: frozenset[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._landed = {entry.path: entry for entry in self.store.list(LANDING)}

    def note(self, known: Known, head: str) -> None:
        """Say what has just landed, and what its first line is."""
        self._noted[known.path] = known
        self._heads.setdefault(head, set()).add(known.path)

    def has(self, path: str) -> bool:
        """Whether something has landed there, be it deleted since."""
        if path in self._noted or path in self._landed:
            return True
        if self._recorded is None:
            self._recorded = frozenset(ledger.known_files(self.store))
        # The ledger is derived and may be behind; a manifest never is.
        return path in self._recorded or self._record(path) is not None

    def is_free(self, path: str) -> bool:
        """Whether nothing has ever landed there."""
        return not self.has(path)

    def at(self, path: str) -> Known | None:
        """What is under a landing path now, else what was there last; None if there never was anything."""
        if path in self._noted:
            return self._noted[path]
        entry, record = self._landed.get(path), self._record(path)
        if record is not None and (entry is None or entry.etag == record.etag):
            return _known(record)
        read = self._read(path) if entry is not None else None
        if read is None:
            return None if record is None else _known(record)
        self._noted[path] = Known(path, read.bytes, read.digest)
        return self._noted[path]

    def beginning_with(self, head: str) -> Iterator[Known]:
        """What begins with this line, of all that was read, and of what was noted."""
        paths = set(self._heads.get(head, ()))
        for unit in control.units_with_head(self.store, head):
            paths.update(path for path, record in self._unit(unit).items() if record.head == head)
        for path in sorted(paths):
            known = self.at(path)
            if known is not None:
                yield known

    def begins_with(self, longer: Known, content: Content) -> bool | None:
        """Whether a longer landed content begins with this one; None where it can't be read any more."""
        read = self._read(longer.path, content.bytes)
        if read is None or read.bytes < content.bytes:
            return None
        return read.digest == content.digest

    def _read(self, path: str, size: int | None = None) -> Content | None:
        """The content of a landed file, or of its first `size` bytes; None where it is not there."""
        digest = content_digest()
        done = 0
        try:
            with self.store.open(path) as raw:
                stream = open_decompressed(raw)
                while block := stream.read(_READ_BYTES if size is None else min(_READ_BYTES, size - done)):
                    digest.update(block)
                    done += len(block)
                    if done == size:
                        break
        except DamagedStreamError:
            pass
        except OSError:
            return None
        return Content(done, digest.hexdigest(), {})

    def _record(self, path: str) -> FileRecord | None:
        lane = landing_lane(path)
        unit = daily_unit(path) if lane == "daily" else control.claimed_by(self.store, path)
        return self._unit(unit).get(path) if unit else None

    def _unit(self, unit: Unit) -> dict[str, FileRecord]:
        if unit not in self._records:
            self._records[unit] = read_manifest(self.store, "bronze", unit).value.by_path
        return self._records[unit]


def _known(record: FileRecord) -> Known:
    return Known(record.path, record.bytes, record.digest, record.status == "forgotten")
