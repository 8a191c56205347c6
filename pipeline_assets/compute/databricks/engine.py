"""Large deliveries are made by one job of a run on Databricks, the others here.

What belongs here: which go, sending them together, sending again what was lost, and what became of each. What
does not: one job from its sending to its end (`sending`), and what the job does (`spark_job`).

The first layer that a run asks for brings the later ones with it, in the same job. When the run comes to
those, what the job has made is kept as it is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.engine import LocalCompute, Progress, Refreshed, Request
from pipeline_assets.compute.job_spec import JobSpec, UnitAnswer
from pipeline_assets.compute.metering import Meter, Usage
from pipeline_assets.compute.size import bytes_to_read
from pipeline_assets.escaping import plain
from pipeline_assets.settings import Settings
from pipeline_assets.storage.manifests import Layer, read_manifest
from pipeline_assets.storage.units import Unit
from pipeline_assets.versions import code_version

if TYPE_CHECKING:
    import dagster as dg

    from pipeline_assets.compute.databricks.sending import Ended

RUN_SHOWN: Final = "databricks_job_run"
# What the steps of a run know of each other: units that a job has answered for, by layer.
MadeElsewhere = MutableMapping[tuple[Layer, Unit], UnitAnswer]


class DatabricksCompute:
    """Databricks for large deliveries, and this process for the others.

    `send_all` sends every delivery that has anything to read. `step` is the Dagster step that asks, and
    `made` what earlier steps of its run have had made.
    """

    def __init__(
        self,
        settings: Settings,
        context: Context,
        meter: Meter,
        step: dg.AssetExecutionContext,
        made: MadeElsewhere,
        *,
        send_all: bool,
    ) -> None:
        self._settings = settings
        self._context = context
        self._meter = meter
        self._step = step
        self._made = made
        self._least = 1 if send_all else max(1, settings.databricks_min_bytes)
        self._local = LocalCompute(context, meter)

    def refresh(self, request: Request, progress: Progress) -> Iterator[Refreshed]:
        """Make the layer; `engine.Compute` documents it."""
        made = tuple(unit for unit in request.units if (request.layer, unit) in self._made)
        far = tuple(unit for unit in request.units if unit not in made and self._is_large(request, unit))
        near = tuple(unit for unit in request.units if unit not in made and unit not in far)
        yield from self._as_made(replace(request, units=made), progress)
        yield from self._local.refresh(replace(request, units=near), progress)
        if far:
            yield from self._elsewhere(replace(request, units=far), progress)

    def _is_large(self, request: Request, unit: Unit) -> bool:
        return bytes_to_read(self._context, request.layer, unit, reuse=request.reuse) >= self._least

    def _as_made(self, request: Request, progress: Progress) -> Iterator[Refreshed]:
        """What a job of this run has made: found to be there and current, with nothing to do."""
        bad = [unit for unit in request.units if self._made[request.layer, unit].fate == "quarantined"]
        for unit in bad:
            # The layers of a bad unit stay as they are; the step that sent it has said so.
            stored = read_manifest(self._context.store, request.layer, unit)
            yield Refreshed(unit, stored.value if stored.etag is not None else None)
        good = tuple(unit for unit in request.units if unit not in bad)
        yield from self._local.refresh(replace(request, units=good, reuse=True), progress)

    def _elsewhere(self, request: Request, progress: Progress) -> Iterator[Refreshed]:
        from pipeline_assets.compute.databricks.sending import JobFailedError

        ended = self._until_done(request, progress)
        if unanswered := [unit for unit in request.units if unit not in ended.answers]:
            raise JobFailedError(
                f"the job on Databricks ended without a word about {len(unanswered)} of"
                f" {len(request.units)} deliveries, such as {unanswered[0]}; its log may say why: {ended.url}"
            )
        for unit in request.units:
            answer = ended.answers[unit]
            usage = Usage(answer.seconds, cpu_seconds=answer.cpu_seconds)
            self._meter.count_elsewhere(request.layer, unit, usage)
            for layer in (request.layer, *request.later):
                self._made[layer, unit] = answer
            yield self._refreshed(request.layer, answer, ended.url)

    def _refreshed(self, layer: Layer, answer: UnitAnswer, url: str) -> Refreshed:
        from pipeline_assets.compute.databricks.sending import JobFailedError

        if answer.fate == "quarantined":
            return Refreshed(answer.unit, None, quarantined=answer.reason or "the job gave no reason")
        if answer.fate == "empty":
            return Refreshed(answer.unit, None)
        stored = read_manifest(self._context.store, layer, answer.unit)
        if stored.etag is None:
            raise JobFailedError(
                f"the job on Databricks says that it has made {layer} of {answer.unit}, but there is none in"
                f" {self._context.store.location}; do both use the same PIPELINE_STORAGE? {url}"
            )
        shown = {RUN_SHOWN: url} if url else {}
        return Refreshed(answer.unit, stored.value, gone_files=answer.gone_files, shown=shown)

    def _until_done(self, request: Request, progress: Progress) -> Ended:
        """Send the units in one job, and again what was lost. Raises `JobFailedError`."""
        from pipeline_assets.compute.databricks.sending import JobFailedError, send, workspace_config
        from pipeline_assets.compute.databricks.task import shared_settings

        config = workspace_config()
        answers: dict[Unit, UnitAnswer] = {}
        layers = (request.layer, *request.later)
        retries = self._settings.databricks_retries
        for tried in range(retries + 1):
            # What has been answered for is committed: the next job goes on where this one ended.
            units = tuple(unit for unit in request.units if unit not in answers)
            spec = JobSpec(layers, units, request.reuse, shared_settings(self._settings), code_version())
            ended = send(self._settings, config, self._step, spec, progress)
            answers |= ended.answers
            all_answered = len(answers) == len(request.units)
            fate, reason = ended.verdict.fate, plain(ended.verdict.reason)
            if fate == "done" or (fate == "lost" and all_answered):
                return replace(ended, answers=answers)
            if fate == "failed":
                raise JobFailedError(f"the job on Databricks failed: {reason} {ended.url}".rstrip())
            if tried < retries:
                pause_s = self._pause_s(tried)
                progress(f"the job was lost and is sent again in {pause_s:.0f} s: {reason}")
                time.sleep(pause_s)
        raise JobFailedError(
            f"the job on Databricks was lost {retries + 1} times (PIPELINE_DATABRICKS_RETRIES={retries}), the"
            f" last time because of this: {reason} {ended.url}".rstrip()
        )

    def _pause_s(self, tried: int) -> float:
        """Seconds before the next try: twice as long each time, and not the same for all who wait."""
        pause_s: float = self._settings.databricks_retry_seconds * 2**tried
        return pause_s * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
