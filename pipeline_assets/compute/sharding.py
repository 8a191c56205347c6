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
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from pipeline_assets.compute.abreast import abreast, taken
from pipeline_assets.kernel.coded_alike import CodedAlike
from pipeline_assets.kernel.coded_rows import CodedRows
from pipeline_assets.kernel.records import Layout, Records, as_frame
from pipeline_assets.kernel.shards import shard_numbers
from pipeline_assets.storage.memory import give_back

if TYPE_CHECKING:
    from pipeline_assets.kernel.words import Places

# Rows of all rollups that are taken into memory together: 40 MB, and some three times as much to merge or to
# project them. A log of 100 MB has so many, where its clients are as many as the benchmark's.
ROWS_TOGETHER: Final = 250_000
# Two shards are worked on at once, so each has less. Whole ones take some 50 MB more, for a twentieth less of
# the CPU time of publishing; halves save 20 MB, and take a tenth more.
_SHARE_OF_SHARD: Final = 0.75
# Different texts of a column that stay in memory while its rows are numbers: 80,000 addresses, or more.
_TEXTS_BYTES: Final = 4 << 20

# Rows of a rollup that are merged already, and its name.
Piece = tuple[str, pl.DataFrame | CodedRows]
Pieces = dict[str, list[pl.DataFrame]]
# The ways in which rows of each rollup wait, numbered; those of most pieces wait in the same way.
Layouts = dict[str, dict[Layout, int]]


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


def packed(rows: pl.DataFrame) -> memoryview:
    """Rows as they wait on the disk."""
    sink = BytesIO()
    # A stream, and no file of Arrow's: to open one takes Polars longer than to read rows as few as these.
    # Numbers of few bytes would hardly become fewer.
    are_texts = pl.String() in rows.schema.values()
    rows.write_ipc_stream(sink, compression="lz4" if are_texts else "uncompressed")
    return sink.getbuffer()


class Spill:
    """Bytes that wait on the local disk under keys, in one file without a name, which goes with them."""

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
        data = packed(rows)
        self.put_each([key], data, [len(data)])

    def put_each(self, keys: Iterable[Hashable], data: memoryview, sizes: Iterable[int]) -> None:
        """Put what stands one behind the other in `data`, of these sizes, behind what has their keys already.

        To write each by itself takes three times as long.
        """
        with self._at:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(data)
            for key, size in zip(keys, sizes, strict=True):
                if size:
                    self._places.setdefault(key, []).append((place, size))
                place += size

    def frames(self, key: Hashable) -> Iterator[pl.DataFrame]:
        """The frames that were added under a key, one at a time, in their order."""
        for place, size in self._places.get(key, ()):
            with self._at:
                self._file.seek(place)
                data = self._file.read(size)
            yield pl.read_ipc_stream(BytesIO(data))

    def sizes(self, key: Hashable) -> list[int]:
        """The size of each of those that were put under a key, but for empty ones, in their order."""
        return [size for _, size in self._places.get(key, ())]

    def joined(self, key: Hashable) -> bytearray:
        """All that was put under a key, one behind the other."""
        data = bytearray(sum(self.sizes(key)))
        view = memoryview(data)
        for place, size in self._places.get(key, ()):
            with self._at:
                self._file.seek(place)
                self._file.readinto(view[:size])
            view = view[size:]
        return data


@contextmanager
def in_shards(pieces: Iterable[Piece], about: int) -> Iterator[Iterator[Shard]]:
    """Pieces of rollups: all of them where they are few, else in shards, which wait until this is left.

    `about` is how many rows there are, as far as that is known. Rows that one of `kernel.rollups` merges, and
    those that one key of a serving table adds up but for sums and maxima, are in one shard.
    """
    waiting = iter(pieces)
    held: list[Piece] = []
    rows = 0
    for name, some in waiting:
        held.append((name, some))
        rows += some.height
        if not are_few(rows):
            break
    else:
        yield iter([Shard(0, 1, partial(_by_name, held))])
        return
    shards = max(2, math.ceil(max(about, rows) / (_SHARE_OF_SHARD * ROWS_TOGETHER)))
    layouts: Layouts = {}
    alike = CodedAlike(_TEXTS_BYTES)
    with Spill() as spill:
        ahead = chain(taken(held), waiting)
        for name, rows_of_shards, records in abreast(partial(_cut, shards, alike), ahead):
            known = layouts.setdefault(name, {})
            way = known.setdefault(records.layout, len(known))
            for stream, data, sizes in records.cut(rows_of_shards):
                spill.put_each(((name, number, way, stream) for number in range(shards)), data, sizes)
        give_back()
        yield (
            Shard(number, shards, partial(_of_shard, spill, alike, layouts, number))
            for number in range(shards)
        )


def _cut(shards: int, alike: CodedAlike, piece: Piece) -> tuple[str, Places, Records]:
    """The rows of a piece, those of one shard after those of another; and how many each has."""
    import numpy as np

    name, some = piece
    rows = CodedRows.of(some)
    number = shard_numbers(name, rows, shards)
    records = Records.of(*alike.numbers(rows), np.argsort(number, kind="stable"))
    return name, np.bincount(number, minlength=shards), records


def _of_shard(spill: Spill, alike: CodedAlike, layouts: Layouts, number: int) -> Pieces:
    return {
        name: [
            rows
            for layout, way in known.items()
            for rows in _waiting(spill, alike, layout, (name, number, way))
        ]
        for name, known in layouts.items()
    }


def _waiting(
    spill: Spill, alike: CodedAlike, layout: Layout, key: tuple[str, int, int]
) -> Iterator[pl.DataFrame]:
    """The rows that wait under a key, in as few frames as may be: those of one piece are merged already."""
    sizes = spill.sizes((*key, ""))
    if not sizes:
        return
    rows = alike.coded(as_frame(layout, lambda stream: spill.joined((*key, stream))))
    first = rows.height * sizes[0] // sum(sizes)
    yield rows[:first]
    if len(sizes) > 1:
        yield rows[first:]


def _by_name(pieces: Iterable[Piece]) -> Pieces:
    found: Pieces = {}
    for name, some in pieces:
        found.setdefault(name, []).append(some.frame() if isinstance(some, CodedRows) else some)
    return found
