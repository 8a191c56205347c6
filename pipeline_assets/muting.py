"""What people say is no news: windows in which the traffic may be unusual, and series that nobody is told of.

What belongs here: reading the two settings, and whether they cover an incident. What does not: finding
incidents (`models`), or telling of them (`alerts`). Muted incidents stay in `model/incidents`; only the
message is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase

# An incident that begins in a window may end so long after it: caches fill, clients come back.
_AFTER = timedelta(minutes=15)
_ITEMS = re.compile(r"[,\n]+")


@dataclass(frozen=True)
class Window:
    """A span of time, on one day or, without dates, on each, and the sites it is for (`*` stands for any
    text)."""

    start: datetime | time
    end: datetime | time
    site: str

    def covers(self, site: str | None, start: datetime, end: datetime) -> bool:
        """Whether an incident begins in the window and ends in it, or shortly after."""
        if self.site != "*" and (site is None or not fnmatchcase(site, self.site)):
            return False
        for back in (0, 1):  # a window across midnight began the day before
            first, last = self.on(start - timedelta(days=back))
            if first <= start < last and end <= last + _AFTER:
                return True
        return False

    def on(self, moment: datetime) -> tuple[datetime, datetime]:
        """The window of the day of a moment."""
        if isinstance(self.start, datetime) and isinstance(self.end, datetime):
            return self.start, self.end
        assert isinstance(self.start, time)
        assert isinstance(self.end, time)
        first = datetime.combine(moment.date(), self.start, UTC)
        last = datetime.combine(moment.date(), self.end, UTC)
        return first, last if last > first else last + timedelta(days=1)


def windows_of(text: str) -> tuple[Window, ...]:
    """The windows of `2024-01-15T10:00/2024-01-15T10:30 shop.example, 02:00/03:00`; times are UTC.

    Raises `ValueError` naming the item that is none.
    """
    return tuple(_window(item) for item in _items(text))


def muted_of(text: str) -> tuple[tuple[str, str], ...]:
    """The pairs of site and series, as patterns, of `shop.example:bytes, *.test`; a site alone is muted
    whole."""
    pairs = []
    for item in _items(text):
        site, colon, series = item.rpartition(":")
        pairs.append((site or "*", series or "*") if colon else (item, "*"))
    return tuple(pairs)


def is_muted(muted: tuple[tuple[str, str], ...], site: str | None, series: str) -> bool:
    """Whether nobody is to be told of this series of this site; all sites together are `all`."""
    return any(fnmatchcase(site or "all", one) and fnmatchcase(series, other) for one, other in muted)


def _items(text: str) -> list[str]:
    return [item.strip() for item in _ITEMS.split(text) if item.strip()]


def _window(item: str) -> Window:
    span, _, site = item.partition(" ")
    first, slash, last = span.partition("/")
    try:
        start, end = _moment(first), _moment(last)
        if not slash or type(start) is not type(end):
            raise ValueError
        if isinstance(start, datetime) and isinstance(end, datetime) and start >= end:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"not a window: {item!r}; write start/end in UTC, such as 2024-01-15T10:00/2024-01-15T10:30 or,"
            " for every day, 02:00/03:00, and a site after it where it is for one"
        ) from None
    return Window(start, end, site.strip() or "*")


def _moment(text: str) -> datetime | time:
    if "T" not in text:
        return time.fromisoformat(text)
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
