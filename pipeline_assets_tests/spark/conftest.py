"""One Spark session for the tests of this room: to start one takes longer than any of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pipeline_assets.compute.spark.session import open_session
from pipeline_assets_tests.spark_here import spark_environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Without its web page, and no more partitions than there is data for.
QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}


@pytest.fixture(scope="session")
def session() -> Iterator[SparkSession]:
    """Spark in this machine, two tasks at once, each of which may fail twice."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in spark_environment().items():
            patch.setenv(name, value)
        started = open_session("tests", master="local[2,3]", conf=QUIET)
        yield started
        started.stop()
