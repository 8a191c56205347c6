"""Bronze to silver: clean the rows of one unit.

What belongs here: which parts must be cleaned, and the commit. What does not: what cleaning is
(`kernel.clean`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.derive import Attempt, Derivation, refresh_layer
from pipeline_assets.kernel.clean import CLEANERS
from pipeline_assets.kernel.schemas import BRONZE
from pipeline_assets.storage.manifests import Manifest, Part
from pipeline_assets.storage.parts import PartWriter, part_paths, row_count, scan_table
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.units import Unit


def refresh_silver(context: Context, unit: Unit, *, reuse: bool) -> Manifest | None:
    """Bring a unit's silver up to its bronze; None where there is no bronze."""
    return refresh_layer(context, unit, SILVER_OF_BRONZE, reuse=reuse)


def clean_parts(context: Context, unit: Unit, parts: Iterable[Part], writer: PartWriter) -> None:
    """Write the cleaned rows of parts of a unit's bronze. Raises `InvalidRowsError` where some miss."""
    for part in parts:
        if part.table not in CLEANERS:
            continue
        (path,) = part_paths("bronze", unit, [part])
        before = len(writer.parts)
        rows = scan_table(context.store, [path], BRONZE[part.table].schema, path)
        writer.write(part.table, CLEANERS[part.table](rows))
        written = row_count(context.store, part_paths("silver", unit, writer.parts[before:]))
        if written != part.rows:
            raise InvalidRowsError(f"{path}: {part.rows} rows in bronze but {written} in silver")


def _clean(context: Context, unit: Unit, bronze: Attempt, writer: PartWriter) -> None:
    clean_parts(context, unit, bronze.parts, writer)


SILVER_OF_BRONZE: Final = Derivation("silver", "bronze", _clean)
