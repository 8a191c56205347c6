"""A run whose job is Spark's, from the wheel's entry point, with an Azure account between, and a lost driver.

What belongs here: the whole way, once. What does not: what Spark makes of which input (`spark`), and other
failures (`test_jobs`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets.storage.manifests import read_manifest
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.azurite import Azurite
from pipeline_assets_tests.databricks.conftest import DAYS, land_days, line, materialized, said, sender_for
from pipeline_assets_tests.databricks.jobs_api import JobsApi, serving
from pipeline_assets_tests.spark_here import spark_environment
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.long

SUBMIT = "--master local[2] --conf spark.ui.enabled=false --conf spark.log.level=ERROR pyspark-shell"


def land(world: World) -> None:
    land_days(world)
    world.land(f"logs/{DAYS[0]}/shop.log.gz", b"".join(line(host, 15, host % 24) for host in range(1, 250)))
    world.land(f"logs/{DAYS[1]}/same.log", line(1, 16) * 3 + line(2, 15) + b"no request\n")


def test_a_job_of_spark_that_lost_its_driver_ends_as_without_spark(
    start_azurite: Callable[[], Azurite], tmp_path: Any
) -> None:
    variables = spark_environment() | {
        "PYSPARK_SUBMIT_ARGS": SUBMIT,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with serving(JobsApi(variables)) as api:
        sender = sender_for(Storage.in_account(start_azurite().new_account()), api)
        land(sender.world)
        store = sender.world.context.store
        # The driver goes as soon as one delivery has a layer on record.
        api.troubles.append("evicted")
        api.evict_when = lambda: read_manifest(store, "bronze", Unit("daily", DAYS[0])).etag is not None
        result = sender.run(PIPELINE_SITE="shop.example")
        assert result.success, said(sender.instance, result.run_id) + api.output()
        assert [request["run_name"] for request in api.requests] == [
            "pipeline bronze-silver-gold: daily/2024-01-15 and 2 more"
        ] * 2
    here = World(tmp_path / "here", site="shop.example")
    land(here)
    here.process([Unit("daily", day) for day in DAYS], reuse=False)
    for table in (*SERVING, *MODEL):
        assert sender.world.table(table) == here.table(table), table
    assert {day for key, day in materialized(result) if key == "gold/daily/traffic"} == set(DAYS)
