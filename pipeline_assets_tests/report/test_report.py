"""The daily report: its numbers are those of serving, and nothing from a log becomes more than text.

What belongs here: pages of a small hostile world, read by a parser and by a browser. What does not: how tables
are computed.
"""

from __future__ import annotations

from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import pytest
from playwright.sync_api import Browser

from pipeline_assets.report.facts import day_facts, day_totals
from pipeline_assets.report.page import change, share_text, size_text, span_text, time_text
from pipeline_assets.report.publish import latest_complete_day, report_path, reported_days, write_reports
from pipeline_assets.storage.tables import read_table
from pipeline_assets_tests.end_to_end import hostile
from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.world import World

DAY: Final = date(2024, 1, 15)
BEFORE: Final = date(2024, 1, 14)
TAGS: Final = frozenset(
    [
        "html",
        "head",
        "meta",
        "link",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "h3",
        "nav",
        "a",
        "dl",
        "div",
        "dt",
        "dd",
        "b",
        "br",
        "section",
        "figure",
        "figcaption",
        "i",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "bdi",
        "footer",
        "svg",
        "g",
        "path",
        "line",
        "rect",
        "text",
    ]
)
ATTRIBUTES: Final = frozenset(
    [
        "class",
        "style",
        "href",
        "id",
        "aria-label",
        "role",
        "charset",
        "content",
        "http-equiv",
        "name",
        "lang",
        "rel",
    ]
)


class Elements(HTMLParser):
    """The elements of a page outside its drawings, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self._in_svg = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_svg += tag == "svg"
        if not self._in_svg:
            self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        self._in_svg -= tag == "svg"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("report") / "storage")
    world.land(f"logs/{BEFORE}/access.log", access_lines([BEFORE], 200, seed="before"))
    world.land(f"logs/{DAY}/access.shop.example.log", access_lines([DAY], 500, seed="day"))
    world.land(f"logs/{DAY}/hostile.log", hostile.access_log(DAY))
    world.land(f"logs/{DAY}/error.shop.example.log", hostile.error_log(DAY))
    world.land(f"logs/{DAY}/<img src=x onerror=alert(1)>.log", hostile.garbage())
    world.catch_up()
    return world


@pytest.fixture(scope="module")
def page(world: World) -> str:
    write_reports(world.context.store, [BEFORE, DAY])
    return (world.root / report_path(DAY)).read_text()


def total(world: World, table: str, column: str, **only: Any) -> int:
    rows = read_table(world.context.store, table).filter(event_date=DAY, **only)
    return int(rows.select(pl.col(column).sum()).collect().item())


def test_the_numbers_on_the_page_are_those_of_serving(world: World, page: str) -> None:
    words = Elements(page).text.split()
    for table, column in (("status_daily", "hits"), ("visitors_daily", "visitors")):
        assert f"{total(world, table, column):,}" in words
    facts = day_facts(world.context.store, DAY)
    assert (
        facts.totals.hits == total(world, "traffic_hourly", "hits") == sum(r["hits"] for r in facts.statuses)
    )
    assert sum(row["people"] + row["bots"] for row in facts.hours) == facts.totals.hits
    assert facts.totals.bytes == total(world, "status_daily", "bytes") == sum(r["bytes"] for r in facts.sites)
    assert facts.totals.rejected == total(world, "quality_daily", "lines", fate="rejected")
    assert facts.lines == total(world, "quality_daily", "lines")
    assert facts.lines == sum(
        decompressed.count(b"\n") for path, decompressed in world.landed.items() if str(DAY) in path
    )
    assert facts.totals.log_errors == total(world, "errors_daily", "entries") == len(hostile.TEXTS)
    assert facts.totals.visits == sum(row["visits"] for row in facts.durations)
    assert facts.before.hits == 200 and facts.week_before.is_empty
    assert {row["path"] for row in facts.not_found} & {f"/day/{number}" for number in range(50)}


def test_no_element_attribute_or_address_comes_from_a_log(page: str) -> None:
    found = Elements(page)
    assert found.tags <= TAGS, found.tags - TAGS
    assert {name for _, name, _ in found.attributes} <= ATTRIBUTES
    for tag, name, value in found.attributes:
        assert "evil" not in value and "alert" not in value, (tag, name, value)
        if name == "href":
            assert value.startswith("#") or value in ("data:,", "index.html", f"{BEFORE}.html"), value
        if name == "style":
            assert value.startswith(("--share:", "margin-top:", "padding-left:")), value
    # It is all there, as text.
    assert hostile.SEEN in found.text
    assert "<img src=x onerror=alert(1)>.log" in found.text
    for char in ("\u202e", "\u200b", "\x1b", "\x00"):
        assert char not in page


def test_the_page_needs_nothing_else_and_allows_nothing_else(page: str) -> None:
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:;" in page
    assert "<script" not in page and "url(" not in page and "@import" not in page
    assert len(page.encode()) < 500_000


def test_the_same_day_gives_the_same_page(world: World, page: str) -> None:
    write_reports(world.context.store, [DAY])
    assert (world.root / report_path(DAY)).read_text() == page


def test_the_list_of_days_names_each_with_its_numbers(world: World, page: str) -> None:
    listed = Elements((world.root / "serving/reports/index.html").read_text())
    hrefs = [value for _, name, value in listed.attributes if name == "href"]
    assert hrefs == ["data:,", f"{DAY}.html", f"{BEFORE}.html"]
    totals = day_totals(world.context.store)
    assert reported_days(world.context.store) == [BEFORE, DAY]
    assert {f"{totals[day].hits:,}" for day in (BEFORE, DAY)} <= set(listed.text.split())


def test_a_day_with_a_hundred_thousand_paths_and_rejects_is_a_small_page(tmp_path: Path) -> None:
    world = World(tmp_path / "storage")
    start = f'203.0.113.66 - - [{DAY:%d/%b/%Y}:03:00:00 +0000] "GET /'
    lines = [f'{start}{"x" * 300}{number} HTTP/1.1" 404 1 "-" "scan/{number}"' for number in range(20_000)]
    world.land(f"logs/{DAY}/access.log", ("\n".join(lines) + "\n" + f"{'garbage ' * 40}\n" * 20_000).encode())
    world.catch_up()
    (size,) = write_reports(world.context.store, [DAY]).values()
    assert size < 500_000
    assert "20,000" in (world.root / report_path(DAY)).read_text()


def test_a_day_of_errors_alone_has_a_page(tmp_path: Path) -> None:
    world = World(tmp_path / "storage")
    world.land(f"logs/{DAY}/error.log", b"2024/01/15 10:00:00 [error] 1#1: *1 no such file\n")
    world.catch_up()
    assert latest_complete_day(world.context.store) == DAY
    write_reports(world.context.store, [DAY])
    words = Elements((world.root / report_path(DAY)).read_text()).text
    assert "no such file" in words and "Content" not in words


def test_the_newest_day_that_is_over_is_the_one_to_report(world: World) -> None:
    store = world.context.store
    assert latest_complete_day(store) == DAY
    assert latest_complete_day(store, today=DAY) == BEFORE
    assert latest_complete_day(store, today=date(2020, 1, 1)) == DAY


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (change(150, 100), "+50%"),
        (change(50, 100), "-50%"),
        (change(100, 100), "same"),
        (change(5, 0), "new"),
        (change(0, 0), "same"),
        (change(5_000, 1), "5,000 times"),
        (size_text(0), "0 B"),
        (size_text(1536), "1.5 kB"),
        (size_text(5 * 2**40), "5.0 TB"),
        (time_text(0), "0"),
        (time_text(1_500), "1.5 ms"),
        (time_text(2_500_000), "2.5 s"),
        (span_text(None), "-"),
        (span_text(59.6), "1 min 00 s"),
        (span_text(7), "7 s"),
        (share_text(1, 3), "33.3%"),
        (share_text(1, 10**6), "<0.1%"),
        (share_text(0, 0), "-"),
    ],
)
def test_numbers_are_written_for_people(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [str(DAY), "index"])
def test_a_browser_shows_the_page_with_no_error_request_or_overflow(
    world: World, page: str, browser: Browser, name: str, scheme: Literal["light", "dark"], width: int
) -> None:
    shown = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("dialog", lambda dialog: said.append(dialog.message))
    shown.on("request", lambda request: said.append(request.url))
    address = (world.root / f"serving/reports/{name}.html").as_uri()
    shown.goto(address)
    shown.wait_for_timeout(300)
    assert [text for text in said if text not in (address, "data:,")] == []
    assert shown.evaluate("window.attacked ?? null") is None
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    # Text and page are far apart in both themes, and a drawing has the theme's colours.
    ink, paper = shown.evaluate(
        "(() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor] })()"
    )
    assert abs(_light(ink) - _light(paper)) > 180
    assert (_light(paper) < 64) == (scheme == "dark")
    if name != "index":
        fill = shown.evaluate("getComputedStyle(document.querySelector('svg [fill=\"#010101\"]')).fill")
        assert _light(fill) > 30
    shown.close()


def _light(colour: str) -> float:
    channels = [int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) / 3
