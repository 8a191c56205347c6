"""Client profiles: people, good bots, tools and scanners, with the reasons, from a day's merged rollups.

What belongs here: the rules, on requests that come through cleaning and rollups. What does not: what a user
agent says of itself (`kernel.test_user_agents`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipeline_assets.kernel.clean import clean_requests
from pipeline_assets.kernel.codes import plain
from pipeline_assets.kernel.projections import prepared
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS, MODEL_CLIENT_PROFILES
from pipeline_assets.kernel.user_agents import crawler_tags, look_up
from pipeline_assets.models import clients
from pipeline_assets.models.bot_ranges import BotRanges
from pipeline_assets.models.clients import profile_clients
from pipeline_assets_tests.kernel.rolling import roll_up_part
from pipeline_assets_tests.models.scans import SCANS

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PAGE_AND_FILES = ["/", "/style.css", "/logo.png", "/about", "/app.js"]


def requests(
    client: str,
    paths: list[str],
    agent: str | None = FIREFOX,
    status: int = 200,
    every_s: float = 5,
    method: str | None = "GET",
    referer: str | None = None,
) -> list[dict[str, Any]]:
    start = datetime(2024, 1, 15, 10, tzinfo=UTC)
    return [
        {
            "remote_host": client,
            "timestamp": start + timedelta(seconds=number * every_s),
            "utc_offset_minutes": 0,
            "request": f"{method} {path} HTTP/1.1",
            "method": method,
            "target": path,
            "protocol": "HTTP/1.1",
            "status": status,
            "bytes": 100,
            "referer": referer,
            "user_agent": agent,
            "site": "a",
            "format": "combined",
            "source_file": "logs/x",
            "line_number": number,
            "byte_offset": 0,
        }
        for number, path in enumerate(paths)
    ]


def profiles(
    *clients_requests: list[dict[str, Any]], known_bots: BotRanges | None = None
) -> dict[str, dict[str, Any]]:
    rows = [row for some in clients_requests for row in some]
    silver = plain(clean_requests(pl.DataFrame(rows, schema=BRONZE_REQUESTS.schema).lazy()).collect())
    parts = roll_up_part("requests", silver)
    state = prepared({name: ROLLUPS[name].merge_day([frame]) for name, frame in parts.items()})
    found = profile_clients(state, known_bots)
    assert found.schema == MODEL_CLIENT_PROFILES.schema
    return {row["remote_host"]: row for row in found.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("agent", "paths", "kind", "name", "purpose"),
    [
        (FIREFOX, PAGE_AND_FILES, "human", None, None),
        (FIREFOX, ["/one"], "human", None, None),
        (GOOGLEBOT, ["/robots.txt", "/"], "bot", "Googlebot", "search"),
        ("GPTBot/1.2", ["/"], "bot", "GPTBot", "ai"),
        ("curl/8.5.0", ["/api"], "tool", "curl", "tool"),
        (None, ["/"], "tool", None, None),
        ("something of our own", ["/"], "tool", "something", None),
        (FIREFOX, [f"/api/{number}" for number in range(20)], "tool", None, None),
        (FIREFOX, [*(f"/{number}" for number in range(10)), "/robots.txt", "/a.css"], "tool", None, None),
        (FIREFOX, PAGE_AND_FILES * 5, "human", None, None),
    ],
)
def test_what_a_client_is_by_its_user_agent_and_what_it_asks_for(
    agent: str | None, paths: list[str], kind: str, name: str | None, purpose: str | None
) -> None:
    row = profiles(requests("1", paths, agent))["1"]
    assert (row["kind"], row["name"], row["purpose"]) == (kind, name, purpose)
    assert row["points"] < 5
    assert row["reasons"]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (requests("1", ["/.env", "/.git/config"]), "several paths that scanners ask for"),
        (
            requests("1", [f"/{number}.php" for number in range(12)], status=404),
            "most of its requests failed",
        ),
        (requests("1", ["/"], "Mozilla/5.0 Nikto/2.5"), "names a tool of attackers"),
        (requests("1", ["/.env", *(f"/{n}" for n in range(40))], every_s=0.1), "two pages a second"),
        (
            requests("1", ["/wp-login.php", "/x", "/y"], GOOGLEBOT, status=404),
            "most of its few requests failed",
        ),
    ],
)
def test_a_scanner_is_one_whatever_it_calls_itself(told: list[dict[str, Any]], reason: str) -> None:
    row = profiles(told)["1"]
    assert row["kind"] == "scanner"
    assert any(reason in said for said in row["reasons"])


# What a site answers to what it does not have: that, that it is forbidden, or its start page, as sites do
# that are one program.
@pytest.mark.parametrize("answer", [404, 403, 200])
@pytest.mark.parametrize("scan", sorted(SCANS))
@pytest.mark.parametrize("seed", range(3))
def test_each_client_of_a_scan_is_flagged_within_200_requests(scan: str, answer: int, seed: int) -> None:
    paths = SCANS[scan](seed)[:200]
    slow = scan == "secrets"
    row = profiles(requests("1", paths, status=answer, every_s=90 if slow else 0.05))["1"]
    assert row["kind"] == "scanner", row["reasons"]


@pytest.mark.parametrize(
    ("agent", "points"), [(FIREFOX, 4), ("curl/8.5.0", 4), ("unheard-of/1", 4), (GOOGLEBOT, 1)]
)
def test_only_crawlers_by_name_may_ask_for_everything(agent: str, points: int) -> None:
    everything = [f"/page/{number}" for number in range(120)]
    row = profiles(requests("1", everything, agent, every_s=30))["1"]
    assert (row["points"], row["kind"] != "scanner") == (points, True)


def test_who_writes_a_weblog_is_no_scanner_on_it() -> None:
    at_work = ["/wp-login.php", "/wp-admin/", "/wp-admin/edit.php", "/wp-admin/css/common.css"] * 5
    page = ["/", "/wp-content/plugins/forms/style.css", "/wp-content/plugins/maps/map.js"]
    row = profiles(requests("1", [*at_work, *page]))["1"]
    assert (row["kind"], row["probes"], row["points"]) == ("human", 0, 0)


def test_a_browser_that_never_says_where_it_comes_from_is_none_unless_it_loads_files() -> None:
    pages = [f"/{number}" for number in range(10)]
    first = requests("1", pages[:1])
    reader = profiles(first, requests("1", pages[1:], referer="https://a/"))["1"]
    assert (reader["kind"], reader["referred"]) == ("human", 9)
    empty = profiles(requests("1", pages, referer=""))["1"]
    assert (empty["kind"], empty["referred"]) == ("tool", 0)
    assert "it never says which page it comes from" in empty["reasons"]
    # Where the log has no referrers, or something on the way takes them out, files are loaded all the same.
    assert profiles(requests("1", [*pages, *["/style.css", "/logo.png", "/app.js"]]))["1"]["kind"] == "human"


@pytest.mark.parametrize("method", ["CONNECT", "PROPFIND", "get", "SSTP_DUPLEX_POST", None])
def test_methods_that_no_page_uses_speak_for_a_scanner_where_they_fail(method: str | None) -> None:
    tried = [f"/{number}" for number in range(4)]
    refused = profiles(requests("1", tried, None, status=405, method=method))["1"]
    assert (refused["kind"], refused["odd_methods"], refused["writes"]) == ("scanner", 4, 0)
    # Who keeps files on a server that is for that is none, nor who has a page that can't be saved.
    served = profiles(requests("1", tried * 5, "davfs2/1.6", status=207, method=method))["1"]
    assert (served["kind"], served["points"]) == ("tool", 1)
    saved = profiles(requests("1", PAGE_AND_FILES), requests("1", tried, status=405, method="PUT"))["1"]
    assert (saved["kind"], saved["points"], saved["writes"], saved["odd_methods"]) == ("human", 0, 4, 0)


def test_who_sends_data_from_no_page_is_told_so() -> None:
    sent = ["/wp-login.php"] * 12
    row = profiles(requests("1", sent, method="POST"))["1"]
    assert (row["kind"], row["points"], row["writes"]) == ("tool", 2, 12)
    assert "it sent data ten times or more, and from no page" in row["reasons"]
    for other in (
        requests("1", sent, method="POST", referer="https://a/wp-login.php"),
        requests("1", sent, "GitHub-Hookshot/1", method="POST"),
    ):
        assert profiles(other)["1"]["points"] == 1


def test_a_fast_crawler_that_says_who_it_is_is_no_scanner() -> None:
    crawl = requests("1", [f"/{number}" for number in range(500)], GOOGLEBOT, every_s=1)
    assert profiles(crawl)["1"]["kind"] == "bot"


def test_a_person_with_some_broken_links_is_no_scanner() -> None:
    broken = requests("1", [f"/missing-{number}.png" for number in range(9)], status=404)
    row = profiles(requests("1", PAGE_AND_FILES * 3) + broken)["1"]
    assert (row["kind"], row["failures"], row["points"]) == ("human", 9, 0)


def test_numbers_of_an_address_are_those_of_all_its_user_agents() -> None:
    row = profiles(requests("1", PAGE_AND_FILES), requests("1", ["/", "/x"], "curl/8"))["1"]
    assert (row["hits"], row["pages"], row["user_agents"], row["user_agent"]) == (7, 4, 2, FIREFOX)


def test_an_address_is_told_by_how_many_different_paths_it_asked_for() -> None:
    # A page again, with its files, and one file that is missing.
    visit = requests("1", ["/", "/?q=1", "/about", "/style.css", "/logo.png"])
    row = profiles(visit, requests("1", ["/missing.png", "/about"], status=404))["1"]
    assert row["paths"] == 3
    crawl = requests("2", [f"/{number}" for number in range(2000)], every_s=3)
    assert profiles(crawl)["2"]["paths"] == pytest.approx(2000, rel=0.2)


def test_of_many_clients_scanners_and_the_busiest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "ROW_LIMIT", 2)
    kept = profiles(
        requests("1", PAGE_AND_FILES), requests("2", ["/"]), requests("3", ["/.env", "/.git/config"])
    )
    assert set(kept) == {"1", "3"}


def test_every_bot_by_name_has_the_purpose_that_the_list_says() -> None:
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # type: ignore[import-untyped]

    instances = [text for entry in CRAWLER_USER_AGENTS_DATA for text in entry["instances"]]
    found = look_up(pl.Series(instances))
    assert found.filter("is_bot").height / found.height >= 0.99
    assert found.filter(pl.col("bot").is_in(list(crawler_tags()))).height / found.height >= 0.99
