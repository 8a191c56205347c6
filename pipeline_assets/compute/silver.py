"""Bronze to silver: clean the rows of one unit.

What belongs here: which parts must be cleaned, and the commit. What does not: what cleaning is
(`kernel.clean`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import polars as pl

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.derive import Attempt, Derivation, refresh_layer
from pipeline_assets.kernel import codes
from pipeline_assets.kernel.clean import CLEANERS
from pipeline_assets.kernel.schemas import BRONZE
from pipeline_assets.storage.manifests import Manifest, Part
from pipeline_assets.storage.parts import PartWriter, part_paths, scan_table
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.units import Unit

Cleaner = Callable[[pl.LazyFrame], pl.LazyFrame]

# So many rows or so are cleaned at once, while as many are encoded. A part of bronze has about twice as many.
_PIECE_ROWS: Final = 100_000


def refresh_silver(context: Context, unit: Unit, *, reuse: bool) -> Manifest | None:
    """Bring a unit's silver up to its bronze; None where there is no bronze."""
    return refresh_layer(context, unit, SILVER_OF_BRONZE, reuse=reuse)


def clean_parts(context: Context, unit: Unit, parts: Iterable[Part], writer: PartWriter) -> None:
    """Write the cleaned rows of parts of a unit's bronze. Raises `InvalidRowsError` where some miss."""
    for part in parts:
        if part.table not in CLEANERS:
            continue
        (path,) = part_paths("bronze", unit, [part])
        rows = scan_table(context.store, [path], BRONZE[part.table].schema, path)
        clean = CLEANERS[part.table]
        if part.rows < codes.MANY_ROWS:
            written = writer.write(part.table, clean(rows))
        else:
            written = writer.write_frames(part.table, _cleaned(rows, part.rows, clean))
        if written != part.rows:
            raise InvalidRowsError(f"{path}: {part.rows} rows in bronze but {written} in silver")


def _cleaned(rows: pl.LazyFrame, count: int, clean: Cleaner) -> Iterator[pl.DataFrame]:
    """The cleaned rows of a part that has so many, some of them at a time."""
    pieces = max(1, round(count / _PIECE_ROWS))
    bounds = [count * number // pieces for number in range(pieces)]
    for begin, end in zip(bounds, [*bounds[1:], None], strict=True):
        yield clean(rows.slice(begin, None if end is None else end - begin)).collect()


def _clean(context: Context, unit: Unit, bronze: Attempt, writer: PartWriter) -> None:
    clean_parts(context, unit, bronze.parts, writer)


SILVER_OF_BRONZE: Final = Derivation("silver", "bronze", _clean)
