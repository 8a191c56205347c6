"""The resources: what assets are handed to work with.

What belongs here: making the context once a process, and the Azure account for assets of your own. What does
not: settings and their checks.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import dagster as dg

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.engine import Compute
from pipeline_assets.compute.job_spec import UnitAnswer
from pipeline_assets.compute.metering import Meter
from pipeline_assets.compute.workers import WorkerCompute
from pipeline_assets.databricks_settings import Place
from pipeline_assets.settings import Settings, SettingsError, load_settings
from pipeline_assets.storage.counting import CountingStore, counting
from pipeline_assets.storage.manifests import Layer
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    from dagster_azure.blob import AzureBlobStorageResource

# Runs that a plan asked for carry it: files that have not changed are kept. A person's materialisation and a
# backfill carry none and read everything that is still there again.
REUSE_TAG = "pipeline/reuse"
# Where a run makes its layers, local or databricks; without it the settings say.
COMPUTE_TAG = "pipeline/compute"


class PipelineResource(dg.ConfigurableResource[None]):
    """The pipeline's settings and storage, read from the environment when first used."""

    @cached_property
    def settings(self) -> Settings:
        """The settings of this process."""
        return load_settings()

    @cached_property
    def context(self) -> Context:
        """What every computation is given; its storage counts the requests."""
        made = Context.of(self.settings)
        store, counted = counting(made.store)
        self._counted.append(counted)
        return replace(made, store=store)

    @cached_property
    def meter(self) -> Meter:
        """Measures the run that this resource was made for."""
        assert self.context
        return Meter(self._counted[0])

    @cached_property
    def here(self) -> WorkerCompute:
        """Where this run makes its layers on this machine."""
        return WorkerCompute(self.settings, self.context, self.meter)

    @cached_property
    def made_elsewhere(self) -> dict[tuple[Layer, Unit], UnitAnswer]:
        """What jobs of this run have answered for, by layer: later steps find it done."""
        return {}

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End the processes that the run has started."""
        if "here" in self.__dict__:
            self.here.close()

    @cached_property
    def _counted(self) -> list[CountingStore]:
        return []


def reuses(run: dg.DagsterRun) -> bool:
    """Whether this run keeps what it made of files that have not changed."""
    return run.tags.get(REUSE_TAG) == "true"


def compute_of(pipeline: PipelineResource, step: dg.AssetExecutionContext) -> Compute:
    """Where this step makes its layer: as the run's tag says, else as the settings do."""
    settings = pipeline.settings
    asked = step.run.tags.get(COMPUTE_TAG)
    if asked not in (None, *get_args(Place)):
        raise SettingsError(f"the run's tag {COMPUTE_TAG} is {asked!r}; write local or databricks")
    if (asked or settings.compute) == "local":
        return pipeline.here
    if missing := settings.missing_for_databricks:
        raise SettingsError(missing)
    from pipeline_assets.compute.databricks.engine import DatabricksCompute

    return DatabricksCompute(
        settings,
        pipeline.context,
        pipeline.meter,
        step,
        pipeline.made_elsewhere,
        send_all=asked == "databricks",
    )


@dg.io_manager(required_resource_keys={"pipeline"})
def parquet_io_manager(context: dg.InitResourceContext) -> dg.IOManager:
    """Stores and loads the tables of the lanes, in the pipeline's storage."""
    from pipeline_assets.storage.io_manager import ParquetIOManager

    return ParquetIOManager(context.resources.pipeline.context.store)


@dg.resource(
    description="The Azure account that is the storage, as dagster-azure's AzureBlobStorageResource."
)
def azure_blob_storage(context: dg.InitResourceContext) -> AzureBlobStorageResource:
    """The account for assets of your own, by the credentials that the pipeline uses."""
    from pipeline_assets.storage.azure_credentials import blob_storage_resource

    access = load_settings().azure
    if access is None:
        raise dg.DagsterInvariantViolationError(
            "the storage is a folder, so there is no Azure account; set PIPELINE_STORAGE=az://<account>"
        )
    return blob_storage_resource(access)
