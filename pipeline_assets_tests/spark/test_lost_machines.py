"""Machines that are lost in the middle of a job: an executor is made up for, a driver's work is done again.

What belongs here: kills of whole processes. What does not: a worker that dies (`test_job`), and clusters that a
service has lost (`databricks`).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark
import pytest

from pipeline_assets_tests.spark.test_job import MANY, check_equal, line
from pipeline_assets_tests.spark_here import spark_environment
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.long

DEADLINE_S = 240


@contextmanager
def job(world: World, master: str) -> Iterator[subprocess.Popen[str]]:
    """A driver, and all that it starts, in a group of their own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline_assets_tests.spark.job_process", master],
        env={
            **os.environ,
            **spark_environment(),
            **world.storage.environment,
            "SPARK_HOME": str(Path(pyspark.__file__).parent),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_all(process)


def kill_all(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for_a_part(world: World, process: subprocess.Popen[str]) -> None:
    """Until a task has written something: others are at work then."""
    end = time.monotonic() + DEADLINE_S
    while not list(world.root.glob("bronze/daily/*/*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def executors(process: subprocess.Popen[str]) -> list[int]:
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,sid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = (entry.split(None, 2) for entry in listed)
    return [
        int(pid)
        for pid, leader, args in found
        if int(leader) == process.pid and "CoarseGrainedExecutorBackend" in args
    ]


@pytest.fixture
def worlds(tmp_path: Path) -> tuple[World, World]:
    """The same files twice; those of the second are processed already."""
    world, local = World(tmp_path / "spark"), World(tmp_path / "local")
    for each in (world, local):
        each.land("logs/2024-01-15/access.log", MANY * 4)
        each.land("logs/2024-01-16/access.log", MANY + line(1))
    local.process(local.units(), reuse=True)
    return world, local


def test_an_executor_that_is_lost_is_made_up_for(worlds: tuple[World, World]) -> None:
    world, local = worlds
    with job(world, "local-cluster[2,1,1024]") as process:
        wait_for_a_part(world, process)
        os.kill(executors(process)[0], signal.SIGKILL)
        said, complained = process.communicate(timeout=DEADLINE_S)
    assert said.split() == ["started", "done"], complained
    check_equal(world, local)


def test_what_a_lost_driver_has_left_is_made_anew(worlds: tuple[World, World]) -> None:
    world, local = worlds
    generator = random.Random(3)
    for _ in range(2):
        with job(world, "local[2]") as process:
            wait_for_a_part(world, process)
            time.sleep(generator.uniform(0, 2))
            kill_all(process)
    with job(world, "local[2]") as process:
        said, complained = process.communicate(timeout=DEADLINE_S)
    assert said.split() == ["started", "done"], complained
    check_equal(world, local)
    assert world.catch_up() == 0
