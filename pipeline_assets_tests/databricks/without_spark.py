"""The job's own process, with the layers made in it and not by Spark: for tests of everything around them.

What belongs here: doing what is asked, or failing at it. What does not: the job's process itself, which is the
real one.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline_assets.compute.bronze import refresh_bronze
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.gold import refresh_gold
from pipeline_assets.compute.job_spec import JobSpec, UnitAnswer
from pipeline_assets.compute.silver import refresh_silver
from pipeline_assets.settings_elsewhere import settings_from
from pipeline_assets.spark_job import main
from pipeline_assets.storage.manifests import Layer, read_manifest
from pipeline_assets.storage.quarantine import QuarantinedError, UnreadableFileError, quarantining
from pipeline_assets.storage.units import Unit


class BrokenCodeError(Exception):
    """Stands for an error of the code."""


def in_this_process(spec: JobSpec, progress: Callable[[str], None]) -> Iterator[UnitAnswer]:
    context = Context.of(settings_from(spec.settings))
    how = sys.argv[1]
    for number, unit in enumerate(spec.units):
        progress(f"{unit}: {'-'.join(spec.layers)}")
        try:
            if number == 0 and how == "unreadable":
                with quarantining(context.store, unit):
                    raise UnreadableFileError(f"logs/{unit.key}/access.log", OSError(errno.EIO, "bad disk"))
            for layer in spec.layers:
                refresh(context, layer, unit, spec.reuse)
        except QuarantinedError as error:
            yield UnitAnswer(unit, "quarantined", error.reason)
            continue
        there = read_manifest(context.store, spec.layers[0], unit).etag is not None
        yield UnitAnswer(unit, "made" if there else "empty", seconds=2.0, cpu_seconds=1.5)
        if number == 0 and how == "break":
            raise BrokenCodeError("no such column")
        if number == 0 and how == "dawdle":
            time.sleep(600)


def refresh(context: Context, layer: Layer, unit: Unit, reuse: bool) -> None:
    if layer == "bronze":
        refresh_bronze(context, unit, reuse=reuse)
    elif layer == "silver":
        refresh_silver(context, unit, reuse=reuse)
    else:
        refresh_gold(context, unit, reuse=reuse)


def entry(how: str) -> list[str]:
    """The command of such a process.

    It does its `work`; or with the first unit it finds the file `unreadable`, or after it, it will `break` or
    `dawdle`.
    """
    return [sys.executable, str(Path(__file__)), how]


if __name__ == "__main__":
    main(sys.argv[2:], run=in_this_process)
