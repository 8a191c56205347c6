"""The quick way through JSON logs: it says of every line what decoding each object by itself says.

What belongs here: that both ways give the same rows, and that the quick one is taken. What does not: what the
members mean (`test_other_formats`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel import flat_json
from pipeline_assets.kernel.json_lines import read_json_lines

TIMES = (
    "2025-12-17T09:03:01+00:00", "2025-12-17T09:03:01.123456789Z", "2025-12-17 09:03:01,5 +0330",
    "17/Dec/2025:09:03:01 +0100", "2025-12-17T09:03:01", "2025-02-31T09:03:01Z", "2025-03-30T02:30:00",
    "2025-10-26T02:30:00", "2025-12-17T09:03:61Z", "0000-12-17T09:03:01Z", "9999-12-31T23:59:59-12:00",
    "1765962181.123", "17/dec/2025:09:03:01 +0100", "2099-07-01T00:00:00", "1801-07-01T00:00:00",
    "2025-12-17T09:03:01+15:00", "-", "", "yesterday",
)  # fmt: skip
NUMBERS = (
    "0", "-0", "7", "200", "99999", "-1", "1.5", "1.50", "0.1", "0.049", "0.0005", "0.00001", "0.1234567",
    "1e3", "2147483648", "9223372036854775808", "123456789012345678", "100000.5", "1234567.25",
)  # fmt: skip
TEXTS = (
    "",
    "-",
    "a",
    "é ü",
    "x\x7fy",
    "a/b?c=d",
    "GET /a?b=c HTTP/1.1",
    "GET /x",
    'q"',
    "b\\s",
    "t\tb",
    "{}",
)
KEYS = (
    "time_iso8601", "@timestamp", "remote_addr", "client", "request", "method", "uri", "args", "query",
    "status", "body_bytes_sent", "server_port", "request_time", "duration_ms", "duration_us", "server_name",
    "http_user_agent", "http_referer", "http_x_forwarded_for", "xff", "forwarded_for", "x", "Up-Stream.Time",
    "level", "msg", "ClientHost", "remote_user", "protocol",
)  # fmt: skip
PLAIN = {
    "time_iso8601": "2025-12-17T09:03:01+00:00", "remote_addr": "203.0.113.9",
    "request": "GET /a?b=c HTTP/1.1", "status": "200", "body_bytes_sent": 512, "request_time": 0.049,
    "http_user_agent": "Mozilla/5.0", "http_x_forwarded_for": "-", "x": None,
}  # fmt: skip


def lines_of(texts: list[str]) -> pl.DataFrame:
    raw = [text.encode() for text in texts]
    return pl.DataFrame(
        {
            "line_number": range(1, len(raw) + 1),
            "byte_offset": range(0, 100 * len(raw), 100),
            "line": raw,
            "text": texts,
            "repaired": [False] * len(raw),
        },
        schema_overrides={"line_number": pl.Int64, "byte_offset": pl.Int64},
    )


@contextmanager
def way(shapes: int, fewest: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flat_json, "_SHAPES", shapes)
        patch.setattr(flat_json, "_FEWEST", fewest)
        yield


def same_both_ways(texts: list[str], timezone: str = "Europe/Berlin") -> None:
    lines = lines_of(texts)
    with way(shapes=8, fewest=1):
        quick = read_json_lines(lines, timezone)
    with way(shapes=0, fewest=1):
        slow = read_json_lines(lines, timezone)
    # Of a rejected line only its reason is kept.
    for both in (0, 1):
        reasons = ["line_number", "format", "reason"]
        assert_frame_equal(quick[both].select(reasons), slow[both].select(reasons))
        assert_frame_equal(
            quick[both].filter(pl.col("reason").is_null()), slow[both].filter(pl.col("reason").is_null())
        )
    assert_frame_equal(quick[2], slow[2])


def members(*written: tuple[str, str], **separators: str) -> str:
    colon, comma = separators.get("colon", ":"), separators.get("comma", ",")
    return "{" + comma.join(f'"{name}"{colon}{value}' for name, value in written) + "}"


values = st.one_of(
    st.sampled_from([json.dumps(text, ensure_ascii=False) for text in (*TIMES, *TEXTS)]),
    st.sampled_from(NUMBERS),
    st.sampled_from([json.dumps(number) for number in NUMBERS]),
    st.sampled_from(["null", "true", "[1]", '{"a":1}', "NaN"]),
    st.text(st.characters(codec="utf-8"), max_size=6).map(lambda text: json.dumps(text, ensure_ascii=False)),
)


@st.composite
def logs(draw: st.DrawFn) -> list[str]:
    """A few dozen lines of one or two shapes, of which some values are odd."""
    texts: list[str] = []
    for _ in range(draw(st.integers(1, 2))):
        own = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=5))
        plain = {name: json.dumps(value) for name, value in PLAIN.items() if draw(st.integers(0, 9))}
        base = plain | {name: draw(values) for name in own}
        order = draw(st.permutations(list(base)))
        spaced = draw(st.sampled_from([(":", ","), (": ", ", "), (" :\t", " ,")]))
        for _ in range(draw(st.integers(1, 5))):
            odd = draw(st.lists(st.sampled_from(order), max_size=2)) if order else []
            line = {name: draw(values) if name in odd else base[name] for name in order}
            text = members(*line.items(), colon=spaced[0], comma=spaced[1])
            texts.append(text + draw(st.sampled_from(["", "", "", " ", "\r", "\v"])))
    return draw(st.permutations(texts))


@settings(max_examples=150, deadline=None)
@given(logs())
def test_both_ways_say_the_same(texts: list[str]) -> None:
    same_both_ways(texts)


@pytest.mark.parametrize(
    "name",
    ["time_iso8601", "status", "body_bytes_sent", "server_port", "request_time", "duration_ms", "duration_us", "x"],
)  # fmt: skip
def test_a_value_is_read_alike_however_it_is_written(name: str) -> None:
    """One line a value, so that each is the one whose shape is taken, and beside the plain one."""
    plain = {key: json.dumps(value) for key, value in PLAIN.items() if key != "request_time"}
    for value in (*NUMBERS, *(json.dumps(text) for text in (*NUMBERS, *TIMES, *TEXTS)), "null", "true"):
        same_both_ways([members(*(plain | {name: value}).items())] * 2 + [members(*plain.items())])


@pytest.mark.parametrize(
    "own",
    [
        {"request": None, "method": "GET", "uri": "/a", "args": query, **more}
        for query in ("", "-", "b=c", "?b=c")
        for more in (
            {},
            {"query": "d"},
            {"query": None},
            {"uri": "/a?x"},
            {"uri": None},
            {"request": "GET /r"},
        )
    ]
    + [
        {"x": "1", "http_x_forwarded_for": "203.0.113.1", "z": "2", **more}
        for more in ({}, {"xff": "203.0.113.2"}, {"forwarded_for": "203.0.113.3"}, {"args": "q"})
    ]
    + [{"ClientHost": "203.0.113.4", "Duration": 7}, {"level": "info", "msg": "m"}, {"request": "junk"}]
    + [{"query": None, "args": "q", "z": "1"}],
    ids=json.dumps,
)
def test_members_that_meet_are_read_alike(own: dict[str, str | int | None]) -> None:
    same_both_ways([json.dumps(PLAIN | own)] * 2)


@pytest.mark.parametrize("first", ["{}", '{"a":{"b":1}}', '{"time":"x"}', "{broken}"])
def test_the_quick_way_is_taken_whatever_comes_first(first: str) -> None:
    plain = json.dumps(PLAIN)
    other = json.dumps({name: value for name, value in PLAIN.items() if name != "request_time"})
    lines = lines_of([first] + [plain, other] * flat_json._FEWEST)
    rows, left = flat_json.read_flat(lines, "UTC")
    assert rows.height == 2 * flat_json._FEWEST
    assert left["text"].to_list() == [first]
