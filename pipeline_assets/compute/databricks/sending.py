"""One job: sent, waited for, and judged.

What belongs here: driving dagster-databricks' client for one request, so that the job and the step end
together. What does not: which units are in it, and sending again (`engine`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError, DagsterPipesExecutionError
from dagster_databricks import PipesDatabricksClient
from dagster_databricks.pipes import PipesDatabricksServerlessClient
from databricks.sdk.config import Config

from pipeline_assets.compute.databricks.channel import channel
from pipeline_assets.compute.databricks.task import submit_arguments, submit_task
from pipeline_assets.compute.databricks.verdict import Verdict, judge
from pipeline_assets.compute.databricks.workspace import LostContactError, Workspace, has_ended, is_passing
from pipeline_assets.compute.engine import Progress
from pipeline_assets.compute.job_spec import JobFailure, JobSpec, UnitAnswer
from pipeline_assets.escaping import plain
from pipeline_assets.settings import Settings
from pipeline_assets.storage.units import Unit


class JobFailedError(Exception):
    """A job did not do what it was sent for; the message says why, where to look, and what to do."""


@dataclass(frozen=True)
class Ended:
    """A job's end: what it means, what was answered until then, and the page to look at."""

    verdict: Verdict
    answers: Mapping[Unit, UnitAnswer]
    url: str = ""


def workspace_config() -> Config:
    """How to get into the workspace, as the SDK resolves it. Raises `JobFailedError` where it can't."""
    try:
        return Config()
    except ValueError as error:
        raise JobFailedError(
            "there is no way into a Databricks workspace; set DATABRICKS_HOST, and DATABRICKS_TOKEN or the"
            f" ARM_ variables of a service principal: {plain(str(error))}"
        ) from error


def send(
    settings: Settings, config: Config, step: dg.AssetExecutionContext, spec: JobSpec, progress: Progress
) -> Ended:
    """Send one job and wait for its end. An interrupt cancels the job and is raised.

    Raises `JobFailedError` where the workspace refuses the job, or can't be asked about it any more.
    """
    workspace = Workspace(config, settings.databricks_poll_seconds)
    watched = workspace.jobs
    more = f" and {len(spec.units) - 1} more" if len(spec.units) > 1 else ""
    name = f"pipeline {'-'.join(spec.layers)}: {spec.units[0]}{more}"
    progress(f"to Databricks: {name}")
    with channel(settings) as (injector, reader):
        try:
            _client(settings, workspace, injector, reader).run(
                context=step,
                extras={"job": spec.to_json()},
                task=submit_task(settings),
                submit_args=submit_arguments(settings, name, uuid4().hex),
            )
        except DagsterPipesExecutionError as error:
            progress(f"the job has ended badly: {plain(str(error))}")
        except LostContactError as error:
            raise JobFailedError(plain(str(error))) from error
        except OSError as error:
            watched.end()
            if is_passing(error):
                return Ended(Verdict("lost", f"the workspace can't be reached: {error}"), {})
            raise JobFailedError(
                f"the workspace refused the job: {plain(str(error))}; check DATABRICKS_HOST, its credentials,"
                " and the PIPELINE_DATABRICKS_ setting that this is about"
            ) from error
        except BaseException:
            watched.end()
            raise
    if watched.cancelled:
        # The client has waited for the end and then says nothing of it.
        raise DagsterExecutionInterruptedError("the step was interrupted, and its job was cancelled")
    assert watched.run_id is not None and reader.handler is not None
    run = watched.get_run(watched.run_id)
    if not has_ended(run):
        watched.end()
    answers, failure = _read(reader.handler.get_custom_messages(), spec)
    verdict = judge(
        run,
        failure,
        opened=reader.handler.received_opened_message,
        closed=reader.handler.received_closed_message,
    )
    return Ended(verdict, answers, run.run_page_url or "")


def _client(
    settings: Settings,
    workspace: Workspace,
    injector: dg.PipesContextInjector,
    reader: dg.PipesMessageReader,
) -> PipesDatabricksClient | PipesDatabricksServerlessClient:
    pause_s = settings.databricks_poll_seconds
    if settings.databricks_cluster == "serverless":
        return PipesDatabricksServerlessClient(
            workspace,
            volume_path="",  # for an injector and a reader of its own, which it then does not make
            context_injector=injector,
            message_reader=reader,
            poll_interval_seconds=pause_s,
        )
    return PipesDatabricksClient(
        workspace, context_injector=injector, message_reader=reader, poll_interval_seconds=pause_s
    )


def _read(messages: Iterable[Any], spec: JobSpec) -> tuple[dict[Unit, UnitAnswer], JobFailure | None]:
    """What a job has said: answers for units that it was asked for, and why it gave up."""
    answers: dict[Unit, UnitAnswer] = {}
    failure = None
    for said in messages:
        if isinstance(said, Mapping) and "fate" in said:
            answer = UnitAnswer.from_message(said)
            if answer.unit in spec.units:
                answers[answer.unit] = answer
        elif isinstance(said, Mapping):
            failure = JobFailure.from_message(said) or failure
    return answers, failure
