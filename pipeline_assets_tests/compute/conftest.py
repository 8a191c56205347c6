"""Fixtures of the tests of units, days and tables.

What belongs here: the small world that several of them begin with. What does not: its lines (`three_deliveries`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_assets_tests.compute.three_deliveries import line
from pipeline_assets_tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "storage", look_back_days=100_000)
    world.land("logs/2024-01-15/access.log", line(1) + line(2))
    world.land("logs/2024-01-16/access.log", line(3) + line(4, 16))
    world.land("logs/incremental/batch.log", line(10) + line(11, 16))
    world.catch_up()
    return world
