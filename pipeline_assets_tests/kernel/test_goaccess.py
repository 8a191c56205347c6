"""Beside the real GoAccess, where it is installed: hits, bytes, statuses and visitors, line by line.

What belongs here: a log with all that logs have, read by both; where the two differ, the reason stands beside
the line. What does not: tables that GoAccess has not got.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline_assets_tests.kernel.rolling import serve

GOACCESS = shutil.which("goaccess")
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/121.0"


def line(
    host: str,
    request: str = "GET / HTTP/1.1",
    status: str = "200",
    size: str = "100",
    agent: str = BROWSER,
    time: str = "15/Jan/2024:10:00:00 +0000",
) -> str:
    return f'{host} - - [{time}] "{request}" {status} {size} "-" "{agent}"\n'


class Difference(NamedTuple):
    """What we count more than GoAccess (less, where negative), for a reason."""

    hits: int
    bytes: int
    visitors: int
    reason: str


SAME = Difference(0, 0, 0, "")
CASES: dict[str, tuple[list[str], Difference]] = {
    "twice": ([line("192.0.2.1"), line("192.0.2.1", time="15/Jan/2024:23:59:59 +0000")], SAME),
    "two agents": ([line("192.0.2.2"), line("192.0.2.2", agent="curl/8.0")], SAME),
    "4xx": ([line("192.0.2.3", status="404"), line("192.0.2.3", status="499", agent="x")], SAME),
    "5xx": ([line("192.0.2.4", status="503")], SAME),
    "no size": ([line("192.0.2.5", status="304", size="-")], SAME),
    "large": ([line("192.0.2.6", size="5000000000")], SAME),
    "IPv6": ([line("2001:db8::1")], SAME),
    "TLS": ([line("192.0.2.7", "\\x16\\x03\\x01", "400")], SAME),
    "TLS answered": ([line("192.0.2.8", "\\x16\\x03\\x01")], SAME),
    "no request": ([line("192.0.2.9", "-", "408", "0"), line("192.0.2.9", "-", "200", "0")], SAME),
    "HTTP/0.9": ([line("192.0.2.10", "GET /x")], SAME),
    "HTTP/2": ([line("192.0.2.11", "GET / HTTP/2.0")], SAME),
    "odd method": ([line("192.0.2.12", "HACK / HTTP/1.1")], SAME),
    "no agent": ([line("192.0.2.13", agent=""), line("192.0.2.13", agent="-")], SAME),
    "blanks inside": ([line("192.0.2.14", agent="a b"), line("192.0.2.14", agent="ab")], SAME),
    "blanks around": ([line("192.0.2.15", agent=" a"), line("192.0.2.15", agent="a ")], SAME),
    "percent": ([line("192.0.2.16", agent="a%2Fb"), line("192.0.2.16", agent="a/b")], SAME),
    "plus": ([line("192.0.2.17", agent="a+b"), line("192.0.2.17", agent="a b")], SAME),
    "escaped quote": ([line("192.0.2.18", agent='a \\"b\\" c')], SAME),
    "cut off": ([line("192.0.2.19")[:-2] + "\n"], SAME),
    "carriage return": ([line("192.0.2.20")[:-1] + "\r\n"], SAME),
    "blank in the user": ([line("192.0.2.21").replace(" - - ", " - a b ")], SAME),
    "no log lines": (["\n", "# a comment\n", "no log line at all\n"], SAME),
    "date as written": (
        [
            line("192.0.2.22", time="15/Jan/2024:23:30:00 +0200"),
            line("192.0.2.22", time="16/Jan/2024:00:30:00 +0200"),
            line("192.0.2.22", time="16/Jan/2024:03:30:00 +0200"),
        ],
        SAME,
    ),
    "host name": (
        [line("client.example")],
        Difference(1, 100, 1, "GoAccess wants an address; servers with HostnameLookups write names"),
    ),
    "status 600": ([line("192.0.2.23", status="600")], Difference(1, 100, 1, "GoAccess refuses the status")),
    "no status": ([line("192.0.2.24", status="-")], Difference(1, 100, 1, "GoAccess refuses the status")),
    "31 February": (
        [line("192.0.2.25", time="31/Feb/2024:10:00:00 +0000")],
        Difference(-1, -100, -1, "no such day: we reject the line, and GoAccess counts it"),
    ),
    "long agents": (
        [line("192.0.2.26", agent="y" * 600 + "a"), line("192.0.2.26", agent="y" * 600 + "b")],
        Difference(0, 0, -1, "we compare the first 512 characters of a user agent"),
    ),
}


def goaccess(folder: Path, log: str) -> dict[str, Any]:
    """Hits, bytes, visitors and hits by status, of GoAccess."""
    source, report = folder / "access.log", folder / "report.json"
    source.write_text(log, newline="")
    command = [GOACCESS or "", str(source), "--log-format=COMBINED", "--no-global-config", "-o", str(report)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    found = json.loads(report.read_text())
    statuses = [item for group in found["status_codes"]["data"] for item in group.get("items", [])]
    general = found["general"]
    return {
        "hits": general["valid_requests"],
        "bytes": general["bandwidth"],
        "visitors": general["unique_visitors"],
        "statuses": {int(item["data"][:3]): item["hits"]["count"] for item in statuses},
        "by_day": {day["data"]: day["visitors"]["count"] for day in found["visitors"]["data"]},
    }


def ours(log: str) -> dict[str, Any]:
    served = serve({"logs/2024-01-15/access.log": log.encode()})
    days = served["visitors_daily"]
    statuses: Counter[int] = Counter()
    for row in served["status_daily"]:
        statuses[int(str(row[2]))] += int(str(row[3]))
    hits, sizes, visitors = ([int(str(row[column])) for row in days] for column in (2, 3, 6))
    return {
        "hits": sum(hits),
        "bytes": sum(sizes),
        "visitors": sum(visitors),
        "statuses": dict(statuses),
        "by_day": {f"{row[0]:%Y%m%d}": row[6] for row in days if row[6]},
    }


@pytest.mark.skipif(GOACCESS is None, reason="GoAccess is not installed")
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_line_counts_as_in_goaccess_or_there_is_a_reason(name: str, tmp_path: Path) -> None:
    lines, difference = CASES[name]
    # GoAccess makes no report of a log without a single valid line.
    log = line("198.51.100.1") + "".join(lines)
    theirs, mine = goaccess(tmp_path, log), ours(log)
    counted = tuple(mine[what] - theirs[what] for what in ("hits", "bytes", "visitors"))
    assert counted == difference[:3], difference.reason
    if difference is SAME:
        assert mine == theirs


@pytest.mark.skipif(GOACCESS is None, reason="GoAccess is not installed")
def test_a_log_of_all_of_them_differs_by_just_these_reasons(tmp_path: Path) -> None:
    log = "".join(text for lines, _ in CASES.values() for text in lines)
    theirs, mine = goaccess(tmp_path, log), ours(log)
    for place, what in enumerate(("hits", "bytes", "visitors")):
        reasons = sum(int(difference[place]) for _, difference in CASES.values())
        assert mine[what] - theirs[what] == reasons, what


def test_visitors_by_the_date_as_written_add_up_over_deliveries() -> None:
    """The same visitor on both sides of midnight UTC, on one date as written, in two deliveries."""
    before = line("192.0.2.1", time="16/Jan/2024:00:30:00 +0200").encode()
    after = line("192.0.2.1", time="16/Jan/2024:03:30:00 +0200").encode()
    served = serve({"logs/2024-01-15/a.log": before, "logs/2024-01-16/a.log": after})
    assert [(f"{row[0]:%d}", row[2], row[4], row[6]) for row in served["visitors_daily"]] == [
        ("15", 1, 1, 0),
        ("16", 1, 1, 1),
    ]
