"""Manifests: the one object that says what a unit's layer, or a day's state, consists of.

What belongs here: the manifests' content and their JSON, and reading and swapping them. What does not: what
goes into the parts they name (`compute`). A reader believes the manifest and nothing else in the folder.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Final, Generic, Literal, TypeVar, get_args

from pipeline_assets.kernel.digests import digest_of_before
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit, is_date

Layer = Literal["bronze", "silver", "gold"]
FileStatus = Literal["counted", "duplicate", "superseded", "forgotten"]
LAYER_NAMES: Final[tuple[Layer, ...]] = get_args(Layer)
MANIFEST_NAME: Final = "_manifest.json"
# A state names all deliveries of its day, and is read and written for each. From this size on, as with a
# hundred of them, it is compressed, to a fifth: most of what is left are their digests.
_LARGE_STATE_BYTES: Final = 8 << 10


@dataclass(frozen=True)
class FileRecord:
    """One landed file of a unit: which bytes were read, what became of each line, and whether it counts.

    `attempt` names the parts that hold its rows. `begins_with` remembers, by digest, whether this content
    begins with that one: once the file is deleted it can't be looked up again. `request_days` and
    `error_days` count rows by UTC day, `written_days` requests by the date as the log writes it, and
    `rejects` rejected lines by reason.
    """

    path: str
    etag: str
    size: int
    digest: str
    head: str
    attempt: str
    kernel: str
    config: str
    bytes: int
    lines: int
    parsed: int
    continuation: int
    rejected: int
    blank: int
    comment: int
    first_event: str | None
    last_event: str | None
    request_days: dict[str, int]
    error_days: dict[str, int]
    damaged: bool = False
    status: FileStatus = "counted"
    begins_with: dict[str, bool] = field(default_factory=dict)
    site: str = ""
    rejects: dict[str, int] = field(default_factory=dict)
    written_days: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    confidence: float = 1.0
    unknown_format: bool = False

    @property
    def conserved(self) -> bool:
        """Whether every line read has ended in exactly one place."""
        return self.lines == self.parsed + self.continuation + self.rejected + self.blank + self.comment

    @property
    def day_of_rest(self) -> str | None:
        """The day on which the file's lines without a time count: of its earliest event, else of its folder.

        None where it has no such lines, or where neither says a day.
        """
        if not self.rejected + self.blank + self.comment:
            return None
        if self.first_event:
            return datetime.fromisoformat(self.first_event).astimezone(UTC).date().isoformat()
        folder = self.path.split("/")[1]
        return folder if is_date(folder) else None

    @property
    def days(self) -> set[str]:
        """Every day that the file gives anything to."""
        rest = self.day_of_rest
        return {*self.request_days, *self.error_days, *self.written_days, *([rest] if rest else [])}


@dataclass(frozen=True)
class Part:
    """One Parquet object of a table, written by one attempt."""

    table: str
    name: str
    attempt: str
    rows: int
    size: int


@dataclass(frozen=True)
class Manifest:
    """A unit's layer: its files, the parts that hold their rows, and what it was made from.

    `touched_days` are all event days that any generation had rows on: the days to look at when it changes.
    `removed` are the attempts whose parts retention has deleted: their files stay on record. `older` are
    those that an older kernel made, and whose source retention has deleted: they can't be made again.
    """

    unit: str
    layer: Layer
    generation: int = 0
    kernel: str = ""
    config: str = ""
    inputs: str = ""
    files: tuple[FileRecord, ...] = ()
    parts: tuple[Part, ...] = ()
    touched_days: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    older: tuple[str, ...] = ()

    @property
    def by_path(self) -> dict[str, FileRecord]:
        """The files by their path."""
        return {record.path: record for record in self.files}

    @property
    def attempts(self) -> set[str]:
        """Attempts that any file's rows come from."""
        return {record.attempt for record in self.files}

    def parts_of(self, table: str) -> list[Part]:
        """The parts that hold a table's rows."""
        return [part for part in self.parts if part.table == table]

    def with_files(self, files: Iterable[FileRecord]) -> Manifest:
        """The manifest with these files in place of its own."""
        return replace(self, files=tuple(sorted(files, key=lambda record: record.path)))


@dataclass(frozen=True)
class DayState:
    """An event day's mergeable state: which deliveries are folded into it, and the parts that hold it.

    `units` maps a unit to its contribution's digest (`contribution`). `closed` says what the day has taken
    from units whose gold retention may delete, as files by attempt, and `closed_parts` hold the rows of it,
    merged: the day can be merged again without that gold. `closed_columns` is the digest of the rollups and
    columns that those parts were written with.
    """

    day: str
    kernel: str
    units: dict[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    hits: int = 0
    closed: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    closed_parts: tuple[Part, ...] = ()
    closed_columns: str = ""

    @property
    def digest(self) -> str:
        """Digest of what is folded in: equal digests mean equal states."""
        return digest([self.kernel, *(f"{unit}={self.units[unit]}" for unit in sorted(self.units))])


_T = TypeVar("_T", covariant=True)


@dataclass(frozen=True)
class Stored(Generic[_T]):
    """A manifest and the version of the object it was read from (None: there was no object)."""

    value: _T
    etag: str | None


def new_attempt() -> str:
    """A name that no other attempt has, and that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(5)}"


def attempt_stamp(attempt: str) -> datetime:
    """When an attempt was made, to the second, UTC."""
    return datetime.strptime(attempt[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def digest(parts: Iterable[str]) -> str:
    """A short digest of texts in order; 16 hex digits."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def layer_folder(layer: Layer, unit: Unit) -> str:
    """Where a unit's layer lies, below the storage root."""
    return f"{layer}/{unit}"


def read_manifest(store: Store, layer: Layer, unit: Unit) -> Stored[Manifest]:
    """The manifest of a unit's layer; an empty one, of no version, where there is none."""
    found = store.read(f"{layer_folder(layer, unit)}/{MANIFEST_NAME}")
    if found is None:
        return Stored(Manifest(str(unit), layer), None)
    fields = json.loads(found.data)
    fields["files"] = tuple(_file(record) for record in fields["files"])
    return Stored(Manifest(**_common(fields)), found.etag)


def swap_manifest(store: Store, unit: Unit, manifest: Manifest, expected: str | None) -> Manifest:
    """Put the next generation in place of version `expected`; raises `SwapConflictError` where it is not."""
    following = replace(manifest, generation=manifest.generation + 1)
    path = f"{layer_folder(manifest.layer, unit)}/{MANIFEST_NAME}"
    store.swap(path, _to_json(asdict(following)), expected)
    return following


def day_folder(day: str) -> str:
    """Where an event day's state lies, below the storage root."""
    return f"gold/days/{day}"


def read_day(store: Store, day: str, kernel: str) -> Stored[DayState]:
    """The state of an event day; an empty one, of no version, where there is none."""
    found = store.read(f"{day_folder(day)}/{MANIFEST_NAME}")
    if found is None:
        return Stored(DayState(day, kernel), None)
    return Stored(DayState(**_common(manifest_fields(found.data))), found.etag)


def swap_day(store: Store, state: DayState, expected: str | None) -> None:
    """Put a day's state in place of version `expected`; raises `SwapConflictError` if it has changed."""
    data = _to_json(asdict(state))
    if len(data) > _LARGE_STATE_BYTES:
        data = lzma.compress(data)
    store.swap(f"{day_folder(state.day)}/{MANIFEST_NAME}", data, expected)


def manifest_fields(data: bytes) -> dict[str, Any]:
    """What a manifest says, as it is stored. Raises `ValueError` where it is none."""
    try:
        return dict(json.loads(data if data.startswith(b"{") else lzma.decompress(data)))
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error


def counted_files(manifest: Manifest, bronze: Manifest) -> list[FileRecord]:
    """The files of a layer that count.

    The layer says which rows there are; bronze has the last word on whether a file counts, as long as it
    speaks of the same attempt. Where bronze is ahead, the layer's own view holds until it has caught up.
    """
    latest = bronze.by_path
    counted = []
    for record in manifest.files:
        now = latest.get(record.path)
        judged = now if now is not None and now.attempt == record.attempt else record
        if judged.status == "counted":
            counted.append(record)
    return counted


def paths_by_attempt(files: Iterable[FileRecord]) -> dict[str, set[str]]:
    """Paths of files by the attempt that holds their rows."""
    paths: dict[str, set[str]] = {}
    for record in files:
        paths.setdefault(record.attempt, set()).add(record.path)
    return paths


def contribution(gold: Manifest, bronze: Manifest, day: date) -> tuple[str | None, dict[str, set[str]]]:
    """What a unit gives to an event day: its digest (None: nothing) and, by attempt, the files that count."""
    counted = paths_by_attempt(
        record for record in counted_files(gold, bronze) if day.isoformat() in record.days
    )
    return contribution_key(counted), counted


def contribution_key(counted: Mapping[str, Collection[str]]) -> str | None:
    """The digest of files that count, by attempt; None where there are none."""
    if not counted:
        return None
    return digest(f"{attempt} {path}" for attempt in sorted(counted) for path in sorted(counted[attempt]))


def _file(fields: dict[str, Any]) -> FileRecord:
    # Before kernel 5 contents were known by SHA-256. What is read anew gets the digest of now.
    if "sha256" in fields:
        fields["digest"] = digest_of_before(fields.pop("sha256"))
        known = fields.get("begins_with", {})
        fields["begins_with"] = {digest_of_before(each): answer for each, answer in known.items()}
    return FileRecord(**fields)


def _common(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that every manifest has, with lists as the tuples they were."""
    parsed = dict(fields)
    for name in ("parts", "closed_parts"):
        if name in parsed:
            parsed[name] = tuple(Part(**part) for part in parsed[name])
    for name in ("touched_days", "removed", "older"):
        if name in parsed:
            parsed[name] = tuple(parsed[name])
    return parsed


def _to_json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, indent=1, sort_keys=True).encode()
