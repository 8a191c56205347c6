"""The Parquet IO manager: how assets of a lane are stored and loaded, one partition or many in a run.

What belongs here: Dagster's view of a unit's layer. What does not: the manifests' rules (`manifests`).

The lanes' own layers commit several tables and many units at once, so their assets hand over what they have
committed, and this manager verifies and describes it. An asset of yours, with a key such as
`silver/daily/sessions`, returns a Polars frame, or one by partition key, and this manager commits it under
the same rule: a part under a name of its own, then a manifest swapped in. Downstream, every table of a lane
loads as one `polars.LazyFrame` of the rows that count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, cast, get_args

import dagster as dg
import polars as pl

from pipeline_assets.kernel.schemas import LAYERS
from pipeline_assets.storage.layers import scan_own_table, scan_units, units_with_layer, write_own_table
from pipeline_assets.storage.manifests import Layer, Manifest, read_manifest
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import LANES, Lane, Unit

Frame = pl.DataFrame | pl.LazyFrame


@dataclass(frozen=True)
class CommittedLayer:
    """What a layer's asset has committed: the manifest of each unit."""

    manifests: Mapping[Unit, Manifest]


@dataclass(frozen=True)
class _Address:
    layer: Layer
    lane: Lane
    table: str

    @classmethod
    def of(cls, key: dg.AssetKey) -> Self:
        if len(key.path) != 3 or key.path[0] not in get_args(Layer) or key.path[1] not in LANES:
            raise dg.DagsterInvariantViolationError(
                f"asset {key.to_user_string()} is in no lane; a key of this IO manager is"
                " layer/lane/table, such as silver/daily/sessions"
            )
        layer, lane, table = key.path
        return cls(cast(Layer, layer), cast(Lane, lane), table)

    @property
    def is_catalogued(self) -> bool:
        return self.table in LAYERS[self.layer]


class ParquetIOManager(dg.IOManager):
    """Stores and loads tables of units below one storage root."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def handle_output(
        self, context: dg.OutputContext, obj: CommittedLayer | Frame | Mapping[str, Frame]
    ) -> None:
        """Verify and describe a committed layer, or commit frames of an asset outside the catalogue."""
        address = _Address.of(context.asset_key)
        if isinstance(obj, CommittedLayer):
            self._describe(context, address, obj)
            return
        if address.is_catalogued:
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()} is the pipeline's own; use another table name"
            )
        keys = list(context.asset_partition_keys)
        frames = obj if isinstance(obj, Mapping) else dict.fromkeys(keys[:1], obj)
        if set(frames) - set(keys) or (not isinstance(obj, Mapping) and len(keys) > 1):
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()}: a run of several partitions returns a frame by"
                f" partition key, for keys of this run ({len(keys)} of them)"
            )
        for key, frame in frames.items():
            unit = Unit(address.lane, key)
            path = write_own_table(self._store, address.layer, unit, address.table, frame)
            context.log.info("%s: %s", unit, path)

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame:
        """The table's rows of all partitions asked for, those of files that count."""
        address = _Address.of(context.asset_key)
        keys = list(context.asset_partition_keys)
        if len(keys) > 1:
            there = units_with_layer(self._store, address.layer, address.lane)
            keys = [key for key in keys if key in there]
        units = [Unit(address.lane, key) for key in keys]
        if address.is_catalogued:
            return scan_units(self._store, address.layer, address.table, units)
        return pl.concat(scan_own_table(self._store, address.layer, unit, address.table) for unit in units)

    def _describe(self, context: dg.OutputContext, address: _Address, obj: CommittedLayer) -> None:
        rows = size = 0
        for unit, manifest in obj.manifests.items():
            stored = read_manifest(self._store, address.layer, unit).value
            if stored.generation < manifest.generation:
                raise dg.DagsterInvariantViolationError(
                    f"{address.layer}/{unit}: its manifest was not committed"
                )
            rows += sum(part.rows for part in manifest.parts_of(address.table))
            size += sum(part.size for part in manifest.parts_of(address.table))
        context.add_output_metadata(
            {
                "dagster/row_count": rows,
                "bytes_stored": size,
                "deliveries": len(obj.manifests),
                "dagster/uri": self._store.uri(f"{address.layer}/{address.lane}"),
            }
        )
