"""Escapes of servers: undone in silver, where that is safe text, and nowhere else.

What belongs here: from a line to silver. What does not: what bronze keeps (`test_parse`).
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from pipeline_assets.kernel.clean import clean_requests
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS
from pipeline_assets_tests.kernel.rebuild import access_line, joined, read


def silver(*lines: bytes) -> list[dict[str, Any]]:
    bronze = pl.DataFrame(read(joined(lines)).requests, schema=BRONZE_REQUESTS.schema)
    return clean_requests(bronze.lazy()).collect().rows(named=True)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Mozilla/5.0", "Mozilla/5.0"),
        (r"say \"hi\" \\ \x22", r'say "hi" \ "'),
        (r"Gr\xc3\xb6\xc3\x9fe", "Größe"),
        (r"\xf0\x9d\x8c\x86", "\U0001d306"),
        (r"Gr\xf6\xdfe \xad", "Größe \xad"),
        (r"\\x41", r"\x41"),
        (r"\\\x41", r"\A"),
        (r"\x16\x03\x01", r"\x16\x03\x01"),
        (r"\x1b[31m \n\t", r"\x1b[31m \n\t"),
        (r"\xe2\x80\xae", r"\xe2\x80\xae"),
        (r"\x9b", r"\x9b"),
        (r"\q \x4", r"\q \x4"),
    ],
)
def test_escapes_of_servers_are_plain_in_silver(written: str, plain: str) -> None:
    (row,) = silver(access_line(tail=f' "{written}" "{written}"', request=f"GET /{written} HTTP/1.1"))
    assert (row["user_agent"], row["referer"], row["path"]) == (plain, plain, f"/{plain}")


def test_what_json_says_is_not_read_twice() -> None:
    line = json.dumps(
        {"time": "2025-12-17T09:03:01Z", "remote_addr": "x", "status": 200, "http_user_agent": r"a\x41"}
    )
    (row,) = silver(line.encode())
    assert row["user_agent"] == r"a\x41"


def test_rows_keep_their_order_and_their_nulls() -> None:
    rows = silver(access_line(tail=' "-" "a"'), access_line(tail=r' "-" "\x62"'), access_line(tail=""))
    assert [row["user_agent"] for row in rows] == ["a", "b", None]
