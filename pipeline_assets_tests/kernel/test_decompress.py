"""Compressed files: recognised by content, read in bounded memory, and used up to where they broke off.

What belongs here: `decompress`, and what a damaged file becomes. What does not: plain files (`test_parse`).
"""

from __future__ import annotations

import bz2
import gzip
import io
import random
import tracemalloc
import zlib

import pytest
import zstandard

from pipeline_assets.kernel import decompress
from pipeline_assets.kernel.decompress import ByteSource, DamagedStreamError, open_decompressed
from pipeline_assets.kernel.lines import LineReader
from pipeline_assets_tests.kernel.rebuild import access_line, joined, read

CONTENT = joined(access_line(bytes=str(number)) for number in range(5))
ZSTD = zstandard.ZstdCompressor()
GZIPPED = gzip.compress(CONTENT, mtime=0)


class Trickle:
    """A source that gives few bytes at a time, as networks do."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content = io.BytesIO(content)
        self._size = size

    def read(self, size: int, /) -> bytes:
        return self._content.read(min(size, self._size))


def plain(source: bytes | ByteSource) -> tuple[bytes, bool]:
    """All that could be read, and whether the stream was damaged."""
    stream = open_decompressed(io.BytesIO(source) if isinstance(source, bytes) else source)
    collected: list[bytes] = []
    while True:
        try:
            piece = stream.read(10_000)
        except DamagedStreamError:
            return b"".join(collected), True
        if not piece:
            return b"".join(collected), False
        assert len(piece) <= 10_000
        collected.append(piece)


@pytest.mark.parametrize(
    ("stored", "content"),
    [
        (b"", b""),
        (CONTENT, CONTENT),
        (b"\x1f", b"\x1f"),
        (b"BZh9 is how this line begins\n", b"BZh9 is how this line begins\n"),
        (GZIPPED, CONTENT),
        (GZIPPED + GZIPPED, CONTENT * 2),
        (GZIPPED + b"\0" * 100_000, CONTENT),
        (GZIPPED + b"\0" * 100_000 + GZIPPED, CONTENT * 2),
        (gzip.compress(b"", mtime=0), b""),
        (gzip.compress(b"", mtime=0) + GZIPPED, CONTENT),
        (bz2.compress(CONTENT), CONTENT),
        (bz2.compress(CONTENT, 1) + bz2.compress(CONTENT), CONTENT * 2),
        (bz2.compress(b""), b""),
        (ZSTD.compress(CONTENT), CONTENT),
        (ZSTD.compress(CONTENT) + ZSTD.compress(CONTENT), CONTENT * 2),
        (ZSTD.compress(CONTENT) + b"\x53\x2a\x4d\x18\x03\0\0\0abc" + ZSTD.compress(CONTENT), CONTENT * 2),
        (b"\x50\x2a\x4d\x18\0\0\0\0" + ZSTD.compress(CONTENT), CONTENT),
        (ZSTD.compress(b""), b""),
    ],
)
def test_streams_that_are_whole(stored: bytes, content: bytes) -> None:
    assert plain(stored) == (content, False)
    assert plain(Trickle(stored, 1)) == (content, False)


def test_a_large_stream_is_whole() -> None:
    content = random.Random(1).randbytes(1_500_000) + b"a" * 2_000_000
    for compress in (gzip.compress, bz2.compress, ZSTD.compress):
        assert plain(compress(content) * 2) == (content * 2, False)


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_gzip_truncated_anywhere_gives_what_there_is(size: int) -> None:
    longest = 0
    for length in range(2, len(GZIPPED)):
        content, damaged = plain(Trickle(GZIPPED[:length], size))
        assert damaged
        assert CONTENT.startswith(content)
        assert content == zlib.decompressobj(31).decompress(GZIPPED[:length])
        assert len(content) >= longest
        longest = len(content)
    assert longest == len(CONTENT)


def test_gzip_with_a_wrong_byte_gives_the_same_however_it_arrives() -> None:
    differing = 0
    for position in range(len(GZIPPED)):
        stored = bytearray(GZIPPED)
        stored[position] ^= 0x55
        read_at_once = plain(bytes(stored))
        assert read_at_once == plain(Trickle(bytes(stored), 1))
        differing += read_at_once != (CONTENT, False)
    # Modification time, flags and operating system in the header are covered by no checksum.
    assert differing >= len(GZIPPED) - 8


def test_gzip_with_a_wrong_checksum_gives_everything_and_says_so() -> None:
    assert plain(GZIPPED[:-8] + b"\0" * 8) == (CONTENT, True)


def test_garbage_after_a_gzip_member_is_damage_after_all_its_content() -> None:
    assert plain(GZIPPED + b"garbage") == (CONTENT, True)
    assert plain(GZIPPED + GZIPPED[:15])[1]


def test_damage_far_inside_a_file_loses_nothing_before_it() -> None:
    content = random.Random(1).randbytes(5_000_000)
    stored = gzip.compress(content, 1, mtime=0)
    half = len(stored) // 2
    readable, damaged = plain(stored[:half])
    assert damaged and len(readable) > 2_400_000
    assert content.startswith(readable)


@pytest.mark.parametrize("level", [1, 9])
def test_damaged_bzip2_gives_the_blocks_before_the_damage(level: int) -> None:
    content = random.Random(1).randbytes(3_000_000)
    stored = bz2.compress(content, level)
    readable, damaged = plain(stored[: len(stored) // 2])
    assert damaged and len(readable) >= len(content) // 2 - level * 100_000 - 10_000
    assert content.startswith(readable)

    wrong = bytearray(stored)
    wrong[len(stored) // 2] ^= 0xFF
    readable, damaged = plain(bytes(wrong))
    assert damaged and len(readable) >= len(content) // 2 - level * 100_000 - 10_000
    assert plain(Trickle(bytes(wrong), 1000)) == (readable, True)


def test_damaged_bzip2_gives_all_blocks_before_the_one_that_is_damaged() -> None:
    content = b"".join(b"line %d of many\n" % number for number in range(100_000))
    stored = bytearray(bz2.compress(content, 9))
    second_block = stored.index(b"1AY&SY") + len(stored) // 2
    stored[second_block + 10_000] ^= 0xFF
    readable, damaged = plain(bytes(stored))
    # What a block holds is known to be wrong only at its end: the blocks before it are sound.
    assert damaged and readable[:890_000] == content[:890_000]
    assert len(readable) > 890_000


def test_a_bomb_is_read_in_bounded_memory() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b"x" * 1_000_000) for _ in range(200)) + packer.flush()
    assert len(bomb) < 300_000
    list(LineReader(open_decompressed(io.BytesIO(GZIPPED))))  # imports take memory, too
    reader = LineReader(open_decompressed(io.BytesIO(bomb)), chunk_bytes=1 << 20, max_line_bytes=1 << 20)
    tracemalloc.start()
    try:
        frames = list(reader)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [frame["fault"].item() for frame in frames] == ["line_too_long"]
    assert reader.bytes == 200_000_000
    assert peak < 20_000_000


def test_zstd_truncated_anywhere_gives_what_there_is() -> None:
    content = b"".join(b"line %d of many\n" % number for number in range(50_000))
    stored = ZSTD.compress(content)
    for length in range(4, len(stored), len(stored) // 40):
        readable, damaged = plain(stored[:length])
        assert damaged and content.startswith(readable)
        assert plain(Trickle(stored[:length], 1)) == (readable, True)
    wrong = bytearray(stored)
    wrong[len(stored) // 2] ^= 0xFF
    assert plain(bytes(wrong))[1]


def packed(content: bytes, times: int, kind: str) -> bytes:
    if kind == "gzip":
        packer = zlib.compressobj(9, wbits=31)
        return b"".join(packer.compress(content) for _ in range(times)) + packer.flush()
    return ZSTD.compress(content * times) if kind == "zstd" else bz2.compress(content * times)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "zstd"])
@pytest.mark.parametrize("content", [b"\0" * 1000, b"\n" * 1000, CONTENT])
def test_a_bomb_is_cut_off_and_named(kind: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "BOMB_BYTES", 2_000_000)
    bronze = read(packed(content, 20_000_000 // len(content), kind))
    facts = bronze.facts
    assert bronze.reasons[-1] == "compression_bomb"
    assert facts.damaged
    assert facts.bytes < 20_000_000 - len(content)
    assert facts.lines == facts.parsed + facts.rejected + facts.blank


def test_logs_that_shrink_well_are_no_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "BOMB_BYTES", 100_000)
    content = joined(
        access_line(
            time=f"17/Dec/2025:09:{number // 60 % 60:02}:{number % 60:02} +0000", bytes=str(number**3)
        )
        for number in range(10_000)
    )
    for stored in (gzip.compress(content), bz2.compress(content), ZSTD.compress(content)):
        assert len(content) > 10 * len(stored)
        assert not read(stored).facts.damaged


def test_a_damaged_file_becomes_its_whole_lines_and_one_reject() -> None:
    whole = read(CONTENT)
    for length in range(2, len(GZIPPED)):
        bronze = read(GZIPPED[:length])
        facts = bronze.facts
        content = zlib.decompressobj(31).decompress(GZIPPED[:length])
        count = content.count(b"\n")
        assert facts.damaged
        assert bronze.requests == whole.requests[:count]
        assert [(row["line_number"], row["reason"]) for row in bronze.rejected] == [
            (count + 1, "damaged_compression")
        ]
        assert bronze.rejected[0]["line"] == content[content.rfind(b"\n") + 1 :]
        assert facts.lines == facts.parsed + facts.rejected == count + 1
        assert facts.bytes == len(content)


def test_a_damaged_file_is_the_same_however_it_is_cut() -> None:
    for length in range(2, len(GZIPPED), 40):
        whole = read(GZIPPED[:length])
        for chunk_bytes in (1, 100):
            assert read(GZIPPED[:length], chunk_bytes=chunk_bytes) == whole


def test_compression_changes_nothing_but_the_storage() -> None:
    whole = read(CONTENT)
    assert not whole.facts.damaged
    for stored in (
        GZIPPED,
        ZSTD.compress(CONTENT),
        bz2.compress(CONTENT),
        gzip.compress(CONTENT[:300], mtime=0) + gzip.compress(CONTENT[300:], mtime=0),
    ):
        assert read(stored) == whole
