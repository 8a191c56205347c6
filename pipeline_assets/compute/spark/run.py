"""A job: bring layers of many units up to what has landed, by tasks of Spark.

What belongs here: the order of the steps and their answers. What does not: reading (`waves`), and what a task
does (`tasks`).

One process puts everything on record, by the same steps as without Spark (`compute.bronze`,
`compute.derive`), which are given what tasks have made, where they would make it themselves. So claims,
copies, races, quarantine and the rule of all or nothing are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pipeline_assets.compute.bronze import changed_files, landed_files, refresh_bronze
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.derive import Attempt, Derivation, attempts_to_make, refresh_layer
from pipeline_assets.compute.gold import GOLD_OF_SILVER, complete_rollups
from pipeline_assets.compute.job_spec import Fate, JobSpec, UnitAnswer
from pipeline_assets.compute.silver import SILVER_OF_BRONZE
from pipeline_assets.compute.spark.waves import STRETCH_BYTES, Waves
from pipeline_assets.settings_elsewhere import public_variables, settings_from, storage_secrets
from pipeline_assets.storage.manifests import FileRecord, Part, read_manifest
from pipeline_assets.storage.parts import PartWriter
from pipeline_assets.storage.quarantine import QuarantinedError
from pipeline_assets.storage.store import Entry
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run_job(
    session: SparkSession,
    spec: JobSpec,
    progress: Callable[[str], None],
    *,
    stretch_bytes: int = STRETCH_BYTES,
) -> Iterator[UnitAnswer]:
    """Do what is asked; an answer for each unit, once all its layers are on record or one can't be.

    Settings are the request's and, where it is silent, the environment's. Files are cut into stretches of
    about `stretch_bytes`. What fails but for bad data is raised, and units without an answer are as they were
    or have some of their layers: the same request again completes them.
    """
    settings = settings_from(spec.settings)
    # Executors of a cluster that is not ours have no secrets of ours, so they get them with the work, inside
    # what Spark sends to them and shows nobody.
    variables = public_variables(settings) | storage_secrets(settings)
    waves = Waves(session, Context.of(settings), variables, progress, stretch_bytes)
    yield from _Job(spec, waves).run()


@dataclass(frozen=True)
class _Step:
    """A layer: what Spark makes of all units at once, and then the commit of each; False: it has nothing."""

    ahead: Callable[[Sequence[Unit]], None]
    commit: Callable[[Unit], bool]


class _Job:
    def __init__(self, spec: JobSpec, waves: Waves) -> None:
        self._spec = spec
        self._waves = waves
        self._context = waves.context
        self._gone: dict[Unit, tuple[str, ...]] = {}

    def run(self) -> Iterator[UnitAnswer]:
        left = sorted(set(self._spec.units))
        for step in self._steps():
            step.ahead(left)
            made: list[Unit] = []
            for unit in left:
                try:
                    if step.commit(unit):
                        made.append(unit)
                    else:
                        yield self._answer(unit, "empty")
                except QuarantinedError as error:
                    yield self._answer(unit, "quarantined", error.reason)
            left = made
        for unit in left:
            yield self._answer(unit, "made")

    def _answer(self, unit: Unit, fate: Fate, reason: str = "") -> UnitAnswer:
        seconds, cpu_seconds = self._waves.spent(unit)
        return UnitAnswer(unit, fate, reason, self._gone.get(unit, ()), seconds, cpu_seconds)

    def _steps(self) -> Iterator[_Step]:
        layers = self._spec.layers
        if "bronze" in layers:
            yield _Step(self._read_ahead, self._commit_bronze)
        for derivation in (SILVER_OF_BRONZE, GOLD_OF_SILVER):
            if derivation.layer in layers:
                ready = self._handing_over(derivation)
                yield _Step(partial(self._derive_ahead, ready), partial(self._commit_derived, ready))

    def _read_ahead(self, units: Sequence[Unit]) -> None:
        wanted = {unit: self._changed(unit) for unit in units}
        self._waves.read({unit: files for unit, files in wanted.items() if files}, self._spec.layers)

    def _changed(self, unit: Unit) -> list[Entry]:
        known = read_manifest(self._context.store, "bronze", unit).value.by_path
        landed = landed_files(self._context, unit)
        return changed_files(self._context, landed, known, reuse=self._spec.reuse)

    def _commit_bronze(self, unit: Unit) -> bool:
        result = refresh_bronze(self._context, unit, reuse=self._spec.reuse, read=self._read_files)
        self._gone[unit] = result.gone_files
        return result.manifest is not None

    def _read_files(
        self, context: Context, unit: Unit, entries: list[Entry]
    ) -> tuple[list[FileRecord], list[Part]]:
        """What was read ahead, where it is these versions; else they are read now."""
        ready = self._waves.take(unit, entries)
        if ready is None:
            self._waves.read({unit: entries}, self._spec.layers)
            ready = self._waves.take(unit, entries)
            assert ready is not None
        return ready.records, ready.parts

    def _derive_ahead(self, derivation: Derivation, units: Sequence[Unit]) -> None:
        layers = self._spec.layers[self._spec.layers.index(derivation.layer) :]
        wanted: dict[tuple[Unit, str], list[Part]] = {}
        for unit in units:
            source = read_manifest(self._context.store, derivation.source, unit)
            previous = read_manifest(self._context.store, derivation.layer, unit).value
            missing, _ = attempts_to_make(previous, source.value, reuse=self._spec.reuse)
            for attempt in missing:
                if self._waves.made(unit, attempt, derivation.layer) is None:
                    wanted[unit, attempt] = Attempt.of(source.value, attempt).parts
        self._waves.derive(wanted, layers)

    def _commit_derived(self, derivation: Derivation, unit: Unit) -> bool:
        return refresh_layer(self._context, unit, derivation, reuse=self._spec.reuse) is not None

    def _handing_over(self, derivation: Derivation) -> Derivation:
        """The derivation, but that what tasks have made of an attempt is taken as it is."""

        def write(context: Context, unit: Unit, source: Attempt, writer: PartWriter) -> None:
            made = self._waves.made(unit, writer.attempt, derivation.layer)
            if made is None:  # it was committed by another process since
                derivation.write(context, unit, source, writer)
                return
            writer.parts.extend(made)
            if derivation.layer == "gold":
                complete_rollups(context, unit, source, writer)

        return replace(derivation, write=write)
