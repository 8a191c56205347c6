"""Real processes: two at once over one storage, and kills that no exception handler sees.

What belongs here: what only real processes can show. What does not: the many interleavings of
`test_promises`, which are cheaper in one process.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.test_promises import History, check_serving
from pipeline_assets_tests.world import World


def start(storage: Storage, seed: str, rounds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline_assets_tests.worker", seed, str(rounds)],
        env=os.environ | storage.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(process.communicate()[1])


def land_some(history: History, files: int) -> None:
    for _ in range(files):
        history.generator.choice([history.land, history.land, history.grow, history.copy, history.rotate])()


@pytest.mark.long
@pytest.mark.parametrize(("kind", "seed"), [*(("folder", seed) for seed in range(3)), ("azurite", 0)])
def test_processes_killed_at_any_moment_leave_nothing_that_the_next_run_does_not_mend(
    seed: int, storage: Storage
) -> None:
    world = World(storage, anomaly_threshold=3.0)
    generator = random.Random(seed)
    history = History(world, generator)
    for turn in range(6):
        land_some(history, 8)
        process = start(storage, f"{seed} {turn}", rounds=1000)
        wait_until_ready(process)
        time.sleep(generator.uniform(0, 1.5))
        assert process.poll() is None, process.communicate()[1]
        process.kill()
        process.wait()
    world.catch_up()
    check_serving(world)
    assert world.catch_up() == 0


@pytest.mark.long
@pytest.mark.parametrize(("kind", "seed"), [("folder", 0), ("folder", 1), ("azurite", 0)])
def test_two_processes_at_once_over_one_storage_agree(seed: int, storage: Storage) -> None:
    world = World(storage, anomaly_threshold=3.0)
    history = History(world, random.Random(seed))
    land_some(history, 12)
    processes = [start(storage, f"{seed} {number}", rounds=6) for number in range(2)]
    for process in processes:
        wait_until_ready(process)
    for _ in range(4):
        land_some(history, 3)
        time.sleep(0.4)
    for process in processes:
        assert process.wait(timeout=300) == 0, process.communicate()[1]
    world.catch_up()
    check_serving(world)
    assert world.catch_up() == 0
