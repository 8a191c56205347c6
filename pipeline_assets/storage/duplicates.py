"""Copies among landed files: which files count is settled here, across units, after a unit has changed.

What belongs here: applying the rule of `kernel.identity` to what the manifests say, and swapping in what it
decides. What does not: the rule itself. It costs one listing for a file that shares its first line with no
other, and reads landed bytes only to compare files that do, and of the longer one only as much as the
shorter one has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, cast

from pipeline_assets.kernel.decompress import DamagedStreamError, open_decompressed
from pipeline_assets.kernel.digests import Digests
from pipeline_assets.kernel.heads import has_first_line
from pipeline_assets.kernel.identity import Content, statuses
from pipeline_assets.storage.control import mark_pending, units_with_head
from pipeline_assets.storage.manifests import (
    FileRecord,
    FileStatus,
    Manifest,
    Stored,
    read_manifest,
    swap_manifest,
)
from pipeline_assets.storage.store import Store, SwapConflictError
from pipeline_assets.storage.units import Unit

# Each pass loses only to somebody else's success, so many in a row mean a bug, not bad luck.
_PASSES: Final = 100
_READ_BYTES: Final = 1 << 20


def settle(store: Store, heads: Iterable[str]) -> set[Unit]:
    """Make every file that begins with one of these lines count, or not, as the rule says.

    Returns the units in which a file's status changed; each of them is marked pending before it changes.
    """
    changed: set[Unit] = set()
    left = set(heads)
    for _ in range(_PASSES):
        flipped, left = _settle_once(store, left)
        changed |= flipped
        if not left:
            return changed
    raise RuntimeError(f"files that begin alike (head {min(left)}) did not settle in {_PASSES} passes")


def _settle_once(store: Store, heads: set[str]) -> tuple[set[Unit], set[str]]:
    """One look at everything that begins with these lines; those with which there is still something to do.

    Only a look that changes nothing ends it: a status decided from a view that has since changed would
    otherwise stay. Each manifest is read once, however many of its files are looked at.
    """
    having = {head: units_with_head(store, head) for head in sorted(heads)}
    units = sorted({unit for some in having.values() for unit in some})
    manifests = {unit: read_manifest(store, "bronze", unit) for unit in units}
    alike: dict[str, list[FileRecord]] = {}
    for stored in manifests.values():
        for record in stored.value.files:
            if record.head in heads and record.status != "forgotten":
                alike.setdefault(record.head, []).append(record)
    decided = {record.path: record for records in alike.values() for record in _decided(store, records)}
    flipped: set[Unit] = set()
    left: set[str] = set()
    for unit, stored in manifests.items():
        files = [decided.get(record.path, record) for record in stored.value.files]
        differing = {now.head for now, then in zip(files, stored.value.files, strict=True) if now != then}
        if not differing:
            continue
        updated = stored.value.with_files(files)
        left |= differing
        moved = _statuses(updated) != _statuses(stored.value)
        if moved:
            mark_pending(store, unit, flipped=True)
        if _try_swap(store, unit, updated, stored) and moved:
            flipped.add(unit)
    return flipped, left


def _decided(store: Store, records: list[FileRecord]) -> list[FileRecord]:
    """Records of files that begin with the same line, with the status that the rule gives them."""
    comparison = _Comparison(store, records)
    status = statuses((_content(record) for record in records), comparison.is_prefix)
    return [
        replace(
            record,
            status=cast(FileStatus, status[record.path]),
            begins_with={**record.begins_with, **comparison.learned.get(record.digest, {})},
        )
        for record in records
    ]


@dataclass
class _Comparison:
    """Answers whether one content begins another: from what the manifests remember, else from the bytes."""

    store: Store
    records: list[FileRecord]
    learned: dict[str, dict[str, bool]] = field(default_factory=dict)

    def is_prefix(self, shorter: Content, longer: Content) -> bool:
        for record in self.records:
            if record.digest == longer.digest and shorter.digest in record.begins_with:
                return record.begins_with[shorter.digest]
        answer = self._begins_with(longer, shorter)
        if answer is None:
            # The longer one was deleted before anybody asked: without evidence both count.
            return False
        self.learned.setdefault(longer.digest, {})[shorter.digest] = answer
        return answer

    def _begins_with(self, longer: Content, shorter: Content) -> bool | None:
        for record in self.records:
            if record.digest == longer.digest:
                answer = begins_with(self.store, record, shorter.bytes, shorter.digest)
                if answer is not None:
                    return answer
        return None


def begins_with(store: Store, record: FileRecord, size: int, digest: str) -> bool | None:
    """Whether the first `size` bytes of a landed file have this digest, be it of before kernel 5.

    None where the file is not the one that its record is of any more, or can't be read.
    """
    now = store.stat(record.path)
    if now is None or now.etag != record.etag:
        return None
    digests = Digests([digest])
    left = size
    try:
        with store.open(record.path) as raw:
            stream = open_decompressed(raw)
            while left and (block := stream.read(min(left, _READ_BYTES))):
                digests.update(block)
                left -= len(block)
    except (OSError, DamagedStreamError):
        return None
    return digest in digests.all


def _content(record: FileRecord) -> Content:
    head = record.head if has_first_line(record.head) else None
    return Content(record.path, record.digest, record.bytes, head)


def _statuses(manifest: Manifest) -> dict[str, str]:
    return {record.path: record.status for record in manifest.files}


def _try_swap(store: Store, unit: Unit, manifest: Manifest, stored: Stored[Manifest]) -> bool:
    try:
        swap_manifest(store, unit, manifest, stored.etag)
    except SwapConflictError:
        return False
    return True
