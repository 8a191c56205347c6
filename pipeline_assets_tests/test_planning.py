"""Planning: what is new, changed or behind, and the runs that follow, for any landing and any memory of it.

What belongs here: properties of `planning`'s pure functions. What does not: what a door does with a plan
(`automation`).
"""

from __future__ import annotations

import itertools
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.planning import (
    Plan,
    contiguous_days,
    cut_batches,
    days_between,
    make_plan,
    settled,
    version_of,
)
from pipeline_assets.storage.landing import Landed
from pipeline_assets.storage.store import Entry
from pipeline_assets.storage.units import Unit

FIRST, LAST = date(2024, 1, 1), date(2024, 1, 20)
DAYS = ("2023-12-31", "2024-01-01", "2024-01-10", "2024-01-11", "2024-01-20", "2024-01-21")
PATHS = (
    *(f"logs/{day}/{name}" for day in DAYS for name in ("a.log", "b.log")),
    *(f"logs/incremental/{name}" for name in ("a.log", "b.log", "sub/a.log")),
)
BATCHES = ("2024-01-15-0200", "2024-01-15-0200-2")

etags = st.sampled_from(("e1", "e2"))
landings = st.dictionaries(st.sampled_from(PATHS), etags)
batches = st.sampled_from(BATCHES).map(lambda key: Unit("incremental", key))
day_units = st.sampled_from(DAYS).map(lambda key: Unit("daily", key))
entries_of_any_size = st.lists(st.integers(0, 50), max_size=30).map(
    lambda sizes: [Entry(f"logs/incremental/{number:02}", size, "e", 0) for number, size in enumerate(sizes)]
)


def entry(path: str, etag: str) -> Entry:
    return Entry(path, 1, etag, 0)


def landed_of(files: dict[str, str]) -> Landed:
    landed = Landed()
    for path, etag in files.items():
        folder = path.split("/")[1]
        if folder == "incremental":
            landed.incremental.append(entry(path, etag))
        else:
            landed.daily.setdefault(folder, []).append(entry(path, etag))
    return landed


@st.composite
def memories(draw: st.DrawFn) -> dict[str, tuple[str, str]]:
    """What was read of any of the paths: the unit that owns it, and the etag."""
    known = {}
    for path, etag in draw(landings).items():
        day = path.split("/")[1]
        unit = draw(batches) if day == "incremental" else Unit("daily", day)
        known[path] = (str(unit), etag)
    return known


def plan(files: dict[str, str], known: dict[str, tuple[str, str]], behind: set[Unit]) -> Plan:
    return make_plan(landed_of(files), known, behind, first_day=FIRST, last_day=LAST)


def in_range(unit: Unit) -> bool:
    return unit.lane == "incremental" or FIRST <= date.fromisoformat(unit.key) <= LAST


@given(landings, memories(), st.sets(batches | day_units))
def test_every_new_or_changed_file_is_in_the_plan_once_and_no_other_is(
    files: dict[str, str], known: dict[str, tuple[str, str]], behind: set[Unit]
) -> None:
    expected = []
    for path, etag in files.items():
        day = path.split("/")[1]
        unread = path not in known or known[path][1] != etag
        if unread and (day == "incremental" or in_range(Unit("daily", day))):
            expected.append(path)
    assert sorted(item.path for item in plan(files, known, behind).news) == sorted(expected)


@given(landings, memories(), st.sets(batches | day_units))
def test_a_file_is_planned_for_the_unit_that_owns_it(
    files: dict[str, str], known: dict[str, tuple[str, str]], behind: set[Unit]
) -> None:
    made = plan(files, known, behind)
    for item in made.new_files:
        assert item.path.startswith("logs/incremental/")
        assert item.path not in known
    for unit, items in made.units.items():
        for item in items:
            owner = known[item.path][0] if item.path in known else f"daily/{item.path.split('/')[1]}"
            assert owner == str(unit)


@given(landings, memories(), st.sets(batches | day_units))
def test_units_are_those_with_news_and_those_behind_and_have_a_partition(
    files: dict[str, str], known: dict[str, tuple[str, str]], behind: set[Unit]
) -> None:
    made = plan(files, known, behind)
    assert all(map(in_range, made.units))
    assert {unit for unit in behind if in_range(unit)} <= set(made.units)
    assert all(items or unit in behind for unit, items in made.units.items())
    outside = {unit.key for unit in behind if not in_range(unit)}
    outside |= {
        path.split("/")[1]
        for path, etag in files.items()
        if not path.startswith("logs/incremental")
        and not in_range(Unit("daily", path.split("/")[1]))
        and (path not in known or known[path][1] != etag)
    }
    assert set(made.out_of_range) == outside


@given(landings)
def test_what_is_known_and_unchanged_asks_for_nothing(files: dict[str, str]) -> None:
    known = {
        path: (
            f"incremental/{BATCHES[0]}" if "incremental" in path else f"daily/{path.split('/')[1]}",
            etag,
        )
        for path, etag in files.items()
    }
    assert plan(files, known, set()).is_empty
    assert plan({}, known, set()).is_empty, "a deleted file is retention, not news"


@given(entries_of_any_size, st.integers(1, 5), st.integers(1, 60))
def test_batches_cover_everything_within_both_limits(
    entries: list[Entry], max_files: int, max_bytes: int
) -> None:
    cut = cut_batches(entries[::-1], max_files=max_files, max_bytes=max_bytes)
    assert [item for batch in cut for item in batch] == sorted(entries)
    for batch in cut:
        assert 1 <= len(batch) <= max_files
        assert len(batch) == 1 or sum(item.size for item in batch) <= max_bytes


@given(entries_of_any_size, st.integers(1, 5), st.integers(1, 60))
def test_no_batch_could_have_taken_the_file_after_it(
    entries: list[Entry], max_files: int, max_bytes: int
) -> None:
    cut = cut_batches(entries, max_files=max_files, max_bytes=max_bytes)
    for batch, following in itertools.pairwise(cut):
        bytes_with_next = sum(item.size for item in batch) + following[0].size
        assert len(batch) == max_files or bytes_with_next > max_bytes


@given(st.sets(st.dates(date(2023, 12, 1), date(2024, 3, 1)), max_size=40))
def test_ranges_cover_exactly_the_days_and_as_few_as_can_be(days: set[date]) -> None:
    units = [Unit("daily", day.isoformat()) for day in days]
    ranges = contiguous_days([*units, Unit("incremental", BATCHES[0])])
    assert [day for first, last in ranges for day in days_between(first, last)] == sorted(
        unit.key for unit in units
    )
    for (_, last), (first, _) in itertools.pairwise(ranges):
        assert date.fromisoformat(first) - date.fromisoformat(last) > timedelta(days=1)


@given(st.dates(date(2023, 1, 1), date(2025, 1, 1)), st.integers(0, 800))
def test_days_between_holds_both_ends(first: date, ahead: int) -> None:
    days = days_between(first.isoformat(), (first + timedelta(days=ahead)).isoformat())
    assert (days[0], len(set(days)), len(days)) == (first.isoformat(), ahead + 1, ahead + 1)
    assert days == sorted(days)


@given(landings, landings)
def test_a_version_tells_any_two_sets_of_files_apart(one: dict[str, str], other: dict[str, str]) -> None:
    versions = [version_of(entry(*item) for item in files.items()) for files in (one, other)]
    assert (versions[0] == versions[1]) == (one == other)


def test_a_file_settles_once_it_has_kept_its_version_for_long_enough() -> None:
    file = entry("logs/incremental/a.log", "e1")
    ready, waiting = settled([file], {}, now=100.0, settle_seconds=2)
    assert (ready, waiting) == ([], {file.path: ("e1", 100.0)})
    ready, waiting = settled([file], waiting, now=101.9, settle_seconds=2)
    assert (ready, waiting) == ([], {file.path: ("e1", 100.0)})
    assert settled([file], waiting, now=102.0, settle_seconds=2) == ([file], {})


def test_a_file_that_changes_while_it_settles_starts_over() -> None:
    path = "logs/incremental/a.log"
    seen = {path: ("e1", 100.0)}
    assert settled([entry(path, "e2")], seen, now=105.0, settle_seconds=2) == ([], {path: ("e2", 105.0)})


def test_without_settling_a_file_is_ready_at_once() -> None:
    file = entry("logs/incremental/a.log", "e1")
    assert settled([file], {}, now=5.0, settle_seconds=0) == ([file], {})


def test_a_clock_set_back_delays_a_file_by_no_more_than_its_settling() -> None:
    file = entry("logs/incremental/a.log", "e1")
    ready, waiting = settled([file], {file.path: ("e1", 10_000.0)}, now=100.0, settle_seconds=2)
    assert ready == []
    assert settled([file], waiting, now=102.0, settle_seconds=2)[0] == [file]


@given(landings, st.dictionaries(st.sampled_from(PATHS), st.tuples(etags, st.floats(0, 100))))
def test_every_file_is_either_ready_or_waiting_and_nothing_else_is_remembered(
    files: dict[str, str], seen: dict[str, tuple[str, float]]
) -> None:
    entries = [entry(*item) for item in files.items()]
    ready, waiting = settled(entries, seen, now=100.0, settle_seconds=3)
    assert sorted([*(item.path for item in ready), *waiting]) == sorted(files)
