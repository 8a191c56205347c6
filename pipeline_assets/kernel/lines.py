"""Cuts a stream of bytes into lines, a chunk at a time, in bounded memory.

What belongs here: what a line is, where it stands in its file, which lines are blank or comments, and the
facts that need every byte (size, digest, first line).

What does not: what a line says (`access_lines`, `error_lines`), and compression (`decompress`).

A line is the bytes up to a line feed or the end of the file. Where the chunks are cut never shows in what
comes out of them together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.decompress import ByteSource, CompressionBombError, DamagedStreamError
from pipeline_assets.kernel.formats import RejectReason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CHUNK_BYTES: Final = 16 * 1024 * 1024
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
# A row costs up to 200 bytes while it is read: of the shortest lines a chunk would take gigabytes at once.
FRAME_LINES: Final = 200_000
# What is kept of a line that is too long: enough to see what it was.
KEPT_LINE_BYTES: Final = 64 * 1024

LINES_SCHEMA: Final = pl.Schema(
    {"line_number": pl.Int64(), "byte_offset": pl.Int64(), "line": pl.Binary(), "fault": pl.String()}
)

# A line's number, and its text.
Directive = tuple[int, str]
# A file has a directive for each start of its server. What is made of directives is no log, and behind so
# many changes of its fields a last one that names none ends the reading of its lines.
MOST_DIRECTIVES: Final = 100
DIRECTIVE: Final = b"#Fields:"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_LINE_FEED: Final = 0x0A
_COMMENT_SIGN: Final = ord("#")
_WHITESPACE: Final = b" \t\n\r\x0b\x0c"


class LineReader:
    """The lines of one stream, as frames of `LINES_SCHEMA` in line order; to be iterated once.

    - `line_number` counts from 1, `byte_offset` from 0; both count blank and comment lines too.
    - `line` has no line feed. Blank lines (empty, or ASCII whitespace alone) and comments (first byte `#`,
      as in W3C extended logs, unless a digit follows, as in `#0 {main}` of a stack trace) are counted and
      left out: a gap in `line_number` shows where they were.
    - `fault` is null, or why the line can't be read: `line_too_long` (over `max_line_bytes`; its first
      64 KiB are in `line`), or `damaged_compression` or `compression_bomb` on the one line, perhaps empty,
      where the stream broke off. A faulty line is never blank or a comment.

    The attributes are complete once the iteration has ended:

    - `bytes`, `lines`, `blank`, `comment`: counts of the whole stream;
    - `first_line`: the first line that ends in a line feed and is neither blank nor a comment (of one that
      is too long, its first 64 KiB), or None;
    - `damage`: why the stream broke off, as a reason for a reject, or None;
    - `directives`: the `#Fields` lines, by line number, without repetitions and up to a bound;
    - `unterminated`: the number of the last line where it has no line feed, else None.

    A byte order mark at the beginning hides neither a comment nor a blank line.
    """

    def __init__(
        self, stream: ByteSource, *, chunk_bytes: int = CHUNK_BYTES, max_line_bytes: int = MAX_LINE_BYTES
    ) -> None:
        if chunk_bytes < 1 or max_line_bytes < 1:
            raise ValueError("chunk_bytes and max_line_bytes must be at least 1")
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._max_line_bytes = max_line_bytes
        self._kept_bytes = min(KEPT_LINE_BYTES, max_line_bytes)
        self._digest = hashlib.sha256()
        # The line whose end has not been read yet: its bytes, or the first of them, and its true length.
        self._open = bytearray()
        self._open_length = 0
        self._open_offset = 0
        self.bytes = 0
        self.lines = 0
        self.blank = 0
        self.comment = 0
        self.first_line: bytes | None = None
        self.damage: RejectReason | None = None
        self.directives: list[Directive] = []
        self.unterminated: int | None = None

    @property
    def damaged(self) -> bool:
        """Whether the stream broke off."""
        return self.damage is not None

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the bytes read so far."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        while block := self._read_block():
            last_line_feed = block.rfind(b"\n")
            if last_line_feed < 0:
                self._extend_open_line(block)
                continue
            if self._open_length > self._max_line_bytes:
                first_line_feed = block.find(b"\n")
                self._extend_open_line(block[:first_line_feed])
                yield self._close_open_line(RejectReason.LINE_TOO_LONG, terminated=True)
                block = block[first_line_feed + 1 :]
                last_line_feed -= first_line_feed + 1
            rest = block[last_line_feed + 1 :]
            data = bytes(self._open) + block[: last_line_feed + 1]
            if data:
                yield from self._cut(data, terminated=True)
            self._open = bytearray(rest)
            self._open_length = len(rest)
        if self.damage is not None:
            yield self._close_open_line(self.damage, terminated=False)
        elif self._open_length > self._max_line_bytes:
            yield self._close_open_line(RejectReason.LINE_TOO_LONG, terminated=False)
        elif self._open_length:
            self.unterminated = self.lines + 1
            yield from self._cut(bytes(self._open), terminated=False)

    def _read_block(self) -> bytes:
        """About `chunk_bytes` of the stream; no bytes at its end, also where it is damaged."""
        pieces: list[bytes] = []
        missing = self._chunk_bytes
        while missing > 0 and not self.damaged:
            try:
                piece = self._stream.read(missing)
            except DamagedStreamError as error:
                self.damage = (
                    RejectReason.COMPRESSION_BOMB
                    if isinstance(error, CompressionBombError)
                    else RejectReason.DAMAGED_COMPRESSION
                )
                break
            if not piece:
                break
            self._digest.update(piece)
            pieces.append(piece)
            missing -= len(piece)
        block = b"".join(pieces)
        self.bytes += len(block)
        return block

    def _extend_open_line(self, more: bytes) -> None:
        self._open += more
        self._open_length += len(more)
        if self._open_length > self._max_line_bytes:
            del self._open[self._kept_bytes :]

    def _close_open_line(self, fault: RejectReason, *, terminated: bool) -> pl.DataFrame:
        self.lines += 1
        is_too_long = self._open_length > self._max_line_bytes
        line = bytes(self._open[: self._kept_bytes] if is_too_long else self._open)
        if terminated and self.first_line is None:
            self.first_line = line
        frame = pl.DataFrame(
            {
                "line_number": [self.lines],
                "byte_offset": [self._open_offset],
                "line": [line],
                "fault": [fault.value],
            },
            schema=LINES_SCHEMA,
        )
        self._open_offset += self._open_length + int(terminated)
        self._open = bytearray()
        self._open_length = 0
        return frame

    def _cut(self, data: bytes, *, terminated: bool) -> Iterator[pl.DataFrame]:
        """Whole lines; `data` begins where the open line does and, if `terminated`, ends in a line feed."""
        import numpy as np

        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _LINE_FEED)
        if not terminated:
            ends = np.append(ends, len(data))
        if len(ends) <= FRAME_LINES:
            yield self._frame(data, ends, terminated=terminated)
            return
        begin = 0
        for first in range(0, len(ends), FRAME_LINES):
            some = ends[first : first + FRAME_LINES]
            end = int(some[-1]) + 1
            yield self._frame(data[begin:end], some - begin, terminated=terminated)
            begin = end

    def _frame(self, data: bytes, ends: npt.NDArray[np.int64], *, terminated: bool) -> pl.DataFrame:
        """The lines of `data`, given where each of them ends."""
        import numpy as np

        codes = np.frombuffer(data, dtype=np.uint8)
        starts = np.concatenate((np.zeros(1, dtype=ends.dtype), ends[:-1] + 1))
        numbers = np.arange(self.lines + 1, self.lines + 1 + len(starts), dtype=np.int64)
        too_long = ends - starts > self._max_line_bytes
        any_too_long = bool(too_long.any())

        begins = starts
        if self.lines == 0 and data.startswith(BYTE_ORDER_MARK):
            begins = starts.copy()
            begins[0] = min(starts[0] + len(BYTE_ORDER_MARK), len(data) - 1)
        comment = _are_comments(codes, begins) & ~too_long
        blank = _are_blank(codes, begins) & ~too_long
        if begins is not starts and ends[0] == len(BYTE_ORDER_MARK):
            blank[0] = not too_long[0]
        if comment.any():
            self._note_directives(data, begins[comment], ends[comment], numbers[comment])
        self.lines += len(starts)
        self.comment += int(comment.sum())
        self.blank += int(blank.sum())

        offsets = starts + self._open_offset
        self._open_offset += len(data)
        if any_too_long:
            ends = np.where(too_long, starts + self._kept_bytes, ends)
        kept = ~(comment | blank)
        if not kept.all():
            starts, ends, numbers, offsets = starts[kept], ends[kept], numbers[kept], offsets[kept]
            too_long = too_long[kept]
        if terminated and self.first_line is None and len(starts):
            self.first_line = data[starts[0] : ends[0]]
        frame = pl.DataFrame(
            {"line_number": numbers, "byte_offset": offsets, "line": binary_slices(data, starts, ends)}
        )
        fault: pl.Expr = pl.lit(None, dtype=pl.String)
        if any_too_long:
            fault = pl.when(pl.Series(too_long)).then(pl.lit(RejectReason.LINE_TOO_LONG.value))
        return frame.with_columns(fault=fault)

    def _note_directives(
        self,
        data: bytes,
        begins: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
    ) -> None:
        for begin, end, number in zip(begins.tolist(), ends.tolist(), numbers.tolist(), strict=True):
            if len(self.directives) > MOST_DIRECTIVES:
                return
            if not data.startswith(DIRECTIVE, begin):
                continue
            text = data[begin : min(end, begin + KEPT_LINE_BYTES)].decode("utf-8", "replace").rstrip("\r")
            if not self.directives or self.directives[-1][1] != text:
                is_last = len(self.directives) == MOST_DIRECTIVES
                self.directives.append((number, "" if is_last else text))


def binary_slices(data: Any, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> pl.Series:
    """The slices `data[start:end]` of a buffer as a Binary series that shares its memory.

    The slices must be in order and must not overlap. Arrow's offsets leave no gaps between values, so the
    gaps become values themselves and every second one is dropped; only views of 16 bytes are copied.
    """
    import numpy as np
    import pyarrow as pa

    count = len(starts)
    bounds = np.empty(2 * count + 1, dtype=np.int64)
    bounds[0:-1:2] = starts
    bounds[1::2] = ends
    bounds[-1] = ends[-1] if count else 0
    values = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 2 * count, [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    )
    return pl.Series(values, dtype=pl.Binary).gather_every(2)


def _are_comments(codes: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Lines that begin with `#`, unless a digit follows: PHP numbers the frames of a stack trace so."""
    import numpy as np

    following = codes[np.minimum(starts + 1, len(codes) - 1)]
    is_frame = (following >= ord("0")) & (following <= ord("9"))
    comment: npt.NDArray[np.bool_] = (codes[starts] == _COMMENT_SIGN) & ~is_frame
    return comment


def _are_blank(codes: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which lines hold nothing but whitespace, given every line's first byte in `codes`."""
    import numpy as np

    is_whitespace = np.zeros(256, dtype=np.bool_)
    is_whitespace[list(_WHITESPACE)] = True
    blank: npt.NDArray[np.bool_] = is_whitespace[codes[starts]]
    if (blank & (codes[starts] != _LINE_FEED)).any():
        # Looking at every byte costs as much as finding the lines, so only where a line begins with a blank.
        blank = np.logical_and.reduceat(is_whitespace[codes], starts)
    return blank
