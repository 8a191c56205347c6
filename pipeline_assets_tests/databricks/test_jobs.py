"""Runs that send their deliveries to a workspace, with the real client, and what may go wrong on the way.

What belongs here: the sender's side, its answers to every kind of failure, and the job's own process. What does
not: Spark (`test_spark_jobs`); the layers are made here by the same functions without it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets.storage import control
from pipeline_assets.storage.manifests import read_manifest
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.databricks.conftest import (
    DAYS,
    Sender,
    land_days,
    line,
    materialized,
    said,
    sent_everything,
)
from pipeline_assets_tests.databricks.jobs_api import UNANSWERED
from pipeline_assets_tests.databricks.without_spark import entry
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.slow

BRONZE = ["bronze/daily/requests", "bronze/daily/errors", "bronze/daily/rejected"]


def names(sender: Sender) -> list[str]:
    return [str(request["run_name"]) for request in sender.api.requests]


def made(sender: Sender, layer: Any = "bronze") -> list[str]:
    store = sender.world.context.store
    return [day for day in DAYS if read_manifest(store, layer, Unit("daily", day)).etag is not None]


def wait_for(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)


def interrupt_when(happened: Callable[[], bool]) -> threading.Thread:
    """Ends this process's run as its launcher would, once something has happened."""

    def act() -> None:
        wait_for(happened)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_many_days_go_in_one_job_and_every_table_is_as_without_it(sender: Sender, tmp_path: Any) -> None:
    result = sender.run()
    assert result.success, said(sender.instance, result.run_id)
    assert names(sender) == ["pipeline bronze-silver-gold: daily/2024-01-15 and 2 more"]
    here = World(tmp_path / "here")
    land_days(here)
    here.process([Unit("daily", day) for day in DAYS], reuse=True)
    for table in (*SERVING, *MODEL):
        assert sender.world.table(table) == here.table(table), table
    shown = [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization and event.asset_key == dg.AssetKey(["bronze", "daily", "requests"])
    ]
    assert {one.partition: one.metadata["dagster/row_count"].value for one in shown} == dict.fromkeys(DAYS, 4)
    assert {one.metadata["databricks_job_run"].value for one in shown} == {f"{sender.api.url}/jobs/runs/1001"}
    runs = [row for row in sender.world.table("runs") if f"daily/{DAYS[0]}" in row]
    assert len(runs) == 1 and 1.5 in [round(x, 1) for x in runs[0] if isinstance(x, float)]
    assert not list((sender.world.root / ".pipes").iterdir())

    # Nothing has changed since, so nothing is sent.
    assert sender.run(tags={"pipeline/reuse": "true"}).success
    assert len(sender.api.requests) == 1


def test_small_deliveries_stay_here_unless_the_run_says_otherwise(sender: Sender) -> None:
    sender.world.land(f"logs/{DAYS[1]}/access.log", line(3, 16) * 50)
    assert sender.run(PIPELINE_DATABRICKS_MIN_BYTES="2000").success
    assert names(sender) == [f"pipeline bronze-silver-gold: daily/{DAYS[1]}"]
    assert made(sender, "gold") == list(DAYS)

    # A layer alone is a job of its own, and a tag goes before the settings, either way.
    silver = ["silver/daily/requests", "silver/daily/errors"]
    assert sender.run(tags={"pipeline/compute": "local"}, selection=silver).success
    assert len(sender.api.requests) == 1
    assert sender.run(tags=sent_everything(), selection=silver, PIPELINE_COMPUTE="local").success
    assert names(sender)[1:] == [f"pipeline silver: daily/{DAYS[0]} and 2 more"]
    wrong = sender.run(tags={"pipeline/compute": "cloud"}, selection=silver)
    assert not wrong.success and "write local or databricks" in said(sender.instance, wrong.run_id)


def test_a_job_that_ends_well_without_a_word_has_made_nothing(sender: Sender) -> None:
    sender.api.troubles.append("silent")
    result = sender.run(selection=BRONZE)
    assert not result.success and not materialized(result)
    text = said(sender.instance, result.run_id)
    assert "without a word about 3 of 3 deliveries" in text
    assert len(sender.api.requests) == 1


def test_cancelling_the_run_ends_the_job_and_fails_the_step(sender: Sender) -> None:
    sender.api.entry = entry("dawdle")
    interrupting = interrupt_when(lambda: made(sender, "gold") == [DAYS[0]])
    result = sender.run()
    interrupting.join()
    assert not result.success and not materialized(result)
    assert "cancel" in sender.api.asked and not sender.api.alive
    run = sender.instance.get_run_by_id(result.run_id)
    assert run is not None and run.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
    assert "its job was cancelled" in said(sender.instance, result.run_id)


def test_bad_moments_of_a_workspace_are_waited_out(sender: Sender) -> None:
    sender.api.errors["submit"].extend([429, UNANSWERED, 500, 503])
    sender.api.errors["get"].extend([500] * 5 + [429])
    result = sender.run()
    assert result.success, said(sender.instance, result.run_id)
    # However often it was sent, there is one job.
    assert sender.api.asked.count("submit") == 5 and len(sender.api.requests) == 1


def test_a_job_whose_machines_go_away_is_sent_again_with_what_is_left(sender: Sender) -> None:
    api = sender.api
    api.troubles.extend(["no cluster", "evicted"])
    api.entry = entry("dawdle")

    def first_is_made() -> bool:
        if made(sender, "gold") != [DAYS[0]]:
            return False
        time.sleep(1)  # until its answer is there
        api.entry = entry("work")
        return True

    api.evict_when = first_is_made
    result = sender.run()
    text = said(sender.instance, result.run_id)
    assert result.success, text
    assert names(sender) == [
        "pipeline bronze-silver-gold: daily/2024-01-15 and 2 more",
        "pipeline bronze-silver-gold: daily/2024-01-15 and 2 more",
        "pipeline bronze-silver-gold: daily/2024-01-16 and 1 more",
    ]
    assert "The spot instances were evicted." in text and "The driver was lost." in text
    assert {partition for key, partition in materialized(result) if key == "gold/daily/traffic"} == set(DAYS)


def test_there_is_an_end_to_sending_again(sender: Sender) -> None:
    sender.api.troubles.extend(["no cluster"] * 5)
    result = sender.run(PIPELINE_DATABRICKS_RETRIES="1")
    text = said(sender.instance, result.run_id)
    assert not result.success and not materialized(result)
    assert "was lost 2 times (PIPELINE_DATABRICKS_RETRIES=1)" in text
    assert len(sender.api.requests) == 2


def test_a_job_that_hangs_is_ended_after_its_time(sender: Sender) -> None:
    sender.api.troubles.append("hang")
    result = sender.run(PIPELINE_DATABRICKS_TIMEOUT_SECONDS="1")
    text = said(sender.instance, result.run_id)
    assert not result.success and not materialized(result)
    assert "PIPELINE_DATABRICKS_TIMEOUT_SECONDS" in text
    assert len(sender.api.requests) == 1 and not sender.api.alive


def test_a_workspace_that_answers_no_more_leaves_no_job_behind(sender: Sender) -> None:
    sender.api.troubles.append("hang")
    sender.api.errors["get"].extend([500] * 1000)
    result = sender.run(PIPELINE_DATABRICKS_POLL_SECONDS="0.01")
    assert not result.success and not materialized(result)
    assert "does not answer for job run 1001" in said(sender.instance, result.run_id)
    assert "cancel" in sender.api.asked and not sender.api.alive


def test_bad_data_is_quarantined_and_not_tried_again(sender: Sender) -> None:
    sender.api.entry = entry("unreadable")
    result = sender.run()
    text = said(sender.instance, result.run_id)
    assert not result.success and len(sender.api.requests) == 1
    assert f"quarantined daily/{DAYS[0]}: logs/{DAYS[0]}/access.log: can't be read" in text
    assert list(control.all_quarantined(sender.world.context.store)) == [Unit("daily", DAYS[0])]
    assert made(sender, "gold") == list(DAYS[1:])


def test_an_error_of_the_code_is_told_and_not_tried_again(sender: Sender) -> None:
    sender.api.entry = entry("break")
    result = sender.run()
    text = said(sender.instance, result.run_id)
    assert not result.success and not materialized(result)
    assert "the job on Databricks failed: BrokenCodeError: no such column" in text
    assert len(sender.api.requests) == 1


def test_a_workspace_that_refuses_is_told_with_what_to_check(sender: Sender) -> None:
    result = sender.run(DATABRICKS_TOKEN="another")
    text = said(sender.instance, result.run_id)
    assert not result.success and not sender.api.requests
    assert "Invalid access token" in text and "check DATABRICKS_HOST" in text


def test_another_version_is_refused_unless_that_is_allowed(sender: Sender) -> None:
    existing: dict[str, Any] = {
        "PIPELINE_DATABRICKS_CLUSTER": "existing",
        "PIPELINE_DATABRICKS_CLUSTER_ID": "0123-456789-abc",
    }
    with mock.patch("pipeline_assets.compute.databricks.engine.code_version", return_value="0+kernel0.0"):
        refused = sender.run(**existing)
        text = said(sender.instance, refused.run_id)
        assert not refused.success and made(sender) == []
        assert "the code that sent the job is 0+kernel0.0; deploy the wheel anew" in text
        warned = sender.run(**existing, PIPELINE_DATABRICKS_OTHER_VERSION="warn")
        assert warned.success and "deploy the wheel anew" in said(sender.instance, warned.run_id)
    assert [request["tasks"][0]["existing_cluster_id"] for request in sender.api.requests] == [
        "0123-456789-abc"
    ] * 2
