"""Reading layers: the rows of a unit's table that count, and tables of your own beside them.

What belongs here: scanning what manifests name. What does not: writing the pipeline's own layers (`compute`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

from pipeline_assets.kernel.schemas import LAYERS
from pipeline_assets.storage.manifests import (
    Layer,
    counted_files,
    layer_folder,
    new_attempt,
    paths_by_attempt,
    read_manifest,
)
from pipeline_assets.storage.parts import scan_live
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Lane, Unit


def scan_units(store: Store, layer: Layer, table: str, units: Iterable[Unit]) -> pl.LazyFrame:
    """Rows of these units' table, of files that count; a unit without the layer has none.

    The manifests are read now, the rows when the frame is collected.
    """
    catalogued = LAYERS[layer][table]
    frames = [catalogued.empty().lazy()]
    for unit in units:
        manifest = read_manifest(store, layer, unit).value
        live = paths_by_attempt(counted_files(manifest, read_manifest(store, "bronze", unit).value))
        frames.append(scan_live(store, layer, unit, manifest.parts_of(table), live, catalogued))
    return pl.concat(frames)


def units_with_layer(store: Store, layer: Layer, lane: Lane) -> set[str]:
    """Keys of a lane's units that have a folder in the layer."""
    return set(store.children(f"{layer}/{lane}"))


def write_own_table(
    store: Store, layer: Layer, unit: Unit, table: str, rows: pl.DataFrame | pl.LazyFrame
) -> str:
    """Store a table that is not the catalogue's for a unit, all or nothing; where its part lies."""
    path = f"{layer_folder(layer, unit)}/{table}-{new_attempt()}.parquet"
    store.write_parquet(path, rows)
    pointer = _pointer(layer, unit, table)
    found = store.read(pointer)
    store.swap(pointer, json.dumps({"part": path}).encode(), found.etag if found else None)
    return path


def scan_own_table(store: Store, layer: Layer, unit: Unit, table: str) -> pl.LazyFrame:
    """Rows of a table that `write_own_table` stored. Raises `FileNotFoundError` where it stored none."""
    found = store.read(_pointer(layer, unit, table))
    if found is None:
        raise FileNotFoundError(f"{layer}/{unit}: no table {table!r}; materialise that partition first")
    return store.scan_parquet([json.loads(found.data)["part"]])


def _pointer(layer: Layer, unit: Unit, table: str) -> str:
    return f"{layer_folder(layer, unit)}/_manifest-{table}.json"
