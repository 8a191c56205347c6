"""Formats beside Apache's and nginx's own: JSON, W3C, load balancers, proxies, and lines behind a prefix.

What belongs here: their columns, and what in them a client can't forge. What does not: the user's own formats
(`test_own_formats`), and the properties of any file (`test_parse`).
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from pipeline_assets.kernel.lines import MOST_DIRECTIVES
from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets_tests.kernel.rebuild import access_line, joined, read

CADDY: dict[str, Any] = {
    "level": "info",
    "ts": 1646861401.5241024,
    "logger": "http.log.access",
    "msg": "handled request",
    "request": {
        "remote_ip": "203.0.113.7",
        "remote_port": "41342",
        "proto": "HTTP/2.0",
        "method": "GET",
        "host": "localhost",
        "uri": "/a?b=c",
        "headers": {"User-Agent": ["curl/7.82.0"], "Status": ["500"], "Remote_ip": ["6.6.6.6"]},
    },
    "duration": 0.000929675,
    "size": 10900,
    "status": 200,
    "user_id": "",
}
TRAEFIK: dict[str, Any] = {
    "ClientAddr": "203.0.113.7:53276",
    "ClientHost": "203.0.113.7",
    "ClientUsername": "-",
    "DownstreamContentSize": 19,
    "DownstreamStatus": 404,
    "Duration": 104400,
    "RequestMethod": "GET",
    "RequestPath": "/a?b",
    "RequestProtocol": "HTTP/1.1",
    "StartUTC": "2025-12-17T09:03:01.123456789Z",
    "request_User-Agent": "Mozilla/5.0",
    "time": "2025-12-17T09:03:02Z",
}
NGINX: dict[str, Any] = {
    "time_local": "17/Dec/2025:09:03:01 +0330",
    "remote_addr": "203.0.113.7",
    "request": "GET /a?b=c HTTP/1.1",
    "status": "200",
    "body_bytes_sent": "150",
    "request_time": "0.049",
    "http_user_agent": 'a "q"',
    "http_x_forwarded_for": "198.51.100.9",
    "upstream": None,
}
ALB = (
    "https 2025-12-17T09:03:01.186641Z app/lb/50dc6c 203.0.113.7:2817 10.0.0.1:80 0.001 0.002 0.000 200 200 34 366"
    ' "GET https://example.org:443/a?b HTTP/1.1" "curl/7.46.0" - TLSv1.2 arn:aws:tg "Root=1-5" "example.org" "-" 0'
    ' 2025-12-17T09:03:00.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1 new "f i"'
)
FIELDS = (
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent)"
    " cs(Referer) sc-status sc-substatus time-taken"
)
IIS = "2025-12-17 09:03:01 10.0.0.5 GET /a.aspx x=1 443 - 203.0.113.7 Mozilla/5.0+(Win) - 200 0 46"


def lines(*texts: str) -> bytes:
    return joined(text.encode() for text in texts)


def shown(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


# ---- JSON ----------------------------------------------------------------------------------------------
def test_every_column_of_a_caddy_entry() -> None:
    row = read(lines(json.dumps(CADDY))).request
    assert row | {"extra": None, "raw": None} == {
        "remote_host": "203.0.113.7",
        "identity": None,
        "user": None,
        "timestamp": datetime(2022, 3, 9, 21, 30, 1, 524102, tzinfo=UTC),
        "utc_offset_minutes": 0,
        "request": None,
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/2.0",
        "status": 200,
        "bytes": 10900,
        "referer": None,
        "user_agent": "curl/7.82.0",
        "vhost": None,
        "port": None,
        "duration_us": 930,
        "extra": None,
        "site": "default",
        "format": "caddy",
        "source_file": "logs/x/any.log",
        "line_number": 1,
        "byte_offset": 0,
        "raw": None,
    }
    extra = json.loads(row["extra"])
    assert extra["headers"] == CADDY["request"]["headers"]
    assert extra["host"] == "localhost"
    assert row["raw"] == json.dumps(CADDY).encode()


def test_a_traefik_entry() -> None:
    row = read(lines(json.dumps(TRAEFIK))).request
    assert row["timestamp"] == datetime(2025, 12, 17, 9, 3, 1, 123456, tzinfo=UTC)
    assert shown(row, "remote_host", "status", "bytes", "target", "user_agent", "duration_us", "format") == {
        "remote_host": "203.0.113.7",
        "status": 404,
        "bytes": 19,
        "target": "/a?b",
        "user_agent": "Mozilla/5.0",
        "duration_us": 104,
        "format": "traefik_json",
    }


def test_an_nginx_json_entry() -> None:
    row = read(lines(json.dumps(NGINX))).request
    assert row["timestamp"] == datetime(2025, 12, 17, 5, 33, 1, tzinfo=UTC)
    assert shown(row, "utc_offset_minutes", "target", "status", "bytes", "duration_us", "user_agent") == {
        "utc_offset_minutes": 210,
        "target": "/a?b=c",
        "status": 200,
        "bytes": 150,
        "duration_us": 49_000,
        "user_agent": 'a "q"',
    }
    assert json.loads(row["extra"]) == {"forwarded_for": "198.51.100.9"}


def test_escapes_that_json_does_not_know_are_text() -> None:
    text = json.dumps(NGINX).replace("GET /a?b=c HTTP/1.1", r"\x16\x03\v\\x41 \u0041\'")
    row = read(lines(text)).request
    assert row["request"] == r"\x16\x03\v\x41 A\'"
    assert row["method"] is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(NGINX)[:-1] + ', "status": "500"}', "ambiguous"),
        (json.dumps(NGINX)[:-1] + ', "Status": "500"}', "ambiguous"),
        (json.dumps(NGINX | {"time_local": "31/Feb/2025:09:03:01 +0000"}), "invalid_time"),
        (json.dumps(NGINX | {"time_local": "yesterday"}), "invalid_time"),
        (json.dumps(NGINX | {"status": 99_999}), "invalid_number"),
        (json.dumps(NGINX | {"body_bytes_sent": 2**63}), "invalid_number"),
        (json.dumps(NGINX | {"time_local": "17/Dec/1990:09:03:01 +0000"}), "outside_window"),
        (json.dumps(NGINX).replace('"200"', "NaN"), "unknown_format"),
        (json.dumps(NGINX)[:-1], "unknown_format"),
        ('{"a": 1}', "unknown_format"),
        ('{"x":' * 100_000 + "}", "unknown_format"),
        ("{" + "9" * 10_000 + "}", "unknown_format"),
        ('{"ts": ' + "9" * 10_000 + ', "remote_addr": "x", "status": 1}', "unknown_format"),
    ],
)
def test_json_that_is_no_row(text: str, reason: str) -> None:
    bronze = read(lines(text), ReadOptions())
    assert bronze.reasons == [reason]
    assert bronze.rejected[0]["line"] == text.encode()


def test_json_messages_are_errors() -> None:
    text = '{"level":"error","ts":1646861401.5,"logger":"http.log.error","msg":"dial tcp"}'
    row = read(lines(text)).error
    assert shown(row, "level", "module", "message", "format") == {
        "level": "error",
        "module": "http.log.error",
        "message": "dial tcp",
        "format": "json_error",
    }


@pytest.mark.parametrize("surrogate", ["\\ud800", "\\udc00x", "\\ud83d\\ude00"])
def test_halves_of_characters_do_no_harm(surrogate: str) -> None:
    text = json.dumps(NGINX).replace("Mozilla", surrogate).replace("GET /a", "GET /" + surrogate)
    assert read(lines(text)).request["method"] == "GET"


# ---- W3C -----------------------------------------------------------------------------------------------
def test_an_iis_line() -> None:
    bronze = read(lines("#Software: IIS", FIELDS, IIS))
    row = bronze.request
    assert (bronze.facts.comment, row["line_number"]) == (2, 3)
    assert row["timestamp"] == datetime(2025, 12, 17, 9, 3, 1, tzinfo=UTC)
    assert shown(row, "remote_host", "user", "method", "target", "status", "port", "duration_us") == {
        "remote_host": "203.0.113.7",
        "user": None,
        "method": "GET",
        "target": "/a.aspx?x=1",
        "status": 200,
        "port": 443,
        "duration_us": 46_000,
    }
    assert (row["user_agent"], row["format"]) == ("Mozilla/5.0+(Win)", "w3c")
    assert json.loads(row["extra"]) == {"s-ip": "10.0.0.5", "sc-substatus": "0"}


def test_times_of_w3c_are_utc_whatever_is_configured() -> None:
    row = read(lines(FIELDS, IIS), ReadOptions(timezone="Europe/Berlin")).request
    assert (row["timestamp"].hour, row["utc_offset_minutes"]) == (9, 0)


def test_fields_may_change_in_the_middle() -> None:
    other = "#Fields: date time c-ip cs-method cs-uri-stem sc-status"
    content = lines(
        FIELDS, IIS, other, "2025-12-17 09:03:02 198.51.100.9 POST /b 500", IIS, "", FIELDS, IIS, "nonsense"
    )
    for chunk_bytes in (1, 100, 10_000):
        bronze = read(content, chunk_bytes=chunk_bytes)
        assert [row["remote_host"] for row in bronze.requests] == [
            "203.0.113.7", "198.51.100.9", "203.0.113.7",
        ]  # fmt: skip
        assert [row["line_number"] for row in bronze.rejected] == [5, 9]


def test_a_cloudfront_line() -> None:
    fields = (
        "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status time-taken"
    )
    line = "2025-12-17\t09:03:01\tLAX1\t392\t203.0.113.7\tGET\td1.cloudfront.net\t/index.html\t200\t0.001"
    row = read(lines("#Version: 1.0", fields, line)).request
    assert shown(row, "bytes", "target", "duration_us") == {
        "bytes": 392,
        "target": "/index.html",
        "duration_us": 1_000,
    }


@pytest.mark.parametrize(
    "fields", ["#Fields:", "#Fields: date time", "#Fields: date c-ip", "#Fields: c-ip " * 99]
)
def test_fields_without_a_client_and_a_time_give_no_rows(fields: str) -> None:
    assert read(lines(fields, IIS)).reasons == ["unknown_format"]


def test_a_file_made_of_directives_is_read_in_bounded_time() -> None:
    content = b"".join(b"#Fields: date time c-ip x%d\n" % number for number in range(10_000)) + IIS.encode()
    bronze = read(content)
    assert bronze.facts.comment == 10_000
    assert bronze.reasons == ["unknown_format"]
    few = "".join(
        f"#Fields: date time c-ip x{number}\n2025-12-17 09:03:01 1.2.3.4 x\n" for number in range(150)
    )
    assert len(read(few.encode()).requests) == MOST_DIRECTIVES


def test_a_byte_order_mark_hides_no_directive() -> None:
    assert read(b"\xef\xbb\xbf" + lines(FIELDS, IIS)).request["format"] == "w3c"


# ---- load balancers and proxies ------------------------------------------------------------------------
def test_an_application_load_balancer_line() -> None:
    row = read(lines(ALB)).request
    assert row["timestamp"] == datetime(2025, 12, 17, 9, 3, 1, 186641, tzinfo=UTC)
    assert shown(row, "remote_host", "method", "target", "status", "bytes", "duration_us", "format") == {
        "remote_host": "203.0.113.7",
        "method": "GET",
        "target": "https://example.org:443/a?b",
        "status": 200,
        "bytes": 366,
        "duration_us": 3_000,
        "format": "aws_alb",
    }
    extra = json.loads(row["extra"])
    assert (extra["client_port"], extra["conn_trace_id"], extra["trailing"]) == ("2817", "TID_1", 'new "f i"')


@pytest.mark.parametrize("words", range(16, 30))
def test_load_balancer_lines_of_other_years_are_read(words: int) -> None:
    # The request is the thirteenth field, and three words; quoted fields have no blanks before the last.
    row = read(lines(" ".join(ALB.split(" ")[: words + 2]))).request
    assert (row["format"], row["status"]) == ("aws_alb", 200)


def test_a_failed_connection_has_no_duration() -> None:
    row = read(lines(ALB.replace("0.001 0.002 0.000 200 200", "-1 -1 -1 502 -"))).request
    assert (row["duration_us"], row["status"]) == (None, 502)


def test_a_classic_load_balancer_line() -> None:
    line = (
        "2025-12-17T09:03:01.945958Z lb 203.0.113.7:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29"
        ' "GET http://example.org:80/ HTTP/1.1" "curl/7.38.0" - -'
    )
    row = read(lines(line)).request
    assert (row["format"], row["duration_us"], row["bytes"]) == ("aws_elb", 1_178, 29)


def test_fields_behind_combined_have_names_where_we_know_them() -> None:
    traefik = read(access_line(tail=' "-" "curl" 42 "web@docker" "http://10.0.0.1:80" 17ms')).request
    assert (traefik["format"], traefik["duration_us"]) == ("traefik", 17_000)
    assert json.loads(traefik["extra"]) == {
        "request_count": "42",
        "router": "web@docker",
        "service_url": "http://10.0.0.1:80",
    }
    ingress = read(
        access_line(tail=' "-" "curl" 462 0.050 [svc-9000] [] 10.0.5.8:9000 19437 0.049 200 ' + "a" * 32)
    ).request
    assert (ingress["format"], ingress["duration_us"]) == ("ingress_nginx", 50_000)
    assert json.loads(ingress["extra"])["upstream_response_time"] == "0.049"
    assert ingress["user_agent"] == "curl"


@pytest.mark.parametrize(
    ("tail", "name", "trailing"),
    [
        (' "-" "x" 0.005', "combined_extra", "0.005"),
        (' "-" "x" 523 1234', "combined_extra", "523 1234"),
        (' "-" "x" "cookie=1; b" - "a.org"', "combined_extra", '"cookie=1; b" - "a.org"'),
        (' "-" "x" rt=0.1 ua="y z"', "combined_extra", 'rt=0.1 ua="y z"'),
        (" 1234 5678", "common_extra", "1234 5678"),
        (' "-" "x"  8', "combined_extra", " 8"),
    ],
)
def test_other_fields_behind_are_kept(tail: str, name: str, trailing: str) -> None:
    row = read(access_line(tail=tail)).request
    assert (row["format"], json.loads(row["extra"]), row["raw"]) == (name, {"trailing": trailing}, None)
    assert (row["status"], row["bytes"]) == (200, 1234)


# ---- prefixes ------------------------------------------------------------------------------------------
PREFIXES = [
    "Dec 17 09:03:01 web1 nginx: ",
    "<190>Dec  7 09:03:01 web1 nginx[12]: ",
    "<134>1 2025-12-17T09:03:01.123Z web1 nginx 12 - - ",
    '<134>1 2025-12-17T09:03:01Z web1 nginx - - [x@1 a="b"] ',
    "2025-12-17T09:03:01.123456+00:00 web1 apache2[3]: ",
    "2025-12-17T09:03:01+0100 web1 apache2[3]: ",
    "2025-12-17T09:03:01.123456789Z stdout F ",
]


@pytest.mark.parametrize("prefix", PREFIXES, ids=range(len(PREFIXES)))
def test_lines_behind_a_prefix_are_read(prefix: str) -> None:
    access = prefix.encode() + access_line()
    error = prefix.encode() + b"2025/12/17 09:03:02 [error] 7#8: *5 open() failed, client: 203.0.113.9"
    bronze = read(joined([access, error, access, prefix.encode() + b"no log line"]))
    assert [row["format"] for row in bronze.requests] == ["syslog_combined"] * 2
    row = bronze.requests[0]
    assert (row["remote_host"], row["user_agent"], row["raw"]) == ("203.0.113.7", "Mozilla/5.0", access)
    assert json.loads(row["extra"]) == {"prefix": prefix.rstrip(" ")}
    assert shown(bronze.errors[0], "client", "format", "raw") == {
        "client": "203.0.113.9",
        "format": "syslog_nginx_error",
        "raw": error,
    }
    assert bronze.reasons == ["unrecognised"]


# ---- what a client can't do ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "line",
    [
        # On servers that escape nothing a request may hold what looks like the rest of the line.
        'x" 500 666 "-" "evil HTTP/1.1" 200 1234 "-" "UA"',
        'GET / HTTP/1.1" 500 666 "-" "evil" 400 1234 "-" "UA"',
        'GET /" 500 666 "-" "evil" x "HTTP/1.1" 200 1234 "-" "UA"',
        'GET /" 500 666 "-" "evil" HTTP/1.1" 200 1234 "-" "UA"',
        'GET /" 500 666 HTTP/1.1" 200 1234',
    ],
)
def test_a_line_that_may_be_forged_is_rejected(line: str) -> None:
    text = f'203.0.113.7 - - [17/Dec/2025:09:03:01 +0000] "{line}'
    bronze = read(lines(text))
    assert not bronze.requests
    assert bronze.rejected[0]["line"] == text.encode()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"tail": ' "-" "Mozilla/5.0 "quoted" x"'},
            {"user_agent": 'Mozilla/5.0 "quoted" x', "referer": None},
        ),
        ({"request": 'GET /" HTTP/1.1'}, {"request": 'GET /" HTTP/1.1', "target": '/"', "status": 200}),
        ({"request": 'GET /a"b"c HTTP/1.1', "tail": ""}, {"target": '/a"b"c', "format": "common"}),
    ],
)
def test_bare_quotes_are_read_where_they_leave_no_doubt(
    fields: dict[str, str], expected: dict[str, Any]
) -> None:
    row = read(access_line(**fields)).request
    assert {name: row[name] for name in expected} == expected
    assert (row["remote_host"], row["status"], row["bytes"]) == ("203.0.113.7", 200, 1234)


@pytest.mark.parametrize(
    ("host", "vhost", "remote_host"),
    [
        ("203.0.113.7, 10.0.0.1", None, "203.0.113.7, 10.0.0.1"),
        ("unknown,10.0.0.1, 10.0.0.2", None, "unknown,10.0.0.1, 10.0.0.2"),
        ("fe80::1%eth0", None, "fe80::1%eth0"),
        ("example.org fe80::1%eth0", "example.org", "fe80::1%eth0"),
        ("unix:", None, "unix:"),
        ("example.org unix:", "example.org", "unix:"),
        ("example.org:443 203.0.113.7, 10.0.0.1", "example.org", "203.0.113.7, 10.0.0.1"),
        ("client-7.example.net", None, "client-7.example.net"),
    ],
)
def test_clients(host: str, vhost: str | None, remote_host: str) -> None:
    row = read(access_line(host=host)).request
    assert (row["vhost"], row["remote_host"]) == (vhost, remote_host)


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        (" 7/Dec/2025:09:03:01 +0330", datetime(2025, 12, 7, 5, 33, 1, tzinfo=UTC)),
        ("17/Dec/2025:09:03:01.250 +0000", datetime(2025, 12, 17, 9, 3, 1, 250_000, tzinfo=UTC)),
        ("2025-12-17T09:03:01+01:00", datetime(2025, 12, 17, 8, 3, 1, tzinfo=UTC)),
        ("2025-12-17T09:03:01.123456789Z", datetime(2025, 12, 17, 9, 3, 1, 123456, tzinfo=UTC)),
        ("2025-12-17 09:03:01", datetime(2025, 12, 17, 8, 3, 1, tzinfo=UTC)),
        ("17/Jul/2025:09:03:01", datetime(2025, 7, 17, 7, 3, 1, tzinfo=UTC)),
    ],
)
def test_other_times(time: str, moment: datetime) -> None:
    row = read(access_line(time=time), ReadOptions(timezone="Europe/Berlin")).request
    assert (row["timestamp"], row["raw"]) == (moment, access_line(time=time))


# ---- what a file is ------------------------------------------------------------------------------------
def test_a_file_in_no_format_is_said_to_be_unknown() -> None:
    bronze = read(lines(*["date,hits", "2025-12-17,4"] * 5))
    assert set(bronze.reasons) == {"unknown_format"}
    assert (bronze.facts.unknown_format, bronze.facts.confidence) == (True, 0.0)


def test_a_file_of_several_formats_is_read_line_by_line() -> None:
    error = b"2025/12/17 09:03:02 [error] 7#8: x"
    content = joined([access_line(), ALB.encode(), b"x y", json.dumps(CADDY).encode(), error])
    for chunk_bytes in (1, 500, 100_000):
        facts = read(content, chunk_bytes=chunk_bytes).facts
        assert facts.formats == {"aws_alb": 1, "caddy": 1, "combined": 1, "nginx_error": 1}
        assert (facts.confidence, facts.unknown_format) == (0.8, False)


def test_a_format_behind_the_sample_is_read_too() -> None:
    content = b"x\n" * 1_500 + access_line() + b"\n" + b"x"
    for chunk_bytes in (100, 100_000):
        bronze = read(content, chunk_bytes=chunk_bytes)
        assert len(bronze.requests) == 1
        assert (bronze.facts.confidence, bronze.facts.unknown_format) == (0.0, False)
        assert bronze.reasons == ["unknown_format"] * 1_501


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_text_in_two_bytes_a_character_is_named(encoding: str) -> None:
    bronze = read((access_line().decode() + "\n").encode(encoding) * 3)
    assert set(bronze.reasons) == {"utf_16"}
    assert bronze.facts.unknown_format


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# only a comment\n"])
def test_a_file_without_lines_is_not_unknown(content: bytes) -> None:
    facts = read(content).facts
    assert (facts.unknown_format, facts.confidence) == (False, 1.0)


def test_the_last_line_may_be_cut_anywhere_and_nothing_is_invented() -> None:
    whole = access_line()
    for length in range(1, len(whole)):
        bronze = read(whole + b"\n" + whole[:length])
        assert len(bronze.requests) + len(bronze.rejected) == 2
        for row in bronze.requests:
            assert (row["status"], row["bytes"]) == (200, 1234), whole[:length]
        assert set(bronze.reasons) <= {"truncated", "invalid_time"}


def test_without_the_quick_expressions_the_rows_are_the_same() -> None:
    content = joined(
        [
            access_line(),
            access_line(tail=""),
            access_line(user="-\\"),
            access_line(vhost="a.org:80 "),
            ALB.encode(),
            b"x",
        ]
    )
    assert read(content, quick=False) == read(content)


def test_the_window_is_for_every_format() -> None:
    options = ReadOptions(earliest=date(2026, 1, 1))
    content = lines(json.dumps(NGINX), ALB, FIELDS, IIS)
    assert set(read(content, options).reasons) == {"outside_window"}
