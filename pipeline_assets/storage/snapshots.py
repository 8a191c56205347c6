"""A local log file that somebody may be writing, copied aside in one state of it.

What belongs here: opening a file without waiting for it, deciding how much of it is whole, and copying
exactly that while its digests are taken. What does not: which files, and where they land (`importing`).

A log is written, renamed, truncated and compressed at any time. So everything is asked of one open file and
never of its name again, and nothing is copied that was not there when it was opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from pipeline_assets.kernel.decompress import DamagedStreamError, open_decompressed
from pipeline_assets.kernel.digests import Digests
from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets.kernel.peek import Beginning, is_compressed, look_at, read_beginning

# A file that has changed within this time may still be written: its last line may be half a line. A server
# that buffers writes in pieces; what it holds back for longer than this lands as half a line until the next
# import replaces it.
WRITING_S: Final = 300.0

_BLOCK: Final = 1 << 20
_FIRST_BYTES: Final = 4096


class ChangedMeanwhileError(Exception):
    """The file was truncated or overwritten while it was read; the next import will find it at rest."""


class NotAFileError(Exception):
    """The name leads to no regular file: a folder, a socket, a pipe or a device."""


@dataclass(frozen=True)
class Copied:
    """What was copied: the decompressed size and digest, digests of beginnings, and whether it broke off.

    `prefixes` maps a number of bytes to the digests of as many first bytes.
    """

    bytes: int
    digest: str
    prefixes: dict[int, frozenset[str]]
    damaged: bool


@dataclass(frozen=True)
class OpenLog:
    """An open log file, and how much of it counts.

    `found` is the file as it was opened. `size` is the number of bytes that are taken: all, or of a file that
    is being written, all up to its last line feed (`is_cut` where that is less).
    """

    stream: BinaryIO = field(repr=False)
    found: os.stat_result
    size: int
    is_being_written: bool

    @property
    def is_cut(self) -> bool:
        """Whether a last, unfinished line was left behind."""
        return self.size < self.found.st_size

    def beginning(self, name: str, options: ReadOptions) -> Beginning:
        """What the first bytes say; of a file without a complete line, whether it is a log at all."""
        self.stream.seek(0)
        plain, is_all = read_beginning(_Bounded(self.stream, self.size or self.found.st_size))
        return look_at(plain, is_all=is_all, name=name, options=options)

    def copy_to(self, target: Path, known: Collection[tuple[int, str]]) -> Copied:
        """Copy what is taken, in one pass; `known` are sizes and digests of contents that it may begin with.

        The copy has the log's time of change and permissions. Raises `ChangedMeanwhileError`.
        """
        first = self._first_bytes()
        with target.open("wb") as out:
            source = _Tee(self._from_start(), out)
            copied = _digests(source, known)
            while source.read(_BLOCK):  # what a compressed stream has behind its end
                pass
        if source.taken != self.size or self._first_bytes() != first:
            raise ChangedMeanwhileError
        target.chmod(stat.S_IMODE(self.found.st_mode) | stat.S_IRUSR | stat.S_IWUSR)
        os.utime(target, ns=(self.found.st_mtime_ns, self.found.st_mtime_ns))
        return copied

    def _from_start(self) -> _Bounded:
        self.stream.seek(0)
        return _Bounded(self.stream, self.size)

    def _first_bytes(self) -> bytes:
        return self._from_start().read(_FIRST_BYTES)


@contextmanager
def open_log(path: Path, now: float) -> Iterator[OpenLog]:
    """Open a local file; `now` (seconds since the epoch) decides whether it may still be written.

    Raises `NotAFileError`, or `OSError` where it can't be read.
    """
    # A pipe without a writer would otherwise be waited for.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotAFileError
        compressed = is_compressed(_Bounded(stream, found.st_size).read(_FIRST_BYTES))
        being_written = now - found.st_mtime < WRITING_S
        size = found.st_size
        if being_written and not compressed:
            size = _end_of_last_line(stream, size)
        yield OpenLog(stream, found, size, being_written)


def _end_of_last_line(stream: BinaryIO, size: int) -> int:
    """How many of the first `size` bytes end in a line feed; none where there is no line feed."""
    end = size
    while end > 0:
        begin = max(0, end - _BLOCK)
        stream.seek(begin)
        block = _Bounded(stream, end - begin).read(end - begin)
        found = block.rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


class _Bounded:
    """The next `left` bytes of a stream and no more, whatever is appended to it meanwhile."""

    def __init__(self, stream: BinaryIO, left: int) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int, /) -> bytes:
        block = self._stream.read(min(size, self._left))
        self._left -= len(block)
        return block


class _Tee:
    """A stream whose bytes are also written to a file as they are read."""

    def __init__(self, stream: _Bounded, out: BinaryIO) -> None:
        self._stream = stream
        self._out = out
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        block = self._stream.read(size)
        self._out.write(block)
        self.taken += len(block)
        return block


def _digests(raw: _Tee, known: Collection[tuple[int, str]]) -> Copied:
    stream = open_decompressed(raw)
    digests = Digests(digest for _, digest in known)
    read = 0
    prefixes: dict[int, frozenset[str]] = {}
    damaged = False
    waiting = sorted({size for size, _ in known if size > 0})
    try:
        while block := stream.read(min(_BLOCK, waiting[0] - read) if waiting else _BLOCK):
            digests.update(block)
            read += len(block)
            if waiting and read == waiting[0]:
                prefixes[waiting.pop(0)] = digests.all
    except DamagedStreamError:
        damaged = True
    return Copied(read, digests.now, prefixes, damaged)
