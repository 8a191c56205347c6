"""Streaming decompression of landed files, chosen by their first bytes and never by their names.

What belongs here: turning plain, gzip, bzip2 and Zstandard bytes into plain bytes in bounded memory, and
telling a damaged stream, or one that inflates beyond all measure, from a finished one.

What does not: opening files (`storage`), and what a line is (`lines`).

A damaged stream still gives every byte that could be read (of bzip2, all but the last 4 KiB of them; of
Zstandard, all but what the last 128 compressed bytes held); only then does it raise `DamagedStreamError`.
"""

from __future__ import annotations

import bz2
import io
import zlib
from collections.abc import Generator, Iterator
from typing import Any, Final, Protocol

# RFC 1952, section 2.3.1: the two identification bytes of every gzip member.
_GZIP_MAGIC: Final = b"\x1f\x8b"
# "BZh", the block size, then the magic of a first block or of an empty stream's end: the ten bytes
# together, because a line of text may begin with "BZh9".
_BZIP2_MAGIC: Final = tuple(
    b"BZh%d" % size + block for size in range(1, 10) for block in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
)
# RFC 8878, section 3.1: a Zstandard frame, and the sixteen marks of a skippable one.
_ZSTD_MAGIC: Final = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + mark]) + b"\x2a\x4d\x18" for mark in range(16)))
_MAGIC_BYTES: Final = 10

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_INPUT_BYTES: Final = 64 * 1024
# Bounds what one call may inflate to: 64 KiB of zeros compressed by gzip hold 64 MiB.
_OUTPUT_BYTES: Final = 1024 * 1024
# What a failing call had decompressed is lost, and a bzip2 decompressor can't be copied and asked again.
_BZIP2_OUTPUT_BYTES: Final = 4 * 1024

# Four bytes of Zstandard may hold a block of 128 KiB, so this bounds one call to 4 MiB.
_ZSTD_INPUT_BYTES: Final = 128

# Logs shrink to a tenth or a thirtieth; every line has a time of its own. What is larger than both is no log
# (gzip reaches a ratio of 1,032 with zeros alone, bzip2 and Zstandard far more).
BOMB_BYTES: Final = 1 << 30
BOMB_RATIO: Final = 200


class DamagedStreamError(Exception):
    """A compressed stream ended too early, or its bytes are not what the format allows.

    Raised after everything before the damage has been delivered.
    """


class CompressionBombError(DamagedStreamError):
    """A compressed stream is over `BOMB_BYTES` and over `BOMB_RATIO` times what was read of the file."""


class ByteSource(Protocol):
    """The one method of `BinaryIO` that reading a log needs."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; no bytes at the end."""
        ...


class DecompressedStream:
    """Plain bytes of a landed file. Errors of the underlying stream itself pass through unchanged."""

    is_compressed = True

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At least one and at most `size` bytes, or none at the end.

        Raises `DamagedStreamError` in place of the end, once all readable bytes have been returned.
        """
        return bytes(self._taken(size))

    def readinto(self, target: memoryview, /) -> int:
        """As `read`, into memory that is there already; how many bytes these were."""
        taken = self._taken(len(target))
        target[: len(taken)] = taken
        return len(taken)

    def _taken(self, size: int) -> memoryview:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return self._rest
            self._rest = memoryview(piece)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


class _PlainStream(DecompressedStream):
    """The bytes of a stream that is not compressed, behind the first, which were read already."""

    is_compressed = False

    def __init__(self, raw: ByteSource, head: bytes) -> None:
        super().__init__(iter(()))
        self._rest = memoryview(head)
        self._raw = raw

    def read(self, size: int, /) -> bytes:
        """As any `DecompressedStream`."""
        return bytes(self._taken(size)) if self._rest else self._raw.read(size)

    def readinto(self, target: memoryview, /) -> int:
        """As any `DecompressedStream`."""
        if self._rest or not isinstance(self._raw, io.BufferedIOBase):
            return super().readinto(target) if self._rest else _copied(self._raw.read(len(target)), target)
        return self._raw.readinto(target)


def _copied(piece: bytes, target: memoryview) -> int:
    target[: len(piece)] = piece
    return len(piece)


def read_into(source: ByteSource, target: memoryview) -> int:
    """Reads at least one byte into `target`, as much as comes at once; 0 at the end."""
    if isinstance(source, DecompressedStream):
        return source.readinto(target)
    return _copied(source.read(len(target)), target)


def open_decompressed(raw: ByteSource) -> DecompressedStream:
    """Read `raw`, a landed file from its first byte, as plain bytes.

    gzip (RFC 1952, concatenated members and zero padding included), bzip2 and Zstandard (concatenated streams
    and frames included) are recognised by their first bytes; anything else is delivered as it is.
    """
    head = _read_fully(raw, _MAGIC_BYTES)
    if not _is_compressed(head):
        return _PlainStream(raw, head)
    counted = _Counted(_blocks(raw, head, _INPUT_BYTES))
    if head.startswith(_GZIP_MAGIC):
        return DecompressedStream(_bounded(_gunzip(counted), counted))
    if head.startswith(_BZIP2_MAGIC):
        return DecompressedStream(_bounded(_bunzip2(counted), counted))
    return DecompressedStream(_bounded(_unzstd(counted), counted))


def open_plain(raw: ByteSource) -> DecompressedStream | None:
    """As `open_decompressed`, but None where `raw` is compressed."""
    head = _read_fully(raw, _MAGIC_BYTES)
    return None if _is_compressed(head) else _PlainStream(raw, head)


def _is_compressed(head: bytes) -> bool:
    return head.startswith((_GZIP_MAGIC, *_BZIP2_MAGIC, *_ZSTD_MAGIC))


class _Counted(Iterator[bytes]):
    """Blocks, and how many bytes they had so far."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.bytes = 0

    def __next__(self) -> bytes:
        block = next(self._blocks)
        self.bytes += len(block)
        return block


def _bounded(pieces: Iterator[bytes], source: _Counted) -> Iterator[bytes]:
    inflated = 0
    for piece in pieces:
        inflated += len(piece)
        if inflated > BOMB_BYTES and inflated > BOMB_RATIO * source.bytes:
            raise CompressionBombError(f"{source.bytes} compressed bytes hold more than {inflated}")
        yield piece


def _read_fully(raw: ByteSource, size: int) -> bytes:
    """Exactly `size` bytes unless the stream ends first: where a network stream happens to pause must not
    decide how much of a damaged file can be read.
    """
    collected = bytearray()
    while len(collected) < size:
        block = raw.read(size - len(collected))
        if not block:
            break
        collected += block
    return bytes(collected)


def _blocks(raw: ByteSource, head: bytes, size: int) -> Iterator[bytes]:
    block = head + _read_fully(raw, size - len(head))
    while block:
        yield block
        block = _read_fully(raw, size)


def _zlib_ng() -> Any:
    """The fast zlib, with no types: its own call its exception's class an instance."""
    from zlib_ng import zlib_ng

    return zlib_ng


def _gunzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    pending = next(blocks)
    while True:
        pending = yield from _gunzip_member(pending, blocks)
        # gzip(1) ignores zeros after the last member: tapes and block devices pad with them.
        pending = pending.lstrip(b"\0")
        while not pending:
            block = next(blocks, None)
            if block is None:
                return
            pending = block.lstrip(b"\0")


def _gunzip_member(pending: bytes, blocks: Iterator[bytes]) -> Generator[bytes, None, bytes]:
    """Inflate one member; returns the bytes after it."""
    zlib_ng = _zlib_ng()
    inflater = zlib_ng.decompressobj(_GZIP_WINDOW)
    while True:
        before = inflater.copy()
        try:
            plain = inflater.decompress(pending, _OUTPUT_BYTES)
        except zlib_ng.error as error:
            # zlib drops what the failing call had already inflated: go over it again, byte by byte.
            yield from _inflate_up_to_damage(before, pending)
            raise DamagedStreamError(f"gzip: {error}") from error
        if plain:
            yield plain
        if inflater.eof:
            return bytes(inflater.unused_data)
        pending = inflater.unconsumed_tail
        if not pending and len(plain) < _OUTPUT_BYTES:
            block = next(blocks, None)
            if block is None:
                raise DamagedStreamError("gzip: the file ends inside a compressed member")
            pending = block


def _inflate_up_to_damage(inflater: Any, pending: bytes) -> Iterator[bytes]:
    zlib_ng = _zlib_ng()
    for position in range(len(pending)):
        try:
            plain = inflater.decompress(pending[position : position + 1])
        except zlib_ng.error:
            return
        if plain:
            yield plain


def _bunzip2(blocks: Iterator[bytes]) -> Iterator[bytes]:
    pending = next(blocks)
    while True:
        pending = yield from _bunzip2_stream(pending, blocks)
        if not pending:
            block = next(blocks, None)
            if block is None:
                return
            pending = block


def _bunzip2_stream(pending: bytes, blocks: Iterator[bytes]) -> Generator[bytes, None, bytes]:
    """Decompress one bzip2 stream; returns the bytes after it."""
    decompressor = bz2.BZ2Decompressor()
    while True:
        try:
            plain = decompressor.decompress(pending, _BZIP2_OUTPUT_BYTES)
        except OSError as error:
            raise DamagedStreamError(f"bzip2: {error}") from error
        if plain:
            yield plain
        if decompressor.eof:
            return decompressor.unused_data
        pending = b""
        if decompressor.needs_input:
            block = next(blocks, None)
            if block is None:
                raise DamagedStreamError("bzip2: the file ends inside a compressed stream")
            pending = block


def _unzstd(blocks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    pending = next(blocks)
    while True:
        inflater = zstandard.ZstdDecompressor().decompressobj()
        while not inflater.eof:
            if not pending:
                block = next(blocks, None)
                if block is None:
                    raise DamagedStreamError("zstd: the file ends inside a frame")
                pending = block
            taken, pending = pending[:_ZSTD_INPUT_BYTES], pending[_ZSTD_INPUT_BYTES:]
            try:
                plain = inflater.decompress(taken)
            except zstandard.ZstdError as error:
                raise DamagedStreamError(f"zstd: {error}") from error
            if plain:
                yield plain
        pending = inflater.unused_data + pending
        if not pending:
            block = next(blocks, None)
            if block is None:
                return
            pending = block
