"""Cuts a stream of bytes into lines, a chunk at a time, in bounded memory.

What belongs here: what a line is, where it stands in its file, which lines are blank or comments, and the
facts that need every byte (size, digest, first line).

What does not: what a line says (`access_lines`, `error_lines`), and compression (`decompress`).

A line is the bytes up to a line feed or the end of the file. Where the chunks are cut never shows in what
comes out of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from pipeline_assets.kernel.decompress import (
    ByteSource,
    CompressionBombError,
    DamagedStreamError,
    read_into,
)
from pipeline_assets.kernel.digests import content_digest
from pipeline_assets.kernel.formats import RejectReason
from pipeline_assets.kernel.words import binary_pieces, binary_slices

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CHUNK_BYTES: Final = 16 * 1024 * 1024
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
# A row costs up to 400 bytes while it is read: of the shortest lines a chunk would take gigabytes at once.
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

# So many zero bytes stand behind a block's own, and may be read with its last ones.
PADDING_BYTES: Final = 64

# Fewer than one in so many of a block's lines are looked at, or copied out of it, one by one.
_FEW: Final = 20

_LINE_FEED: Final = 0x0A
_COMMENT_SIGN: Final = ord("#")
_WHITESPACE: Final = b" \t\n\r\x0b\x0c"


@dataclass(frozen=True)
class Block:
    """Lines of one stretch of a stream: where they begin and end in `codes`, its bytes, which have
    `PADDING_BYTES` behind the first `size`, and where they stand in the file. Blank lines and comments are
    left out. The memory is used again once nothing refers to `codes`.

    `is_whole` says that every line ends in a line feed and none is too long; `first_number` is the number of
    the first line, `last_number` that of the last, left out or not. `is_read` says that what a `LineReader`'s
    `scan` has read is left out, too.
    """

    codes: npt.NDArray[np.uint8]
    size: int
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    first_number: int
    last_number: int
    is_whole: bool = True
    faults: tuple[str | None, ...] = ()
    is_read: bool = False

    def are_few(self, lines: int) -> bool:
        """Whether a frame of so many of the lines is a copy, and no view of the whole block."""
        return lines * _FEW <= self.last_number - self.first_number + 1

    def frame(self, chosen: npt.NDArray[np.bool_] | None = None, *, most: int | None = None) -> pl.DataFrame:
        """The lines, or the chosen ones, or the first so many, as a frame of `LINES_SCHEMA`."""
        which = slice(most) if chosen is None else chosen
        starts, ends, numbers, offsets = (
            values[which] for values in (self.starts, self.ends, self.numbers, self.offsets)
        )
        fault: pl.Expr | pl.Series = pl.lit(None, dtype=pl.String)
        if self.faults:
            fault = pl.Series(self.faults, dtype=pl.String)
            fault = fault.head(most) if chosen is None and most else fault
            fault = fault if chosen is None else fault.filter(pl.Series(chosen))
        if self.are_few(len(starts)):
            # They may wait for others, and shall not keep the whole block from being used again.
            lines = binary_pieces(self.copied(starts, ends), ends - starts)
        else:
            lines = binary_slices(self.codes, starts, ends)
        return pl.DataFrame({"line_number": numbers, "byte_offset": offsets, "line": lines}).with_columns(
            fault=fault
        )

    def copied(self, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> bytes:
        """The bytes between these places, one piece behind the other."""
        view = self.codes.data
        return b"".join([view[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])


class Scan(NamedTuple):
    """What is left over of some lines by who reads them while they are looked for.

    Those lines end at `end`, and are so many. The others' beginnings, ends and numbers are given. `is_over`
    says that what follows is not to be read so.
    """

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    end: int
    lines: int
    is_over: bool


class _Buffers:
    """Memory for blocks, used again once nothing refers to it any more.

    Fresh memory is handed over by the system page by page, which takes as long as all else that is done to
    find its lines.
    """

    def __init__(self) -> None:
        self._all: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        """At least `size` bytes of any content."""
        for buffer in self._all:
            if len(buffer) >= size and _is_free(buffer):
                return buffer
        self._all = [buffer for buffer in self._all if len(buffer) >= size]
        # A line that is still open makes the next block somewhat longer.
        self._all.append(bytearray(size + size // 8))
        return self._all[-1]


def _is_free(buffer: bytearray) -> bool:
    """Whether no array, column or view refers to its memory: only then Python lets its size be changed."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


class LineReader:
    """The lines of one stream, as frames of `LINES_SCHEMA` in line order, or as `blocks`; to be read once.

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

    Where the stream is not a file's beginning, `offset` says how many bytes stand before it, `lines_before`
    how many lines, and `directives` which of them are such. Then `lines` counts those too, `bytes` does not.
    """

    def __init__(
        self,
        stream: ByteSource,
        *,
        chunk_bytes: int = CHUNK_BYTES,
        max_line_bytes: int = MAX_LINE_BYTES,
        offset: int = 0,
        lines_before: int = 0,
        directives: Iterable[Directive] = (),
    ) -> None:
        if chunk_bytes < 1 or max_line_bytes < 1:
            raise ValueError("chunk_bytes and max_line_bytes must be at least 1")
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._max_line_bytes = max_line_bytes
        self._kept_bytes = min(KEPT_LINE_BYTES, max_line_bytes)
        self._digest = content_digest()
        self._buffers = _Buffers()
        # Where line feeds stand in so many bytes, behind which there are `PADDING_BYTES`.
        self.find_line_feeds: Callable[[npt.NDArray[np.uint8], int], npt.NDArray[np.int64]] = _line_feeds
        # Reads what it can of the lines between two places of a block's bytes, given the number of the first
        # line, the offset of the first byte, and how long a line may be; it may end before the last line.
        self.scan: Callable[[npt.NDArray[np.uint8], int, int, int, int, int], Scan] | None = None
        # The line whose end has not been read yet: its bytes, or the first of them, and its true length.
        self._open = bytearray()
        self._open_length = 0
        self._open_offset = offset
        self.bytes = 0
        self.lines = lines_before
        self.blank = 0
        self.comment = 0
        self.first_line: bytes | None = None
        self.damage: RejectReason | None = None
        self.directives: list[Directive] = list(directives)
        self.unterminated: int | None = None

    @property
    def damaged(self) -> bool:
        """Whether the stream broke off."""
        return self.damage is not None

    @property
    def digest(self) -> str:
        """Hexadecimal digest of the bytes read so far."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for block in self.blocks():
            yield block.frame()

    def blocks(self) -> Iterator[Block]:
        """The lines a stretch at a time; what `frame()` says of them is what iterating gives."""
        while True:
            carried = len(self._open)
            data = self._buffers.take(carried + self._chunk_bytes + PADDING_BYTES)
            data[:carried] = self._open
            end = carried + self._read_into(data, carried)
            if end == carried:
                break
            last_line_feed = data.rfind(b"\n", carried, end)
            if last_line_feed < 0:
                self._extend_open_line(data[carried:end])
                continue
            if self._open_length > self._max_line_bytes:
                first_line_feed = data.find(b"\n", carried, end)
                self._extend_open_line(data[carried:first_line_feed])
                yield self._close_open_line(RejectReason.LINE_TOO_LONG, terminated=True)
                # What stands in front of the next line is no line any more.
                rest = data[first_line_feed + 1 : end]
                data[: len(rest)] = rest
                end = len(rest)
                last_line_feed -= first_line_feed + 1
            size = last_line_feed + 1
            self._open = data[size:end]
            self._open_length = len(self._open)
            if size:
                data[size : size + PADDING_BYTES] = bytes(PADDING_BYTES)
                yield from self._cut(data, size, terminated=True)
        if self.damage is not None:
            yield self._close_open_line(self.damage, terminated=False)
        elif self._open_length > self._max_line_bytes:
            yield self._close_open_line(RejectReason.LINE_TOO_LONG, terminated=False)
        elif self._open_length:
            self.unterminated = self.lines + 1
            size = len(self._open)
            yield from self._cut(bytes(self._open) + bytes(PADDING_BYTES), size, terminated=False)

    def _read_into(self, data: bytearray, begin: int) -> int:
        """How many bytes of the stream, about `chunk_bytes`, now stand there; none at its end or damage."""
        end = begin
        limit = begin + self._chunk_bytes
        with memoryview(data) as view:
            while end < limit and not self.damaged:
                try:
                    count = read_into(self._stream, view[end:limit])
                except DamagedStreamError as error:
                    self.damage = (
                        RejectReason.COMPRESSION_BOMB
                        if isinstance(error, CompressionBombError)
                        else RejectReason.DAMAGED_COMPRESSION
                    )
                    break
                if not count:
                    break
                self._digest.update(view[end : end + count])
                end += count
        self.bytes += end - begin
        return end - begin

    def _extend_open_line(self, more: bytes | bytearray) -> None:
        self._open += more
        self._open_length += len(more)
        if self._open_length > self._max_line_bytes:
            del self._open[self._kept_bytes :]

    def _close_open_line(self, fault: RejectReason, *, terminated: bool) -> Block:
        import numpy as np

        self.lines += 1
        is_too_long = self._open_length > self._max_line_bytes
        line = bytes(self._open[: self._kept_bytes] if is_too_long else self._open)
        if terminated and self.first_line is None:
            self.first_line = line
        block = Block(
            np.frombuffer(line + bytes(PADDING_BYTES), np.uint8),
            len(line),
            starts=np.zeros(1, np.int64),
            ends=np.array([len(line)], np.int64),
            numbers=np.array([self.lines], np.int64),
            offsets=np.array([self._open_offset], np.int64),
            first_number=self.lines,
            last_number=self.lines,
            is_whole=False,
            faults=(fault.value,),
        )
        self._open_offset += self._open_length + int(terminated)
        self._open = bytearray()
        self._open_length = 0
        return block

    def _cut(self, data: bytes | bytearray, size: int, *, terminated: bool) -> Iterator[Block]:
        """Whole lines; `data` begins where the open line does and, if `terminated`, ends in a line feed."""
        import numpy as np

        # The first line is to be known, and behind directives lines may be of other formats.
        if self.scan is not None and terminated and self.first_line is not None and not self.directives:
            end = yield from self._scanned(data, size)
            if end == size:
                return
            data, size = bytes(data[end : size + PADDING_BYTES]), size - end
        ends = self.find_line_feeds(np.frombuffer(data, np.uint8), size)
        if not terminated:
            ends = np.append(ends, size)
        if len(ends) <= FRAME_LINES:
            yield self._block(data, size, ends, terminated=terminated)
            return
        begin = 0
        for first in range(0, len(ends), FRAME_LINES):
            some = ends[first : first + FRAME_LINES]
            end = min(int(some[-1]) + 1, size)
            part = bytes(data[begin:end]) + bytes(PADDING_BYTES)
            yield self._block(part, end - begin, some - begin, terminated=terminated)
            begin = end

    def _scanned(self, data: bytes | bytearray, size: int) -> Generator[Block, None, int]:
        """What `scan` leaves over of whole lines, and where it ended."""
        import numpy as np

        assert self.scan is not None
        codes = np.frombuffer(data, np.uint8)
        offset, end, is_over = self._open_offset, 0, False
        while end < size and not is_over:
            begin = end
            scan = self.scan(codes, begin, size, self.lines + 1, offset, self._max_line_bytes)
            end, is_over = scan.end, scan.is_over
            yield self._lines_of(data, begin, end, scan, terminated=True, is_read=True)
        return end

    def _block(
        self, data: bytes | bytearray, size: int, ends: npt.NDArray[np.int64], *, terminated: bool
    ) -> Block:
        """The lines of the first `size` bytes of `data`, given where each of them ends."""
        import numpy as np

        starts = np.concatenate((np.zeros(1, dtype=ends.dtype), ends[:-1] + 1))
        numbers = np.arange(self.lines + 1, self.lines + 1 + len(starts), dtype=np.int64)
        lines = Scan(starts, ends, numbers, size, len(starts), is_over=False)
        return self._lines_of(data, 0, size, lines, terminated=terminated, is_read=False)

    def _lines_of(
        self, data: bytes | bytearray, begin: int, end: int, lines: Scan, *, terminated: bool, is_read: bool
    ) -> Block:
        """Those of the lines from `begin` to `end` that are no blank lines and no comments."""
        import numpy as np

        codes = np.frombuffer(data, dtype=np.uint8, count=end)
        starts, ends, numbers = lines.starts, lines.ends, lines.numbers
        first_number = self.lines + 1
        too_long = ends - starts > self._max_line_bytes
        any_too_long = bool(too_long.any())

        begins = starts
        is_marked = self.lines == 0 and data.startswith(BYTE_ORDER_MARK)
        if is_marked:
            begins = starts.copy()
            begins[0] = min(starts[0] + len(BYTE_ORDER_MARK), end - 1)
        comment, blank = _left_out(codes, begins, ends, too_long)
        if is_marked and ends[0] == len(BYTE_ORDER_MARK):
            blank[0] = not too_long[0]
        if comment.any():
            self._note_directives(data, begins[comment], ends[comment], numbers[comment])
        self.lines += lines.lines
        self.comment += int(comment.sum())
        self.blank += int(blank.sum())

        offsets = starts + (self._open_offset - begin)
        self._open_offset += end - begin
        if any_too_long:
            ends = np.where(too_long, starts + self._kept_bytes, ends)
        kept = ~(comment | blank)
        if not kept.all():
            starts, ends, numbers, offsets = starts[kept], ends[kept], numbers[kept], offsets[kept]
            too_long = too_long[kept]
        if terminated and self.first_line is None and len(starts):
            self.first_line = bytes(data[starts[0] : ends[0]])
        faults: tuple[str | None, ...] = ()
        if any_too_long:
            reason = RejectReason.LINE_TOO_LONG.value
            faults = tuple(reason if is_long else None for is_long in too_long.tolist())
        return Block(
            np.frombuffer(data, np.uint8),
            end,
            starts,
            ends,
            numbers,
            offsets,
            first_number=first_number,
            last_number=self.lines,
            is_whole=terminated and not any_too_long and not is_marked,
            faults=faults,
            is_read=is_read,
        )

    def _note_directives(
        self,
        data: bytes | bytearray,
        begins: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
    ) -> None:
        import numpy as np

        codes, which = np.frombuffer(data, np.uint8), np.arange(len(begins))
        for place, byte in enumerate(DIRECTIVE):
            which = which[codes.take(begins[which] + place) == byte]
        found = (each[which].tolist() for each in (begins, ends, numbers))
        for begin, end, number in zip(*found, strict=True):
            if len(self.directives) > MOST_DIRECTIVES:
                return
            text = data[begin : min(end, begin + KEPT_LINE_BYTES)].decode("utf-8", "replace").rstrip("\r")
            if not self.directives or self.directives[-1][1] != text:
                is_last = len(self.directives) == MOST_DIRECTIVES
                self.directives.append((number, "" if is_last else text))


def _line_feeds(codes: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.int64]:
    import numpy as np

    return np.flatnonzero(codes[:size] == _LINE_FEED)


def _left_out(
    codes: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    too_long: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which lines are comments, and which are blank."""
    import numpy as np

    first = codes.take(starts)
    blank: npt.NDArray[np.bool_] = first == _LINE_FEED
    comment = np.zeros_like(blank)
    # What lines of other kinds begin with is above a comment's sign, as a rule.
    which = np.flatnonzero((first <= _COMMENT_SIGN) & ~blank)
    if len(which):
        comment[which] = _are_comments(codes, starts[which])
        blank[which] = _are_blank(codes, starts[which], ends[which])
    return comment & ~too_long, blank & ~too_long


def _are_comments(codes: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Lines that begin with `#`, unless a digit follows: PHP numbers the frames of a stack trace so."""
    import numpy as np

    following = codes[np.minimum(starts + 1, len(codes) - 1)]
    is_frame = (following >= ord("0")) & (following <= ord("9"))
    comment: npt.NDArray[np.bool_] = (codes[starts] == _COMMENT_SIGN) & ~is_frame
    return comment


def _are_blank(
    codes: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which of these lines hold nothing but whitespace."""
    import numpy as np

    # To look at every byte takes as long as to look at a line for each 256 of them, one by one.
    if len(starts) * 256 > len(codes):
        is_whitespace = np.zeros(256, dtype=np.bool_)
        is_whitespace[list(_WHITESPACE)] = True
        # Between two of these lines stand others, so each second piece is one of them. There is a piece
        # where the last of them ends, too.
        places = np.stack((starts, ends), axis=1).ravel()
        found = np.append(is_whitespace[codes], True)
        blank: npt.NDArray[np.bool_] = np.logical_and.reduceat(found, places)[::2]
        return blank
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.array([not codes[start:end].tobytes().strip(_WHITESPACE) for start, end in pairs], np.bool_)
