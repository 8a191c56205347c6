"""The quick ways for Combined and Common lines give the rows that the expressions give.

What belongs here: lines that are almost of this kind, in files of any chunking, and the numbers and times that
are read by arithmetic. What does not: what the rows must be (`test_parse`).
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel import lines, log_times, parse
from pipeline_assets.kernel.combined_lines import CombinedReader, Given, QuickReader
from pipeline_assets.kernel.lines import PADDING_BYTES, LineReader
from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets.kernel.scanned_lines import ScannedReader
from pipeline_assets.kernel.words import BlockTexts, size_in, status_in, time_in
from pipeline_assets_tests.kernel.rebuild import ANY_TIME, Bronze, access_line, joined, read

PROPERTY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
ANYTHING = Given(datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), "default", "x")
# Bytes on which something turns, and others.
BYTES = [
    b'"', b'\\"', b"\\", b" ", b"  ", b"-", b"!", b"\t", b"\r", b"\0", b"\x7f", b"\xff", b"\xc3\xa9", b"[", b"]", b":",
    b"0", b"9", b"/", b'" "', b'" "" "', b"#", b"\xef\xbb\xbf", b"HTTP/1.1", b"+0000", b"-0000", b"00", b"x" * 20,
]  # fmt: skip
FIELDS = {
    "host": ["", "-", "a", "2001:db8::1234:5678", "client.example.org", "#0", "x\\", "h" * 70, "h" * 70 + " x",
        "<13>a:10.0.0.1", "2024-01-15T10:00:00Z"],
    "identity": ["me", '""', "a b", "x\\", "12-c"],
    "user": ["frank", "a b", '""', "x\\", "-]", "u" * 130, "u" * 130 + " x", "u" * 1_100, "a:", "a:b", "F"],
    "time": [
        "17/Dec/2025:09:03:02 +0000", "29/Feb/2024:23:59:59 -0730", "29/Feb/2023:00:00:00 +0000",
        "31/Dec/1969:23:59:59 +0000", "17/Dec/2025:09:03:60 +0000", "17/Dec/2025:24:03:01 +0000",
        "17/dec/2025:09:03:01 +0000", "17/Dec/2025:09:03:01 -0000", "17/Dec/2025:09:03:01 +1401",
        "17/Dec/2025:09:03:01 +0060", " 7/Dec/2025:09:03:01 +0000", "17/Dec/2025:09:03:01", "31/Dec/2099:23:59:59 -0001",
    ],
    "request": [
        "GET / HTTP/1.1", "POST /a?b=%20 HTTP/2.0", "PROPFIND /é HTTP/1.0", "MKCOL /a HTTP/1.1", "get / HTTP/1.1",
        "GET /a\\ HTTP/1.1", "GET /a\\\\ HTTP/1.1", "GET /a\\x HTTP/1.1", "GET / HTTP/4.2", "GET /a b HTTP/1.1",
        "GET  / HTTP/1.1", "-", "", "GETGETGETGET / HTTP/1.1", "GET / HTTP/1.1\\", "GET /! HTTP/1.1", " / HTTP/1.1",
        "\\n", "\\x16\\x03", '\\"', "\\", "\\\\", "\\ /a HTTP/1.1", "- /a HTTP/1.1", "-a", "\\\t", "SSH-2.0-Go",
        "GET", 'a\\" /', "é", "\\é", '\\" 200 1 "-" "-',
        f"GET /{'a' * 200} HTTP/1.1", f"GET /{'a' * 200} b HTTP/1.1", f"GET /{'a' * 63} HTTP/1.1", f"GET /{'a' * 63} b HTTP/1.1",
    ],
    "status": ["404", "099", "-", "20", "2000", "999"],
    "bytes": ["0", "-", "1", "12345678", "123456789", "01", "00000001", "999999999999999999", "9" * 19, "", "1234567x"],
    "tail": [
        ' "-" "-"', ' "" ""', ' "https://example.org/" "Mozilla/5.0 (X11)"', ' "a\\\\" "b"', ' "a\\" "b"', ' "a" "b\\"',
        ' "-" "-" "-"', ' "a" "b" ""', ' "a" "b" "1, 2"', ' "a" "b" "\\x22"', ' "a" "b" "é"', ' "a" "b" "/"', ' "a" "b" "x\\"',
        ' "a" "b" "c\\""', ' "a" "b" "c" "d"', ' "a" "b" "c" ', ' "a" "b"  "c"', ' "a" "b" "-x"', ' "a" "b" "c\t"',
        "", ' "a" "\\"b\\""', ' "-" "-" "203.0.113.9"', ' "a" "b" ', ' "a"  "b"', ' "twelve bytes" "thirteen byte"',
        ' "a!" "b!"', ' "é" "ü"', ' "\t" "x"', ' "a""b"', ' "a"x"b"', ' "a" "b"\r', " ",
    ],
    "vhost": ["example.org ", "example.org:80 "],
}  # fmt: skip
# Compiled code reads those that are a single word, or begin like no method.
GARBAGE = ["\\x16\\x03", "", "-", "\\n", '\\"', "SSH-2.0-Go", "GET", 'é\\" /', "t3 12.1.2", "- /"]
VARIED = [access_line(**{name: value}) for name, values in FIELDS.items() for value in values]
VARIED.append(access_line(host="<13>a:80", identity="12-c"))
LINES = st.lists(
    st.sampled_from([(name, value) for name, values in FIELDS.items() for value in values]), max_size=2
).map(lambda fields: access_line(**dict(fields)))


def changed(line: bytes, seed: int) -> bytes:
    generator = random.Random(seed)
    if seed % 3:
        begin = generator.randint(0, len(line))
        line = line[:begin] + generator.choice(BYTES) + line[begin + generator.randint(0, 2) :]
    return line.replace(b"\n", b"")


either_reader = pytest.mark.parametrize("reader", [CombinedReader, ScannedReader])


def assert_same(
    reader: type, content: bytes, options: ReadOptions = ANY_TIME, chunk_bytes: int = 1 << 24
) -> Bronze:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse, "CombinedReader", reader)
        quick = read(content, options, chunk_bytes=chunk_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CombinedReader, "take", lambda self, block: None)
        slow = read(content, options)
    assert quick.facts == slow.facts
    for table in ("requests", "errors", "rejected"):
        rows: list[dict[str, Any]] = getattr(quick, table)
        assert sorted(rows, key=lambda row: int(row["line_number"])) == getattr(slow, table)
    return quick


@either_reader
@PROPERTY
@given(
    st.lists(st.builds(changed, LINES, st.integers(0, 1 << 30)), max_size=12),
    st.sampled_from([1, 50, 300, 1 << 20]),
    st.sampled_from([b"\n", b"\n", b"\r\n"]),
    st.booleans(),
)
def test_lines_give_the_same_rows_either_way(
    reader: type, lines: list[bytes], chunk: int, end: bytes, ended: bool
) -> None:
    assert_same(reader, b"x" + end.join(lines) + (end if ended else b""), chunk_bytes=chunk)


@either_reader
@pytest.mark.parametrize("chunk", [500, 1 << 20])
def test_one_field_that_is_unusual(reader: type, chunk: int) -> None:
    assert_same(reader, joined(VARIED), chunk_bytes=chunk)


@either_reader
@pytest.mark.parametrize(
    ("tail", "user", "request_line"),
    [
        (' "https://example.org/" "Mozilla/5.0"', "jo", "GET /a\\x HTTP/1.1"),
        ("", "jo", "GET /a\\x HTTP/1.1"),
        (' "-" "-"', "-", "\\x16"),
        (' "-" "-"', "-", "GET"),
    ],
)
def test_one_place_that_is_unusual(reader: type, tail: str, user: str, request_line: str) -> None:
    line = access_line(tail=tail, user=user, request=request_line)
    for removed in (0, 1, 2):
        places = range(len(line) - removed)
        content = joined(line[:at] + other + line[at + removed :] for at in places for other in [b"", *BYTES])
        assert_same(reader, content)
        # Of bytes that are no UTF-8 every line of a block is looked at in another way.
        assert_same(reader, content.replace(b"\xff", b"\xc3\xa9"))


@either_reader
def test_times_outside_the_window_are_rejected_either_way(reader: type) -> None:
    content = joined(access_line(time=f"{day}/Dec/2025:09:03:01 +0000") for day in (15, 16, 17, 18, 19))
    bronze = assert_same(reader, content, ReadOptions(earliest=date(2025, 12, 16), latest=date(2025, 12, 18)))
    assert bronze.reasons == ["outside_window"] * 3


def taken(kind: type, content: bytes) -> list[int]:
    """The numbers of the lines that are read in the quick way."""
    import io

    reader: QuickReader = kind(ANYTHING)
    stream = LineReader(io.BytesIO(content), chunk_bytes=len(content))
    reader.attach(stream)
    for block in stream.blocks():
        reader.take(block)
    rows = reader.rows()
    return rows.frame("line_number")["line_number"].to_list() if rows else []


@either_reader
def test_what_servers_write_is_read_in_the_quick_way(reader: type) -> None:
    lines = [
        access_line(),
        access_line(tail=""),
        access_line(user="frank", bytes="-"),
        access_line(tail=' "-" "Mozilla/5.0 (compatible; x!)"'),
        access_line(tail=' "" "\\x22quoted\\x22"'),
        access_line(tail=' "é" "ü"'),
        access_line(request="HEAD /a\\x20b HTTP/2.0"),
        access_line(vhost="example.org "),
        *(access_line(request=garbage) for garbage in GARBAGE),
        access_line(request="SSH-2.0-Go", tail=""),
        access_line(user="jo", request="SSH-2.0-Go"),
        access_line(host="<13>a:10.0.0.1", request="-"),
        access_line(user="a:", request="-"),
        access_line(host="<13>a:80", identity="12-c"),
        access_line(host="<13>a:80"),
    ]
    quick = [1, 2, 3, 4, 5, 6, 7]
    assert taken(reader, joined(lines)) == quick + ([] if reader is CombinedReader else [*range(9, 17), 19])


@either_reader
def test_bytes_that_are_no_text_leave_the_other_lines_of_their_block_quick(reader: type) -> None:
    assert taken(reader, joined([access_line(), access_line(host="a\x7f"), access_line()])) == [1, 3]
    line = access_line()
    lines = [line, line.replace(b"org", b"\xff"), line.replace(b"org", b"\xc3\xa9"), line]
    # Of many such lines compiled code looks at each by itself, the other way only of few.
    assert taken(reader, joined(lines)) == ([1, 4] if reader is CombinedReader else [1, 3, 4])
    many = range(1, 41)
    assert taken(reader, joined([*lines, *[line] * 36])) == [number for number in many if number != 2]


@either_reader
def test_lines_around_comments_and_of_cut_blocks_are_read_in_the_quick_way(
    reader: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = joined([access_line(), b'# "a" "b', b"", b" \t", access_line(), b'#"', access_line(user="jo")])
    assert taken(reader, content) == [1, 5, 7]
    # A block of many lines is cut after its line feeds are found.
    monkeypatch.setattr(lines, "FRAME_LINES", 2)
    assert taken(reader, content) == [1, 5, 7]


@either_reader
def test_memory_is_used_again_only_when_nobody_looks_at_it(
    reader: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parse, "CombinedReader", reader)
    content = joined(access_line(host=f"10.0.{number // 250}.{number % 250}") for number in range(2_000))
    chunks = read(content, chunk_bytes=4_000)
    assert [row["remote_host"] for row in chunks.requests] == [
        f"10.0.{number // 250}.{number % 250}" for number in range(2_000)
    ]


# ---- what is read eight bytes at a time ------------------------------------------------------------------


def words_of(data: bytes) -> tuple[Any, Any]:
    codes = np.frombuffer(data + bytes(PADDING_BYTES + -len(data) % 8), np.uint8)
    return codes, codes.view(np.uint64)


def positions(texts: list[str], before: bytes) -> tuple[bytes, Any, Any]:
    data, begins, ends = before, [], []
    for text in texts:
        begins.append(len(data))
        data += text.encode()
        ends.append(len(data))
        data += b" "
    return data, np.array(begins, np.int64), np.array(ends, np.int64)


NUMBERS = st.one_of(
    st.integers(0, 10**9).map(str),
    st.text("0123456789-+:/ x", min_size=1, max_size=10),
    st.sampled_from(["00", "-"]),
)


@PROPERTY
@given(st.lists(NUMBERS, min_size=1, max_size=9), st.integers(8, 16))
def test_numbers_of_bytes(texts: list[str], offset: int) -> None:
    data, begins, ends = positions(texts, b"7" * offset)
    numbers, good, dash = size_in(words_of(data)[1], begins, ends)
    is_number = [text.isdigit() and len(text) <= 8 and (text == "0" or text[0] != "0") for text in texts]
    assert dash.tolist() == [text == "-" for text in texts]
    assert good.tolist() == [known or text == "-" for known, text in zip(is_number, texts, strict=True)]
    for number, known, text in zip(numbers.tolist(), is_number, texts, strict=True):
        assert not known or number == int(text)


def test_numbers_of_status() -> None:
    texts = [f"{number:03}" for number in range(1000)] + ["2x0", "/00", "20:", "-  ", "\x0020", ":00"]
    data, begins, _ = positions(texts, b"")
    numbers, good = status_in(np.array([words_of(data[at : at + 8])[1][0] for at in begins], np.uint64))
    assert good.tolist() == [text.isdigit() and text[0] != "0" for text in texts]
    assert numbers[good].tolist() == list(range(100, 1000))


CLOCKS = st.one_of(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(lambda time: time.strftime("%d/%b/%Y:%H:%M:%S")),
    st.builds(
        "{:02}/{}/{:04}:{:02}:{:02}:{:02}".format,
        st.integers(0, 32), st.sampled_from(["Feb", "Apr", "Dec", "Foo", "feb"]),
        st.sampled_from([1972, 1900, 2000, 2023, 2024, 2100]), st.integers(0, 25), st.integers(0, 61), st.integers(0, 61),
    ),
)  # fmt: skip
ZONES = st.sampled_from(
    ["+0000", "-0000", "+0330", "-0730", "+1400", "+1401", "-1400", "+0060", "-0030", "0000+"]
)


@PROPERTY
@given(st.lists(st.builds("{} {}".format, CLOCKS, ZONES), min_size=1, max_size=9))
def test_times(texts: list[str]) -> None:
    parts = np.array([np.frombuffer(text.encode().ljust(32, b"\0"), np.uint64) for text in texts]).T.copy()
    seconds, minutes, good = time_in(list(parts))
    offset = log_times.access_offset_minutes(pl.col("time"))
    expected = (
        pl.DataFrame({"time": texts})
        .with_columns(offset=offset)
        .with_columns(moment=log_times.access_timestamp(pl.col("time"), pl.col("offset")))
    )
    # The expression for exact lines demands the month's case and a second below 60.
    exact = r"/(Feb|Apr|Dec|Jan|Mar|May|Jun|Jul|Aug|Sep|Oct|Nov)/.*:[0-5][0-9] [+-]"
    wanted = (expected["moment"].is_not_null() & expected["time"].str.contains(exact)).to_list()
    assert good.tolist() == [
        known and not text.endswith("-0000") for known, text in zip(wanted, texts, strict=True)
    ]
    for number, known in enumerate(good.tolist()):
        if known:
            assert seconds[number] == expected["moment"][number].timestamp()
            assert minutes[number] == expected["offset"][number]


@PROPERTY
@given(st.lists(st.text("ab-é\u20ac", max_size=20), min_size=1, max_size=9), st.integers(0, 9), st.booleans())
def test_columns_are_the_texts(texts: list[str], offset: int, dash: bool) -> None:
    data, begins, ends = positions(texts, b"#" * offset)
    codes, words = words_of(data)
    column = BlockTexts(codes, words).column(begins, ends, dash=dash)
    column.validate(full=True)
    expected = [None if dash and each == "-" else each for each in texts]
    assert column.to_pylist() == expected
    rows = np.arange(len(texts)) * 2 + 1
    spread = BlockTexts(codes, words).column(begins, ends, dash=dash, among=(rows, 2 * len(texts)))
    spread.validate(full=True)
    assert spread.to_pylist() == [each for text in expected for each in (None, text)]


@either_reader
@pytest.mark.parametrize("first", ["combined", "common"])
def test_formats_of_a_file_are_counted_and_stay_in_line_order(reader: type, first: str) -> None:
    lines = [access_line(), access_line(tail="")]
    if first == "common":
        lines.reverse()
    bronze = assert_same(reader, joined(lines * 3))
    assert bronze.facts.formats == {"combined": 3, "common": 3}
    assert [row["line_number"] for row in bronze.requests] == [1, 2, 3, 4, 5, 6]
