"""Waves: the work of many units cut into tasks, done by Spark at once, and their results put together.

What belongs here: which task gets what, and adding up their answers. What does not: what a task does
(`tasks`), and what is put on record (`run`).

The driver holds what is known of each share, a kilobyte or two, and no rows.
"""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.reading import FileRead, formats_of, prove, record_of
from pipeline_assets.compute.spark.frames import run_and_meet, run_tasks
from pipeline_assets.compute.spark.tasks import Share, Task, TaskAnswer, meet, scan, unpacked, work
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.kernel.stretches import FileScan
from pipeline_assets.storage.manifests import FileRecord, Layer, Part, new_attempt
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.store import Entry
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A task of a second or two on one processor: what a lost one costs, and a hundredth of what starting it does.
STRETCH_BYTES: Final = 128 << 20
# What a compressed log, or a part of bronze, holds of text, about.
_INFLATED: Final = 8
_COMPRESSED: Final = (".gz", ".bz2", ".zst", ".zstd")
# A bucket of each rollup of so much log is merged by one task, in some hundred megabytes of memory.
_BUCKET_BYTES: Final = 512 << 20
_TRIES: Final = 5

_Item = TypeVar("_Item", Share, Part)


@dataclass(frozen=True)
class Ready:
    """Versions of a unit's files that have been read: what is put on record of them, and their parts."""

    records: list[FileRecord]
    parts: list[Part]


@dataclass
class _Gathered:
    """What the tasks of one attempt have answered."""

    reads: dict[str, dict[int, FileRead]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    parts: dict[Layer, list[Part]] = field(default_factory=dict)
    held: dict[str, Counter[str]] = field(default_factory=dict)
    bad: str = ""

    def add(self, answer: TaskAnswer) -> None:
        for share, read in answer.reads:
            if read is None:
                self.lost.add(share.entry.path)
            else:
                self.reads.setdefault(share.entry.path, {})[share.number] = read
        for layer, part in answer.parts:
            self.parts.setdefault(layer, []).append(part)
        for table, rows in answer.held.items():
            self.held.setdefault(table, Counter()).update(rows)
        self.bad = self.bad or answer.bad


class Waves:
    """The session, and what its tasks have made so far, by unit and attempt."""

    def __init__(
        self,
        session: SparkSession,
        context: Context,
        variables: Mapping[str, str],
        progress: Callable[[str], None],
        stretch_bytes: int,
    ) -> None:
        self.context = context
        self._session = session
        self._variables = dict(variables)
        self._progress = progress
        self._stretch_bytes = stretch_bytes
        self._ready: dict[tuple[Unit, frozenset[tuple[str, str]]], Ready | str] = {}
        self._made: dict[tuple[Unit, str], _Gathered] = {}
        self._spent: dict[Unit, tuple[float, float]] = {}

    def spent(self, unit: Unit) -> tuple[float, float]:
        """Seconds, and seconds of processor time, that tasks have worked for this unit alone."""
        return self._spent.get(unit, (0.0, 0.0))

    def take(self, unit: Unit, entries: Sequence[Entry]) -> Ready | None:
        """What was read of these versions of a unit's files; None if they were not read, or not together.

        Raises `InvalidRowsError` where they can't be committed.
        """
        found = self._ready.pop((unit, _versions(entries)), None)
        if isinstance(found, str):
            raise InvalidRowsError(found)
        return found

    def made(self, unit: Unit, attempt: str, layer: Layer) -> list[Part] | None:
        """The parts of a layer that tasks have made of an attempt; None if it was not asked of them.

        Raises `InvalidRowsError` where they can't be committed.
        """
        gathered = self._made.get((unit, attempt))
        if gathered is None or layer not in gathered.parts:
            return None
        if gathered.bad:
            raise InvalidRowsError(gathered.bad)
        return sorted(gathered.parts[layer], key=lambda part: part.name)

    def read(self, wanted: Mapping[Unit, Sequence[Entry]], layers: Sequence[Layer]) -> None:
        """Read these files, and make of them the layers asked for that follow one another from bronze on."""
        asked = {unit: list(entries) for unit, entries in wanted.items()}
        left = dict(asked)
        for _ in range(_TRIES):
            if not left:
                return
            lost = self._read(left, tuple(layers), asked)
            # Rows of a file that has changed meanwhile are in the parts, so all of its unit is read once
            # more; the file itself is left to the next run.
            left = {
                unit: [entry for entry in left[unit] if entry.path not in paths]
                for unit, paths in lost.items()
            }
        raise RuntimeError(f"{', '.join(map(str, left))}: files kept changing while they were read")

    def _read(
        self,
        wanted: Mapping[Unit, Sequence[Entry]],
        layers: tuple[Layer, ...],
        asked: Mapping[Unit, Sequence[Entry]],
    ) -> dict[Unit, set[str]]:
        scans = self._scan([entry for entries in wanted.values() for entry in entries])
        attempts = {unit: new_attempt() for unit in wanted}
        first: list[Task] = []
        last: list[Task] = []
        for unit, entries in wanted.items():
            shares = [share for entry in entries for share in _shares(entry, scans.get(entry))]
            # How a last line without a line feed is judged depends on all of the file before it.
            late = {_key(share): share for share in shares if _is_late(share, scans)}
            task = Task(unit, attempts[unit], layers, buckets=_buckets(sum(map(_weight, shares))))
            soon = [share for share in shares if _key(share) not in late]
            first += [replace(task, shares=tuple(some)) for some in self._packed(soon, _weight)]
            last += [replace(task, shares=(share,)) for share in late.values()]
        gathered = {(unit, attempt): _Gathered() for unit, attempt in attempts.items()}
        self._do(first, gathered)
        self._do([_with_formats(task, gathered[task.unit, task.attempt]) for task in last], gathered)
        lost = {}
        for unit, attempt in attempts.items():
            done = gathered[unit, attempt]
            for layer in layers:
                done.parts.setdefault(layer, [])
            if done.lost and not done.bad and any(done.lost & set(rows) for rows in done.held.values()):
                lost[unit] = done.lost
                continue
            self._made[unit, attempt] = done
            self._ready[unit, _versions(asked[unit])] = self._on_record(
                unit, attempt, wanted[unit], scans, done
            )
        return lost

    def _on_record(
        self,
        unit: Unit,
        attempt: str,
        entries: Iterable[Entry],
        scans: Mapping[Entry, FileScan],
        done: _Gathered,
    ) -> Ready | str:
        if done.bad:
            return done.bad
        records = []
        for entry in entries:
            if entry.path in done.lost:
                continue
            reads = [read for _, read in sorted(done.reads[entry.path].items())]
            scan = scans.get(entry)
            read = FileRead.joined(reads, scan.digest) if scan else reads[0]
            records.append(record_of(entry, read, attempt, self.context.config))
        try:
            prove(records, {table: done.held.get(table, {}) for table in ("requests", "errors", "rejected")})
        except InvalidRowsError as error:
            return str(error)
        return Ready(records, sorted(done.parts["bronze"], key=lambda part: part.name))

    def derive(self, wanted: Mapping[tuple[Unit, str], Sequence[Part]], layers: Sequence[Layer]) -> None:
        """Make layers that follow one another, of parts of the layer before them by unit and attempt."""
        tasks = []
        gathered = {key: _Gathered(parts={layer: [] for layer in layers}) for key in wanted}
        for (unit, attempt), parts in wanted.items():
            buckets = _buckets(sum(map(_part_weight, parts)))
            task = Task(unit, attempt, tuple(layers), buckets=buckets)
            tasks += [replace(task, parts=tuple(some)) for some in self._packed(parts, _part_weight)]
        self._do(tasks, gathered)
        for key, done in gathered.items():
            known = self._made.get(key)
            if known is None:
                self._made[key] = done
            else:
                known.parts.update(done.parts)
                known.bad = known.bad or done.bad

    def _scan(self, entries: Iterable[Entry]) -> dict[Entry, FileScan]:
        """Where files of more than one stretch can be cut; those that can't be are left out."""
        large = [
            entry for entry in entries if entry.size >= 2 * self._stretch_bytes and not _is_compressed(entry)
        ]
        if not large:
            return {}
        self._progress(f"looking where {len(large)} large files can be cut")
        looking = partial(scan, self._variables, self._stretch_bytes)
        answers = [pickle.loads(each) for each in run_tasks(self._session, large, looking)]  # noqa: S301 - ours
        return {entry: found for entry, found in answers if found is not None and len(found.starts) > 1}

    def _do(self, tasks: Sequence[Task], gathered: Mapping[tuple[Unit, str], _Gathered]) -> None:
        if not tasks:
            return
        units = {task.unit for task in tasks}
        self._progress(f"{len(units)} deliveries in {len(tasks)} tasks: {', '.join(tasks[0].layers)}")
        keys = len(ROLLUPS) * sum({(task.unit, task.attempt): task.buckets for task in tasks}.values())
        payloads = run_and_meet(
            self._session,
            tasks,
            partial(work, self._variables),
            partial(meet, self._variables),
            keys if "gold" in tasks[0].layers else 1,
        )
        for payload in payloads:
            answer = unpacked(payload)
            gathered[answer.unit, answer.attempt].add(answer)
            seconds, cpu_seconds = self.spent(answer.unit)
            self._spent[answer.unit] = (seconds + answer.seconds, cpu_seconds + answer.cpu_seconds)

    def _packed(self, items: Iterable[_Item], weight: Callable[[_Item], int]) -> Iterator[list[_Item]]:
        """Items in their order, as many together as make about a stretch."""
        some: list[_Item] = []
        taken = 0
        for item in items:
            if some and taken + weight(item) > self._stretch_bytes * 3 // 2:
                yield some
                some, taken = [], 0
            some.append(item)
            taken += weight(item)
        if some:
            yield some


def _versions(entries: Iterable[Entry]) -> frozenset[tuple[str, str]]:
    return frozenset((entry.path, entry.etag) for entry in entries)


def _key(share: Share) -> tuple[str, int]:
    return share.entry.path, share.number


def _shares(entry: Entry, scan: FileScan | None) -> list[Share]:
    if scan is None:
        return [Share(entry)]
    cuts = zip(scan.starts, scan.ends, strict=True)
    return [Share(entry, start, end, number) for number, (start, end) in enumerate(cuts)]


def _is_late(share: Share, scans: Mapping[Entry, FileScan]) -> bool:
    scan = scans.get(share.entry)
    return scan is not None and not scan.is_terminated and share.number == len(scan.starts) - 1


def _with_formats(task: Task, before: _Gathered) -> Task:
    """A task for a file's last stretch, which is told what formats the others have."""
    (share,) = task.shares
    assert share.start is not None
    formats = formats_of(before.reads.get(share.entry.path, {}).values())
    return replace(task, shares=(replace(share, start=replace(share.start, formats=formats)),))


def _is_compressed(entry: Entry) -> bool:
    """Whether its name says so; the others are looked at."""
    return entry.path.endswith(_COMPRESSED)


def _weight(share: Share) -> int:
    """About how many bytes of log a share has."""
    if share.start is not None:
        return share.end - share.start.offset
    return share.entry.size * (_INFLATED if _is_compressed(share.entry) else 1)


def _part_weight(part: Part) -> int:
    return part.size * _INFLATED


def _buckets(log_bytes: int) -> int:
    return max(1, math.ceil(log_bytes / _BUCKET_BYTES))
