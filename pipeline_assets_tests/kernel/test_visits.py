"""Visits: where one ends and the next begins, whatever file says so, and which pages are first and last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel.codes import coded, plain
from pipeline_assets.kernel.schemas import GOLD_VISITS
from pipeline_assets.kernel.visits import join_intervals
from pipeline_assets_tests.kernel.rolling import serve


def line(time: str, path: str = "/", host: int = 1, agent: str = "Mozilla/5.0", size: int = 10) -> str:
    return f'192.0.2.{host} - - [15/Jan/2024:{time} +0000] "GET {path} HTTP/1.1" 200 {size} "-" "{agent}"\n'


def visits(**files: list[str]) -> list[tuple[object, ...]]:
    """Start, end, seconds, entry, exit, pages, hits and bytes of each visit."""
    landed = {f"logs/{name}.log": "".join(lines).encode() for name, lines in files.items()}
    return [
        tuple(f"{value:%d %H:%M:%S}" if isinstance(value, datetime) else value for value in row[5:])
        for row in serve(landed)["visits_daily"]
    ]


def test_thirty_minutes_are_one_visit_and_a_second_more_are_two() -> None:
    lines = [line("10:00:00", "/a"), line("10:30:00", "/b"), line("11:00:01", "/c")]
    assert visits(a=lines) == [
        ("15 10:00:00", "15 10:30:00", 1800, "/a", "/b", 2, 2, 20),
        ("15 11:00:01", "15 11:00:01", 0, "/c", "/c", 1, 1, 10),
    ]


def test_a_late_delivery_joins_what_it_lies_between() -> None:
    apart = [line("10:00:00", "/a"), line("10:50:00", "/c")]
    assert len(visits(a=apart)) == 2
    assert visits(a=apart, late=[line("10:25:00", "/b")]) == [
        ("15 10:00:00", "15 10:50:00", 3000, "/a", "/c", 3, 3, 30)
    ]


def test_a_long_visit_inside_which_others_lie_is_one() -> None:
    long = [line(f"10:{minute:02}:00", "/long") for minute in range(0, 60, 20)]
    assert visits(a=long, b=[line("10:05:00", "/x")], c=[line("11:05:00", "/y")]) == [
        ("15 10:00:00", "15 11:05:00", 3900, "/long", "/y", 5, 5, 50)
    ]


def test_other_addresses_and_user_agents_are_other_visitors() -> None:
    assert len(visits(a=[line("10:00:00"), line("10:00:00", host=2), line("10:00:00", agent="x")])) == 3


def test_a_visit_is_cut_at_midnight() -> None:
    lines = [line("23:59:00", "/a"), line("23:59:30", "/b"), line("00:00:10", "/c").replace("15/", "16/")]
    assert visits(a=lines) == [
        ("15 23:59:00", "15 23:59:30", 30, "/a", "/b", 2, 2, 20),
        ("16 00:00:10", "16 00:00:10", 0, "/c", "/c", 1, 1, 10),
    ]


def test_entry_and_exit_are_pages_and_not_static_files() -> None:
    lines = [line("10:00:00", "/s.css"), line("10:00:01", "/page"), line("10:00:02", "/x.PNG")]
    assert visits(a=lines) == [("15 10:00:00", "15 10:00:02", 2, "/page", "/page", 1, 3, 30)]
    assert visits(a=[line("10:00:00", "/s.css")])[0][3:6] == (None, None, 0)


def test_ties_of_time_are_broken_by_file_and_line() -> None:
    same = [line("10:00:00", path) for path in ("/1", "/2", "/3")]
    assert visits(a=same)[0][3:5] == ("/1", "/3")
    assert visits(b=same[:1], a=same[1:])[0][3:5] == ("/2", "/1")


MIDNIGHT = datetime(2024, 1, 15, tzinfo=UTC)
KEYS = ("event_date", "site", "remote_host", "user_agent")
PAGES = st.tuples(st.sampled_from([0, 1, 3, 4]), st.sampled_from(["b", "a", "Z"]), st.integers(1, 2))


@st.composite
def intervals(draw: st.DrawFn) -> dict[str, Any]:
    """A visit of one of few visitors; the smaller `step` is, the more of them fall together."""
    day, step = draw(st.integers(0, 1)), draw(st.sampled_from([60_000_000, 1]))
    begin = draw(st.integers(0, 20)) * 7
    end = begin + draw(st.integers(0, 20)) * 7
    midnight = MIDNIGHT + timedelta(day)

    def moment(minutes: int) -> datetime:
        return midnight + timedelta(minutes=minutes) + timedelta(microseconds=step % 60_000_000)

    found: dict[str, Any] = {
        "event_date": midnight.date(),
        "site": "s",
        "remote_host": draw(st.sampled_from(["h", "g"])),
        "user_agent": draw(st.sampled_from([None, "x"])),
        "is_bot": draw(st.booleans()),
        "started_at": moment(begin),
        "ended_at": moment(end),
        **{name: draw(st.integers(0, 9)) for name in ("pages", "hits", "bytes")},
    }
    pages = draw(st.lists(PAGES, max_size=2))
    for which, place in (("entry", min), ("exit", max)):
        part, file, line = place(pages, default=(0, None, None))
        at = moment(begin + (end - begin) * part // 4) if pages else None
        path = f"/{at:%H%M}/{file}/{line}" if pages else None
        names = ("at", "file", "line", "path")
        found |= {f"{which}_{name}": value for name, value in zip(names, (at, file, line, path), strict=True)}
    return found


def joined_plainly(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same one by one."""
    found: list[list[dict[str, Any]]] = []
    latest: dict[tuple[Any, ...], datetime] = {}
    for row in sorted(rows, key=lambda row: (str([row[key] for key in KEYS]), row["started_at"])):
        visitor = tuple(row[key] for key in KEYS)
        if visitor not in latest or row["started_at"] - latest[visitor] > timedelta(minutes=30):
            found.append([])
            latest[visitor] = row["ended_at"]
        found[-1].append(row)
        latest[visitor] = max(latest[visitor], row["ended_at"])
    return [one_visit(some) for some in found]


def one_visit(rows: list[dict[str, Any]]) -> dict[str, Any]:
    visit = {
        **{key: rows[0][key] for key in (*KEYS, "started_at")},
        "is_bot": all(row["is_bot"] for row in rows),
        "ended_at": max(row["ended_at"] for row in rows),
        **{name: sum(row[name] for row in rows) for name in ("pages", "hits", "bytes")},
    }
    for which, place in (("entry", min), ("exit", max)):
        names = [f"{which}_{name}" for name in ("at", "file", "line", "path")]
        pages = [tuple(row[name] for name in names) for row in rows if row[names[0]] is not None]
        visit |= dict(zip(names, place(pages, default=(None,) * 4), strict=True))
    return visit


@given(st.lists(intervals(), max_size=12))
def test_intervals_join_as_they_do_one_by_one(rows: list[dict[str, Any]]) -> None:
    schema = {name: dtype for name, dtype in GOLD_VISITS.schema.items() if name != "source_file"}
    found = join_intervals(coded(pl.DataFrame(rows, schema=schema).lazy()).collect(), KEYS)
    wanted = pl.DataFrame(joined_plainly(rows), schema=schema)
    order = [*KEYS, "started_at"]
    assert_frame_equal(plain(found).sort(order), wanted.sort(order))
