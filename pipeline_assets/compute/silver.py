"""Bronze to silver: clean the rows of one unit.

What belongs here: which parts must be cleaned, and the commit. What does not: what cleaning is
(`kernel.clean`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

import polars as pl

from pipeline_assets.compute.abreast import abreast
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.derive import Attempt, Derivation, refresh_layer
from pipeline_assets.kernel import codes
from pipeline_assets.kernel.clean import CLEANERS
from pipeline_assets.kernel.schemas import BRONZE
from pipeline_assets.storage.manifests import Manifest, Part
from pipeline_assets.storage.parts import PartWriter, part_paths, scan_table
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.units import Unit

# So many rows or so are a piece: two are cleaned at once, while one is encoded. A part of bronze has about
# twice as many.
_PIECE_ROWS: Final = 100_000

# Rows of a part: the first of them and how many; None: all that are left, should it hold more than it says.
_Piece = tuple[Part, int, int | None]


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

    def cleaned(piece: _Piece) -> tuple[Part, pl.DataFrame]:
        part, begin, count = piece
        return part, CLEANERS[part.table](_rows_of(context, unit, part).slice(begin, count)).collect()

    pieces = (piece for part in parts for piece in _pieces_of(part))
    for part, some in groupby(abreast(cleaned, pieces), lambda found: found[0]):
        yield part, writer.write_frames(part.table, (frame for _, frame in some))


def _pieces_of(part: Part) -> Iterator[_Piece]:
    pieces = max(1, round(part.rows / _PIECE_ROWS))
    bounds = [part.rows * number // pieces for number in range(pieces)]
    for begin, end in zip(bounds, [*bounds[1:], None], strict=True):
        yield part, begin, None if end is None else end - begin


def _rows_of(context: Context, unit: Unit, part: Part) -> pl.LazyFrame:
    (path,) = part_paths("bronze", unit, [part])
    return scan_table(context.store, [path], BRONZE[part.table].schema, path)


def _clean(context: Context, unit: Unit, bronze: Attempt, writer: PartWriter) -> None:
    clean_parts(context, unit, bronze.parts, writer)


SILVER_OF_BRONZE: Final = Derivation("silver", "bronze", _clean)
