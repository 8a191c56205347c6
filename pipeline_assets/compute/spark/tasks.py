"""What one of Spark's tasks does: a share of a unit, from landed bytes to rollups that wait for the others.

What belongs here: the tasks, as values, and doing one. What does not: cutting the work into tasks (`waves`),
and putting results on record (`run`).

A task writes parts under names of its own and tells of them, so one that is lost, repeated or run twice at
once leaves parts that nothing names, and never half of a layer. Data that can't be committed is an answer and
no failure: Spark repeats what has failed.
"""

from __future__ import annotations

import os
import pickle
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.gold import plain, roll_up_parts
from pipeline_assets.compute.reading import FileRead, held_rows, open_landed, read_file
from pipeline_assets.compute.silver import clean_parts
from pipeline_assets.compute.spark.frames import Row
from pipeline_assets.kernel.parse import Start
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.kernel.stretches import FileScan, read_beginning, scan_file
from pipeline_assets.settings_elsewhere import IDENTITY_VARIABLES, settings_from
from pipeline_assets.storage.manifests import Layer, Part
from pipeline_assets.storage.parts import PartWriter
from pipeline_assets.storage.quarantine import BadDataError
from pipeline_assets.storage.store import Entry
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    import pyarrow as pa

_BETWEEN: Final = "\x1f"
# No column of a rollup has such a name.
_PIECE: Final = "piece of a task"


@dataclass(frozen=True)
class Share:
    """A landed file, or with `start` its stretch up to offset `end`, the `number`th of its file."""

    entry: Entry
    start: Start | None = None
    end: int = 0
    number: int = 0


@dataclass(frozen=True)
class Task:
    """Make these layers of a share of a unit, all of it for one attempt.

    Where bronze is among the layers, `shares` are read; else `parts`, of the layer before, are there already.
    Each rollup is cut into `buckets`, so that no single task must hold a whole delivery's.
    """

    unit: Unit
    attempt: str
    layers: tuple[Layer, ...]
    shares: tuple[Share, ...] = ()
    parts: tuple[Part, ...] = ()
    buckets: int = 1


@dataclass(frozen=True)
class TaskAnswer:
    """What a task has done: what it found in its shares (None: gone, or another version by now), the parts it
    has written, and how many rows its bronze really holds. `bad` says why the unit can't be committed."""

    unit: Unit
    attempt: str
    reads: tuple[tuple[Share, FileRead | None], ...] = ()
    parts: tuple[tuple[Layer, Part], ...] = ()
    held: Mapping[str, Counter[str]] = field(default_factory=dict)
    bad: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def scan(variables: Mapping[str, str], stretch_bytes: int, entry: Entry) -> Iterator[Row]:
    """Where a landed file can be cut: a row of (entry, `FileScan`), or (entry, None) where it can't be."""
    context = _context(tuple(sorted(variables.items())))
    found: FileScan | None = None
    try:
        with open_landed(context.store, entry) as stream:
            beginning = read_beginning(stream, entry.path, context.options)
        with open_landed(context.store, entry) as stream:
            found = scan_file(stream, beginning, context.options, stretch_bytes=stretch_bytes)
    except (OSError, BadDataError):
        pass  # whoever reads it as a whole says why it can't be read
    if not _is_still(context, entry):
        found = None
    yield Row("", pickle.dumps((entry, found)))


def work(variables: Mapping[str, str], task: Task) -> Iterator[Row]:
    """Do a task: rollups under their keys, and at last the answer under the key "".

    `variables` are the sender's settings, secrets of the storage among them.
    """
    context = _context(tuple(sorted(variables.items())))
    started, cpu_started = time.monotonic(), time.process_time()
    done = _Done()
    rollups: list[Row] = []
    bad = ""
    try:
        _do(context, task, done, rollups)
    except BadDataError as error:
        bad, rollups = str(error), []
    yield from rollups
    answer = TaskAnswer(
        task.unit,
        task.attempt,
        tuple(done.reads),
        tuple(done.parts),
        done.held,
        bad,
        time.monotonic() - started,
        time.process_time() - cpu_started,
    )
    yield Row("", packed(answer))


def packed(answer: TaskAnswer) -> bytes:
    """An answer as a row carries it; `unpacked` has it back."""
    return pickle.dumps(answer)


def unpacked(payload: bytes) -> TaskAnswer:
    """What `packed` has made of an answer, in a task of this very job."""
    answer: TaskAnswer = pickle.loads(payload)  # noqa: S301 - Spark hands our own tasks' rows back
    return answer


@dataclass
class _Done:
    reads: list[tuple[Share, FileRead | None]] = field(default_factory=list)
    parts: list[tuple[Layer, Part]] = field(default_factory=list)
    held: dict[str, Counter[str]] = field(default_factory=dict)


def _do(context: Context, task: Task, done: _Done, rollups: list[Row]) -> None:
    parts: Sequence[Part] = task.parts
    if "bronze" in task.layers:
        parts = _read(context, task, done)
    if "silver" in task.layers:
        with PartWriter(context.store, "silver", task.unit, task.attempt) as writer:
            clean_parts(context, task.unit, parts, writer)
            parts = writer.close()
        done.parts += [("silver", part) for part in parts]
    if "gold" in task.layers:

        def keep(name: str, rows: pl.DataFrame | pa.Table) -> None:
            rollups.extend(_bucketed(task, name, plain(rows)))

        roll_up_parts(context, task.unit, parts, keep)


def _read(context: Context, task: Task, done: _Done) -> list[Part]:
    writer = PartWriter(context.store, "bronze", task.unit, task.attempt)
    for share in task.shares:
        read = read_file(context, share.entry, writer, share.start, share.end)
        # Stretches are of one version of a file, or of none.
        if share.start is not None and not _is_still(context, share.entry):
            read = None
        done.reads.append((share, read))
    parts = writer.close()
    done.held = held_rows(context.store, task.unit, parts)
    done.parts += [("bronze", part) for part in parts]
    return parts


def _is_still(context: Context, entry: Entry) -> bool:
    now = context.store.stat(entry.path)
    return now is not None and now.etag == entry.etag


def _bucketed(task: Task, table: str, rows: pl.DataFrame) -> Iterator[Row]:
    """Rows of a rollup, by bucket. Where rows of equal keys don't meet, they do when the day is merged."""
    if task.buckets == 1:
        pieces = [(0, rows)]
    else:
        bucket = rows.select(ROLLUPS[table].keys).hash_rows() % task.buckets
        pieces = [
            (int(piece[_PIECE].item(0)), piece.drop(_PIECE))
            for piece in rows.with_columns(bucket.alias(_PIECE)).partition_by(_PIECE)
        ]
    for number, piece in pieces:
        sink = BytesIO()
        piece.write_ipc(sink, compression="zstd")
        yield Row(_BETWEEN.join((str(task.unit), task.attempt, table, str(number))), sink.getvalue())


def meet(variables: Mapping[str, str], key: str, payloads: Sequence[bytes]) -> bytes:
    """The rollups under one key, merged and written as parts of gold; a `TaskAnswer` with these parts."""
    context = _context(tuple(sorted(variables.items())))
    started, cpu_started = time.monotonic(), time.process_time()
    name, attempt, table, _ = key.split(_BETWEEN)
    unit = Unit.parse(name)
    writer = PartWriter(context.store, "gold", unit, attempt)
    bad = ""
    parts: list[Part] = []
    try:
        writer.write_now(table, ROLLUPS[table].merge_files(pl.read_ipc(each) for each in payloads))
        parts = writer.close()
    except BadDataError as error:
        bad = str(error)
    answer = TaskAnswer(
        unit,
        attempt,
        parts=tuple(("gold", part) for part in parts),
        bad=bad,
        seconds=time.monotonic() - started,
        cpu_seconds=time.process_time() - cpu_started,
    )
    return packed(answer)


@lru_cache(maxsize=4)
def _context(variables: tuple[tuple[str, str], ...]) -> Context:
    """The context of a process that works for these settings; Spark uses a process again."""
    given = dict(variables)
    os.environ.update({name: given[name] for name in IDENTITY_VARIABLES if name in given})
    return Context.of(settings_from(given))
