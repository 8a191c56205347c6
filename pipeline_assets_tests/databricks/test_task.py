"""What the workspace is asked for, by settings, and what an ended job means.

What belongs here: pure functions of the sender. What does not: anything that is sent (`test_jobs`).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from databricks.sdk.errors import (
    BadRequest,
    InternalError,
    NotFound,
    PermissionDenied,
    TemporarilyUnavailable,
    TooManyRequests,
)
from databricks.sdk.service.jobs import Run
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline_assets.compute.databricks.task import shared_settings, submit_arguments, submit_task
from pipeline_assets.compute.databricks.verdict import judge
from pipeline_assets.compute.databricks.workspace import is_passing
from pipeline_assets.compute.job_spec import JobFailure
from pipeline_assets.settings import Settings
from pipeline_assets.settings_elsewhere import settings_from
from pipeline_assets.spark_job import is_lost

WHEEL = "/Volumes/main/pipeline/wheels/pipeline_assets-0.1.0-py3-none-any.whl"
ACCOUNT: dict[str, Any] = {
    "storage": "az://weblogs",
    "azure_key": "c2VjcmV0LWtleQ==",
    "databricks_environment": "AZURE_STORAGE_KEY={{secrets/pipeline/storage}} REGION=north",
    "databricks_wheel": WHEEL,
}


def settings(**more: Any) -> Settings:
    return Settings(**{**ACCOUNT, **more})


def test_a_new_cluster_is_as_the_settings_say_and_shows_no_secret() -> None:
    task = submit_task(settings(databricks_min_workers=2, databricks_spot_max_price=0.25)).as_dict()
    assert task["python_wheel_task"] == {
        "package_name": "pipeline-assets",
        "entry_point": "pipeline-assets-spark",
    }
    assert task["libraries"] == [{"whl": WHEEL}]
    assert task["timeout_seconds"] == 4 * 3600
    assert task["new_cluster"] == {
        "spark_version": "17.3.x-scala2.13",
        "node_type_id": "Standard_D8ds_v5",
        "autoscale": {"min_workers": 2, "max_workers": 8},
        "data_security_mode": "SINGLE_USER",
        "azure_attributes": {
            "availability": "SPOT_WITH_FALLBACK_AZURE",
            "first_on_demand": 1,
            "spot_bid_max_price": 0.25,
        },
        "spark_env_vars": {
            "PIPELINE_STORAGE": "az://weblogs",
            "AZURE_STORAGE_SERVICE_ENDPOINT": "https://weblogs.blob.core.windows.net",
            "AZURE_STORAGE_KEY": "{{secrets/pipeline/storage}}",
            "REGION": "north",
        },
    }


def test_a_pool_gives_the_machines_and_a_policy_and_an_owner_go_along() -> None:
    cluster = submit_task(
        settings(
            databricks_instance_pool_id="pool-1",
            databricks_policy_id="policy-1",
            databricks_single_user="etl@example.org",
            databricks_min_workers=4,
            databricks_max_workers=4,
        )
    ).as_dict()["new_cluster"]
    assert cluster["instance_pool_id"] == "pool-1" and cluster["policy_id"] == "policy-1"
    assert cluster["num_workers"] == 4
    assert cluster["single_user_name"] == "etl@example.org"
    assert not {"node_type_id", "azure_attributes", "autoscale"} & cluster.keys()


@pytest.mark.parametrize("kind", ["existing", "serverless"])
def test_a_cluster_that_is_not_ours_is_told_where_a_secret_is_and_not_what(kind: Any) -> None:
    chosen = settings(databricks_cluster=kind, databricks_cluster_id="0123-456789-abc")
    task = submit_task(chosen).as_dict()
    assert task["python_wheel_task"]["parameters"] == [
        *("--set", "PIPELINE_STORAGE=az://weblogs"),
        *("--set", "AZURE_STORAGE_SERVICE_ENDPOINT=https://weblogs.blob.core.windows.net"),
        *("--set", "REGION=north"),
        *("--secret", "AZURE_STORAGE_KEY=pipeline/storage"),
    ]
    assert "new_cluster" not in task
    arguments = submit_arguments(chosen, "name", "token")
    assert (arguments["idempotency_token"], arguments["timeout_seconds"]) == ("token", 4 * 3600)
    if kind == "existing":
        assert task["existing_cluster_id"] == "0123-456789-abc" and "environments" not in arguments
    else:
        (environment,) = arguments["environments"]
        assert environment.environment_key == task["environment_key"]
        assert environment.spec.dependencies == [WHEEL]


@given(st.sampled_from(["new", "existing", "serverless"]), st.text(max_size=20), st.text(max_size=20))
def test_no_secret_of_the_sender_is_in_what_is_sent(kind: Any, site: str, formats: str) -> None:
    chosen = settings(databricks_cluster=kind, site=site, alert_urls="slack://tokenA/tokenB/tokenC")
    sent = json.dumps([submit_task(chosen).as_dict(), shared_settings(chosen)])
    assert "c2VjcmV0LWtleQ" not in sent and "tokenA" not in sent


def test_a_job_reads_as_the_sender_would(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = settings(site="shop.example", timezone="Europe/Berlin", start_date="2020-01-01")
    monkeypatch.setenv("AZURE_STORAGE_KEY", ACCOUNT["azure_key"])
    received = settings_from(shared_settings(sent))
    assert received.config_digest == sent.config_digest
    assert received.azure == sent.azure


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("AZURE_STORAGE_CONNECTION_STRING=AccountName=a;AccountKey=b", "{{secrets/<scope>/<key>}}"),
        ("AZURE_STORAGE_KEY=c2VjcmV0", "AZURE_STORAGE_KEY={{secrets/<scope>/<key>}}"),
        ("URL=https://a.example/?sv=1&sig=abc", "URL={{secrets/<scope>/<key>}}"),
        ("REGION=north-{{secrets/a/b}}", "nothing beside it"),
        ("REGION north", "item number 1 is not NAME=value"),
        ("A=1 B-C=2", "item number 2 is not NAME=value"),
    ],
)
def test_a_secret_in_clear_is_refused_and_not_repeated(value: str, advice: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(databricks_environment=value)
    assert advice in str(raised.value)
    assert not {"c2VjcmV0", "AccountKey=b", "sig=abc"} & set(str(raised.value).split())


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "PIPELINE_DATABRICKS_WHEEL"),
        ({"databricks_cluster": "serverless"}, "PIPELINE_DATABRICKS_WHEEL"),
        ({"databricks_cluster": "existing"}, "PIPELINE_DATABRICKS_CLUSTER_ID"),
        ({"databricks_wheel": WHEEL, "databricks_min_workers": 9}, "PIPELINE_DATABRICKS_MAX_WORKERS"),
        ({"databricks_wheel": "dist/pipeline_assets.whl"}, "/Volumes/"),
        ({"databricks_spot_max_price": 0}, "-1"),
    ],
)
def test_what_is_missing_for_a_job_is_named(given: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(compute="databricks", **given)
    assert name in str(raised.value)


def ended(life_cycle: str, result: str = "", code: str = "", kind: str = "") -> Run:
    details = {name: text for name, text in (("code", code), ("type", kind)) if text}
    state = {"life_cycle_state": life_cycle, "state_message": "so it says"}
    return Run.from_dict(
        {
            "state": state | ({"result_state": result} if result else {}),
            **({"status": {"termination_details": details}} if details else {}),
        }
    )


BUG = JobFailure("TypeError: no")
GONE = JobFailure("SparkException: ExecutorLostFailure", lost=True)


@pytest.mark.parametrize(
    ("run", "failure", "opened", "closed", "fate"),
    [
        (ended("TERMINATED", "SUCCESS", "SUCCESS", "SUCCESS"), None, True, True, "done"),
        (ended("TERMINATED", "FAILED", "RUN_EXECUTION_ERROR", "CLIENT_ERROR"), BUG, True, True, "failed"),
        (ended("TERMINATED", "FAILED", "RUN_EXECUTION_ERROR", "CLIENT_ERROR"), GONE, True, True, "lost"),
        (ended("TERMINATED", "FAILED", "RUN_EXECUTION_ERROR", "CLIENT_ERROR"), None, True, False, "lost"),
        (ended("TERMINATED", "FAILED", "RUN_EXECUTION_ERROR", "CLIENT_ERROR"), None, False, False, "failed"),
        (ended("TERMINATED", "FAILED", "DRIVER_ERROR", "INTERNAL_ERROR"), None, True, False, "lost"),
        (ended("INTERNAL_ERROR", "FAILED", "CLOUD_FAILURE", "CLOUD_FAILURE"), None, False, False, "lost"),
        (ended("INTERNAL_ERROR", "FAILED", "CLUSTER_ERROR", "CLIENT_ERROR"), None, False, False, "lost"),
        (ended("INTERNAL_ERROR"), None, False, False, "lost"),
        (
            ended("INTERNAL_ERROR", "FAILED", "LIBRARY_INSTALLATION_ERROR", "CLIENT_ERROR"),
            None,
            False,
            False,
            "failed",
        ),
        (
            ended("INTERNAL_ERROR", "FAILED", "INVALID_CLUSTER_REQUEST", "CLIENT_ERROR"),
            None,
            False,
            False,
            "failed",
        ),
        (ended("TERMINATED", "TIMEDOUT", "CANCELED", "CLIENT_ERROR"), None, True, False, "failed"),
        (ended("TERMINATED", "CANCELED", "USER_CANCELED", "CLIENT_ERROR"), None, True, False, "failed"),
        (ended("SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED"), None, False, False, "lost"),
        (ended("TERMINATED", "FAILED", "A_CODE_OF_TOMORROW"), None, True, True, "failed"),
    ],
)
def test_a_lost_job_is_told_from_a_failed_one(
    run: Run, failure: JobFailure | None, opened: bool, closed: bool, fate: str
) -> None:
    verdict = judge(run, failure, opened=opened, closed=closed)
    assert verdict.fate == fate
    assert bool(verdict.reason) == (fate != "done")


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (InternalError("500"), True),
        (TemporarilyUnavailable("503"), True),
        (TooManyRequests("429"), True),
        (TimeoutError("after five minutes"), True),
        (ConnectionResetError(), True),
        (PermissionDenied("403"), False),
        (BadRequest("400"), False),
        (NotFound("404"), False),
        (ValueError("a bug"), False),
    ],
)
def test_a_bad_moment_is_told_from_a_refusal(error: Exception, passing: bool) -> None:
    assert is_passing(error) == passing


def test_spark_that_lost_machines_is_told_from_an_error_of_the_code() -> None:
    try:
        try:
            raise OSError("ExecutorLostFailure (executor 3 exited unrelated to the running tasks)")
        except OSError as cause:
            raise RuntimeError("Job aborted due to stage failure") from cause
    except RuntimeError as error:
        assert is_lost(error)
    restarted = "[INVALID_HANDLE.SESSION_CHANGED] The handle 0 is invalid. The existing Spark server driver"
    assert is_lost(RuntimeError(f"{restarted} instance has restarted. Please reconnect. SQLSTATE: HY000"))
    assert not is_lost(RuntimeError("[INVALID_HANDLE.FORMAT] The handle 0 is invalid."))
    assert not is_lost(TypeError("unsupported operand"))
