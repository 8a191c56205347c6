"""Files in a format that nobody knows: held back and named, and read once their format is configured.

What belongs here: what becomes of such a file and its unit. What does not: how a format is read (`kernel/`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline_assets.overview import overview
from pipeline_assets.storage.manifests import read_manifest
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.kernel.rebuild import access_line, joined
from pipeline_assets_tests.world import World

DAY = "2024-01-15"
KNOWN = f"logs/{DAY}/access.log"
UNKNOWN = f"logs/{DAY}/pipes.log"
LINES = joined(b"203.0.113.%d|15/Jan/2024:10:00:0%d +0000|GET /|200|7" % (n, n) for n in range(5))
OWN = '{"pipes": "%h|%{%d/%b/%Y:%T %z}t|%r|%>s|%b"}'


def opened(world: World, **settings: Any) -> World:
    """The same storage under other settings, as after a change of the environment."""
    other = World(world.root, **settings)
    other.landed = world.landed
    return other


def hits(world: World) -> int:
    return sum(row[-2] for row in world.table("status_daily"))


def test_an_unknown_file_is_held_back_and_the_others_of_its_unit_are_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.land(KNOWN, joined([access_line(time="15/Jan/2024:10:00:00 +0000")] * 3))
    world.land(UNKNOWN, LINES)
    world.catch_up()
    record = read_manifest(world.context.store, "bronze", Unit("daily", DAY)).value.by_path[UNKNOWN]
    assert (record.parsed, record.rejected, record.unknown_format) == (0, 5, True)
    assert (record.confidence, record.formats) == (0.0, {})
    known = read_manifest(world.context.store, "bronze", Unit("daily", DAY)).value.by_path[KNOWN]
    assert (known.formats, known.unknown_format, known.confidence) == ({"combined": 3}, False, 1.0)
    assert overview(world.context, world.settings).unknown_formats == [UNKNOWN]
    assert hits(world) == 3
    assert world.catch_up() == 0  # nothing to do until something changes


def test_it_comes_back_by_itself_once_its_format_is_configured(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.land(KNOWN, joined([access_line(time="15/Jan/2024:10:00:00 +0000")] * 3))
    world.land(UNKNOWN, LINES)
    world.catch_up()
    wrong = opened(world, log_formats='{"other": "%h;%t"}')
    assert wrong.catch_up() == 1  # it is tried once under each configuration
    assert overview(wrong.context, wrong.settings).unknown_formats == [UNKNOWN]
    assert wrong.catch_up() == 0
    right = opened(world, log_formats=OWN)
    right.catch_up()
    assert hits(right) == 8
    assert overview(right.context, right.settings).unknown_formats == []
    assert right.catch_up() == 0


def test_the_order_of_configuring_and_landing_does_not_matter(tmp_path: Path) -> None:
    late = World(tmp_path / "late")
    late.land(UNKNOWN, LINES)
    late.catch_up()
    late = opened(late, log_formats=OWN)
    late.catch_up()
    early = World(tmp_path / "early", log_formats=OWN)
    early.land(UNKNOWN, LINES)
    early.catch_up()
    for table in ("traffic_hourly", "status_daily"):
        assert late.table(table) == early.table(table)
        assert early.table(table)


def test_a_file_that_is_gone_asks_for_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.land(UNKNOWN, LINES)
    world.catch_up()
    world.remove(UNKNOWN)
    assert opened(world, log_formats=OWN).catch_up() == 0
