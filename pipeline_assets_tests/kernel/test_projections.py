"""Serving tables of a few lines, worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from pipeline_assets.kernel import projections
from pipeline_assets.kernel.schemas import SERVING
from pipeline_assets_tests.kernel.rolling import serve

DAY = date(2024, 1, 15)
SITE = "shop.example"
PATH = f"logs/2024-01-15/access.{SITE}.log"
BROWSER = "Mozilla/5.0 (Windows NT 10.0; rv:121.0) Gecko/20100101 Firefox/121.0"
Row = tuple[object, ...]


def line(
    request: str = "GET / HTTP/1.1",
    *,
    host: str = "192.0.2.1",
    status: int = 200,
    size: str = "10",
    referer: str = "-",
    agent: str = BROWSER,
    time: str = "10:00:00",
) -> str:
    return f'{host} - - [15/Jan/2024:{time} +0000] "{request}" {status} {size} "{referer}" "{agent}"\n'


def table(name: str, *lines: str, path: str = PATH) -> list[Row]:
    """Rows without event_date and site, which are the same in all of them."""
    rows = serve({path: "".join(lines).encode()})[name]
    columns = SERVING[name].column_names
    begin = (columns.index("event_date"), columns.index("site"))
    assert all((row[begin[0]], row[begin[1]]) == (DAY, SITE) for row in rows)
    return [tuple(value for place, value in enumerate(row) if place not in begin) for row in rows]


def test_minutes() -> None:
    lines = [line(time="10:07:00"), line(time="10:07:59"), line(time="10:08:00", status=404, agent="curl/8")]
    assert table("traffic_minutely", *lines) == [(10, 7, "2xx", False, 2, 20), (10, 8, "4xx", True, 1, 10)]


def test_methods_of_the_registry_others_and_garbage() -> None:
    lines = [
        line(),
        line(),
        line("PROPFIND / HTTP/1.1"),
        line("HACK / HTTP/2.0"),
        line("\\x16\\x03", size="-"),
    ]
    assert table("methods_daily", *lines) == [
        ("GET", "HTTP/1.1", 2, 20),
        ("PROPFIND", "HTTP/1.1", 1, 10),
        ("other", "HTTP/2.0", 1, 10),
        (None, None, 1, 0),
    ]


def test_paths_are_pages_or_static_and_say_how_many_failed() -> None:
    lines = [line("GET /a?x=1 HTTP/1.1"), line("GET /a#y HTTP/1.1", status=500), line("GET /b.CSS HTTP/1.1")]
    assert table("paths_daily", *lines, line("-", status=408)) == [
        ("/a", "page", 2, 20, 1),
        ("/b.CSS", "static", 1, 10, 0),
    ]


def test_what_was_not_found_and_who_led_there() -> None:
    lines = [
        line("GET /gone HTTP/1.1", status=404, referer="https://a.example/page?x"),
        line("GET /gone HTTP/1.1", status=404),
        line("GET /gone HTTP/1.1", status=410),
    ]
    assert table("not_found_daily", *lines) == [
        ("/gone", "https://a.example/page", 1, 10),
        ("/gone", None, 1, 10),
    ]


def test_referrers_by_kind_with_their_phrases() -> None:
    lines = [
        line(),
        line(referer="https://www.shop.example/cart?x"),
        line(referer="https://www.google.com/search?q=Green+tea"),
        line(referer="https://news.example/item?id=7"),
        line(referer="https://news.example/item?id=8"),
    ]
    assert table("referrers_daily", *lines) == [
        ("direct", None, None, None, 1, 10),
        ("other", "news.example", "https://news.example/item", None, 2, 20),
        ("own", "www.shop.example", "https://www.shop.example/cart", None, 1, 10),
        ("search", "www.google.com", "https://www.google.com/search", "green tea", 1, 10),
    ]


def test_agents_and_their_visitors() -> None:
    lines = [line(), line(host="192.0.2.2"), line(time="12:00:00"), line(agent="Googlebot/2.1 (+x)")]
    assert table("agents_daily", *lines) == [
        (False, None, "Firefox", "121", "Windows", "desktop", 3, 30, 2),
        (True, "Googlebot", "Googlebot", "2", None, "bot", 1, 10, 1),
    ]


def test_agents_that_are_cut_to_one_are_the_least_of_what_they_are_in_a_day() -> None:
    # Gold keeps of them what is the same; what they are stands behind it, another one each hour.
    agents = [
        "x" * 512 + f" (compatible; {bot}; +http://a.example)" for bot in ("bingbot/2.0", "Googlebot/2.1")
    ]
    lines = [line(agent=agent, time=f"1{hour}:00:00") for hour, agent in enumerate(agents)]
    (row,) = table("agents_daily", *lines)
    assert row[1] == "Googlebot"
    assert row[-3:] == (2, 20, 1)


def test_clients_their_failures_and_their_agents() -> None:
    lines = [
        line(),
        line(status=503, time="11:00:00"),
        line(agent="x"),
        line(agent="-"),
        line(agent="curl/8"),
    ]
    assert table("clients_daily", *lines) == [
        ("192.0.2.1", False, 4, 40, 1, 3),
        ("192.0.2.1", True, 1, 10, 0, 1),
    ]


def test_visitors_of_a_day_are_fewer_than_those_of_its_hours() -> None:
    lines = [line(), line(time="11:00:00"), line(agent="curl/8"), line(host="192.0.2.9", status=404)]
    assert table("visitors_daily", *lines) == [(4, 40, 3, 1, 2)]


def test_sizes_with_their_quantiles() -> None:
    lines = [line(size=str(size)) for size in (0, 5, 5, 1000)]
    assert table("sizes_and_times_daily", *lines, line(size="-")) == [
        ("bytes", 4, 1010, 5, 1007, 1007, 1007, [0, 5, 1023], [1, 2, 1])
    ]


def test_errors_by_template_with_the_first_and_the_last() -> None:
    lines = [
        "2024/01/15 10:00:05 [error] 1#1: *7 worker 7 exited\n",
        "2024/01/15 10:00:03 [error] 1#1: *8 worker 12 exited\n",
        "2024/01/15 10:00:04 [warn] 1#1: worker 7 exited\n",
    ]

    def at(second: int) -> datetime:
        return datetime(2024, 1, 15, 10, 0, second, tzinfo=UTC)

    assert table("errors_daily", *lines) == [
        ("error", None, "worker <n> exited", 2, at(3), at(5)),
        ("warn", None, "worker <n> exited", 1, at(4), at(4)),
    ]


def test_a_table_by_what_clients_choose_has_its_most_frequent_rows_and_one_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projections, "ROW_LIMIT", 2)
    paths = ["/c", "/c", "/a", "/b", "/d"]
    lines = [line(f"GET {path} HTTP/1.1", status=404 if path == "/d" else 200) for path in paths]
    assert table("paths_daily", *lines) == [
        ("/a", "page", 1, 10, 0),
        ("/c", "page", 2, 20, 0),
        (None, None, 2, 20, 1),
    ]
    assert [
        row[:3]
        for row in table(
            "errors_daily", *(f"2024/01/15 10:00:00 [error] 1#1: {word}\n" for word in ("a", "b", "c"))
        )
    ] == [("error", None, "a"), ("error", None, "b"), (None, None, None)]


def test_every_table_begins_with_day_and_site_and_no_two_rows_have_the_same_keys() -> None:
    lines = [line(), line(status=404, referer="https://a.example/"), line("-", agent="curl/8", size="-")]
    served = serve({PATH: "".join(lines).encode(), "logs/incremental/x.log": "".join(lines).encode()})
    for name, rows in served.items():
        columns = SERVING[name].column_names
        assert columns[0] == "event_date" and "site" in columns[1:4]
        assert rows or name == "errors_daily", name
        assert len(set(map(repr, rows))) == len(rows), name


def test_no_files_give_empty_tables() -> None:
    assert not any(serve({}).values())
