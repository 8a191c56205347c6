"""The pipeline without Dagster, from a landed file on, exactly as a run does it.

What belongs here: landing files in an empty storage folder, and its layers in their order, with the CPU time
of each. What does not: anything that the pipeline does itself.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline_assets.compute.bronze import refresh_bronze
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.gold import refresh_gold
from pipeline_assets.compute.publish import publish_units
from pipeline_assets.compute.silver import refresh_silver
from pipeline_assets.settings import Settings
from pipeline_assets.storage.units import Unit

# The day's folder the file has landed in; its events are of the days around it.
UNIT_DAY: Final = "2024-01-15"


@dataclass(frozen=True)
class Landed:
    """A storage in which some units have landed."""

    context: Context
    units: tuple[Unit, ...]


def landed(source: Path, folder: Path, *, accelerator: bool = False) -> Landed:
    """A storage in this folder with one landed file: the source itself, by a second name of it."""
    return landed_days({UNIT_DAY: [source]}, folder, accelerator=accelerator)


def landed_days(days: dict[str, list[Path]], folder: Path, *, accelerator: bool = False) -> Landed:
    """A storage in this folder with files by the day whose folder they have landed in."""
    settings = Settings(storage=str(folder), accelerator=accelerator)
    for day, sources in days.items():
        target = folder / "logs" / day
        target.mkdir(parents=True, exist_ok=True)
        for number, source in enumerate(sources):
            name = f"access-{number}.log" + (source.suffix if source.suffix != ".log" else "")
            os.link(source, target / name)
    return Landed(Context.of(settings), tuple(Unit("daily", day) for day in sorted(days)))


def to_bronze(it: Landed) -> None:
    """Landed to bronze."""
    for unit in it.units:
        refresh_bronze(it.context, unit, reuse=True)


def to_gold(it: Landed) -> None:
    """Landed to bronze, silver and gold."""
    for refresh in (refresh_bronze, refresh_silver, refresh_gold):
        for unit in it.units:
            refresh(it.context, unit, reuse=True)


def to_serving(it: Landed) -> dict[str, float]:
    """Landed to bronze, silver, gold, serving and scores; the CPU seconds of each step."""
    return timed_steps(it.context, it.units)


def timed_steps(context: Context, units: Iterable[Unit]) -> dict[str, float]:
    """Every layer of some units, as a run does them; the CPU seconds of each step."""
    mine = list(units)
    spent = {}
    for name, refresh in (("bronze", refresh_bronze), ("silver", refresh_silver), ("gold", refresh_gold)):
        before = cpu_seconds()
        for unit in mine:
            refresh(context, unit, reuse=True)
        spent[name] = cpu_seconds() - before
    before = cpu_seconds()
    publish_units(context, mine)
    spent["serving and scores"] = cpu_seconds() - before
    return spent


def cpu_seconds() -> float:
    """CPU seconds of this process so far, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
