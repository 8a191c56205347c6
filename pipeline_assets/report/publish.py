"""Where reports lie, and making them: `serving/reports/2024-01-15.html`, and `index.html` beside them.

What belongs here: storing pages, each whole or not at all. What does not: what is on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from pipeline_assets.report.facts import day_facts, day_totals, known_days
from pipeline_assets.report.page import day_page, index_page
from pipeline_assets.storage.store import Store, SwapConflictError
from pipeline_assets.storage.units import is_date

FOLDER: Final = "serving/reports"
INDEX: Final = f"{FOLDER}/index.html"
_SUFFIX: Final = ".html"
_TRIES: Final = 20

Progress = Callable[[str], None]


def report_path(day: date) -> str:
    """Where a day's page lies, below the storage root."""
    return f"{FOLDER}/{day.isoformat()}{_SUFFIX}"


def latest_complete_day(store: Store, today: date | None = None) -> date | None:
    """The newest event day that is over and that serving knows of; the newest of all where none is over."""
    days = known_days(store)
    now = today or datetime.now(UTC).date()
    return max((day for day in days if day < now), default=max(days, default=None))


def reported_days(store: Store) -> list[date]:
    """Days that have a page, oldest first."""
    names = (name.removesuffix(_SUFFIX) for name in store.children(FOLDER) if name.endswith(_SUFFIX))
    return sorted(date.fromisoformat(name) for name in names if is_date(name))


def write_reports(
    store: Store, days: Iterable[date], *, progress: Progress = lambda message: None
) -> dict[date, int]:
    """Write the pages of these days and the list of all; the size of each page, in bytes."""
    wanted = sorted(set(days))
    there = sorted({*reported_days(store), *wanted})
    sizes = {}
    for day in wanted:
        progress(f"reporting {day}")
        neighbours = {
            "before": day - timedelta(days=1) if day - timedelta(days=1) in there else None,
            "after": day + timedelta(days=1) if day + timedelta(days=1) in there else None,
        }
        page = day_page(day_facts(store, day), neighbours=neighbours).encode()
        _put(store, report_path(day), page)
        sizes[day] = len(page)
    if wanted:
        totals = day_totals(store, there)
        _put(store, INDEX, index_page({day: totals[day] for day in there if day in totals}).encode())
    return sizes


def _put(store: Store, path: str, page: bytes) -> None:
    for _ in range(_TRIES):
        found = store.read(path)
        try:
            store.swap(path, page, found.etag if found else None)
        except SwapConflictError:
            continue
        return
    raise RuntimeError(f"{path}: lost {_TRIES} races for it")
