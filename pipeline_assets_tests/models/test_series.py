"""Traffic as series: what is counted, what is no data, and that a score depends on its day and the 28 before
alone.

What belongs here: the pure functions. What does not: the score of one series (`test_detector`), and which
days are written when (`compute`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel.projections import prepared
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.kernel.schemas import (
    GOLD,
    MODEL_TRAFFIC_SCORES,
    SERVING,
)
from pipeline_assets.models.scoring import (
    BASELINE_DAYS,
    days_to_score,
    score_hours,
    score_minutes,
    sites_by_the_minute,
)
from pipeline_assets.models.series import BY_HOUR, hourly_values, missing_hours, people_by_hour

DAY = date(2024, 3, 1)
THRESHOLD = 5.5
Hits = Mapping[tuple[date, int, str], int]


def before(days: int) -> date:
    return DAY - timedelta(days=days)


def values(hits: Hits, series: str = "hits") -> pl.DataFrame:
    """Hourly values as `hourly_values` has them, all of complete hours."""
    return pl.DataFrame(
        [(day, hour, site, series, float(count), True) for (day, hour, site), count in hits.items()],
        schema=values_of(state()).schema,
        orient="row",
    )


def scores(hits: Hits, days: Iterable[date] = (DAY,)) -> list[dict[str, Any]]:
    return list(score_hours(values(hits), days, THRESHOLD).iter_rows(named=True))


def steady(count: int, days: int, site: str = "a") -> dict[tuple[date, int, str], int]:
    """As many hits in each hour of so many days before."""
    return {(before(back), hour, site): count for back in range(1, days + 1) for hour in range(24)}


def request(
    moment: str, client: str = "10.0.0.1", agent: str = "x", path: int = 1, **columns: Any
) -> dict[str, Any]:
    day, time = moment.split(" ")
    hour, minute = time.split(":")
    shared = {"event_date": date.fromisoformat(day), "hour": int(hour), "site": "a", "is_bot": False}
    return {
        "traffic": {**shared, "minute": int(minute), "status": 200, "hits": 1, "bytes": 10, **columns},
        "visitors": {**shared, "remote_host": client, "user_agent": agent, "hits": 1, **columns},
        "clients": {**shared, "remote_host": client, "hits": 1, "paths": [path], "probes": [], **columns},
    }


def state(*requests: dict[str, Any]) -> dict[str, pl.DataFrame]:
    """The requests as a state of their days."""
    return {
        name: ROLLUPS[name].merge_day(
            pl.DataFrame(
                [{key: value for key, value in one[name].items() if key in table.schema}], schema=table.schema
            )
            for one in requests
            if name in one
        )
        for name, table in GOLD.items()
    }


def values_of(rollups: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The series of their days by hour."""
    return hourly_values(rollups, [people_by_hour(prepared(rollups))])


def test_the_series_of_an_hour_by_hand() -> None:
    found = values_of(
        state(
            request("2024-03-01 09:00", client="1", path=7),
            request("2024-03-01 09:30", client="1", agent="y", path=7, status=503, bytes=5),
            request("2024-03-01 09:59", client="2", path=8, status=404, is_bot=True),
            request("2024-03-01 09:59", client="2", path=9, status=404, is_bot=True),
            request("2024-03-01 10:55", client="2", path=7, status=301, site="b"),
        )
    )
    rows = {(hour, site, name): value for _, hour, site, name, value, _ in found.iter_rows()}
    assert {name: rows[9, "a", name] for name in BY_HOUR} == {
        "hits": 4,
        "bytes": 35,
        "visitors": 3,
        "status_3xx": 0,
        "status_4xx": 2,
        "status_5xx": 1,
        "bot_share": pytest.approx(1 / 2),
        "busiest_client_hits": 2,
        "busiest_client_paths": 2,
    }
    # Hours between logged ones are known for every site of the day, and without requests there is no share.
    assert (rows[9, "b", "hits"], rows[9, "b", "bot_share"], rows[10, "b", "status_3xx"]) == (0, None, 1)
    assert (rows[9, None, "hits"], rows[10, None, "hits"], rows[9, None, "visitors"]) == (4, 1, 3)


def test_a_client_that_asks_for_one_path_again_and_again_is_not_the_one_with_most_paths() -> None:
    again = [request("2024-03-01 09:00", client="1", path=7) for _ in range(5)]
    # On another site the same path is another page.
    other = [
        request("2024-03-01 09:20", client="2", path=path, site=site) for path in (7, 8) for site in "ab"
    ]
    found = values_of(state(*again, *other)).filter(series="busiest_client_paths")
    assert dict(found.select("site", "observed").rows()) == {"a": 2, "b": 2, None: 4}


def test_an_hour_that_the_log_covers_in_part_is_not_complete() -> None:
    found = values_of(state(request("2024-03-01 21:20"), request("2024-03-01 23:10")))
    hours = found.filter(series="hits", site="a").select("hour", "observed", "is_complete").rows()
    assert hours == [(21, 1.0, False), (22, 0.0, True), (23, 1.0, False)]
    half = values(steady(100, 10) | {(DAY, 5, "a"): 3}).with_columns(
        is_complete=(pl.col("event_date") != DAY)
    )
    (row,) = score_hours(half, [DAY], THRESHOLD).iter_rows(named=True)
    assert (row["observed"], row["score"], row["is_anomaly"]) == (3.0, None, False)


def test_too_little_and_too_much_are_anomalies_and_chance_is_none() -> None:
    for count, odd in ((400, False), (440, False), (100, True), (0, True), (1000, True)):
        (row,) = scores(steady(400, 20) | {(DAY, 10, "a"): count})
        assert (row["expected"], row["is_anomaly"]) == (pytest.approx(400), odd), count
        assert (row["lower"] <= count <= row["upper"]) != odd


def test_few_errors_are_no_news() -> None:
    hits = steady(400, 20) | {(DAY, 10, "a"): 0}
    both = pl.concat([values(hits), values(hits, "status_5xx")])
    row = score_hours(both, [DAY], THRESHOLD).row(by_predicate=pl.col("series") == "status_5xx", named=True)
    assert row["score"] < -THRESHOLD
    assert not row["is_anomaly"]


def test_with_less_than_a_week_it_takes_more() -> None:
    high = {days: scores(steady(400, days) | {(DAY, 10, "a"): 620})[0] for days in (2, 10)}
    assert high[10]["is_anomaly"]
    assert not high[2]["is_anomaly"]
    assert (high[2]["confidence"], high[10]["confidence"]) == (pytest.approx(2 / 21), pytest.approx(10 / 21))


def test_sites_are_scored_for_themselves() -> None:
    hits = steady(100, 9) | steady(1, 9, site="b") | {(DAY, 10, "a"): 100, (DAY, 10, "b"): 100}
    assert [(row["site"], row["is_anomaly"]) for row in scores(hits)] == [("a", False), ("b", True)]


def test_nothing_gives_nothing_in_the_columns_of_the_catalogue() -> None:
    empty = score_hours(values({}), [DAY], THRESHOLD)
    assert (empty.height, dict(empty.schema)) == (0, dict(MODEL_TRAFFIC_SCORES.schema))


def test_a_day_changes_the_scores_of_itself_and_of_the_28_after_it() -> None:
    days = days_to_score([DAY])
    assert (min(days), max(days), len(days)) == (DAY, DAY + timedelta(days=BASELINE_DAYS), BASELINE_DAYS + 1)
    assert days_to_score([]) == set()


MINUTE_COLUMNS = ["event_date", "hour", "minute", "site", "status_class", "is_bot", "hits", "bytes"]


def by_minute(
    day: date,
    rate: int,
    *,
    without: range = range(0),
    errors: range = range(0),
    bots: range = range(0),
    large: range = range(0),
) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (day, *divmod(minute, 60), "a", status, minute in bots, rate, size)
            for minute in range(1440)
            if minute not in without
            for status, size in [
                ("5xx" if minute in errors else "2xx", 9_000_000 if minute in large else 90_000)
            ]
        ],
        schema=SERVING["traffic_minutely"].empty().select(MINUTE_COLUMNS).schema,
        orient="row",
    )


def minute_scores(*days: pl.DataFrame, missing: Collection[int] = ()) -> pl.DataFrame:
    """What is unusual by the minute on the last of these days, of which some hours are no data."""
    minutes = pl.concat(days)
    known = minutes.group_by("event_date").agg(
        pl.int_ranges(pl.col("hour").min(), pl.col("hour").max() + 1, dtype=pl.Int8).alias("hour")
    )
    hours = known.explode("hour").filter((pl.col("event_date") != DAY) | ~pl.col("hour").is_in(missing))
    hits: Any = {(day, hour, "a"): 0 for day, hour in hours.rows()}
    slot = (pl.col("hour").cast(pl.Int32) * 60 + pl.col("minute")).alias("slot")
    visits = minutes.select("event_date", slot, "site", visits=pl.col("hits") // 2)
    return score_minutes(minutes, visits, values(hits), {DAY: ["a"]}, THRESHOLD)


def slots_by_series(found: pl.DataFrame) -> dict[Any, list[int]]:
    return {name: rows["slot"].to_list() for (name,), rows in found.group_by("series", maintain_order=True)}


def test_an_outage_of_some_minutes_is_seen_by_the_minute() -> None:
    past = [by_minute(before(back), 20) for back in range(1, 10)]
    today = by_minute(DAY, 20, without=range(600, 609), errors=range(700, 705))
    found = minute_scores(*past, today)
    slots = slots_by_series(found)
    assert slots.keys() == {"hits", "bytes", "visits", "status_5xx"}
    assert min(slots["hits"]) in range(600, 607)
    assert max(slots["hits"]) < 612
    assert min(slots["status_5xx"]) in range(700, 704)


def test_bots_and_large_answers_are_seen_by_the_minute() -> None:
    past = [by_minute(before(back), 20) for back in range(1, 10)]
    slots = slots_by_series(
        minute_scores(*past, by_minute(DAY, 20, bots=range(600, 609), large=range(700, 705)))
    )
    assert slots.keys() == {"bot_share", "bytes"}
    assert min(slots["bot_share"]) in range(600, 604)
    assert min(slots["bytes"]) in range(700, 704)


def test_what_was_not_delivered_is_no_outage() -> None:
    past = [by_minute(before(back), 20) for back in range(1, 10)]
    today = by_minute(DAY, 20, without=range(600, 1440))
    # The last minute may be half delivered.
    last = today.with_columns(
        hits=pl.when(pl.col("hour") * 1 == 9, pl.col("minute") == 59).then(1).otherwise("hits")
    )
    assert minute_scores(*past, last).height == 0
    # An hour that was lost between others.
    lost = by_minute(DAY, 20, without=range(600, 660))
    assert minute_scores(*past, lost, missing=[10]).height == 0
    assert minute_scores(*past, lost).height > 0


def files(*stretches: tuple[str, str, str, str], vhost: str | None = None) -> pl.DataFrame:
    """Rows of the rollup `counts` that say from when to when files (site, name, first, last) have requests."""
    return pl.DataFrame(
        [
            {
                "event_date": DAY,
                "site": site,
                "aspect": "file",
                "key_1": name,
                "key_2": vhost,
                "first_seen": datetime.fromisoformat(f"{DAY} {first}+00:00"),
                "last_seen": datetime.fromisoformat(f"{DAY} {last}+00:00"),
            }
            for site, name, first, last in stretches
        ],
        schema=GOLD["counts"].schema,
    )


def missing(counts: pl.DataFrame) -> dict[str | None, dict[int, int]]:
    found: dict[str | None, dict[int, int]] = {}
    for _, hour, site, minutes in missing_hours(counts).sort("hour", "site").iter_rows():
        found.setdefault(site, {})[hour] = minutes
    return found


HOURLY = (("a", "1", "09:00", "09:58:30"), ("a", "3", "11:00:10", "12:00"))


def test_what_lies_between_two_files_is_no_data_if_it_is_long_and_quiet_if_it_is_short() -> None:
    assert missing(files(*HOURLY)) == {"a": {9: 1, 10: 60}, None: {9: 1, 10: 60}}
    near = ("a", "2", "09:40", "10:20")
    assert missing(files(*HOURLY, near)) == {}
    # In one file everything is known, and so it is where another one covers the time.
    assert missing(files(("a", "1", "09:00", "12:00"))) == {}
    assert missing(files(*HOURLY, ("a", "0", "00:00", "23:59"))) == {}


def test_a_file_of_another_site_covers_the_time_only_where_lines_say_their_site() -> None:
    other = ("b", "4", "00:00", "23:59")
    assert missing(files(*HOURLY, other)) == {"a": {9: 1, 10: 60}}
    assert missing(files(*HOURLY, other, vhost="vhost")) == {}


def test_hours_of_a_lost_file_have_no_rows_and_those_of_a_silent_server_are_zero() -> None:
    requests = [request(f"{DAY} 09:{minute:02}") for minute in range(60)]
    requests += [request(f"{DAY} 11:{minute:02}") for minute in range(60)]
    found = state(*requests)

    def hits(counts: pl.DataFrame) -> list[tuple[int, float, bool]]:
        by_hour = values_of({**found, "counts": counts}).filter(series="hits", site="a")
        return by_hour.select("hour", "observed", "is_complete").sort("hour").rows()

    assert hits(files(("a", "1", "09:00", "11:59"))) == [(9, 60, True), (10, 0, True), (11, 60, True)]
    assert hits(files(*HOURLY)) == [(9, 60, False), (11, 60, True)]


def test_quiet_sites_are_not_looked_at_by_the_minute_and_all_sites_only_where_there_are_several() -> None:
    def busy(*sites: str | None) -> pl.DataFrame:
        hits: Any = {(DAY, 10, site): 500 for site in sites} | {(DAY, 10, "quiet"): 20}
        return values(hits)

    assert sites_by_the_minute(busy("a", None), [DAY, before(1)]) == {DAY: ["a", None]}
    one = busy("a", None).filter(pl.col("site").ne_missing(pl.lit("quiet")))
    assert sites_by_the_minute(one, [DAY]) == {DAY: ["a"]}
    assert sites_by_the_minute(busy(), [DAY]) == {}


traffic = st.dictionaries(
    st.tuples(st.integers(0, 40).map(before), st.integers(8, 12), st.sampled_from(("a", "b"))),
    st.integers(1, 1000),
    min_size=1,
    max_size=150,
)


@settings(max_examples=20, deadline=None)
@given(traffic, st.sets(st.integers(0, 40).map(before), min_size=1, max_size=8))
def test_a_day_scores_the_same_alone_in_a_batch_and_among_days_that_do_not_concern_it(
    hits: dict[tuple[date, int, str], int], batch: set[date]
) -> None:
    together = scores(hits, batch)
    for day in batch:
        within = {
            key: count for key, count in hits.items() if day - timedelta(days=BASELINE_DAYS) <= key[0] <= day
        }
        assert scores(within, [day]) == [row for row in together if row["event_date"] == day]
    for row in together:
        assert row["score"] is None or math.isfinite(row["score"])
        assert (row["score"] is None) == (row["expected"] is None)


@settings(max_examples=15, deadline=None)
@given(traffic, st.integers(0, 40).map(before), st.integers(1, 500))
def test_only_the_days_to_score_change_when_a_day_changes(
    hits: dict[tuple[date, int, str], int], changed: date, more: int
) -> None:
    days = {before(number) for number in range(41)}
    other = dict(hits)
    other[changed, 10, "a"] = hits.get((changed, 10, "a"), 0) + more
    depend = days_to_score([changed])
    kept = [row for row in scores(hits, days) if row["event_date"] not in depend]
    assert kept == [row for row in scores(other, days) if row["event_date"] not in depend]
