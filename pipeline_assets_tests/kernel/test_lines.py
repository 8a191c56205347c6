"""What a line is: cutting, blank lines, comments, lines that are too long, and bounded memory.

What belongs here: `LineReader` alone. What does not: what the lines say (`test_parse`, `test_errors`).
"""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import polars as pl
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel import lines
from pipeline_assets.kernel.lines import KEPT_LINE_BYTES, LINES_SCHEMA, LineReader
from pipeline_assets.kernel.words import binary_slices
from pipeline_assets_tests.kernel.rebuild import access_line, is_uncounted, joined, read

Cut = list[tuple[int, int, bytes, str | None]]
PLAIN = st.lists(
    st.sampled_from([b"\n", b"\n", b"a", b"#", b"0", b" ", b"\r", b"\xff", b"\0", b"\xef\xbb\xbf"]),
    max_size=60,
).map(b"".join)


def cut(content: bytes, **limits: int) -> tuple[Cut, LineReader]:
    reader = LineReader(io.BytesIO(content), **limits)  # type: ignore[arg-type]
    rows: Cut = []
    for frame in reader:
        assert frame.schema == LINES_SCHEMA
        rows += frame.iter_rows()
    return rows, reader


def expected(content: bytes, max_line_bytes: int) -> Cut:
    pieces = content.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    rows: Cut = []
    offset = 0
    for number, line in enumerate(pieces, 1):
        if len(line) > max_line_bytes:
            rows.append((number, offset, line[: min(KEPT_LINE_BYTES, max_line_bytes)], "line_too_long"))
        elif not is_uncounted(line, is_first=number == 1):
            rows.append((number, offset, line, None))
        offset += len(line) + 1
    return rows


@settings(deadline=None, max_examples=300)
@given(PLAIN, st.integers(1, 80), st.sampled_from([1, 2, 3, 7, 1000]))
def test_lines_are_what_they_are_however_they_are_read(content: bytes, chunk: int, longest: int) -> None:
    rows, reader = cut(content, chunk_bytes=chunk, max_line_bytes=longest)
    assert rows == expected(content, longest)
    assert reader.bytes == len(content)
    assert reader.digest == blake3(content).hexdigest()
    assert reader.lines == len(rows) + reader.blank + reader.comment
    whole = content[: content.rfind(b"\n") + 1]
    firsts = expected(whole, longest)
    assert reader.first_line == (firsts[0][2] if firsts else None)


@settings(deadline=None, max_examples=50)
@given(PLAIN, st.integers(1, 5))
def test_frames_have_a_bounded_number_of_lines(content: bytes, frame_lines: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "FRAME_LINES", frame_lines)
        reader = LineReader(io.BytesIO(content))
        frames = list(reader)
        assert all(frame.height <= frame_lines for frame in frames)
        assert [row for frame in frames for row in frame.iter_rows()] == expected(content, 1000)
        assert reader.first_line == cut(content)[1].first_line


def test_nothing_in_nothing_out() -> None:
    rows, reader = cut(b"")
    assert (rows, reader.lines, reader.bytes, reader.first_line) == ([], 0, 0, None)


@pytest.mark.parametrize("content", [b"a", b"a\n"])
def test_the_last_line_may_lack_its_line_feed(content: bytes) -> None:
    rows, reader = cut(content)
    assert rows == [(1, 0, b"a", None)]
    assert reader.lines == 1


def test_blank_lines_and_comments_are_counted_and_leave_a_gap() -> None:
    rows, reader = cut(b"#Version: 1.0\n\n \t\x0b\x0c\r\n#Fields: date\na\n#\nb\n\n")
    assert [(number, line) for number, _, line, _ in rows] == [(5, b"a"), (7, b"b")]
    assert (reader.lines, reader.blank, reader.comment) == (8, 3, 3)


def test_few_lines_that_begin_with_a_blank_among_many() -> None:
    content = b"a\n" * 50 + b" \t\r\n" + b"a\n" * 50 + b" b\n\n" + b"a\n" * 50 + b"  "
    rows, reader = cut(content)
    assert rows == expected(content, 1000)
    assert (reader.lines, reader.blank) == (154, 3)


def test_frames_of_a_stack_trace_are_no_comments() -> None:
    rows, reader = cut(b"#0 {main}\n#12 /a.php(3): f()\n#Fields: date\n# 0\n#")
    assert [line for _, _, line, _ in rows] == [b"#0 {main}", b"#12 /a.php(3): f()"]
    assert reader.comment == 3


@pytest.mark.parametrize("blank", [b"\xc2\xa0", b"\0", b"\x1c", b"\xe2\x80\xa8", b"\x85"])
def test_only_ascii_whitespace_is_blank_and_only_a_line_feed_ends_a_line(blank: bytes) -> None:
    rows, reader = cut(blank + b"\r" + blank + b"\n")
    assert [line for _, _, line, _ in rows] == [blank + b"\r" + blank]
    assert reader.blank == 0


def test_a_line_that_is_too_long_keeps_its_beginning_and_its_neighbours() -> None:
    long = b"x" * 20_000_000
    content = b"a\n" + long + b"\nb\n"
    for chunk_bytes in (1 << 16, 1 << 24):
        rows, reader = cut(content, chunk_bytes=chunk_bytes)
        assert rows == [
            (1, 0, b"a", None),
            (2, 2, long[:KEPT_LINE_BYTES], "line_too_long"),
            (3, 3 + len(long), b"b", None),
        ]
        assert reader.bytes == len(content)


def test_the_longest_line_allowed_is_whole() -> None:
    longest = b"x" * 100_000
    assert cut(longest, max_line_bytes=100_000)[0] == [(1, 0, longest, None)]
    assert cut(longest + b"x", max_line_bytes=100_000)[0] == [
        (1, 0, longest[:KEPT_LINE_BYTES], "line_too_long")
    ]


def test_a_long_comment_is_rejected_not_hidden() -> None:
    rows, reader = cut(b"#" * 50 + b"\n" + b" " * 50 + b"\n", max_line_bytes=10)
    assert [fault for *_, fault in rows] == ["line_too_long", "line_too_long"]
    assert reader.comment == reader.blank == 0


def test_a_line_without_end_is_read_in_bounded_memory() -> None:
    class Endless(io.RawIOBase):
        left = 200_000_000

        def read(self, size: int = -1) -> bytes:
            taken = min(size, self.left)
            self.left -= taken
            return b"x" * taken

    reader = LineReader(Endless(), chunk_bytes=1 << 20, max_line_bytes=1 << 20)
    tracemalloc.start()
    try:
        frames = list(reader)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [frame["fault"].item() for frame in frames] == ["line_too_long"]
    assert reader.bytes == 200_000_000
    assert peak < 20_000_000


@pytest.mark.parametrize("limits", [{"chunk_bytes": 0}, {"max_line_bytes": 0}])
def test_limits_must_be_positive(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LineReader(io.BytesIO(b""), **limits)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=3)), max_size=20))
def test_slices_of_a_buffer(pieces: list[tuple[bytes, bytes]]) -> None:
    starts, ends, data = [], [], b""
    for value, gap in pieces:
        starts.append(len(data))
        ends.append(len(data) + len(value))
        data += value + gap
    series = binary_slices(data, np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64))
    assert series.dtype == pl.Binary
    assert series.to_list() == [value for value, _ in pieces]


def test_a_long_line_is_one_reject_of_the_file() -> None:
    content = joined([access_line(), b"x" * 300, access_line()])
    bronze = read(content, max_line_bytes=200)
    assert [(row["line_number"], row["reason"], row["line"]) for row in bronze.rejected] == [
        (2, "line_too_long", b"x" * 200)
    ]
    assert len(bronze.requests) == 2
    assert bronze.facts.bytes == len(content)
