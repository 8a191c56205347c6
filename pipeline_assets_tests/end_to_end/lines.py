"""Log lines for the end-to-end tests.

What belongs here: making well-formed access-log lines of given days. What does not: landing them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

_AGENTS = ("Mozilla/5.0", "curl/8.5.0", "Googlebot/2.1")


def access_lines(days: Iterable[date], number: int, *, seed: str) -> bytes:
    """So many lines, spread over these days; `seed` makes them differ from those of other files."""
    span = list(days)
    lines = []
    for count in range(number):
        start = datetime.combine(span[count % len(span)], datetime.min.time(), UTC)
        moment = start + timedelta(minutes=(7 * count) % 1440)
        lines.append(
            f"192.0.2.{count % 200} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000]"
            f' "GET /{seed}/{count % 50} HTTP/1.1" {(200, 200, 304, 404, 500)[count % 5]} {count % 4096}'
            f' "-" "{_AGENTS[count % 3]}"\n'
        )
    return "".join(lines).encode()
