"""The pipeline on an Azure account by its environment alone: the same numbers as on a folder.

What belongs here: commands and the daemon on Azurite, from the outside. What does not: what they do on a folder
(`test_doors`, `test_daemon`), and the store itself (`storage/test_azure_store`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from pipeline_assets import samples
from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets_tests.azurite import Account, Azurite
from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.end_to_end.services import Ended, Service, environment, run, serving_is_true
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.long


@pytest.fixture
def account(azurite: Azurite) -> Account:
    return azurite.new_account()


@pytest.fixture
def command(account: Account, tmp_path: Path) -> Callable[..., Ended]:
    """Runs a command that knows of the account by its environment."""
    env = environment(Path(), tmp_path / "home", **account.environment)
    return lambda *arguments: run(arguments, env, tmp_path / "command.log")


def test_the_samples_give_the_same_serving_row_for_row_as_on_a_folder(
    account: Account, command: Callable[..., Ended], tmp_path: Path
) -> None:
    done = command("pipeline-assets", "run", "--samples")
    assert done.code == 0, f"{done.out}\n{done.err}"
    assert "nothing has landed yet" in done.out

    folder = World(tmp_path / "storage", look_back_days=100_000)
    samples.write_samples(folder.context.store)
    folder.catch_up()
    cloud = World(Storage.in_account(account), look_back_days=100_000)
    for name in (*SERVING, *MODEL):
        assert cloud.table(name) == folder.table(name) != [], name

    state = command("pipeline-assets", "status", "--json")
    assert state.code == 0, state.out
    fields: dict[str, Any] = json.loads(state.out)
    assert fields["is_current"] and fields["root"] == account.storage
    assert all(account.key not in ended.out + ended.err for ended in (done, state))


def test_run_full_and_forget_do_what_they_say(
    account: Account, command: Callable[..., Ended], tmp_path: Path
) -> None:
    world = World(Storage.in_account(account))
    day = datetime(2024, 1, 15, tzinfo=UTC).date()
    path = f"logs/{day}/access.log"
    world.land(path, access_lines([day], 60, seed="day"))
    mine = tmp_path / "mine.log"
    mine.write_bytes(access_lines([day], 30, seed="mine"))
    done = command("pipeline-assets", "run", "--logs", str(mine))
    assert done.code == 0, f"{done.out}\n{done.err}"
    for entry in world.context.store.list("logs"):
        with world.context.store.open(entry.path) as stream:
            world.landed[entry.path] = stream.read()
    assert len(world.landed) == 2
    assert serving_is_true(world)

    assert command("pipeline-assets", "forget", path).code == 0
    world.forgotten.add((path, blake3(world.landed[path]).hexdigest()))
    assert serving_is_true(world)
    assert command("pipeline-assets", "full").code == 0
    assert serving_is_true(world)
    assert command("pipeline-assets", "status").code == 0


def test_a_storage_that_can_not_be_reached_is_told_by_the_exit_code(account: Account, tmp_path: Path) -> None:
    away = Account(account.name, f"http://127.0.0.1:9/{account.name}")
    env = environment(Path(), tmp_path / "home", **away.environment)
    ended = run(["pipeline-assets", "status"], env, tmp_path / "command.log")
    assert ended.code == 3
    assert ended.err.startswith(f"{account.storage}: can't list ")
    assert account.key not in ended.out + ended.err
    env["AZURE_STORAGE_KEY"] = account.key
    ended = run(["pipeline-assets", "status"], env, tmp_path / "command.log")
    assert ended.code == 2
    assert "AZURE_STORAGE_CONNECTION_STRING and AZURE_STORAGE_KEY" in ended.err


def test_a_blob_that_is_uploaded_is_served_by_itself(account: Account, tmp_path: Path) -> None:
    service = Service(tmp_path, storage=Storage.in_account(account))
    recent = [datetime.now(UTC).date() - timedelta(days=ahead) for ahead in (8, 7)]
    with service.running() as running:
        before = running.runs()
        running.world.land("logs/incremental/news.log", access_lines(recent, 100, seed="news"))
        running.wait_for_the_truth()
        (only,) = running.settled_runs(before)
        assert (only.status, only.job) == ("SUCCESS", "incremental_job")
    assert account.key not in service.log.read_text(errors="replace")
