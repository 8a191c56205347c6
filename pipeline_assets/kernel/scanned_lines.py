"""Lines by the compiled scan: what `combined_lines` does, and nginx's main format, where numba is installed.

What belongs here: the memory that the scan fills, and the tables made of it. What does not: how a line is
read (`byte_scan`), and whether the scan is used (`accelerator`).

Of each column the different texts are copied out of the block, and rows have their numbers: a part has them
so, too, so nobody need look at a text again, and nothing refers to the block any more.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Final

from pipeline_assets.kernel import machine_code
from pipeline_assets.kernel.combined_lines import (
    ROW_BYTES,
    CombinedRows,
    Given,
    bronze_table,
    dictionary,
    joined_rows,
)
from pipeline_assets.kernel.lines import Block, LineReader, Scan
from pipeline_assets.kernel.machine_code import address
from pipeline_assets.kernel.scan_layout import (
    BATCH,
    EXTRA,
    FULL,
    LONGEST,
    METHODS,
    MOST_LEFT,
    OVER,
    PROTOCOLS,
    REQUEST,
    SECRETS,
    SLACK,
    SLOTS,
    SMALLEST_AREA,
    STEP,
    TARGET,
    TEXTS,
)
from pipeline_assets.kernel.words import nulls, validity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_TEXT_COLUMNS: Final = (
    *("remote_host", "identity", "user", "request", "target", "referer", "user_agent"),
    "extra",
)
_FORMATS: Final = ("combined", "common", "nginx_main")
# So many bytes of log, and so many rows, are one table at most. A line has at least 57 bytes, so a table of
# the shortest ones ends at its rows.
_TABLE_BYTES: Final = 32 << 20
_TABLE_ROWS: Final = SLOTS // 4
_WIDTH: Final = _TABLE_BYTES + SLACK
# So much memory of tables is kept free.
_KEPT: Final = 2
# Where more than so many of a table's rows have a target of their own, those of the next are not numbered.
_UNLIKE_SHARE: Final = 0.75
# Fewer rows don't tell: one always has a target of its own.
_TELLING_ROWS: Final = 10_000


class ScannedReader:
    """A `QuickReader` whose tables hold up to `_TABLE_BYTES` of log each.

    Rows should be asked for behind `table_bytes`, about six blocks: then they are a row group by themselves,
    which takes over the numbers of a table's texts, but not those of two.
    """

    table_bytes: Final = 23 << 20

    def __init__(self, given: Given) -> None:
        import numpy as np

        self._given = given
        self._window = int(given.begin.timestamp()), int(given.end.timestamp())
        self._free: list[_Memory] = []
        self._memory: _Memory | None = None
        self._full: list[CombinedRows] = []
        self._left: npt.NDArray[np.int64] | None = None
        self._coded = np.ones(TEXTS, np.bool_)
        self._coded[EXTRA] = False
        self._are_unlike = False
        self._secrets = np.frombuffer(os.urandom(8 * SECRETS), np.uint64)

    def attach(self, lines: LineReader) -> None:
        """Read the lines of this stream while they are looked for."""
        lines.scan = self.scan

    def take(self, block: Block) -> npt.NDArray[np.bool_] | None:
        """Which of the block's lines are rows now; None if none of them is."""
        import numpy as np

        if block.is_read:
            return np.zeros(len(block.starts), np.bool_)
        if not block.is_whole or not len(block.starts):
            return None
        offset = int(block.offsets[0] - block.starts[0])
        taken = np.ones(len(block.starts), np.bool_)
        end, number = 0, block.first_number
        while end < block.size:
            begin = end
            scan = self.scan(block.codes, begin, block.size, number, offset, LONGEST)
            taken &= ~np.isin(block.starts, scan.starts)
            end, number = scan.end, number + scan.lines
            if scan.is_over:
                taken &= block.starts < end
                break
        return taken if taken.any() else None

    def scan(
        self, codes: npt.NDArray[np.uint8], begin: int, size: int, number: int, offset: int, longest: int
    ) -> Scan:
        """Read the lines between two places of `codes`, as `LineReader.scan` says."""
        import numpy as np

        if self._left is None:
            self._left = np.empty((3, MOST_LEFT), np.int64)
        so_far = np.array([begin, number, 0, 0, 0], np.int64)
        code = FULL
        while code == FULL:
            if self._memory is None:
                self._memory = self._free.pop() if self._free else _Memory()
                self._memory.coded = self._coded.copy()
            memory = self._memory
            so_far[2:4] = memory.rows, memory.room
            code = machine_code.loaded().scan(
                address(codes), size, offset, min(longest, LONGEST), *self._window, *memory.addresses,
                address(self._secrets), address(memory.coded), address(self._left), address(so_far),
            )  # fmt: skip
            end, following, memory.rows, memory.room, left = so_far.tolist()
            if code == FULL:
                self._finish()
        starts, ends, numbers = self._left[:, :left].copy()
        return Scan(starts, ends, numbers, end, following - number, is_over=code == OVER)

    def rows(self) -> CombinedRows | None:
        """The rows of the blocks taken since this was last asked; None if there are none."""
        self._finish()
        if self._are_unlike:
            self._coded[[REQUEST, TARGET]] = False
        some, self._full = self._full, []
        return some[0] if len(some) == 1 else joined_rows(some) if some else None

    def _finish(self) -> None:
        memory = self._memory
        if memory is not None and memory.rows:
            self._memory = None
            is_telling = memory.rows >= _TELLING_ROWS
            self._are_unlike |= is_telling and bool(memory.counts[TARGET] > _UNLIKE_SHARE * memory.rows)
            self._full.append(_rows_of(memory, _Lease(memory, self._free), self._given))


class _Memory:
    """What the scan fills for one table.

    It is mapped for the largest that can come, and the system gives pages where it is written to; small ones,
    for large pages would be taken for each of the many columns.
    """

    def __init__(self) -> None:
        import mmap

        import numpy as np

        texts, rows = TEXTS, _TABLE_ROWS
        shapes: dict[str, tuple[tuple[int, ...], npt.DTypeLike]] = {
            "wide": ((4, rows), np.int64),
            "slots": ((texts, SLOTS), np.uint64),
            "firsts": ((rows,), np.uint64),
            "keys": ((BATCH,), np.uint64),
            "ends": ((BATCH + STEP,), np.int64),
            "places": ((2, texts, BATCH), np.int32),
            "bounds": ((texts, rows + 1), np.int32),
            "known": ((3, rows), np.int32),
            "numbered": ((texts, rows), np.int32),
            "narrow": ((2, rows), np.int16),
            "absent": ((texts + 1, rows), np.bool_),
            "taken": ((BATCH,), np.bool_),
            "values": ((texts * _WIDTH,), np.uint8),
        }
        sizes = {name: math.prod(shape) * np.dtype(kind).itemsize for name, (shape, kind) in shapes.items()}
        # Pages that other processes could share, as is usual, take the system longer.
        memory = mmap.mmap(-1, sum(sizes.values()), access=mmap.ACCESS_COPY)
        arrays: dict[str, npt.NDArray[Any]] = {}
        begin = 0
        for name, (shape, kind) in shapes.items():
            arrays[name] = np.ndarray(shape, kind, memory, begin)
            begin += sizes[name]
        self.values, self.bounds, self.absent = arrays["values"], arrays["bounds"], arrays["absent"]
        self.wide, self.narrow, self.known = arrays["wide"], arrays["narrow"], arrays["known"]
        self.numbered, self.slots = arrays["numbered"], arrays["slots"]
        self.counts, self.areas = np.zeros(texts, np.int64), np.full(texts, SMALLEST_AREA, np.int64)
        self.coded = np.zeros(texts, np.bool_)
        self.last = np.zeros(4, np.uint64), np.zeros(3, np.int64)
        self.addresses: tuple[int, ...] = (
            rows, *map(address, (*self.last, self.bounds, self.values)), _WIDTH,
            *map(address, (self.absent, self.wide, self.narrow, self.known, self.numbered)),
            *map(address, (self.counts, self.slots, self.areas, arrays["firsts"])),
            *(address(arrays[name]) for name in ("places", "keys", "ends", "taken")),
        )  # fmt: skip
        self.clear()

    def clear(self) -> None:
        """Make it as new, but for the size of its hash tables, for the next texts will be as many."""
        for slots, area in zip(self.slots, self.areas.tolist(), strict=True):
            slots[area : 2 * area] = 0
        self.counts[:] = 0
        self.rows = 0
        self.room = _TABLE_BYTES


class _Lease:
    """Holds memory for columns that view it; with the last of them it is free to be used again."""

    def __init__(self, memory: _Memory, free: list[_Memory]) -> None:
        self._memory = memory
        self._free = free

    def __del__(self) -> None:
        # One is filled while another waits and a third is encoded; more are seldom needed.
        if len(self._free) < _KEPT:
            self._memory.clear()
            self._free.append(self._memory)


def _rows_of(memory: _Memory, lease: _Lease, given: Given) -> CombinedRows:
    import numpy as np
    import pyarrow as pa

    count = memory.rows

    def viewed(array: npt.NDArray[Any]) -> Any:
        return pa.foreign_buffer(array.ctypes.data, array.nbytes, lease)

    def values(array: npt.NDArray[Any], kind: Any, is_null: npt.NDArray[np.bool_] | None = None) -> Any:
        absent = 0 if is_null is None else int(np.count_nonzero(is_null))
        bitmap = validity(is_null) if is_null is not None and absent else None
        return pa.Array.from_buffers(kind, count, [bitmap, viewed(array[:count])], absent)

    def text(number: int) -> Any:
        many = int(memory.counts[number]) if number != EXTRA else count
        bounds = memory.bounds[number, : many + 1]
        begin = number * _WIDTH
        data = viewed(memory.values[begin : begin + int(bounds[-1])])
        is_null = memory.absent[number, :count]
        if memory.coded[number]:
            known = pa.StringArray.from_buffers(many, viewed(bounds), data)
            numbers = values(memory.numbered[number], pa.int32(), is_null)
            # Arrow looks at each of them: what numbers them is compiled, and reads what strangers wrote.
            return pa.DictionaryArray.from_arrays(numbers, known)
        absent = int(np.count_nonzero(is_null))
        if absent == count:
            return nulls(pa.string(), count)
        there = validity(is_null) if absent else None
        return pa.StringArray.from_buffers(count, viewed(bounds), data, there, absent)

    no_target = memory.absent[TARGET, :count]
    known = {"method": METHODS, "protocol": PROTOCOLS, "format": _FORMATS}
    coded = {
        # Garbage in place of a request has no method and no protocol.
        name: dictionary(texts, values(index, pa.int32(), None if name == "format" else no_target))
        for (name, texts), index in zip(known.items(), memory.known, strict=True)
    }
    table = bronze_table(
        {
            **{name: text(number) for number, name in enumerate(_TEXT_COLUMNS)},
            **coded,
            "line_number": values(memory.wide[0], pa.int64()),
            "byte_offset": values(memory.wide[1], pa.int64()),
            "timestamp": values(memory.wide[2], pa.timestamp("us", "UTC")),
            "bytes": values(memory.wide[3], pa.int64(), memory.absent[TEXTS, :count]),
            "status": values(memory.narrow[0], pa.int16()),
            "utc_offset_minutes": values(memory.narrow[1], pa.int16()),
        },
        count,
        given,
    )
    formats: dict[str, tuple[int, int]] = {}
    for number, name in enumerate(_FORMATS):
        is_mine = memory.known[2, :count] == number
        if many := int(np.count_nonzero(is_mine)):
            formats[name] = (many, int(memory.wide[0, is_mine.argmax()]))
    return CombinedRows(table, _TABLE_BYTES - memory.room + ROW_BYTES * count, formats)
