"""Two daily deliveries and a batch: lines of two days, for the tests of what happens to them afterwards.

What belongs here: their names and their lines. What does not: landing them (`conftest`).
"""

from __future__ import annotations

from typing import Final

from pipeline_assets.storage.units import Unit

FIRST: Final = Unit("daily", "2024-01-15")
SECOND: Final = Unit("daily", "2024-01-16")


def line(host: int, day: int = 15, hour: int = 1) -> bytes:
    return (
        f'192.0.2.{host} - - [{day}/Jan/2024:{hour:02}:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()
    )
