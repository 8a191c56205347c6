"""Jobs on each kind of cluster with an Azure account between: context, messages and secrets.

What belongs here: what is different where the storage is an account. What does not: failures (`test_jobs`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from pipeline_assets.kernel.schemas import SERVING
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.azurite import Azurite
from pipeline_assets_tests.databricks.conftest import DAYS, Sender, land_days, materialized, said, sender_for
from pipeline_assets_tests.databricks.jobs_api import JobsApi
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def in_azure(api: JobsApi, start_azurite: Callable[[], Azurite]) -> Sender:
    """A sender with an account as storage, and three days landed."""
    made = sender_for(Storage.in_account(start_azurite().new_account()), api)
    land_days(made.world)
    return made


def left_behind(sender: Sender) -> list[str]:
    # It imports some seconds' worth of Azure's libraries, also where this test is not run.
    from pipeline_assets.compute.databricks.blob_channel import CONTAINER

    account = sender.world.storage.account
    assert account is not None
    with BlobServiceClient.from_connection_string(account.connection_string) as client:
        return [blob.name for blob in client.get_container_client(CONTAINER).list_blobs()]


@pytest.mark.parametrize("kind", ["new", "serverless"])
def test_a_job_reads_and_writes_the_account_by_a_secret_of_the_workspace(
    in_azure: Sender, kind: str, tmp_path: Any
) -> None:
    # On a cluster that isn't made for the job, its process asks the workspace for the secret.
    result = in_azure.run(DAYS[0], DAYS[1], PIPELINE_DATABRICKS_CLUSTER=kind)
    assert result.success, said(in_azure.instance, result.run_id) + in_azure.api.output()
    (request,) = in_azure.api.requests
    account = in_azure.world.storage.account
    assert account is not None and account.key not in str(request)
    here = World(tmp_path / "here")
    land_days(here)
    here.process([Unit("daily", day) for day in DAYS[:2]], reuse=True)
    for table in SERVING:
        assert in_azure.world.table(table) == here.table(table), table
    assert left_behind(in_azure) == []


def test_what_a_failed_job_has_said_is_not_left_behind(in_azure: Sender) -> None:
    in_azure.api.troubles.append("silent")
    result = in_azure.run()
    assert not result.success and not materialized(result)
    assert left_behind(in_azure) == []
