"""Lines to rollups and serving tables without a storage, for tests of the kernel.

What belongs here: reading files of lines and rolling them up, each file as a delivery of its own. What does not:
what must come of it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import polars as pl

from pipeline_assets.kernel.clean import CLEANERS
from pipeline_assets.kernel.codes import plain
from pipeline_assets.kernel.parse import FileReader, ReadOptions
from pipeline_assets.kernel.projections import PROJECTIONS, prepared
from pipeline_assets.kernel.rollups import ROLLUPS, prepared_rows, roll_up_prepared
from pipeline_assets.kernel.schemas import BRONZE
from pipeline_assets.kernel.texts_by_number import plain_rows

Rolled = dict[str, pl.DataFrame]


def silver_of(path: str, content: bytes) -> dict[str, pl.DataFrame]:
    """Silver rows of one file."""
    chunks = list(FileReader(io.BytesIO(content), path, ReadOptions()))
    found = {}
    for table, clean in CLEANERS.items():
        frames = [getattr(chunk, table) for chunk in chunks]
        # Stored texts are plain.
        found[table] = plain(clean(pl.concat([BRONZE[table].empty(), *frames]).lazy()).collect())
    return found


def roll_up_part(table: str, rows: pl.DataFrame) -> Rolled:
    """What rows of one table of silver give to each rollup."""
    rolled = roll_up_prepared(table, prepared_rows(table, rows.lazy()))
    return {
        name: found if isinstance(found, pl.DataFrame) else plain_rows(found)
        for name, found in rolled.items()
    }


def roll_up(silver: Mapping[str, pl.DataFrame]) -> Rolled:
    """The rollups of some silver rows, by landed file."""
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in ROLLUPS}
    for table, rows in silver.items():
        for name, frame in roll_up_part(table, rows).items():
            parts[name].append(frame)
    return {name: plain(ROLLUPS[name].merge_files(frames)) for name, frames in parts.items()}


def merge(*states: Rolled) -> Rolled:
    """States, or rollups of deliveries, as one state of all their days."""
    return {name: rollup.merge_day([state[name] for state in states]) for name, rollup in ROLLUPS.items()}


def serve(files: Mapping[str, bytes]) -> dict[str, list[tuple[object, ...]]]:
    """Every serving table of these files, without event_date and site where there is one of each."""
    state = merge(*(roll_up(silver_of(path, content)) for path, content in files.items()))
    ready = prepared(state)
    return {name: project(ready).rows() for name, project in PROJECTIONS.items()}
