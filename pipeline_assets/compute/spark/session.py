"""A Spark session for our tasks: the cluster's own where there is one, else one in this machine.

What belongs here: what our tasks need of a session. What does not: how large a cluster is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A task is given one processor, and Polars would start a thread for each of the machine's.
_ENVIRONMENT: Final = {"POLARS_MAX_THREADS": "1"}


def open_session(
    name: str, *, master: str | None = None, conf: Mapping[str, str] | None = None
) -> SparkSession:
    """The session of this process; a new one runs at `master`, by default where Spark's settings say.

    `conf` holds more settings of Spark's, by name.

    On Databricks there is one already, and its executors' environment is the cluster's `spark_env_vars`.
    """
    from pyspark.sql import SparkSession

    # Without it the workers are whatever `python3` is. Databricks has set it.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name)
    if master is not None:
        builder = builder.master(master)
    for key, value in (conf or {}).items():
        builder = builder.config(key, value)
    for variable, value in _ENVIRONMENT.items():
        builder = builder.config(f"spark.executorEnv.{variable}", value)
    # Workers of a session in this machine inherit the environment that it was started with.
    kept = {variable: os.environ.get(variable) for variable in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        return builder.getOrCreate()
    finally:
        for variable, before in kept.items():
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before
