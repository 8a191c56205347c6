"""A version before this one: another kernel, fewer tables and fewer columns, for tests of upgrades.

What belongs here: running as that version, taking from what it wrote the columns that it did not know, and
digests as it wrote them. What does not: what must come of it (`test_upgrades`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl

from pipeline_assets.compute import projecting
from pipeline_assets.kernel import projections, rollups, schemas
from pipeline_assets.models import series
from pipeline_assets.storage import tables
from pipeline_assets.storage.manifests import MANIFEST_NAME, layer_folder
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit

OLDER_KERNEL = "0"
DROPPED = {"bronze": ["extra", "raw"], "silver": ["query", "extra"]}


@contextlib.contextmanager
def kernel(version: str) -> Iterator[None]:
    """Run as a version with this kernel, and the tables as they are."""
    names = [name for name, module in sys.modules.items() if name.startswith("pipeline_assets.")]
    with contextlib.ExitStack() as stack:
        for name in names:
            if hasattr(sys.modules[name], "KERNEL_VERSION"):
                stack.enter_context(mock.patch(f"{name}.KERNEL_VERSION", version))
        yield


@contextlib.contextmanager
def older_version() -> Iterator[None]:
    """Run as a version that had one rollup, one serving table, without visitors, and a shorter ledger."""
    traffic = _without(schemas.SERVING_TRAFFIC_HOURLY, "visitors")
    serving = {"traffic_hourly": traffic}
    records = {"ledger": _without(schemas.LEDGER, "reason"), "unit_days": schemas.UNIT_DAYS}

    def hourly(state: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        visitors = schemas.GOLD_VISITORS.empty().drop("source_file")
        return projections.traffic_hourly({**state, "visitors": visitors})

    hourly.__name__ = "traffic_hourly"
    keys = projections.PROJECTIONS["traffic_hourly"].keys

    def with_the_others(state: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        others = {
            table.name: table.empty().drop("source_file")
            for table in (
                schemas.GOLD_VISITORS,
                schemas.GOLD_VISITS,
                schemas.GOLD_CLIENTS,
                schemas.GOLD_COUNTS,
            )
        }
        return dict(projections.prepared({**state, **others}))

    def of_hours(state: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        return series.of_hours(with_the_others(state))

    def people(state: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return series.people_by_hour(with_the_others(state))

    whole: list[tuple[Any, dict[str, Any]]] = [
        (schemas.SERVING, serving),
        (schemas.GOLD, {"traffic": schemas.GOLD_TRAFFIC}),
        (rollups.ROLLUPS, {"traffic": rollups.ROLLUPS["traffic"]}),
        (projections.PROJECTIONS, {"traffic_hourly": projections.Projection(hourly, ("traffic",), keys)}),
        (tables.TABLES, {**serving, **schemas.MODEL, **records}),
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(kernel(OLDER_KERNEL))
        stack.enter_context(mock.patch.object(projecting, "of_hours", of_hours))
        stack.enter_context(mock.patch.object(projecting, "people_by_hour", people))
        stack.enter_context(mock.patch.object(projecting, "prepared", dict))
        profiles = schemas.MODEL_CLIENT_PROFILES.empty()
        stack.enter_context(mock.patch.object(projecting, "profile_clients", lambda *_: profiles))
        for known, then in whole:
            stack.enter_context(mock.patch.dict(known, then, clear=True))
        yield


def drop_columns(root: Path) -> None:
    """Take from bronze and silver the columns that the older version did not write."""
    for layer, columns in DROPPED.items():
        for part in sorted((root / layer).rglob("*.parquet")):
            rows = pl.read_parquet(part)
            rows.drop([name for name in columns if name in rows.columns]).write_parquet(part)


def write_digests_of_before(store: Store, unit: Unit, landed: Mapping[str, bytes]) -> None:
    """Make the unit's bronze one of before kernel 5, given the bytes of its plain files."""
    path = f"{layer_folder('bronze', unit)}/{MANIFEST_NAME}"
    found = store.read(path)
    assert found is not None
    fields = json.loads(found.data)
    for file in fields["files"]:
        del file["digest"]
        file |= {"sha256": hashlib.sha256(landed[file["path"]]).hexdigest(), "kernel": OLDER_KERNEL}
    store.swap(path, json.dumps(fields).encode(), found.etag)


def _without(table: schemas.Table, *names: str) -> schemas.Table:
    return replace(table, columns=tuple(column for column in table.columns if column.name not in names))
