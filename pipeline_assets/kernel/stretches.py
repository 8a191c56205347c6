"""Stretches of a large plain file that can be read apart, and give the same rows as the file read through.

What belongs here: where stretches may begin, and the facts that need every byte in its order. What does not:
reading one (`parse`), and who reads it where (`compute`).

A stretch begins at a line that is a row by itself, whatever stands before it: so no entry of several lines is
cut. Finding those lines and the digest is one pass over the file, several times as fast as reading its lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline_assets.kernel.decompress import ByteSource, open_plain
from pipeline_assets.kernel.lines import Block, Directive, LineReader
from pipeline_assets.kernel.parse import Beginning, FileReader, ReadOptions, Start
from pipeline_assets.kernel.readers import Formats, read_texts
from pipeline_assets.kernel.texts import with_text

# Lines of a block that are looked at for one that is a row; if none is, the next block is asked.
_TRIED_LINES: Final = 200
# Enough for the sample in a file of usual lines.
_BEGINNING_BYTES: Final = 2 << 20
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class FileScan:
    """A plain file from end to end: its digest and size in bytes, where its stretches begin (the first at its
    first byte), and whether its last line ends in a line feed."""

    digest: str
    bytes: int
    starts: tuple[Start, ...]
    is_terminated: bool

    @property
    def ends(self) -> tuple[int, ...]:
        """Where each stretch ends: the offset behind its last byte."""
        return (*(start.offset for start in self.starts[1:]), self.bytes)


class Stretch:
    """The bytes of a stream up to some offset in it; the stream stands at the stretch's beginning."""

    def __init__(self, stream: ByteSource, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the stretch's end."""
        data = self._stream.read(min(size, self._left)) if self._left else b""
        self._left -= len(data)
        return data


def read_beginning(stream: ByteSource, source_file: str, options: ReadOptions) -> Beginning:
    """What the first lines of a file decide; `stream` stands at its first byte."""
    reader = FileReader(stream, source_file, options, chunk_bytes=_BEGINNING_BYTES)
    next(iter(reader), None)
    return reader.beginning


def scan_file(
    stream: ByteSource, beginning: Beginning, options: ReadOptions, *, stretch_bytes: int
) -> FileScan | None:
    """Look at a file from its first byte to its last; None where it is compressed.

    Stretches have at least `stretch_bytes`, but for the last; they are longer where no line is a row, and the
    first holds the whole sample.
    """
    plain = open_plain(stream)
    if plain is None:
        return None
    lines = LineReader(plain, chunk_bytes=_READ_BYTES)
    formats = Formats(options.timezone, own=beginning.sample.own)
    starts = [Start(beginning, 0, 0)]
    wanted = stretch_bytes
    for block in lines.blocks():
        if block.last_number <= beginning.sample.last_line:
            continue
        while (found := _first_row(block, wanted, beginning, formats, lines.directives)) is not None:
            offset, number = found
            before = tuple(each for each in lines.directives if each[0] < number)
            starts.append(Start(beginning, offset, number - 1, before))
            wanted = offset + stretch_bytes
    return FileScan(lines.digest, lines.bytes, tuple(starts), lines.unterminated is None)


def _first_row(
    block: Block, offset: int, beginning: Beginning, formats: Formats, directives: list[Directive]
) -> tuple[int, int] | None:
    """Offset and number of the block's first line, at this offset or behind it, that is a row by itself."""
    behind = (block.offsets >= offset) & (block.numbers > beginning.sample.last_line)
    if not len(behind) or not behind[-1]:
        return None
    lines = block.frame(behind).head(_TRIED_LINES).filter(pl.col("fault").is_null())
    reading = read_texts(with_text(lines), formats, directives)
    rows = pl.concat([rows.select("line_number") for rows in (reading.requests, reading.errors)])
    first = rows["line_number"].min()
    if first is None:
        return None
    found = lines.filter(pl.col("line_number") == first)
    return int(found["byte_offset"].item()), int(found["line_number"].item())
