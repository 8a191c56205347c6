"""Silver to gold: roll up the rows of one unit.

What belongs here: which parts must be rolled up, and the commit. What does not: what a rollup is
(`kernel.rollups`), and how units meet in a day (`days`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.compute.abreast import abreast
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.derive import Attempt, Derivation, refresh_layer
from pipeline_assets.kernel import codes
from pipeline_assets.kernel.request_rows import REQUEST_SCHEMA
from pipeline_assets.kernel.rollups import PROVEN, ROLLUPS, prepared_rows, proven_rows, roll_up_prepared
from pipeline_assets.kernel.schemas import SILVER
from pipeline_assets.kernel.texts_by_number import plain_rows
from pipeline_assets.storage.behind import Behind
from pipeline_assets.storage.coded_parts import read_groups
from pipeline_assets.storage.manifests import FileRecord, Manifest, Part
from pipeline_assets.storage.memory import give_back
from pipeline_assets.storage.parts import PartWriter, part_paths, scan_table
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    import pyarrow as pa

# What one rollup may gather before it is written, merged: that of some 40 MB of log, or more. Of nearly three
# times as much a fortieth fewer rows come to be, but to merge them takes 30 MB of memory more at that moment.
# Where two parts of silver have hardly a key in common, to merge them costs a third of what rolling up does,
# and gains nothing: such rollups gather only as long as they would make small parts.
_GATHERED_BYTES: Final = 6 << 20
_SMALL_BYTES: Final = 2 << 20
# After so many parts, 600 MB of log, what libraries keep has grown by 20 MB since it was given back.
_PARTS_BETWEEN: Final = 16

# Takes the rows of a rollup, whose texts may be dictionaries, by its name; from a thread, one after another.
Write = Callable[[str, "pl.DataFrame | pa.Table"], object]

_LINES_SCHEMA: Final = {
    "source_file": pl.String(),
    "event_date": pl.Date(),
    "site": pl.String(),
    "fate": pl.String(),
    "reason": pl.String(),
    "lines": pl.Int64(),
}


def refresh_gold(context: Context, unit: Unit, *, reuse: bool) -> Manifest | None:
    """Bring a unit's gold up to its silver; None where there is no silver."""
    return refresh_layer(context, unit, GOLD_OF_SILVER, reuse=reuse)


def roll_up_parts(
    context: Context, unit: Unit, parts: Iterable[Part], write: Write, files: Iterable[FileRecord] = ()
) -> None:
    """Write the rollups of parts of a unit's silver, and of those lines of `files` that became no row.

    Part by part, and what has gathered is written from time to time, so that memory is bounded by parts and
    not by the delivery. Rows of equal keys in two parts of gold are merged with the day.
    """
    gathered: dict[str, list[pl.DataFrame | pa.Table]] = {}

    writing = threading.Lock()

    def read(part: Part) -> tuple[str, Any]:
        # Two things at once are enough for two processors, and three take 40 MB more.
        with writing:
            pass
        return part.table, prepared_rows(part.table, _rows_of(context, unit, part))

    def take(rolled: Mapping[str, pl.DataFrame | pa.Table], beyond: int, *, gives_back: bool = False) -> None:
        with writing:
            _gather(gathered, rolled)
            _write(gathered, write, beyond=beyond)
            if gives_back:
                # Arrow gives back what the thread has that asks: it is this one that encodes.
                give_back()

    # A part is read while the one before is rolled up, and what that has given is merged and encoded. To do
    # all of two parts at once would be quicker, but take 60 MB more.
    with closing(Behind()) as behind:
        for number, rolled in enumerate(map(_rolled_up, abreast(read, parts, at_once=1)), 1):
            gives_back = number % _PARTS_BETWEEN == 0
            behind.run(partial(take, rolled, _GATHERED_BYTES, gives_back=gives_back))
        behind.run(partial(take, roll_up_prepared("lines", _lines_without_a_row(files).lazy()), 0))
        behind.wait()


def _rolled_up(read: tuple[str, Any]) -> Mapping[str, pl.DataFrame | pa.Table]:
    """What a table's prepared rows give. They are let go of before anybody waits for what they gave."""
    table, rows = read
    return roll_up_prepared(table, rows)


def _rows_of(context: Context, unit: Unit, part: Part) -> pl.LazyFrame | pa.Table:
    (path,) = part_paths("silver", unit, [part])
    if part.table == "requests" and part.rows >= codes.MANY_ROWS:
        import pyarrow as pa

        # All of it, should it hold more than it says.
        return pa.concat_tables(read_groups(context.store, path, REQUEST_SCHEMA, f"silver/{unit}", part.rows))
    return scan_table(context.store, [path], SILVER[part.table].schema, f"silver/{unit}")


def _roll_up(context: Context, unit: Unit, silver: Attempt, writer: PartWriter) -> None:
    roll_up_parts(context, unit, silver.parts, _writing(writer), silver.files)
    prove_rows(context, unit, silver, writer.parts)


def complete_rollups(context: Context, unit: Unit, silver: Attempt, writer: PartWriter) -> None:
    """Add to the rollups of an attempt's rows, which are written, its lines that became no row; prove all."""
    roll_up_parts(context, unit, (), _writing(writer), silver.files)
    prove_rows(context, unit, silver, writer.parts)


def _writing(writer: PartWriter) -> Write:
    return writer.write_now


def _gather(
    gathered: dict[str, list[pl.DataFrame | pa.Table]], rolled: Mapping[str, pl.DataFrame | pa.Table]
) -> None:
    """Add rollups that say something to those of their name."""
    for name, rows in rolled.items():
        if len(rows):
            gathered.setdefault(name, []).append(rows)


def _write(gathered: dict[str, list[pl.DataFrame | pa.Table]], write: Write, *, beyond: int) -> None:
    """Write the rollups that have come to more than so many bytes; they are then gathered no more."""
    for name in list(gathered):
        most = beyond if ROLLUPS[name].recurs else min(beyond, _SMALL_BYTES)
        if sum(_size(rows) for rows in gathered[name]) > most:
            some = gathered.pop(name)
            write(name, ROLLUPS[name].merge_files(some) if len(some) > 1 else some[0])


def _size(rows: pl.DataFrame | pa.Table) -> int:
    return int(rows.estimated_size() if isinstance(rows, pl.DataFrame) else rows.nbytes)


def plain(rows: pl.DataFrame | pa.Table) -> pl.DataFrame:
    """Rows of a rollup with their texts as such."""
    return codes.plain(rows) if isinstance(rows, pl.DataFrame) else plain_rows(rows)


def _lines_without_a_row(files: Iterable[FileRecord]) -> pl.DataFrame:
    """Rejected, blank and comment lines by file, on the day on which lines without a time count."""
    rows = []
    for file in files:
        day = file.day_of_rest
        if day is None:
            continue
        # A file read by an older version has no reasons on record.
        unknown = file.rejected - sum(file.rejects.values())
        fates = [
            *(("rejected", reason, lines) for reason, lines in file.rejects.items()),
            ("rejected", None, unknown),
            ("blank", None, file.blank),
            ("comment", None, file.comment),
        ]
        rows += [
            (file.path, date.fromisoformat(day), file.site or "default", fate, reason, lines)
            for fate, reason, lines in fates
            if lines
        ]
    return pl.DataFrame(rows, schema=_LINES_SCHEMA, orient="row")


def prove_rows(context: Context, unit: Unit, silver: Attempt, parts: Iterable[Part]) -> None:
    """Every row of silver is in the gold that was written. Raises `InvalidRowsError` where one is not."""
    written: dict[str, list[str]] = {}
    for part in parts:
        written.setdefault(part.table, []).extend(part_paths("gold", unit, [part]))
    rows = {name: context.store.scan_parquet(paths) for name, paths in written.items()}
    for table in PROVEN:
        wanted = sum(part.rows for part in silver.parts if part.table == table)
        found = proven_rows(rows, table)
        if found != wanted:
            raise InvalidRowsError(f"{unit}: {wanted} {table} in silver but {found} in gold")


GOLD_OF_SILVER: Final = Derivation("gold", "silver", _roll_up)
