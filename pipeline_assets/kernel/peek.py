"""A look at the beginning of a log: whose it is, when it begins, and whether it is a log at all.

What belongs here: what the first bytes of a file say, read by the same readers as the whole file will be.
What does not: opening files, and where a file goes because of it (`storage.importing`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipeline_assets.kernel.decompress import ByteSource, DamagedStreamError, open_decompressed
from pipeline_assets.kernel.heads import line_head
from pipeline_assets.kernel.lines import LineReader
from pipeline_assets.kernel.parse import FileReader, ReadOptions

PEEK_BYTES: Final = 1 << 20
# Most files begin with a line that can be read, so the first look is a short one.
_STEP_BYTES: Final = 32 * 1024

# Containers that hold files instead of lines: their first bytes, where they stand, and what they are.
_CONTAINERS: Final = (
    (0, b"\xfd7zXZ\x00", "compressed by xz, which is not read; decompress it"),
    (0, b"PK\x03\x04", "a zip archive; unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (257, b"ustar", "a tar archive; unpack it"),
)


@dataclass(frozen=True)
class Beginning:
    """What the first bytes of a file say.

    `head` is the head that the whole file will have (`parse.FileFacts`), or None where no complete line was
    seen. `first_event` is the time of the first line that could be read and is within the accepted times.
    `has_lines` says whether there is any line that is neither blank nor a comment. `refusal` says why the
    file is no log, or is empty.
    """

    head: str | None
    first_event: datetime | None
    has_lines: bool
    refusal: str


def read_beginning(raw: ByteSource, limit: int = PEEK_BYTES) -> tuple[bytes, bool]:
    """The first decompressed bytes of a file, and whether they are all of it.

    A damaged stream gives what could be read of it, as all there is.
    """
    stream = open_decompressed(raw)
    pieces = bytearray()
    try:
        while len(pieces) <= limit and (piece := stream.read(limit + 1 - len(pieces))):
            pieces += piece
    except DamagedStreamError:
        return bytes(pieces), True
    return bytes(pieces[:limit]), len(pieces) <= limit


def is_compressed(first_bytes: bytes) -> bool:
    """Whether a file that begins with these bytes is decompressed when it is read."""
    plain, _ = read_beginning(io.BytesIO(first_bytes))
    return plain != first_bytes


def look_at(plain: bytes, *, is_all: bool, name: str, options: ReadOptions) -> Beginning:
    """What the first decompressed bytes of a file say; `is_all` if there are no more.

    A file is no log if it is a known container, or if no line of what was seen could be read and zero bytes
    are in it. Text in no known format is a log: its lines are to be rejected where people see it.
    """
    for offset, magic, what in _CONTAINERS:
        if plain.startswith(magic, offset):
            return Beginning(None, None, has_lines=True, refusal=what)
    seen = plain if is_all else plain[: plain.rfind(b"\n") + 1]
    lines = LineReader(io.BytesIO(seen), chunk_bytes=_STEP_BYTES)
    has_lines = bool(plain) and not seen  # one line longer than what was read
    for frame in lines:
        has_lines |= frame.height > 0
        if lines.first_line is not None:
            break
    first_event = next(_event_times(seen, name, options), None)
    refusal = "binary" if first_event is None and b"\0" in plain else ""
    head = None if lines.first_line is None else line_head(lines.first_line)
    return Beginning(head, first_event, has_lines, refusal)


def _event_times(plain: bytes, name: str, options: ReadOptions) -> Iterator[datetime]:
    """The time of the first row of each stretch that holds any, in order."""
    for chunk in FileReader(io.BytesIO(plain), name, options, chunk_bytes=_STEP_BYTES):
        rows = [
            row
            for frame in (chunk.requests, chunk.errors)
            for row in frame.select("line_number", "timestamp").head(1).iter_rows()
        ]
        if rows:
            yield min(rows)[1]
