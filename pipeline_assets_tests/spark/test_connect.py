"""The same over Spark Connect, which is all that serverless compute has, and clusters that are shared.

What belongs here: that jobs need nothing but Spark Connect. What does not: what they make of which input
(`test_job`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from pipeline_assets.compute.spark.frames import Row, run_tasks
from pipeline_assets_tests.spark.spark_world import SparkWorld
from pipeline_assets_tests.spark.test_job import ERROR, FIRST, MANY, SECOND, check_equal, line
from pipeline_assets_tests.world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


def test_layers_are_the_same_through_spark_connect(tmp_path: Path, remote: SparkSession) -> None:
    world, local = SparkWorld(tmp_path / "spark", remote), World(tmp_path / "local")
    for each in (world, local):
        each.land("logs/2024-01-15/access.log", MANY)
        each.land("logs/2024-01-15/error.log.gz", ERROR)
        each.land("logs/2024-01-16/access.log", line(1) + b"nonsense\n")
        assert each.process([FIRST, SECOND], reuse=True) == []
    check_equal(world, local)


def threads(_: int) -> Iterator[Row]:
    yield Row("", b"%d" % pl.thread_pool_size())


def test_a_task_has_one_thread_without_a_setting_of_executors(
    session: SparkSession, remote: SparkSession
) -> None:
    for each in (session, remote):
        assert set(run_tasks(each, range(2), threads)) == {b"1"}
