"""Visits: where one ends and the next begins, whatever file says so, and which pages are first and last."""

from __future__ import annotations

from datetime import datetime

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
