"""The oracle, against cases small enough to work out by hand."""

from __future__ import annotations

import ast
import gzip
from datetime import date
from pathlib import Path

import pytest
from blake3 import blake3

from pipeline_assets_tests import oracle

DAY = date(2024, 1, 15)
BROWSER = b'192.0.2.1 - - [15/Jan/2024:10:00:00 +0000] "GET / HTTP/1.1" 200 100 "-" "Firefox"\n'
BROWSER_AGAIN = b'192.0.2.1 - alice [15/Jan/2024:10:59:59 +0000] "GET /a HTTP/1.1" 204 - "-" "Firefox"\n'
CRAWLER = b'192.0.2.9 - - [15/Jan/2024:10:00:01 +0000] "GET / HTTP/1.1" 404 7 "-" "GoogleBot/2"\n'
EASTERN = b'192.0.2.2 - - [16/Jan/2024:01:30:00 +0200] "GET / HTTP/1.1" - 5\n'
VIRTUAL = b'blog.example:443 2001:db8::1 - - [15/Jan/2024:10:00:00 +0000] "\\x16\\x03" 400 1 "-" "-"\n'


def test_tables_of_a_few_lines() -> None:
    files = {
        "logs/2024-01-15/access.shop.example.log": BROWSER + BROWSER_AGAIN + CRAWLER + b"\n# x\nnonsense\n",
        "logs/2024-01-16/any.log.gz": gzip.compress(EASTERN + VIRTUAL),
    }
    assert oracle.serving(files).traffic_hourly == [
        (DAY, 10, "blog.example", "4xx", False, 1, 1, 1),
        (DAY, 10, "shop.example", "2xx", False, 2, 100, 1),
        (DAY, 10, "shop.example", "4xx", True, 1, 7, 1),
        (DAY, 23, "default", "other", False, 1, 5, 1),
    ]
    assert oracle.serving(files).status_daily == [
        (DAY, "blog.example", 400, 1, 1),
        (DAY, "default", 0, 1, 5),
        (DAY, "shop.example", 200, 1, 100),
        (DAY, "shop.example", 204, 1, 0),
        (DAY, "shop.example", 404, 1, 7),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        BROWSER.strip() + b" tail",
        BROWSER.strip().replace(b"15/Jan", b"31/Feb"),
        BROWSER.strip().replace(b"10:00:00", b"25:00:00"),
        BROWSER.strip().replace(b" 200 ", b" 2000 "),
    ],
)
def test_lines_that_are_rejected(line: bytes) -> None:
    assert oracle.parse(line, "access.log") is None


def test_escaped_quotes_stay_inside_their_field() -> None:
    line = BROWSER.strip().replace(b'"Firefox"', rb'"a \" b \\"')
    request = oracle.parse(line, "access.log")
    assert request is not None
    assert request.user_agent == r"a \" b \\"


@pytest.mark.parametrize(
    ("path", "site"),
    [
        ("logs/d/access.shop.example.log", "shop.example"),
        ("logs/d/access.shop.example.log.2.gz", "shop.example"),
        ("logs/d/access.shop.example.log-20240115", "shop.example"),
        ("logs/d/access.shop.logs.example.log", "shop.logs.example"),
        ("logs/d/access.log", "default"),
        ("logs/access.shop.example.log/new.log", "default"),
    ],
)
def test_site_from_the_name(path: str, site: str) -> None:
    assert oracle.named_site(path) == site


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        (b"", (0, 0, 0)),
        (b"\n", (1, 1, 0)),
        (b"a", (1, 0, 0)),
        (b"a\n", (1, 0, 0)),
        (b"a\n\n", (2, 1, 0)),
        (b"a\r\n \t\r\n#c\r\n#", (4, 1, 2)),
        (b"a\x0bb\x0cc\x85d\re", (1, 0, 0)),
    ],
)
def test_line_counts(content: bytes, counts: tuple[int, int, int]) -> None:
    assert oracle.line_counts(content) == counts


def test_equal_content_counts_once_from_the_first_path() -> None:
    files = {"logs/b/a.log": BROWSER, "logs/a/z.log.gz": gzip.compress(BROWSER), "logs/c/a.log": CRAWLER}
    assert oracle.statuses(files) == {
        "logs/b/a.log": "duplicate",
        "logs/a/z.log.gz": "counted",
        "logs/c/a.log": "counted",
    }
    assert [row[3:] for row in oracle.status_daily(files)] == [(1, 100), (1, 7)]


def test_a_longer_copy_supersedes_every_group_member_but_only_under_its_own_name() -> None:
    short, long = BROWSER + b"192.0", BROWSER + b"192.0.2.7 and so on\n"
    files = {"logs/a/x.log": short, "logs/b/access.log": short, "logs/c/access.log.1": long}
    assert oracle.statuses(files) == {
        "logs/a/x.log": "superseded",
        "logs/b/access.log": "duplicate",
        "logs/c/access.log.1": "counted",
    }
    del files["logs/b/access.log"]
    assert set(oracle.statuses(files).values()) == {"counted"}


@pytest.mark.parametrize("short", [b"", b"\n", b"#Fields: a b\n", b"#Fields: a b\n192.0.2."])
def test_nothing_is_superseded_for_its_header_alone(short: bytes) -> None:
    files = {"logs/a/access.log": short, "logs/b/access.log": short + BROWSER}
    assert set(oracle.statuses(files).values()) == {"counted"}


def test_what_is_forgotten_neither_counts_nor_hides_another() -> None:
    files = {"logs/a/access.log": BROWSER, "logs/b/access.log": gzip.compress(BROWSER + CRAWLER)}
    assert oracle.statuses(files)["logs/a/access.log"] == "superseded"
    forgotten = {("logs/b/access.log", blake3(BROWSER + CRAWLER).hexdigest())}
    assert oracle.statuses(files, forgotten) == {
        "logs/a/access.log": "counted",
        "logs/b/access.log": "forgotten",
    }
    assert oracle.status_daily(files, forgotten) == [(DAY, "default", 200, 1, 100)]
    other_content = {("logs/b/access.log", blake3(BROWSER).hexdigest())}
    assert oracle.statuses(files, other_content) == oracle.statuses(files)


def test_imports_nothing_of_what_it_judges() -> None:
    tree = ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not any(name.startswith(("pipeline_assets", "polars")) for name in imported)


def test_a_line_that_was_cut_off_in_its_user_agent_is_read_as_far_as_it_goes() -> None:
    request = oracle.parse(BROWSER.strip()[:-1], "access.log")
    assert request is not None
    assert request.user_agent == "Firefox"
