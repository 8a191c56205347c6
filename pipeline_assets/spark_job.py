"""`pipeline-assets-spark`: what a cluster runs when a Dagster run sends deliveries there.

What belongs here: the process of the job from its first line to its last: its variables, its Pipes, its
session, and what it answers. What does not: the work (`compute.spark`), and who sends (`compute.databricks`).

It runs from the deployed wheel. A process that returns has done its work; one that raises says why first.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from dagster_pipes import (
    DAGSTER_PIPES_CONTEXT_ENV_VAR,
    PipesAzureBlobStorageContextLoader,
    PipesAzureBlobStorageMessageWriter,
    PipesCliArgsParamsLoader,
    PipesContext,
    PipesContextLoader,
    PipesDefaultContextLoader,
    PipesDefaultMessageWriter,
    PipesEnvVarParamsLoader,
    PipesMessageWriter,
    PipesParamsLoader,
    open_dagster_pipes,
)

from pipeline_assets.compute.job_spec import JobFailure, JobSpec, UnitAnswer
from pipeline_assets.escaping import plain
from pipeline_assets.settings import Settings, load_settings
from pipeline_assets.settings_elsewhere import settings_from
from pipeline_assets.versions import code_version

Run = Callable[[JobSpec, Callable[[str], None]], Iterator[UnitAnswer]]

_INTERVAL_S: Final = 1.0
# What Spark and Spark Connect say when machines went away: spot instances evicted, a driver lost or new.
_LOST: Final = re.compile(
    r"ExecutorLostFailure|SparkContext was shut ?down|SparkContext has been shutdown|stopped SparkContext"
    r"|worker (was )?lost|decommission|Connection reset by peer|Connection refused"
    r"|INVALID_HANDLE\.SESSION_(CHANGED|CLOSED|NOT_FOUND)|StatusCode\.UNAVAILABLE",
    re.I,
)


class OtherVersionError(Exception):
    """The deployed wheel is not of the sender's code."""


def main(arguments: Sequence[str] | None = None, run: Run | None = None) -> None:
    """The entry point of the wheel. `run` does the work; Spark, unless it is given."""
    _set_variables(sys.argv[1:] if arguments is None else arguments)
    settings = load_settings()
    loader, writer = _ends(settings)
    with open_dagster_pipes(params_loader=_params(), context_loader=loader, message_writer=writer) as pipes:
        try:
            _work(pipes, run or in_spark)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            pipes.report_custom_message(JobFailure(text[:4000], lost=is_lost(error)).to_message())
            raise


def in_spark(spec: JobSpec, progress: Callable[[str], None]) -> Iterator[UnitAnswer]:
    """What is asked, made by Spark on this cluster."""
    from pipeline_assets.compute.spark.run import run_job
    from pipeline_assets.compute.spark.session import open_session

    return run_job(open_session(), spec, progress)


def is_lost(error: BaseException) -> bool:
    """Whether machines went away under the work, as far as the error tells."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        if _LOST.search(str(current)):
            return True
        seen.append(current)
        current = current.__cause__ or current.__context__
    return False


def _set_variables(arguments: Sequence[str]) -> None:
    """Variables that came as parameters, as this process's own."""
    parser = argparse.ArgumentParser(prog="pipeline-assets-spark", allow_abbrev=False)
    parser.add_argument("--set", action="append", default=[], help="NAME=value")
    parser.add_argument("--secret", action="append", default=[], help="NAME=scope/key")
    known, _ = parser.parse_known_args(arguments)
    for item in known.set:
        name, _, text = item.partition("=")
        os.environ[name] = text
    for item in known.secret:
        from databricks.sdk.runtime import dbutils

        name, _, place = item.partition("=")
        scope, _, key = place.partition("/")
        os.environ[name] = dbutils.secrets.get(scope=scope, key=key)


def _params() -> PipesParamsLoader:
    """Where Pipes was told its places: in variables of a new cluster, or in parameters."""
    if DAGSTER_PIPES_CONTEXT_ENV_VAR in os.environ:
        return PipesEnvVarParamsLoader()  # type: ignore[no-untyped-call]
    return PipesCliArgsParamsLoader()  # type: ignore[no-untyped-call]


def _ends(settings: Settings) -> tuple[PipesContextLoader, PipesMessageWriter[Any]]:
    """This end of Pipes, for the storage."""
    if settings.azure is None:
        return PipesDefaultContextLoader(), PipesDefaultMessageWriter()
    from pipeline_assets.storage.azure_client import service_client

    client = service_client(settings.azure)
    return (
        PipesAzureBlobStorageContextLoader(client),
        PipesAzureBlobStorageMessageWriter(client, interval=_INTERVAL_S),
    )


def _work(pipes: PipesContext, run: Run) -> None:
    spec = JobSpec.from_json(pipes.get_extra("job"))
    _check_version(pipes, settings_from(spec.settings), spec)
    for answer in run(spec, lambda message: pipes.log.info(plain(message))):
        pipes.report_custom_message(answer.to_message())


def _check_version(pipes: PipesContext, settings: Settings, spec: JobSpec) -> None:
    mine = code_version()
    if spec.version == mine:
        return
    message = (
        f"the deployed wheel is {mine}, and the code that sent the job is {spec.version or 'unknown'};"
        " deploy the wheel anew, or set PIPELINE_DATABRICKS_OTHER_VERSION=warn"
    )
    if settings.databricks_other_version == "refuse":
        raise OtherVersionError(message)
    pipes.log.warning(message)


if __name__ == "__main__":
    main()
