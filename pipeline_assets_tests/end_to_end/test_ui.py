"""What a person does in the browser: look at the graph, materialise a day, launch a backfill, see what runs.

What belongs here: the pages of Dagster's UI, clicked in a real browser. What does not: what the daemon does
by itself (`test_daemon`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.end_to_end.services import Run, Service, wait_for

pytestmark = pytest.mark.slow

GROUPS = ("landing", "bronze", "silver", "gold", "publish", "serving", "model", "report")
PAGE_PATIENCE_S = 90.0
TODAY = datetime.now(UTC).date()
# In reach of the dialogs, which show 90 days, and out of reach of the sensor, which looks at 35.
DAYS = [TODAY - timedelta(days=ahead) for ahead in (63, 61, 60, 59)]


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(PAGE_PATIENCE_S * 1000)
    try:
        yield page
    finally:
        page.screenshot(path=tmp_path / "last.png")
        page.close()


def test_the_asset_graph_shows_every_group(service: Service, page: Page, tmp_path: Path) -> None:
    page.goto(f"{service.url}/asset-groups")
    for group in GROUPS:
        page.get_by_text(group, exact=True).first.wait_for()
    page.screenshot(path=tmp_path / "asset-groups.png")


def test_the_automation_page_shows_sensor_and_schedules_running(
    service: Service, page: Page, tmp_path: Path
) -> None:
    page.goto(f"{service.url}/automation")
    running = _running_automations(service)
    assert {"file_arrival_sensor", "daily_schedule", "incremental_schedule"} <= running
    for name in running:
        page.get_by_text(name, exact=True).first.wait_for()
    # Boxes that select a row are not ticked, switches that are on are.
    switched_on = page.locator("input[type=checkbox]:checked")
    wait_for("a switch that is on for each of them", lambda: switched_on.count() == len(running))
    page.screenshot(path=tmp_path / "automation.png")


def test_a_day_materialised_from_its_page_succeeds_and_is_served_by_itself(
    service: Service, page: Page, tmp_path: Path
) -> None:
    day = DAYS[0]
    service.world.land(f"logs/{day}/access.log", access_lines([day], 120, seed="by-hand"))
    before = service.runs()
    page.goto(f"{service.url}/assets/bronze/daily/requests")
    page.get_by_role("button", name="Materialize").first.click()
    _choose(page, str(day))
    page.screenshot(path=tmp_path / "dialog.png")
    page.get_by_role("button", name="Launch 1 run").click()
    run = _first_run(service, before, "dagster/partition", str(day))
    page.goto(f"{service.url}/runs/{run.run_id}")
    page.get_by_text("Success", exact=True).first.wait_for()
    page.screenshot(path=tmp_path / "run.png")
    # Only bronze was asked for: the sensor sees that serving lacks it and asks for the rest.
    service.wait_for_the_truth([day])
    wait_for("nothing to be pending", service.nothing_is_pending)


def test_a_backfill_launched_from_the_job_page_ends_well_and_is_served(
    service: Service, page: Page, tmp_path: Path
) -> None:
    days = DAYS[1:]
    for day in days:
        content = access_lines([day - timedelta(days=1), day], 120, seed=f"filled-{day}")
        service.world.land(f"logs/{day}/access.log", content)
    before = service.runs()
    page.goto(f"{service.url}/locations/pipeline_assets/jobs/daily_job")
    page.get_by_role("button", name="Materialize").first.click()
    _choose(page, f"[{days[0]}...{days[-1]}]")
    page.screenshot(path=tmp_path / "dialog.png")
    page.get_by_role("button", name="Launch backfill").click()
    run = _first_run(service, before, "dagster/asset_partition_range_start", str(days[0]))
    assert run.partition == f"{days[0]}...{days[-1]}"
    backfill = run.tags["dagster/backfill"]
    page.goto(f"{service.url}/runs/b/{backfill}")
    page.get_by_text("Completed").first.wait_for()
    page.screenshot(path=tmp_path / "backfill.png")
    assert [one.status for one in service.runs() if one.tags.get("dagster/backfill") == backfill] == [
        "SUCCESS"
    ]
    service.wait_for_the_truth([days[0] - timedelta(days=1), *days])


def _running_automations(service: Service) -> set[str]:
    (repository,) = service.ask(
        "{repositoriesOrError{... on RepositoryConnection{nodes{"
        "schedules{name scheduleState{status}} sensors{name sensorState{status}}}}}}"
    )["repositoriesOrError"]["nodes"]
    return {
        one["name"]
        for kind in ("schedule", "sensor")
        for one in repository[f"{kind}s"]
        if one[f"{kind}State"]["status"] == "RUNNING"
    }


def _choose(page: Page, partitions: str) -> None:
    """Type partitions into the dialog, as a person would."""
    box = page.get_by_role("dialog").locator("input[type=text]").first
    box.fill(partitions)
    box.press("Enter")


def _first_run(service: Service, before: list[Run], tag: str, value: str) -> Run:
    """The first run since `before` that carries this tag, once it has succeeded."""
    old = {run.run_id for run in before}

    def succeeded() -> Run | None:
        ours = [run for run in service.runs() if run.run_id not in old and run.tags.get(tag) == value]
        if not ours:
            return None
        assert ours[-1].status not in ("FAILURE", "CANCELED"), ours
        return ours[-1] if ours[-1].status == "SUCCESS" else None

    return wait_for("the run that was clicked to succeed", succeeded)
