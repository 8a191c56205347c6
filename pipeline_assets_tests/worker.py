"""A process that keeps running the pipeline over the storage of its environment, to be killed by its parent.

What belongs here: what another process of the same pipeline would do. What does not: checks.
"""

from __future__ import annotations

import random
import sys

from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import World


def main(seed: str, rounds: str) -> None:
    """Run by both lanes, again and in full, for so many rounds."""
    world = World(Storage.of_environment(), anomaly_threshold=3.0)
    generator = random.Random(seed)
    days = [name for name in world.context.store.children("logs") if name != "incremental"]
    world.landed = {f"logs/{day}/any": b"" for day in days}
    print("ready", flush=True)
    for _ in range(int(rounds)):
        if generator.random() < 0.6:
            world.catch_up(everything=generator.random() < 0.5)
        else:
            world.process(generator.sample(world.units(), 1), reuse=generator.random() < 0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
