"""Rollups of any size as shards that fit into memory, two at a time.

What belongs here: deciding whether rows are cut, and the file in which shards wait. What does not: which rows
stay together (`kernel.shards`), and what is done with them (`days`, `publish`).

Whoever has few rows, as nearly every day does, never touches the disk.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from itertools import chain
from types import TracebackType
from typing import Final, NamedTuple

import polars as pl

from pipeline_assets.compute.abreast import abreast, taken
from pipeline_assets.kernel.coded_alike import CodedAlike
from pipeline_assets.kernel.shards import cut
from pipeline_assets.storage.memory import give_back

# Rows of all rollups that are taken into memory together: 40 MB, and some three times as much to merge or to
# project them. A log of 100 MB has so many, where its clients are as many as the benchmark's.
ROWS_TOGETHER: Final = 250_000
# Two shards are worked on at once, so each has less. Whole ones take some 50 MB more, for a twentieth less of
# the CPU time of publishing; halves save 20 MB, and take a tenth more.
_SHARE_OF_SHARD: Final = 0.75
# Different texts of a column that stay in memory while its rows are numbers: 80,000 addresses, or more.
_TEXTS_BYTES: Final = 4 << 20

Pieces = dict[str, list[pl.DataFrame]]
Packed = memoryview


class Shard(NamedTuple):
    """Some of the rows of rollups: the shard of this number of so many, from 0 on.

    `pieces` takes them into memory, by name; their texts may be coded. Shards may do so at the same time.
    """

    number: int
    of: int
    pieces: Callable[[], Pieces]


def are_few(rows: int) -> bool:
    """Whether so many rows of rollups may be taken into memory together."""
    return rows <= ROWS_TOGETHER


def packed(rows: pl.DataFrame) -> Packed:
    """Rows as they wait on the disk."""
    sink = BytesIO()
    # A stream, and no file of Arrow's: to open one takes Polars longer than to read rows as few as these.
    # Numbers of few bytes would hardly become fewer.
    are_texts = pl.String() in rows.schema.values()
    rows.write_ipc_stream(sink, compression="lz4" if are_texts else "uncompressed")
    return sink.getbuffer()


class Spill:
    """Frames that wait on the local disk under a key, in one file without a name, which goes with them."""

    def __init__(self) -> None:
        # Whoever has it closes it. Should nobody, it is closed with the object, or by the system.
        self._file = tempfile.TemporaryFile(prefix="pipeline-assets-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        # Where the file is read or written is one for all threads.
        self._at = threading.Lock()
        self._places: dict[Hashable, list[tuple[int, int]]] = {}

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, and of what waits in it."""
        self._file.close()

    def add(self, key: Hashable, rows: pl.DataFrame) -> None:
        """Put rows behind those that have this key already."""
        self.put(key, packed(rows))

    def put(self, key: Hashable, data: Packed) -> None:
        """Put packed rows behind those that have this key already."""
        with self._at:
            place = self._file.seek(0, os.SEEK_END)
            self._places.setdefault(key, []).append((place, self._file.write(data)))

    def frames(self, key: Hashable) -> Iterator[pl.DataFrame]:
        """The frames that were added under a key, one at a time, in their order."""
        for place, size in self._places.get(key, ()):
            with self._at:
                self._file.seek(place)
                data = self._file.read(size)
            yield pl.read_ipc_stream(BytesIO(data))


@contextmanager
def in_shards(pieces: Iterable[tuple[str, pl.DataFrame]], about: int) -> Iterator[Iterator[Shard]]:
    """Pieces of rollups: all of them where they are few, else in shards, which wait until this is left.

    `about` is how many rows there are, as far as that is known. Rows that one of `kernel.rollups` merges, and
    those that one key of a serving table adds up but for sums and maxima, are in one shard.
    """
    waiting = iter(pieces)
    held: list[tuple[str, pl.DataFrame]] = []
    rows = 0
    for name, frame in waiting:
        held.append((name, frame))
        rows += frame.height
        if not are_few(rows):
            break
    else:
        yield iter([Shard(0, 1, partial(_by_name, held))])
        return
    shards = max(2, math.ceil(max(about, rows) / (_SHARE_OF_SHARD * ROWS_TOGETHER)))
    names: set[str] = set()
    alike = CodedAlike(_TEXTS_BYTES)
    with Spill() as spill:
        for name, found in abreast(partial(_cut, shards, alike), chain(taken(held), waiting)):
            names.add(name)
            for number, data in found:
                spill.put((name, number), data)
        give_back()
        yield (
            Shard(number, shards, partial(_of_shard, spill, alike, sorted(names), number))
            for number in range(shards)
        )


def _cut(
    shards: int, alike: CodedAlike, piece: tuple[str, pl.DataFrame]
) -> tuple[str, list[tuple[int, Packed]]]:
    name, frame = piece
    return name, [(number, packed(some)) for number, some in cut(name, frame, shards, alike.numbers)]


def _of_shard(spill: Spill, alike: CodedAlike, names: Iterable[str], number: int) -> Pieces:
    return {name: alike.coded(list(spill.frames((name, number)))) for name in names}


def _by_name(pieces: Iterable[tuple[str, pl.DataFrame]]) -> Pieces:
    found: Pieces = {}
    for name, frame in pieces:
        found.setdefault(name, []).append(frame)
    return found
