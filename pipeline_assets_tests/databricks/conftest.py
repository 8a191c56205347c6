"""A workspace and a storage for tests that send jobs.

What belongs here: a run of the daily job that has everything from its environment, as a real one. What does
not: what must come of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipeline_assets.assets.resources import COMPUTE_TAG
from pipeline_assets.automation.requests import range_tags
from pipeline_assets.definitions import build_defs
from pipeline_assets_tests.databricks.jobs_api import TOKEN, JobsApi, serving
from pipeline_assets_tests.databricks.without_spark import entry
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import World

DAYS = ("2024-01-15", "2024-01-16", "2024-01-17")
SECRET = "{{secrets/pipeline/storage}}"


def line(host: int, day: int, hour: int = 1) -> bytes:
    return (
        f'192.0.2.{host} - - [{day:02}/Jan/2024:{hour:02}:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'
    ).encode()


def land_days(world: World) -> None:
    for number, day in enumerate(DAYS):
        world.land(
            f"logs/{day}/access.log", line(1, 15 + number) * 3 + line(2, 14 + number) + b"no request\n"
        )


@dataclass
class Sender:
    """Who runs jobs of the pipeline with one workspace and one storage."""

    api: JobsApi
    world: World
    variables: dict[str, str]
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    def run(
        self,
        first: str = DAYS[0],
        last: str = DAYS[-1],
        *,
        selection: list[str] | None = None,
        tags: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> dg.ExecuteInProcessResult:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("PIPELINE_", "AZURE_"))]:
                patch.delenv(name)
            for name, text in {**self.variables, **variables}.items():
                patch.setenv(name, text)
            job = build_defs().resolve_job_def("daily_job")
            return job.execute_in_process(
                instance=self.instance,
                tags={**range_tags(first, last), **(tags or {})},
                asset_selection=[dg.AssetKey(key.split("/")) for key in selection] if selection else None,
                raise_on_error=False,
            )


def sent_everything() -> dict[str, str]:
    return {COMPUTE_TAG: "databricks"}


def said(instance: dg.DagsterInstance, run_id: str) -> str:
    """Everything the run has logged, errors with what caused them."""
    texts = []
    for record in instance.all_logs(run_id):
        texts.append(record.user_message)
        event = record.dagster_event
        data: Any = getattr(event, "event_specific_data", None)
        error = getattr(data, "error", None)
        while error is not None:
            texts.append(f"{error.cls_name}: {error.message}")
            error = error.cause
    return "\n".join(texts)


def materialized(result: dg.ExecuteInProcessResult) -> set[tuple[str, str | None]]:
    found = [
        e.step_materialization_data.materialization for e in result.all_events if e.is_step_materialization
    ]
    return {(one.asset_key.to_user_string(), one.partition) for one in found}


def sender_for(storage: Storage, api: JobsApi) -> Sender:
    variables = {
        **storage.environment,
        "DATABRICKS_HOST": api.url,
        "DATABRICKS_TOKEN": TOKEN,
        "PIPELINE_COMPUTE": "databricks",
        "PIPELINE_DATABRICKS_MIN_BYTES": "1",
        "PIPELINE_DATABRICKS_WHEEL": "/Volumes/main/pipeline/wheels/pipeline_assets.whl",
        "PIPELINE_DATABRICKS_POLL_SECONDS": "0.2",
        "PIPELINE_DATABRICKS_RETRY_SECONDS": "0.1",
    }
    if storage.account is not None:
        api.secrets["pipeline", "storage"] = storage.account.connection_string
        variables["PIPELINE_DATABRICKS_ENVIRONMENT"] = f"AZURE_STORAGE_CONNECTION_STRING={SECRET}"
    return Sender(api, World(storage), variables)


@pytest.fixture
def api() -> Iterator[JobsApi]:
    # The process finds the package and these tests where this one does.
    with serving(JobsApi({"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}, entry("work"))) as running:
        yield running


@pytest.fixture
def sender(api: JobsApi, tmp_path: Path) -> Sender:
    """A sender with a folder as storage, and three days landed."""
    made = sender_for(Storage.in_folder(tmp_path / "storage"), api)
    land_days(made.world)
    return made
