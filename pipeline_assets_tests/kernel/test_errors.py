"""Error logs: their entries, whom to believe in them, and the lines that continue them.

What belongs here: `error_lines` and `continuations`, through the reader of whole files.

What does not: the properties of any file (`test_parse`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from pipeline_assets.kernel import continuations, parse
from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets_tests.kernel.rebuild import access_line, check_raw_is_needed, joined, read, rebuilt

NGINX = "2025/12/17 09:03:01 [error] 31#32: "
APACHE_24 = "[Wed Dec 17 09:03:01.000123 2025] [core:error] [pid 7:tid 8] "
APACHE_22 = "[Wed Dec 17 09:03:01 2025] [error] "
CONTEXT = ', client: 203.0.113.7, server: example.org, request: "GET /a HTTP/1.1"'
UTC_OPTIONS = ReadOptions()
BERLIN = ReadOptions(timezone="Europe/Berlin")
ENTRY = (NGINX + "PHP Fatal error: x").encode()


def error(line: str, options: ReadOptions = UTC_OPTIONS) -> dict[str, Any]:
    bronze = read(line.encode(), options)
    check_raw_is_needed(bronze)
    if options.timezone == "UTC":
        assert rebuilt(bronze) == line.encode()
    return bronze.error


# ---- nginx ---------------------------------------------------------------------------------------------
def test_every_column_of_an_nginx_entry() -> None:
    row = error(
        NGINX + '*5 open() "/a" failed (2: No such file or directory)' + CONTEXT
        + ', upstream: "http://10.0.0.1:80/", host: "www.example.org", referrer: "https://example.org/"'
    )  # fmt: skip
    assert row == {
        "timestamp": datetime(2025, 12, 17, 9, 3, 1, tzinfo=UTC),
        "level": "error",
        "module": None,
        "pid": 31,
        "tid": 32,
        "connection": 5,
        "client": "203.0.113.7",
        "client_port": None,
        "error_code": None,
        "os_error_code": 2,
        "message": 'open() "/a" failed (2: No such file or directory)',
        "referer": "https://example.org/",
        "server": "example.org",
        "request": "GET /a HTTP/1.1",
        "upstream": "http://10.0.0.1:80/",
        "host": "www.example.org",
        "site": "example.org",
        "format": "nginx_error",
        "source_file": "logs/x/any.log",
        "line_number": 1,
        "line_count": 1,
        "byte_offset": 0,
        "raw": None,
    }


@pytest.mark.parametrize(
    "message", ["signal process started", "", " ", 'using the "epoll" event method', "(2: No such file)", "é"]
)
def test_an_nginx_entry_without_a_client_keeps_its_message(message: str) -> None:
    row = error(NGINX + message)
    assert (row["message"], row["client"], row["raw"]) == (message, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x, client: 1.2.3.4", {"client": "1.2.3.4", "message": "x", "server": None}),
        ("x, client: unix:, server: a.org", {"client": "unix:", "server": "a.org"}),
        ("x, client: 2001:db8::1, server: ", {"client": "2001:db8::1", "server": "", "site": "default"}),
        ("x, client: 1.2.3.4, server: _", {"server": "_", "site": "default"}),
        (
            'x, client: 1.2.3.4, server: , request: "GET / HTTP/1.1", host: "", referrer: ""',
            {"request": "GET / HTTP/1.1", "host": "", "referer": ""},
        ),
        ("connect() failed (111: Connection refused) while connecting to upstream", {"os_error_code": 111}),
    ],
)
def test_nginx_context(text: str, expected: dict[str, Any]) -> None:
    row = error(NGINX + text)
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        # In the request, the referer or the host, in front of what the server wrote or after it.
        'open() "/x, client: 6.6.6.6, server: evil.org" failed' + CONTEXT,
        'open() "/x" failed, client: 203.0.113.7, server: example.org, request: "GET /, client: 6.6.6.6, '
        'server: evil.org, request: "GET /evil HTTP/1.1", host: "evil.org"',
        "x" + CONTEXT + ', host: "a", client: 6.6.6.6, server: evil.org, host: "evil.org"',
        "x" + CONTEXT + ', host: "a", referrer: "b", host: "evil.org", referrer: "c, server: evil.org"',
        'client sent invalid method while reading client request line, client: 203.0.113.7, server: example.org,'
        ' request: "GET /evil HTTP/1.1", host: "evil.org"',
        'x, client: 203.0.113.7, server: example.org, request: "GET /", host: "evil.org"',
    ],
)  # fmt: skip
def test_what_a_client_wrote_into_an_nginx_entry_is_not_believed(text: str) -> None:
    row = error(NGINX + text)
    assert row["client"] in ("203.0.113.7", None)
    assert row["server"] in ("example.org", None)
    assert row["site"] in ("example.org", "default")
    assert row["host"] != "evil.org"
    assert row["request"] != "GET /evil HTTP/1.1"


PHP = (
    NGINX + '*5 FastCGI sent in stderr: "PHP message: PHP Fatal error:  Uncaught Error: x{0}\nStack trace:\n#0 {{main}}'
    '\n  thrown in /a.php on line 7" while reading response header from upstream{1}, upstream: "fastcgi://a:9000"'
)  # fmt: skip


def test_the_context_behind_several_lines_belongs_to_their_entry() -> None:
    content = PHP.format("", CONTEXT).encode() + b"\n" + ENTRY
    for chunk_bytes in (1, 100, 10_000):
        bronze = read(content, chunk_bytes=chunk_bytes)
        assert rebuilt(bronze) == content
        row = bronze.errors[0]
        assert (row["line_count"], row["client"], row["server"]) == (4, "203.0.113.7", "example.org")
        assert (row["request"], row["upstream"]) == ("GET /a HTTP/1.1", "fastcgi://a:9000")
        assert row["message"].startswith('FastCGI sent in stderr: "PHP message: PHP Fatal')
        assert row["message"].endswith('on line 7" while reading response header from upstream')


@pytest.mark.parametrize(
    "inside",
    [
        ", client: 6.6.6.6, server: evil.org",
        '", client: 6.6.6.6, server: evil.org',
        '", client: 6.6.6.6, server: evil.org, request: "GET /evil HTTP/1.1", host: "evil.org"',
        '", client: 6.6.6.6' + "x" * 2000,
        '\nx", client: 6.6.6.6, server: evil.org, request: "GET /evil HTTP/1.1',
        "x" * 2000,
    ],
)
def test_a_context_that_may_be_forged_is_not_believed_behind_lines_either(inside: str) -> None:
    row = read(PHP.format(inside, CONTEXT).encode()).errors[0]
    assert (row["client"], row["server"], row["request"]) == (None, None, None)
    assert row["site"] == "default"


def test_numbers_with_zeros_in_front_are_kept_raw() -> None:
    line = "2025/12/17 09:03:01 [error] 031#0032: *05 x"
    row = error(line)
    assert (row["pid"], row["tid"], row["connection"], row["raw"]) == (31, 32, 5, line.encode())


# ---- Apache --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            APACHE_24 + "[client 203.0.113.7:5000] AH01630: client denied: /var/www, referer: https://example.org/",
            {
                "timestamp": datetime(2025, 12, 17, 9, 3, 1, 123, tzinfo=UTC),
                "level": "error",
                "module": "core",
                "pid": 7,
                "tid": 8,
                "client": "203.0.113.7",
                "client_port": 5000,
                "error_code": "AH01630",
                "message": "client denied: /var/www",
                "referer": "https://example.org/",
                "format": "apache_error_24",
                "raw": None,
            },
        ),
        (APACHE_24 + "[client ::1:5000] x", {"client": "::1", "client_port": 5000, "raw": None}),
        (APACHE_24 + "AH00489: ready", {"error_code": "AH00489", "message": "ready", "client": None, "raw": None}),
        (
            APACHE_24 + "(13)Permission denied: [client 1.2.3.4:5] AH00035: access to / denied",
            {"os_error_code": 13, "client": "1.2.3.4", "error_code": "AH00035", "message": "access to / denied"},
        ),
        (
            APACHE_24 + "core.c(820): [client 1.2.3.4:5] AH01626: granted",
            {"client": "1.2.3.4", "error_code": "AH01626", "message": "granted"},
        ),
        ("[Wed Dec 17 09:03:01.5 2025] [:trace8] [pid 7] x", {"module": None, "level": "trace8", "tid": None}),
        (APACHE_22 + "[client 1.2.3.4] File missing", {"client": "1.2.3.4", "client_port": None, "raw": None}),
        (APACHE_22 + "[client ::1] x", {"client": "::1", "client_port": None, "raw": None}),
        (APACHE_22 + "[client 2001:db8::1:80] x", {"client": "2001:db8::1:80", "client_port": None}),
        (APACHE_22 + "caught SIGTERM", {"level": "error", "message": "caught SIGTERM", "raw": None}),
        (APACHE_22 + "[client 1.2.3.4] (13)Permission denied: x", {"os_error_code": 13, "message": "x"}),
        ("[17/Dec/2025:10:03:01 +0100] [ab:alert] [pid 7] x", {"timestamp": datetime(2025, 12, 17, 9, 3, 1, tzinfo=UTC)}),
        ("[2025-12-17 09:03:01.5] [ab:alert] [pid 7] x", {"timestamp": datetime(2025, 12, 17, 9, 3, 1, 500_000, tzinfo=UTC)}),
    ],
)  # fmt: skip
def test_apache_entries(line: str, expected: dict[str, Any]) -> None:
    row = error(line)
    assert {name: row[name] for name in expected} == expected


def test_two_referers_leave_the_message_as_it_is() -> None:
    text = "File missing: /a, referer: x, referer: https://example.org/"
    row = error(APACHE_24 + "[client 1.2.3.4:5] " + text)
    assert (row["message"], row["referer"]) == (text, None)


def test_a_referer_without_a_client_is_not_the_servers() -> None:
    row = error(APACHE_24 + "x, referer: y")
    assert (row["message"], row["referer"]) == ("x, referer: y", None)


# ---- times and numbers ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("clock", "moment"),
    [
        ("2025/12/17 09:03:01", datetime(2025, 12, 17, 8, 3, 1, tzinfo=UTC)),
        ("2025/07/17 09:03:01", datetime(2025, 7, 17, 7, 3, 1, tzinfo=UTC)),
        ("2025/03/30 01:59:59", datetime(2025, 3, 30, 0, 59, 59, tzinfo=UTC)),
        ("2025/03/30 03:00:00", datetime(2025, 3, 30, 1, 0, 0, tzinfo=UTC)),
        # Twice on that night; the earlier is taken.
        ("2025/10/26 02:30:00", datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
        ("2025/10/26 03:00:00", datetime(2025, 10, 26, 2, 0, tzinfo=UTC)),
    ],
)
def test_times_are_in_the_configured_zone(clock: str, moment: datetime) -> None:
    assert error(f"{clock} [error] 1#1: x", BERLIN)["timestamp"] == moment


def test_a_time_in_another_zone_keeps_its_bytes() -> None:
    line = (NGINX + "x").encode()
    assert read(line, BERLIN).error["raw"] == line
    assert rebuilt(read(line, BERLIN)) == line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2025/03/30 02:30:00 [error] 1#1: x", "invalid_time"),
        ("2025/02/30 09:03:01 [error] 1#1: x", "invalid_time"),
        ("2025/12/17 25:03:01 [error] 1#1: x", "invalid_time"),
        ("[Wed Foo 17 09:03:01 2025] [error] x", "invalid_time"),
        ("[17/Dec/2025:10:03:01 +9999] [ab:alert] [pid 7] x", "invalid_time"),
        ("2014/12/31 22:59:59 [error] 1#1: x", "outside_window"),
        ("2025/12/17 09:03:01 [error] 9223372036854775808#1: x", "invalid_number"),
        (APACHE_24 + "[client 1.2.3.4:99999] (99999999999999999999)x: y", None),
        ("2025/12/17 09:03:01 [fatal] 1#1: x", "unknown_format"),
        ("[Wed Dec 17 09:03:01 2025] x", "unknown_format"),
    ],
)
def test_rejects(line: str, reason: str | None) -> None:
    bronze = read(line.encode(), BERLIN)
    assert bronze.reasons == ([] if reason is None else [reason])
    assert rebuilt(bronze) == line.encode()


def test_the_window_holds_for_errors_too() -> None:
    options = ReadOptions(earliest=date(2025, 12, 17), latest=date(2025, 12, 18))
    lines = [b"2025/12/16 23:59:59 [error] 1#1: x", ENTRY, b"2025/12/18 00:00:00 [error] 1#1: x"]
    bronze = read(joined(lines), options)
    assert [row["line_number"] for row in bronze.errors] == [2]
    assert bronze.reasons == ["outside_window"] * 2


# ---- entries of several lines --------------------------------------------------------------------------
TRACE = [b"Stack trace:", b"#0 /var/www/a.php(3): f()", b"#1 {main}", b"  thrown in /var/www/a.php on line 3"]


@pytest.mark.parametrize("head", [NGINX, APACHE_24, APACHE_22])
def test_a_stack_trace_is_one_entry(head: str) -> None:
    content = joined([(head + "PHP Fatal error: x").encode(), *TRACE, access_line()])
    bronze = read(content)
    (row,) = bronze.errors
    assert row["message"].split("\n") == ["PHP Fatal error: x", *(line.decode() for line in TRACE)]
    assert row["line_count"] == 5
    assert row["raw"] == content[: content.index(b"\n203.")]
    assert bronze.facts.continuation == 4
    assert (len(bronze.requests), bronze.facts.rejected, bronze.facts.comment) == (1, 0, 0)
    assert rebuilt(bronze) == content


@pytest.mark.parametrize(
    ("between", "blank", "comment"),
    [
        (b"", 1, 0),
        (b" \t", 1, 0),
        (b"#Fields: x", 0, 1),
        (access_line(), 0, 0),
        (b"2025/02/30 09:03:01 [error] 1#1: x", 0, 0),
    ],
)
def test_what_ends_an_entry(between: bytes, blank: int, comment: int) -> None:
    content = joined([ENTRY, b"more", between, b"no more"])
    for chunk_bytes in (1, 10, 1000):
        bronze = read(content, chunk_bytes=chunk_bytes)
        assert [row["line_count"] for row in bronze.errors] == [2]
        assert (bronze.rejected[-1]["line"], bronze.reasons[-1]) == (b"no more", "unrecognised")
        assert (bronze.facts.blank, bronze.facts.comment) == (blank, comment)


def test_a_line_that_is_too_long_ends_an_entry() -> None:
    content = joined([ENTRY, b"more", b"x" * 100, b"no more"])
    for chunk_bytes in (1, 10, 1000):
        bronze = read(content, chunk_bytes=chunk_bytes, max_line_bytes=90)
        assert [row["line_count"] for row in bronze.errors] == [2]
        assert bronze.reasons == ["line_too_long", "unrecognised"]


def test_lines_that_follow_no_entry_are_rejected() -> None:
    for first in (access_line(), b"2025/02/30 09:03:01 [error] 1#1: x"):
        bronze = read(joined([first, *TRACE]))
        assert not bronze.errors
        assert bronze.reasons[-4:] == ["unrecognised"] * 4


def test_bytes_that_are_not_utf8_continue_an_entry() -> None:
    row = read(ENTRY + b"\ncaf\xe9\r\n\0\n").error
    assert row["message"] == "PHP Fatal error: x\ncaf\\xe9\n\0"
    assert row["raw"] == ENTRY + b"\ncaf\xe9\r\n\0"


def test_an_entry_has_a_bounded_number_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (continuations, parse):
        monkeypatch.setattr(module, "MAX_ENTRY_LINES", 4)
    content = joined([ENTRY, *[b"more"] * 5, ENTRY, *[b"more"] * 3, ENTRY])
    whole = read(content)
    assert [row["line_count"] for row in whole.errors] == [4, 4, 1]
    assert [row["line_number"] for row in whole.rejected] == [5, 6]
    assert rebuilt(whole) == content
    for chunk_bytes in range(1, len(content), 5):
        assert read(content, chunk_bytes=chunk_bytes) == whole


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_an_entry_has_a_bounded_size(monkeypatch: pytest.MonkeyPatch, spare: int) -> None:
    for module in (continuations, parse):
        monkeypatch.setattr(module, "MAX_ENTRY_BYTES", len(ENTRY) + 1 + 2 * 5 + spare)
    content = joined([ENTRY, *[b"more"] * 4, ENTRY])
    whole = read(content)
    assert [row["line_count"] for row in whole.errors] == [3 if spare >= 0 else 2, 1]
    assert rebuilt(whole) == content
    for chunk_bytes in range(1, len(content), 5):
        assert read(content, chunk_bytes=chunk_bytes) == whole


def test_the_real_bounds_hold_across_chunks() -> None:
    limit = continuations.MAX_ENTRY_LINES
    content = joined([ENTRY, *[b"more"] * (limit + 5)])
    for chunk_bytes in (999, 1 << 20):
        bronze = read(content, chunk_bytes=chunk_bytes)
        assert [row["line_count"] for row in bronze.errors] == [limit]
        assert bronze.facts.rejected == 6


def test_an_entry_larger_than_the_bound_stays_whole_and_takes_no_more() -> None:
    content = joined([ENTRY + b"x" * continuations.MAX_ENTRY_BYTES, b"more"])
    for chunk_bytes in (100_000, 1 << 24):
        bronze = read(content, chunk_bytes=chunk_bytes)
        assert [row["line_count"] for row in bronze.errors] == [1]
        assert bronze.reasons == ["unrecognised"]
        assert rebuilt(bronze) == content
