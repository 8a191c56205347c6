"""Settings of work that is done on Databricks: where, on what, and what happens when it fails.

What belongs here: reading and checking them, as far as that needs no workspace. What does not: the
workspace's address and how to get into it, which the Databricks SDK reads from variables of its own
(`DATABRICKS_HOST`, `DATABRICKS_TOKEN`, `ARM_CLIENT_ID` and others), and what is done with the settings
(`compute.databricks`).

Names and values are those of the Clusters and Jobs API,
https://docs.databricks.com/api/azure/workspace/clusters/create and
https://docs.databricks.com/api/azure/workspace/jobs/submit.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

Place = Literal["local", "databricks"]

# What a cluster replaces by the secret before any process sees it; it must be the whole value.
_REFERENCE: Final = re.compile(r"\{\{secrets/([\w.@-]+)/([\w.@-]+)\}\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A variable of such a name, or a value with such a text, is a secret, and the cluster's page shows it to
# whoever may see the cluster.
_SECRET_NAME: Final = re.compile(r"CONNECTION_STRING|KEY|SAS|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.I)
_SECRET_VALUE: Final = re.compile(r"AccountKey=|SharedAccessSignature=|\bsig=", re.I)
_WHEEL: Final = re.compile(r"(/|dbfs:/|abfss://).*\.whl")


class DatabricksSettings(BaseSettings):
    """The settings, as fields of `Settings`."""

    compute: Place = Field(
        default="local",
        description="where bronze, silver and gold are made: in the run's own process, or on Databricks where"
        " a delivery is large; a run's tag pipeline/compute overrides it",
    )
    databricks_min_bytes: int = Field(
        default=2**30,
        ge=0,
        description="deliveries with fewer landed bytes to read stay in the run's own process; a run whose"
        " tag pipeline/compute says databricks sends all",
    )
    databricks_cluster: Literal["new", "existing", "serverless"] = Field(
        default="new",
        description="what a job runs on: a cluster made for it, one that is there already, or serverless",
    )
    databricks_cluster_id: str = Field(
        default="", description="the cluster that is there already, such as 0123-456789-abcdefgh"
    )
    databricks_wheel: str = Field(
        default="",
        description="where the deployed wheel of this package lies, such as"
        " /Volumes/main/pipeline/wheels/pipeline_assets-0.1.0-py3-none-any.whl; an existing cluster has it"
        " installed",
    )
    databricks_spark_version: str = Field(
        default="17.3.x-scala2.13", description="Databricks Runtime of a new cluster"
    )
    databricks_node_type: str = Field(
        default="Standard_D8ds_v5", description="kind of machine of a new cluster, where no pool gives them"
    )
    databricks_instance_pool_id: str = Field(
        default="", description="pool that a new cluster takes its machines from"
    )
    databricks_policy_id: str = Field(default="", description="cluster policy of a new cluster")
    databricks_min_workers: int = Field(default=1, ge=1, description="workers of a new cluster, at least")
    databricks_max_workers: int = Field(default=8, ge=1, description="workers of a new cluster, at most")
    databricks_spot: Literal["never", "with_fallback", "only"] = Field(
        default="with_fallback",
        description="whether workers of a new cluster are spot instances, and on-demand ones where there are"
        " none; the driver never is",
    )
    databricks_spot_max_price: float = Field(
        default=-1.0,
        description="most that a spot instance may cost, in US dollars an hour; -1: as an on-demand one",
    )
    databricks_single_user: str = Field(
        default="",
        description="user or service principal that a new cluster belongs to; else whoever sends the job",
    )
    databricks_environment: str = Field(
        default="",
        description="variables of the job's process, NAME=value, separated by white space; a secret is a"
        " reference, such as AZURE_STORAGE_KEY={{secrets/pipeline/storage}}",
    )
    databricks_timeout_seconds: int = Field(
        default=4 * 3600, ge=1, description="after this long a job is ended and its run fails"
    )
    databricks_retries: int = Field(
        default=2,
        ge=0,
        description="how often a job is sent again that lost its cluster or was turned away; bad data and"
        " errors of the code are not tried again",
    )
    databricks_retry_seconds: float = Field(
        default=30.0, ge=0, description="pause before a job is sent again; it doubles each time"
    )
    databricks_poll_seconds: float = Field(
        default=5.0, gt=0, description="pause between two looks at a job that runs"
    )
    databricks_other_version: Literal["refuse", "warn"] = Field(
        default="refuse",
        description="what a job does whose wheel is not of this code: read nothing, or say so and go on",
    )

    @field_validator("databricks_environment")
    @classmethod
    def _without_secrets(cls, value: str) -> str:
        for number, item in enumerate(value.split(), 1):
            name, sign, text = item.partition("=")
            if not sign or not _VARIABLE.fullmatch(name):
                # It may be a secret's second half: it is named by its place.
                raise ValueError(f"item number {number} is not NAME=value")
            if _REFERENCE.fullmatch(text):
                continue
            if _SECRET_NAME.search(name) or _SECRET_VALUE.search(text):
                raise ValueError(
                    f"{name} would be shown in clear on the cluster's page; put it into a secret scope, and"
                    f" write {name}={{{{secrets/<scope>/<key>}}}}"
                )
            if "{{" in text:
                raise ValueError(
                    f"{name}: a reference is {{{{secrets/<scope>/<key>}}}} and nothing beside it"
                )
        return value

    @field_validator("databricks_wheel")
    @classmethod
    def _deployed(cls, value: str) -> str:
        if value and not _WHEEL.fullmatch(value):
            raise ValueError(
                "no deployed wheel; write its path in a volume or the workspace, such as /Volumes/….whl"
            )
        return value

    @field_validator("databricks_spot_max_price")
    @classmethod
    def _price(cls, value: float) -> float:
        if value != -1 and not value > 0:
            raise ValueError("write -1, or a price in US dollars an hour")
        return value

    @model_validator(mode="after")
    def _enough_for_a_job(self) -> DatabricksSettings:
        if self.databricks_min_workers > self.databricks_max_workers:
            raise ValueError(
                "PIPELINE_DATABRICKS_MIN_WORKERS is more than PIPELINE_DATABRICKS_MAX_WORKERS; swap them"
            )
        if self.compute == "databricks" and (missing := self.missing_for_databricks):
            raise ValueError(missing)
        return self

    @property
    def missing_for_databricks(self) -> str:
        """What is not set but needed to send a job, and what to write; empty where all is there."""
        if self.databricks_cluster == "existing":
            if not self.databricks_cluster_id:
                return "PIPELINE_DATABRICKS_CLUSTER_ID: the existing cluster is not named; write its id"
        elif not self.databricks_wheel:
            return (
                "PIPELINE_DATABRICKS_WHEEL: a cluster that is made for a job has to be told where the"
                " deployed wheel is; write its path, such as /Volumes/….whl"
            )
        return ""

    @property
    def databricks_plain(self) -> dict[str, str]:
        """Variables of the job's process that are no secret."""
        return {name: text for name, text in self._variables if not _REFERENCE.fullmatch(text)}

    @property
    def databricks_references(self) -> dict[str, str]:
        """Variables of the job's process that hold a secret, as references to a scope and a key."""
        return {name: text for name, text in self._variables if _REFERENCE.fullmatch(text)}

    @property
    def _variables(self) -> list[tuple[str, str]]:
        return [
            (name, text)
            for name, _, text in (one.partition("=") for one in self.databricks_environment.split())
        ]


def scope_and_key(reference: str) -> tuple[str, str]:
    """Scope and key of a reference to a secret. Raises `ValueError` where it is none."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ValueError("not a reference to a secret; one looks like {{secrets/<scope>/<key>}}")
    return found[1], found[2]
