"""The laws of merging, on every rollup: in any order, in any groups, again, and cut anywhere."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.kernel.request_counts import METHODS
from pipeline_assets.kernel.rollups import PROVEN, ROLLUPS, proven_rows
from pipeline_assets_tests.kernel.rolling import Rolled, merge, roll_up, silver_of
from pipeline_assets_tests.test_promises import some_lines

SEEDS = st.integers(0, 2**32)


def assert_same(one: Rolled, other: Rolled) -> None:
    assert one.keys() == other.keys() == ROLLUPS.keys()
    for name in ROLLUPS:
        assert_frame_equal(one[name], other[name])


def some_deliveries(seed: int, number: int = 4) -> list[Rolled]:
    generator = random.Random(seed)
    return [
        roll_up(silver_of(f"logs/incremental/{count}.log", some_lines(generator.randrange(40), generator)))
        for count in range(number)
    ]


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_deliveries_merge_in_any_order_and_in_any_groups(seed: int) -> None:
    one, two, three, four = deliveries = some_deliveries(seed)
    at_once = merge(*deliveries)
    assert_same(merge(four, two, three, one), at_once)
    assert_same(merge(merge(one, two), merge(three, four)), at_once)
    assert_same(merge(merge(merge(four, three), two), one), at_once)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_state_is_its_own_merge_and_an_empty_delivery_changes_nothing(seed: int) -> None:
    state = merge(*some_deliveries(seed, 2))
    assert_same(merge(state), state)
    assert_same(merge(state, merge()), state)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_a_delivery_rolls_up_to_the_same_wherever_its_parts_are_cut(seed: int) -> None:
    generator = random.Random(seed)
    silver = silver_of("logs/incremental/x.log", some_lines(60, generator))
    whole = merge(roll_up(silver))
    cuts = {name: generator.randrange(rows.height + 1) for name, rows in silver.items()}
    before = roll_up({name: rows.head(cuts[name]) for name, rows in silver.items()})
    after = roll_up({name: rows.tail(rows.height - cuts[name]) for name, rows in silver.items()})
    assert_same(merge(before, after), whole)
    by_file = {name: ROLLUPS[name].merge_files([before[name], after[name]]) for name in ROLLUPS}
    assert_same(merge(by_file), whole)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_set_of_visitors_and_visits_takes_the_same_delivery_twice_without_a_trace(seed: int) -> None:
    one, two = some_deliveries(seed, 2)
    for name, keys in (("visitors", ["hits", "bytes"]), ("visits", ["hits", "bytes", "pages"])):
        once = merge(one, two)[name].drop(keys)
        assert_frame_equal(merge(one, two, one)[name].drop(keys), once)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_gold_tells_how_many_rows_silver_had(seed: int) -> None:
    silver = silver_of("logs/x.log", some_lines(50, random.Random(seed)))
    rolled = roll_up(silver)
    assert {table: proven_rows(rolled, table) for table in PROVEN} == {
        table: rows.height for table, rows in silver.items()
    }


@pytest.mark.parametrize("name", sorted(ROLLUPS))
def test_rows_of_a_state_are_unique_by_key_and_sorted(name: str) -> None:
    state = merge(*some_deliveries(7))[name]
    keys = [key for key in ROLLUPS[name].keys if key != "source_file"]
    unique = [*keys, "started_at"] if name == "visits" else keys
    assert state.height > 5
    assert not state.select(unique).is_duplicated().any()
    assert_frame_equal(state.sort(unique, nulls_last=True), state)


def test_what_clients_choose_is_cut_and_methods_are_a_closed_list() -> None:
    long = "x" * 100_000
    line = (
        f'192.0.2.1 - - [15/Jan/2024:10:00:00 +0000] "HACK{long} /{long} HTTP/1.1" 404 5'
        f' "https://a.example/{long}" "{long}"\n'
    )
    rolled = roll_up(silver_of("logs/x.log", line.encode()))
    for frame in rolled.values():
        longest = frame.select(pl.col(pl.String).str.len_chars().max()).row(0)
        assert all(length is None or length <= 1024 for length in longest)
    assert rolled["traffic"]["method"].to_list() == ["other"]
    assert len(METHODS) == len(set(METHODS)) > 35


def test_a_visit_of_user_agents_that_are_cut_to_one_is_the_same_in_any_order() -> None:
    # Of these two gold keeps the same beginning; one names a bot behind it.
    line = b'192.0.2.1 - - [15/Jan/2024:10:00:00 +0000] "GET /a.css HTTP/1.1" 200 9 "-" "%s"\n'
    long = b"Mozilla/5.0 (X11; Linux x86_64) " + b"x" * 512
    lines = [
        line % agent
        for agent in (long, long + b" (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    ]
    one, other = (
        roll_up(silver_of(f"logs/2024-01-15/{number}.log", each)) for number, each in enumerate(lines)
    )
    assert {rolled["visits"]["is_bot"].item() for rolled in (one, other)} == {True, False}
    together = (
        roll_up(silver_of("logs/2024-01-15/both.log", b"".join(each))) for each in (lines, lines[::-1])
    )
    found = [merge(one, other), merge(other, one), *map(merge, together)]
    assert [
        (visit["is_bot"].item(), visit["hits"].item()) for visit in (each["visits"] for each in found)
    ] == [(False, 2)] * 4


def test_what_user_agents_are_that_are_cut_to_one_is_the_least_in_any_order() -> None:
    line = b'192.0.2.%d - - [15/Jan/2024:10:00:00 +0000] "GET /a.css HTTP/1.1" 200 9 "-" "%s"\n'
    long = b"Mozilla/5.0 (X11; Linux x86_64) " + b"x" * 512
    bots = [
        long + b" (compatible; %s; +http://a.example/bot.html)" % bot
        for bot in (b"bingbot/2.0", b"Googlebot/2.1")
    ]
    rolled = [
        roll_up(silver_of(f"logs/2024-01-15/{number}.log", line % (1, agent) + line % (2, b"curl/8")))
        for number, agent in enumerate((*bots, bots[0]))
    ]
    for found in (merge(*rolled), merge(*rolled[::-1])):
        visitors = found["visitors"].filter(pl.col("hour").is_not_null()).sort("remote_host")
        assert visitors["bot"].to_list() == ["Googlebot", "curl"]
        assert visitors["hits"].to_list() == [3, 3]
