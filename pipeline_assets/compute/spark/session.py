"""A Spark session for our tasks: the cluster's own where there is one, else one in this machine.

What belongs here: what our tasks need of a session. What does not: how large a cluster is, and what a
worker's process needs (`frames`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def open_session(master: str | None = None, conf: Mapping[str, str] | None = None) -> SparkSession:
    """The session of this process: with `master` a new one there, else the one that there is, or that Spark's
    own settings and variables make; on serverless compute, one of Spark Connect.

    `conf` holds more settings of Spark's, by name. A session that is not ours is told none: Spark Connect
    refuses those that belong to its server.
    """
    from pyspark.sql import SparkSession

    # Without it the workers are whatever `python3` is. Databricks has set it.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder
    if master is not None:
        builder = builder.appName("pipeline-assets").master(master)
    for key, value in (conf or {}).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
