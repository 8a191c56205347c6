"""A process that runs one job of Spark over the storage of its environment, to be killed, or to lose machines.

What belongs here: what a driver does. What does not: checks.
"""

from __future__ import annotations

import sys

from pipeline_assets.compute.spark.session import open_session
from pipeline_assets_tests.spark.conftest import QUIET
from pipeline_assets_tests.spark.spark_world import SparkWorld
from pipeline_assets_tests.storages import Storage


def main(master: str) -> None:
    """Make all layers of all daily deliveries, and publish them."""
    world = SparkWorld(Storage.of_environment(), open_session(master, QUIET))
    days = [name for name in world.context.store.children("logs") if name != "incremental"]
    world.landed = {f"logs/{day}/any": b"" for day in days}
    print("started", flush=True)
    world.process(world.units(), reuse=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
