"""The evaluation asset and the chart of a day's band: what they say of a small storage.

What belongs here: what is shown. What does not: scores and profiles themselves (`models`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipeline_assets.assets.metadata import bands
from pipeline_assets.definitions import build_defs
from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.world import World

KEY = dg.AssetKey(["evaluation", "model"])


def hour(number: int, observed: float | None, *band: float, odd: bool = False) -> dict[str, Any]:
    lower, upper = band or (None, None)
    return {"hour": number, "observed": observed, "lower": lower, "upper": upper, "is_anomaly": odd}


def test_an_hour_outside_of_what_is_usual_is_marked() -> None:
    shown = bands([hour(9, 50, 40, 100), hour(10, 0, 40, 100, odd=True), hour(11, 7)])
    assert shown.value is not None
    lines = shown.value.splitlines()[1:-1]
    assert lines[0] == "09 50         ░░●░░░░░░░░░░░"
    assert lines[1].startswith("10  0 ●")
    assert lines[1].endswith("░ !")
    assert lines[2] == "11  7  ●"
    assert bands([]).value == "```\n\n```"


def test_the_tables_to_judge_the_models_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "storage")
    monkeypatch.setenv("PIPELINE_STORAGE", str(world.root))
    days = [date(2024, 1, 10) + timedelta(days=number) for number in range(3)]
    for day in days:
        world.land(f"logs/{day}/access.log", access_lines([day], 300, seed=str(day)))
    world.catch_up()
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs().resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, asset_selection=[KEY])
        (event,) = result.asset_materializations_for_node("evaluation__model")
    series = {row["series"]: row for row in rows(event, "series")}
    assert series["hits"]["hours"] > 0
    assert sum(row["hits"] for row in rows(event, "clients")) == 900


def rows(event: dg.AssetMaterialization, name: str) -> list[Mapping[str, Any]]:
    table = event.metadata[name]
    assert isinstance(table, dg.TableMetadataValue)
    return [record.data for record in table.records]
