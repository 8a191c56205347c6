"""Formats of the user's own: Apache's and nginx's languages, compiled, and what is said of a wrong one.

What belongs here: from a definition's text to rows. What does not: the setting that holds it (`test_settings`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel.own_formats import OwnFormatsError, compile_format, compile_formats
from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets_tests.kernel.rebuild import Bronze, access_line, joined, read, rebuilt

NINE = datetime(2025, 12, 17, 9, 3, 1, tzinfo=UTC)
COMMON = '%h %l %u %t "%r" %>s %b'
HEAD = '203.0.113.7 - - [17/Dec/2025:09:03:01 +0000] "GET /a HTTP/1.1" 200 5'


def read_as(definition: str, *lines: str) -> Bronze:
    options = ReadOptions(timezone="Europe/Berlin", formats=(compile_format("mine", definition),))
    content = joined(line.encode() for line in lines)
    bronze = read(content, options)
    assert rebuilt(bronze) == content
    return bronze


@pytest.mark.parametrize(
    ("definition", "line", "expected", "extra"),
    [
        (COMMON + " %D", HEAD + " 1234", {"duration_us": 1234, "status": 200, "target": "/a"}, None),
        (COMMON + " %T", HEAD + " 3", {"duration_us": 3_000_000}, None),
        (COMMON + " %{ms}T", HEAD + " 17", {"duration_us": 17_000}, None),
        (COMMON + " %T/%D", HEAD + " 0/17", {"duration_us": 17}, None),
        (COMMON + " %D", HEAD + " -", {"duration_us": None}, None),
        (COMMON + " %I %O", HEAD + " 300 400", {"bytes": 5}, {"bytes_received": "300", "bytes_sent": "400"}),
        ("%h %t %O", "203.0.113.7 [17/Dec/2025:09:03:01 +0000] 400", {"bytes": 400}, None),
        (
            COMMON + ' "%{Referer}i" "%{User-agent}i" "%{sid}C" "%{Content-Type}o" %{UNIQUE_ID}e %{x}n',
            HEAD + ' "-" "a \\"b\\"" "1; 2" "text/html" id -',
            {"user_agent": 'a \\"b\\"', "referer": None},
            {"cookie_sid": "1; 2", "sent_http_content_type": "text/html", "env_unique_id": "id"},
        ),
        (
            '%{X-Forwarded-For}i %l %u %t "%r" %>s %b',
            HEAD.replace("203.0.113.7", "203.0.113.7, 10.0.0.1"),
            {"remote_host": "203.0.113.7, 10.0.0.1", "user": None},
            None,
        ),
        (
            '%a "%{X-Forwarded-For}i" %t',
            '10.0.0.1 "203.0.113.7" [17/Dec/2025:09:03:01 +0000]',
            {"remote_host": "10.0.0.1"},
            {"http_x_forwarded_for": "203.0.113.7"},
        ),
        (
            '%v:%p %h "%m %U%q %H" %s %>s [%{%d/%b/%Y:%T}t.%{usec_frac}t %{%z}t]',
            'a.org:443 203.0.113.7 "GET /a?b=c HTTP/2.0" 301 200 [17/Dec/2025:10:03:01.000250 +0100]',
            {
                "vhost": "a.org", "port": 443, "method": "GET", "target": "/a?b=c", "protocol": "HTTP/2.0",
                "status": 200, "timestamp": NINE.replace(microsecond=250), "utc_offset_minutes": 60,
            },
            {"original_status": "301"},
        ),
        ("%{%s}t %h", "1765962181 203.0.113.7", {"timestamp": NINE, "utc_offset_minutes": 0}, None),
        ("%{msec}t %h", "1765962181250 203.0.113.7", {"timestamp": NINE.replace(microsecond=250_000)}, None),
        ("%{usec}t %h", "1765962181000250 203.0.113.7", {"timestamp": NINE.replace(microsecond=250)}, None),
        ("%{%F %I:%M:%S %p}t %h", "2025-12-17 10:03:01 AM 203.0.113.7", {"timestamp": NINE}, None),
        ("%{%e %B %Y %R}t|%h", " 7 July 2025 11:03|203.0.113.7", {"timestamp": datetime(2025, 7, 7, 9, 3, tzinfo=UTC)}, None),
        ("%{%Y %j %H:%M:%S}t %h", "2025 351 10:03:01 203.0.113.7", {"timestamp": NINE}, None),
        ("%h %u %t", 'x a b [c] \\"d [17/Dec/2025:09:03:01 +0000]', {"user": 'a b [c] \\"d'}, None),
        ("100%% %h\\t%t", "100% 203.0.113.7\t[17/Dec/2025:09:03:01 +0000]", {"timestamp": NINE}, None),
        ('%!200,304{Referer}i %h %400,501{User-agent}i %t', "- 203.0.113.7 x [17/Dec/2025:09:03:01 +0000]", {"user_agent": "x"}, None),
        (
            f'LogFormat "{COMMON}" mine'.replace('"%r"', '\\"%r\\"'),
            HEAD,
            {"request": "GET /a HTTP/1.1", "format": "mine"},
            None,
        ),
        (
            "log_format mine '$remote_addr - $remote_user [$time_local] \"$request\" '\n"
            "  '$status $body_bytes_sent rt=$request_time urt=\"$upstream_response_time\" ${host}:$server_port';",
            HEAD + ' rt=0.049 urt="0.001, 0.002" a.org:443',
            {"duration_us": 49_000, "vhost": "a.org", "port": 443, "site": "a.org", "bytes": 5},
            {"upstream_response_time": "0.001, 0.002"},
        ),
        (
            "$remote_addr [$time_iso8601] $request_method $request_uri $server_protocol $cookie_sid $pipe",
            "203.0.113.7 [2025-12-17T10:03:01+01:00] GET /a?b HTTP/1.1 - .",
            {"method": "GET", "target": "/a?b", "protocol": "HTTP/1.1", "timestamp": NINE},
            {"pipe": "."},
        ),
        ("$msec|$remote_addr|$uri|$args", "1765962181.250|203.0.113.7|/a|b=c", {"target": "/a?b=c"}, None),
        (
            "log_format j escape=json '{\"t\":\"$time_iso8601\",\"ip\":\"$remote_addr\",\"ua\":\"$http_user_agent\"}'",
            '{"t":"2025-12-17T10:03:01+01:00","ip":"203.0.113.7","ua":"a\\"b"}',
            {"format": "mine", "user_agent": 'a\\"b', "timestamp": NINE},
            None,
        ),
    ],
)  # fmt: skip
def test_definitions(
    definition: str, line: str, expected: dict[str, Any], extra: dict[str, str] | None
) -> None:
    row = read_as(definition, line).request
    assert {name: row[name] for name in expected} == expected
    assert (json.loads(row["extra"]) if row["extra"] else None) == extra
    assert (row["format"], row["raw"]) == ("mine", line.encode())


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("%h %t %Y", "at character 7: %Y is no directive"),
        ("%h %t %", "at character 7: '%' is no directive; write %%"),
        ("%h%u %t", "at character 3: nothing separates '%h' from what follows"),
        ('"%h %t', "a quote is opened and never closed"),
        ('%t "%r"', "at character 8: it names no client; add %h"),
        ("%h %r", "names no complete time; add %t"),
        ("%h %{%H:%M}t", "names no complete time"),
        ("%h %{foo}t", "at character 4: %{foo}t is no format of time"),
        ("%h %t %{h}T", "at character 7: %{h}T has no such unit"),
        ("%h %t %i", "at character 7: %i needs a name"),
        ("%h %t %{%Q}t", "at character 7: %Q of strftime can't be read back"),
        ("$remote_addr $", "at character 14: '$' is no variable"),
        ("$time_local", "at character 12: it names no client"),
        ("combined", "neither Apache's %h nor nginx's $remote_addr"),
        ("%h $remote_addr", "both Apache's % and nginx's $"),
        ("LogFormat %h", "the directive is not whole"),
        ("", "the format is not a text"),
    ],
)
def test_a_wrong_definition_says_where_and_what_to_write(definition: str, message: str) -> None:
    with pytest.raises(OwnFormatsError) as caught:
        compile_format("mine", definition)
    assert str(caught.value).startswith("mine")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[1]", "not a JSON object"),
        ('"x"', "not a JSON object"),
        ('{"1": "%h %t"}', "'1' is no name"),
        ('{"a": "%h %t", "a": "%h %t"}', "a: given twice"),
        ('{"combined": "%h %t"}', "combined: the name of a format that is built in"),
        ('{"a": {"b": 1}}', "a: the format is not a text"),
        ('{"a": "%h %t", "b": "%h"}', "b, at character 3"),
    ],
)
def test_a_wrong_setting_names_the_format(text: str, message: str) -> None:
    with pytest.raises(OwnFormatsError) as caught:
        compile_formats(text)
    assert message in str(caught.value)


def test_own_formats_come_before_ours_and_in_their_order() -> None:
    definitions = compile_formats(json.dumps({"one": COMMON + " %D", "two": COMMON + " %{ms}T"}))
    options = ReadOptions(formats=definitions)
    bronze = read(joined([HEAD.encode() + b" 7", access_line(), HEAD.encode()]), options)
    assert [row["format"] for row in bronze.requests] == ["one", "combined", "common"]
    assert read(HEAD.encode() + b" 7", ReadOptions()).request["format"] == "common_extra"


def test_own_formats_are_tried_only_where_the_sample_has_them() -> None:
    options = ReadOptions(formats=(compile_format("mine", "%h|%t"),))
    line = b"203.0.113.7|[17/Dec/2025:09:03:01 +0000]\n"
    filler = (access_line() + b"\n") * 1_200
    for chunk_bytes in (1_000, 1_000_000):
        assert read(line + filler + line, options, chunk_bytes=chunk_bytes).facts.formats["mine"] == 2
        assert read(filler + line, options, chunk_bytes=chunk_bytes).reasons == ["unrecognised"]


def test_an_unknown_file_is_known_once_its_format_is_configured() -> None:
    line = b"203.0.113.7|[17/Dec/2025:09:03:01 +0000]\n"
    assert read(line).facts.unknown_format
    facts = read(line, ReadOptions(formats=(compile_format("mine", "%h|%t"),))).facts
    assert (facts.unknown_format, facts.formats) == (False, {"mine": 1})


def test_a_client_can_not_leave_its_quotes() -> None:
    row = read_as(
        COMMON + ' "%{User-agent}i" %D', HEAD.replace("/a", '/\\" 500 666') + ' "x\\" 9 \\"y" 17'
    ).request
    assert (row["status"], row["bytes"], row["duration_us"]) == (200, 5, 17)
    assert row["user_agent"] == 'x\\" 9 \\"y'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (HEAD.replace("17/Dec", "31/Feb") + " 1", "invalid_time"),
        (HEAD + " " + "9" * 30, "invalid_number"),
        (HEAD.replace(" 5", " " + "9" * 30) + " 1", "invalid_number"),
        (HEAD.replace("2025", "1999") + " 1", "outside_window"),
    ],
)
def test_bad_values_are_rejects(line: str, reason: str) -> None:
    options = ReadOptions(formats=(compile_format("mine", COMMON + " %D"),))
    assert read(line.encode(), options).reasons == [reason]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            ["%h", "%t", "%r", "%>s", "%{%s}t", "%{a b}i", "%u", "%U", "%q", "%D", "$time_local", "$remote_addr",
             "$x", "%", "$", '"', " ", "\\", "\\t", "|", "[", "(", "{", "%{", "}", "%{%Y%m%d}t", "é", ".*"]
        ),
        max_size=12,
    ).map("".join)
)  # fmt: skip
def test_any_text_compiles_or_says_why_not(definition: str) -> None:
    try:
        compiled = compile_format("mine", definition)
    except OwnFormatsError as error:
        assert str(error).startswith("mine")
        return
    read(access_line() + b"\n", ReadOptions(formats=(compiled,)))
