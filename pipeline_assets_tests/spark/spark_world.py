"""A small world whose layers are made by Spark.

What belongs here: running over it. What does not: what lands, and what must come out (`world`, `oracle`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from unittest import mock

from pipeline_assets.compute.job_spec import JobSpec, UnitAnswer
from pipeline_assets.compute.publish import publish_units
from pipeline_assets.compute.spark.run import run_job
from pipeline_assets.settings_elsewhere import public_variables
from pipeline_assets.storage import control
from pipeline_assets.storage.manifests import Layer
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

LAYERS: tuple[Layer, ...] = ("bronze", "silver", "gold")


class SparkWorld(World):
    """As `World`, by jobs of Spark; large files are cut into stretches of so many bytes."""

    def __init__(
        self, where: Path | Storage, session: SparkSession, *, stretch_bytes: int = 200_000, **settings: Any
    ) -> None:
        super().__init__(where, **settings)
        self.session = session
        self.stretch_bytes = stretch_bytes
        self.said: list[str] = []

    def job(
        self, units: Iterable[Unit], *, reuse: bool = True, layers: tuple[Layer, ...] = LAYERS
    ) -> list[UnitAnswer]:
        """One job for these units, asked for as from another machine: the driver's has the secrets."""
        spec = JobSpec(layers, tuple(units), reuse, public_variables(self.settings))
        asked = JobSpec.from_json(spec.to_json())
        with mock.patch.dict(os.environ, self.storage.environment):
            return list(run_job(self.session, asked, self.said.append, stretch_bytes=self.stretch_bytes))

    def process(self, units: Iterable[Unit], *, reuse: bool) -> list[Unit]:
        """As a run does, with one job for all of its units."""
        mine = sorted(set(units))
        answers = self.job(mine, reuse=reuse)
        assert sorted(answer.unit for answer in answers) == mine
        publish_units(self.context, [*mine, *control.flipped(self.context.store)])
        return sorted(answer.unit for answer in answers if answer.fate == "quarantined")
