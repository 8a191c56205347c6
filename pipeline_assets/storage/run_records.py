"""Records of runs: what each run and each unit of it took, as a table to query. Coordinates nothing.

What belongs here: appending and reading the records. What does not: what is in them (`compute.run_report`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from pipeline_assets.kernel.schemas import RUNS
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.tables import append_rows, read_table


def append_runs(store: Store, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append records, in one commit."""
    append_rows(store, RUNS.name, pl.DataFrame(list(rows), schema=RUNS.schema, orient="row"))


def last_runs(store: Store, count: int) -> pl.DataFrame:
    """The records of the last runs as a whole, the newest first (columns: `schemas.RUNS`)."""
    return (
        read_table(store, RUNS.name)
        .filter(pl.col("unit").is_null())
        .sort("recorded_at", descending=True)
        .head(count)
        .collect()
    )
