"""Units: the deliveries that a run works on, and the landing paths that belong to them.

What belongs here: the naming rules of lanes, units and landing paths, as pure functions. What does not:
listing (`landing`), claims (`claims`) or manifests (`manifests`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, get_args

Lane = Literal["daily", "incremental"]
LANES: Final[tuple[Lane, ...]] = get_args(Lane)

_BATCH_KEY: Final = re.compile(r"\d{4}-\d{2}-\d{2}-\d{4}(-\d+)?")
# Names that copying tools give to a file until it is whole.
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")


@dataclass(frozen=True, order=True)
class Unit:
    """A delivery: a daily folder (`daily/2024-01-15`) or a batch (`incremental/2024-01-17-1430`)."""

    lane: Lane
    key: str

    def __str__(self) -> str:
        return f"{self.lane}/{self.key}"

    @classmethod
    def parse(cls, name: str) -> Unit:
        """A unit from its name. Raises `ValueError` where it is none."""
        lane, _, key = name.partition("/")
        for known in LANES:
            if lane == known and (is_date(key) if known == "daily" else _BATCH_KEY.fullmatch(key)):
                return cls(known, key)
        raise ValueError(f"not a unit: {name!r}; one looks like daily/2024-01-15")


def is_date(text: str) -> bool:
    """Whether the text is a calendar day written as 2024-01-15."""
    try:
        return len(text) == 10 and date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def landing_lane(path: str) -> Lane | None:
    """The lane that a landing path belongs to, or None where it lies in no place that is read."""
    segments = path.split("/")
    if len(segments) < 3 or segments[0] != "logs":
        return None
    if segments[1] == "incremental":
        return "incremental"
    return "daily" if is_date(segments[1]) else None


def daily_unit(path: str) -> Unit:
    """The unit of a path in a daily folder."""
    return Unit("daily", path.split("/")[1])


def is_unfinished(path: str) -> bool:
    """Whether the name says that the file is still being copied."""
    return path.endswith(_UNFINISHED)
