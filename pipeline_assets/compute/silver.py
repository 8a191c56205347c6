"""Bronze to silver: clean the rows of one unit.

What belongs here: which parts must be cleaned, and the commit. What does not: what cleaning is
(`kernel.clean`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.compute.abreast import abreast
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.derive import Attempt, Derivation, refresh_layer
from pipeline_assets.kernel import codes
from pipeline_assets.kernel.clean import CLEANERS, REQUESTS_FROM_BRONZE, clean_table
from pipeline_assets.kernel.schemas import BRONZE
from pipeline_assets.storage.coded_parts import read_groups
from pipeline_assets.storage.manifests import Manifest, Part
from pipeline_assets.storage.parts import PartWriter, part_paths, scan_table
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    import pyarrow as pa

    # Some rows of a part: those of requests are read, with dictionaries.
    _Piece = tuple[Part, pl.LazyFrame | pa.Table]

# So many rows or more are a piece: two are cleaned at once, while one is encoded. A row group of bronze has
# about as many.
_PIECE_ROWS: Final = 80_000
_CLEANED: Final = {name: BRONZE["requests"].schema[name] for name in REQUESTS_FROM_BRONZE}


def refresh_silver(context: Context, unit: Unit, *, reuse: bool) -> Manifest | None:
    """Bring a unit's silver up to its bronze; None where there is no bronze."""
    return refresh_layer(context, unit, SILVER_OF_BRONZE, reuse=reuse)


def clean_parts(context: Context, unit: Unit, parts: Iterable[Part], writer: PartWriter) -> None:
    """Write the cleaned rows of parts of a unit's bronze. Raises `InvalidRowsError` where some miss."""
    cleanable = (part for part in parts if part.table in CLEANERS)
    for are_many, some in groupby(cleanable, lambda part: part.rows >= codes.MANY_ROWS):
        for part, written in (_write_large if are_many else _write_small)(context, unit, some, writer):
            if written != part.rows:
                (path,) = part_paths("bronze", unit, [part])
                raise InvalidRowsError(f"{path}: {part.rows} rows in bronze but {written} in silver")


def _write_small(
    context: Context, unit: Unit, parts: Iterable[Part], writer: PartWriter
) -> Iterator[tuple[Part, int]]:
    """Each part with how many rows were written of it."""
    for part in parts:
        yield part, writer.write(part.table, CLEANERS[part.table](_rows_of(context, unit, part)))


def _write_large(
    context: Context, unit: Unit, parts: Iterable[Part], writer: PartWriter
) -> Iterator[tuple[Part, int]]:
    """As `_write_small`, but that some rows of a part are cleaned at a time, while others are encoded."""

    def cleaned(piece: _Piece) -> tuple[Part, pl.DataFrame | pa.Table]:
        part, rows = piece
        if isinstance(rows, pl.LazyFrame):
            return part, CLEANERS[part.table](rows).collect()
        return part, clean_table(rows)

    pieces = (piece for part in parts for piece in _pieces_of(context, unit, part))
    for part, some in groupby(abreast(cleaned, pieces), lambda found: found[0]):
        yield part, writer.write_frames(part.table, (rows for _, rows in some))


def _pieces_of(context: Context, unit: Unit, part: Part) -> Iterator[_Piece]:
    if part.table == "requests":
        (path,) = part_paths("bronze", unit, [part])
        for table in read_groups(context.store, path, _CLEANED, path, _PIECE_ROWS):
            yield part, table
        return
    rows = _rows_of(context, unit, part)
    # The last one has all that are left, should the part hold more than it says.
    bounds = [*range(0, max(1, part.rows - _PIECE_ROWS // 2), _PIECE_ROWS), None]
    for begin, end in pairwise(bounds):
        assert begin is not None
        yield part, rows.slice(begin, None if end is None else end - begin)


def _rows_of(context: Context, unit: Unit, part: Part) -> pl.LazyFrame:
    (path,) = part_paths("bronze", unit, [part])
    return scan_table(context.store, [path], BRONZE[part.table].schema, path)


def _clean(context: Context, unit: Unit, bronze: Attempt, writer: PartWriter) -> None:
    clean_parts(context, unit, bronze.parts, writer)


SILVER_OF_BRONZE: Final = Derivation("silver", "bronze", _clean)
