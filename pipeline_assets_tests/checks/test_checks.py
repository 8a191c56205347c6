"""Checks of deliveries and days: what fails them, what they say, and that a hostile name stays text.

What belongs here: results over a small world, without Dagster's engine. What does not: how the UI shows them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from markdown_it import MarkdownIt

from pipeline_assets.assets.metadata import reject_reasons
from pipeline_assets.checks.completeness import completeness_result, hits_equal_rows_result, malformed_result
from pipeline_assets.checks.conservation import conservation_result
from pipeline_assets.checks.deliveries import (
    copies_result,
    delivery_gaps_result,
    event_times_result,
    reject_rate_result,
)
from pipeline_assets.storage.manifests import Layer, Manifest, read_manifest
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.world import World

KEY = ["bronze", "daily", "requests"]
NOW = datetime(2024, 2, 1, tzinfo=UTC)
EVIL = "logs/2024-01-15/![x](https:evil.example) `a` <img src=x> www.evil.example.log"


def line(host: int, day: int) -> bytes:
    return f'192.0.2.{host} - - [{day:02}/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "storage")


def manifests(world: World, layer: Layer = "bronze") -> dict[Unit, Manifest]:
    world.catch_up()
    return {unit: read_manifest(world.context.store, layer, unit).value for unit in world.units()}


def reasons(world: World) -> dict[Unit, dict[str, int]]:
    return {unit: reject_reasons(manifest) for unit, manifest in manifests(world).items()}


def numbers(result: dg.AssetCheckResult) -> dict[str, object]:
    return {name: value.value for name, value in result.metadata.items()}


def test_a_delivery_with_too_many_rejects_warns_and_says_which_and_why(world: World) -> None:
    world.land("logs/2024-01-15/access.log", line(1, 15) * 3 + b"garbage\n")
    world.land("logs/2024-01-16/access.log", line(1, 16) * 99 + b"garbage\n")
    result = reject_rate_result(KEY, manifests(world), reasons(world), 0.05)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert "daily/2024-01-15: 25.0% of the lines were rejected" in str(result.description)
    assert "2024-01-16" not in str(result.description)
    assert numbers(result) | {"rejected": 2, "lines": 104, "rejected_unrecognised": 2} == numbers(result)
    assert reject_rate_result(KEY, manifests(world), reasons(world), 0.25).passed


def test_a_delivery_of_nothing_new_warns_and_one_with_something_new_does_not(world: World) -> None:
    world.land("logs/2024-01-15/access.log", line(1, 15))
    world.land("logs/2024-01-16/access.log", line(1, 15))
    world.land("logs/2024-01-17/access.log", line(1, 15))
    world.land("logs/2024-01-17/new.log", line(1, 17))
    result = copies_result(KEY, manifests(world))
    assert not result.passed
    assert str(result.description).startswith("daily/2024-01-16: all of it has landed before. ")
    assert numbers(result) | {"counted": 2, "duplicate": 2} == numbers(result)


def test_events_from_the_future_times_that_never_were_and_broken_files_warn(world: World) -> None:
    world.land("logs/2024-01-15/access.log", line(1, 15) + line(2, 15).replace(b"15/Jan", b"31/Feb"))
    world.land("logs/2024-01-16/access.log.gz", line(1, 16) * 50)
    cut = world.landed["logs/2024-01-16/access.log.gz"][:-12]
    (world.root / "logs/2024-01-16/access.log.gz").write_bytes(cut)
    found = manifests(world)
    result = event_times_result(KEY, found, reasons(world), datetime(2024, 1, 14, 12, tzinfo=UTC))
    assert (
        numbers(result)
        | {
            "files_from_the_future": 1,
            "damaged_files": 1,
            "lines_with_wrong_times": 1,
        }
        == numbers(result)
        or numbers(result)["files_from_the_future"] == 2
    )
    assert not result.passed
    assert "is damaged: it breaks off" in str(result.description)
    sound = event_times_result(KEY, {}, {}, NOW)
    assert sound.passed


@pytest.mark.parametrize(
    ("landed", "missing"),
    [((14,), []), ((11, 14), ["2024-01-12", "2024-01-13"]), ((12, 13, 14), []), ((1, 14), [])],
)
def test_days_missing_before_a_delivery_are_named_if_there_were_some_before(
    world: World, landed: tuple[int, ...], missing: list[str]
) -> None:
    for day in landed:
        world.land(f"logs/2024-01-{day:02}/access.log", line(day, day))
    world.catch_up()
    last = Unit("daily", f"2024-01-{landed[-1]:02}")
    result = delivery_gaps_result(KEY, world.context.store, {last: Manifest(str(last), "bronze")})
    assert result.passed == (not missing)
    assert numbers(result)["missing_days"] == len(missing)
    assert all(day in str(result.description) for day in missing)


def test_gold_that_lost_a_row_fails(world: World) -> None:
    world.land("logs/2024-01-15/access.log", line(1, 15) + line(2, 15))
    # Read again after a change: parts of both readings stay, and only one of them counts.
    world.catch_up()
    world.land("logs/2024-01-15/access.log", line(1, 15) + line(2, 15) + line(3, 15))
    gold = manifests(world, "gold")
    store = world.context.store
    result = hits_equal_rows_result(KEY, store, gold)
    assert result.passed
    assert numbers(result) | {"silver_rows": 3, "gold_hits": 3} == numbers(result)
    short = {
        unit: replace(manifest, parts=tuple(part for part in manifest.parts if part.table != "traffic"))
        for unit, manifest in gold.items()
    }
    failed = hits_equal_rows_result(KEY, store, short)
    assert not failed.passed
    assert failed.severity is dg.AssetCheckSeverity.ERROR


def test_a_day_that_serving_shows_less_of_fails_and_names_it() -> None:
    days = {date(2024, 1, 15): 10, date(2024, 1, 16): 5}
    assert completeness_result(KEY, days, dict(days)).passed
    result = completeness_result(KEY, days, {date(2024, 1, 15): 10})
    assert not result.passed
    assert str(result.description).startswith("2024-01-16: 5 hits in gold, 0 in serving. Run again")
    behind = completeness_result(KEY, days, days, incomplete=[Unit("daily", "2024-01-15")])
    assert not behind.passed


def test_a_day_of_garbage_requests_warns_and_names_it() -> None:
    days = {date(2024, 1, 15): (100, 50), date(2024, 1, 16): (100, 1), date(2024, 1, 17): (0, 0)}
    result = malformed_result(KEY, days, 0.05)
    assert not result.passed and result.severity is dg.AssetCheckSeverity.WARN
    assert str(result.description).startswith("2024-01-15: 50.0% of the parsed lines are garbage. Look")
    assert numbers(result) | {"parsed": 200, "garbage": 51, "highest_rate": 0.5} == numbers(result)
    assert malformed_result(KEY, days, 0.5).passed


def test_a_hostile_file_name_stays_text_in_every_description(world: World) -> None:
    unit = Unit("daily", "2024-01-15")
    world.land(EVIL, line(1, 15))
    (manifest,) = manifests(world).values()
    file = replace(manifest.files[0], damaged=True, lines=99)
    bad = {unit: replace(manifest, files=(file,))}
    results = [
        conservation_result(KEY, bad, {}),
        conservation_result(KEY, {}, {unit: f"{EVIL}: can't be read"}),
        event_times_result(KEY, bad, {}, NOW),
        completeness_result(KEY, {}, {}, quarantined={unit: EVIL}),
    ]
    for result in results:
        assert not result.passed
        html = MarkdownIt("commonmark").render(str(result.description))
        assert "evil.example" in html
        assert "<img" not in html and "<a " not in html
        outside = "".join(piece.rpartition("</code>")[2] for piece in html.split("<code>"))
        assert "evil" not in outside


def test_only_a_run_with_nothing_sound_blocks_what_follows(world: World) -> None:
    world.land("logs/2024-01-15/access.log", line(1, 15))
    sound = manifests(world)
    bad = {Unit("daily", "2024-01-16"): "can't be read"}
    assert conservation_result(KEY, sound, {}).passed
    assert conservation_result(KEY, sound, bad).severity is dg.AssetCheckSeverity.WARN
    assert conservation_result(KEY, {}, bad).severity is dg.AssetCheckSeverity.ERROR
