"""One Spark session for the tests of this room, and one of Spark Connect to the same Spark: to start one takes
longer than any of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from pipeline_assets.compute.spark.session import open_session
from pipeline_assets_tests.spark_here import spark_environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Without its web page, and no more partitions than there is data for.
QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
# It serves Spark Connect too, at a free port of this machine, to whoever has the token.
TOKEN = "a token of tests"
SERVED = QUIET | {
    "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
    "spark.connect.grpc.binding.port": "0",
    "spark.connect.authenticate.token": TOKEN,
}


@pytest.fixture(scope="session")
def session() -> Iterator[SparkSession]:
    """Spark in this machine, two tasks at once, each of which may fail twice."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in spark_environment().items():
            patch.setenv(name, value)
        started = open_session("local[2,3]", SERVED)
        yield started
        started.stop()


@pytest.fixture(scope="session")
def remote(session: SparkSession) -> Iterator[SparkSession]:
    """A client of Spark Connect, which knows nothing of the Spark that it talks to but the address."""
    from pyspark.sql.connect.session import SparkSession as Client

    java: Any = session._jvm
    service = getattr(java, "org.apache.spark.sql.connect.service.SparkConnectService$")
    port = getattr(service, "MODULE$").localPort()
    client = Client.builder.remote(f"sc://localhost:{port}/;token={TOKEN}").create()
    yield cast("SparkSession", client)
    client.stop()
