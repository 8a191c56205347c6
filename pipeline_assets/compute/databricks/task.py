"""What the Jobs API is asked to run: the task, its cluster, and what its process is told.

What belongs here: from settings to the request's parts, as pure functions. What does not: sending it
(`workspace`), and what the process does with it (`spark_job`).

Nothing is deployed for a run: the task is an entry point of the wheel that is there already.
"""

from __future__ import annotations

from typing import Any, Final

from databricks.sdk.service import compute, jobs

from pipeline_assets.azure_access import ENDPOINT
from pipeline_assets.databricks_settings import scope_and_key
from pipeline_assets.settings import Settings
from pipeline_assets.settings_elsewhere import public_variables
from pipeline_assets.versions import DISTRIBUTION

ENTRY_POINT: Final = "pipeline-assets-spark"
_TASK: Final = "pipeline"
# Serverless environment 4 has Python 3.12, as Databricks Runtime 17.3 has.
_SERVERLESS_VERSION: Final = "4"
# The driver is the one machine whose loss ends the job.
_ON_DEMAND_MACHINES: Final = 1
_AVAILABILITY: Final = {
    "never": compute.AzureAvailability.ON_DEMAND_AZURE,
    "with_fallback": compute.AzureAvailability.SPOT_WITH_FALLBACK_AZURE,
    "only": compute.AzureAvailability.SPOT_AZURE,
}


def submit_task(settings: Settings) -> jobs.SubmitTask:
    """The task of a job, on what the settings say."""
    if settings.databricks_cluster == "new":
        # A new cluster's processes get their variables from it, and secrets without anybody seeing them.
        return jobs.SubmitTask(
            task_key=_TASK,
            python_wheel_task=_wheel_task([]),
            libraries=[compute.Library(whl=settings.databricks_wheel)],
            new_cluster=_cluster(settings),
            timeout_seconds=settings.databricks_timeout_seconds,
        )
    task = jobs.SubmitTask(
        task_key=_TASK,
        python_wheel_task=_wheel_task(_parameters(settings)),
        timeout_seconds=settings.databricks_timeout_seconds,
    )
    if settings.databricks_cluster == "existing":
        task.existing_cluster_id = settings.databricks_cluster_id
        if settings.databricks_wheel:
            task.libraries = [compute.Library(whl=settings.databricks_wheel)]
    else:
        task.environment_key = _TASK
    return task


def submit_arguments(settings: Settings, name: str, token: str) -> dict[str, Any]:
    """Arguments of the submission beside the task. Repeated with the same token it starts no second job."""
    arguments: dict[str, Any] = {
        "run_name": name,
        "timeout_seconds": settings.databricks_timeout_seconds,
        "idempotency_token": token,
    }
    if settings.databricks_cluster == "serverless":
        environment = compute.Environment(
            environment_version=_SERVERLESS_VERSION, dependencies=[settings.databricks_wheel]
        )
        arguments["environments"] = [jobs.JobEnvironment(environment_key=_TASK, spec=environment)]
    return arguments


def shared_settings(settings: Settings) -> dict[str, str]:
    """Variables that decide what is stored and where, as the job must have them; none is a secret."""
    return public_variables(settings) | _place(settings)


def _place(settings: Settings) -> dict[str, str]:
    """Where the storage is: what the process must know before it can be told anything else."""
    if settings.azure is None:
        return {"PIPELINE_STORAGE": str(settings.root)}
    return {"PIPELINE_STORAGE": settings.storage, ENDPOINT: settings.azure.endpoint}


def _wheel_task(parameters: list[str]) -> jobs.PythonWheelTask:
    return jobs.PythonWheelTask(package_name=DISTRIBUTION, entry_point=ENTRY_POINT, parameters=parameters)


def _parameters(settings: Settings) -> list[str]:
    """Variables as parameters, where the cluster is not ours; of a secret only where it is kept."""
    plain = _place(settings) | settings.databricks_plain
    found = [part for name, text in plain.items() for part in ("--set", f"{name}={text}")]
    for name, reference in settings.databricks_references.items():
        found += ["--secret", f"{name}={'/'.join(scope_and_key(reference))}"]
    return found


def _cluster(settings: Settings) -> compute.ClusterSpec:
    fewest, most = settings.databricks_min_workers, settings.databricks_max_workers
    pool = settings.databricks_instance_pool_id or None
    cluster = compute.ClusterSpec(
        spark_version=settings.databricks_spark_version,
        policy_id=settings.databricks_policy_id or None,
        instance_pool_id=pool,
        # Only such a cluster, or one that is shared, may read a wheel in a volume.
        data_security_mode=compute.DataSecurityMode.SINGLE_USER,
        single_user_name=settings.databricks_single_user or None,
        spark_env_vars=_place(settings) | settings.databricks_plain | settings.databricks_references,
    )
    if fewest == most:
        cluster.num_workers = most
    else:
        cluster.autoscale = compute.AutoScale(min_workers=fewest, max_workers=most)
    if pool is None:
        # A pool has said already what its machines are.
        cluster.node_type_id = settings.databricks_node_type
        cluster.azure_attributes = compute.AzureAttributes(
            availability=_AVAILABILITY[settings.databricks_spot],
            first_on_demand=_ON_DEMAND_MACHINES,
            spot_bid_max_price=settings.databricks_spot_max_price,
        )
    return cluster
