"""The doors to a report: the command, and the asset in Dagster's own engine.

What belongs here: asking for pages. What does not: what is on them (`test_report`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from pipeline_assets.automation.requests import range_tags
from pipeline_assets.cli import main
from pipeline_assets.definitions import build_defs
from pipeline_assets.report.publish import report_path
from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.world import World

DAY, NEXT = date(2024, 1, 15), date(2024, 1, 16)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PIPELINE_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return World(tmp_path / "storage")


def ask(*arguments: str) -> Any:
    return CliRunner().invoke(main, ("report", *arguments), catch_exceptions=False)


def test_the_command_makes_the_page_it_names(world: World, tmp_path: Path) -> None:
    assert "run: pipeline-assets run" in ask().output
    world.land(f"logs/{DAY}/access.log", access_lines([DAY, NEXT], 60, seed="x"))
    world.catch_up()
    newest = ask()
    assert newest.exit_code == 0, newest.output
    assert Path(newest.output.split()[-1]).read_text().count("Tuesday, 16 January 2024") == 2
    copy = tmp_path / "copy.html"
    assert ask(str(DAY), "--output", str(copy)).exit_code == 0
    assert copy.read_bytes() == (world.root / report_path(DAY)).read_bytes()
    unknown = ask("2020-01-01")
    assert unknown.exit_code == 2
    assert "event days are 2024-01-15 to 2024-01-16" in unknown.output
    assert ask("yesterday").exit_code == 2


def test_the_asset_makes_pages_of_days_that_serving_knows_and_says_where(world: World) -> None:
    world.land(f"logs/{DAY}/access.log", access_lines([DAY, NEXT], 60, seed="x"))
    world.catch_up()
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            build_defs()
            .resolve_job_def("report_job")
            .execute_in_process(instance=instance, tags=range_tags("2024-01-14", str(NEXT)))
        )
    assert result.success
    pages = {
        event.partition: event.step_materialization_data.materialization.metadata.get("page")
        for event in result.all_events
        if event.is_step_materialization
    }
    assert pages["2024-01-14"] is None
    for day in (DAY, NEXT):
        page = pages[str(day)]
        assert page is not None and str(page.value) == world.context.store.uri(report_path(day))
        assert (world.root / report_path(day)).is_file()


def test_the_schedule_asks_for_the_seven_days_that_are_over(world: World) -> None:
    (schedule,) = [
        one for one in build_defs().get_repository_def().schedule_defs if one.name == "report_schedule"
    ]
    moment = datetime(2024, 1, 17, 2, 30, tzinfo=UTC)
    (request,) = (
        schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=moment)).run_requests or []
    )
    tags = range_tags("2024-01-10", "2024-01-16")
    assert {name: request.tags[name] for name in tags} == tags
