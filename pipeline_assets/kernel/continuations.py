"""Multi-line error entries: lines that are in no format and follow an error entry belong to it.

What belongs here: which lines continue which entry, and joining them. What does not: reading the entry's own
line (`error_lines`).

Servers write a message's line feeds as they are, so a stack trace is many lines of one entry. A blank line, a
comment, or any line in a format of its own ends the entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

# An entry ends at these bounds, and what follows is rejected line by line: a file that turns to garbage
# after an error must not become one message of any size.
MAX_ENTRY_LINES: Final = 1_000
MAX_ENTRY_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Continued:
    """Error rows with their continuations, and the lines that continue nothing."""

    errors: pl.DataFrame
    rest: pl.DataFrame


def find_anchors(errors: pl.DataFrame, rest: pl.DataFrame) -> pl.DataFrame:
    """Which entry each line of `rest` continues: `rest` with `anchor`, its line number, or null.

    `errors` and `rest` have `line_number` and `line` (Binary). A line continues an entry if every line
    between them is in `rest` too and the entry stays within its bounds.
    """
    marked = pl.concat(
        [
            errors.select("line_number", "line", is_entry=pl.lit(True)),
            rest.select("line_number", "line", is_entry=pl.lit(False)),
        ]
    ).sort("line_number")
    begins = pl.col("is_entry") | (pl.col("line_number").diff() != 1).fill_null(True)
    anchors = (
        marked.with_columns(block=begins.cum_sum())
        .with_columns(
            anchor=pl.when(pl.col("is_entry").first().over("block")).then(
                pl.col("line_number").first().over("block")
            ),
            entry_lines=pl.int_range(pl.len()).over("block") + 1,
            entry_bytes=(pl.col("line").bin.size() + 1).cum_sum().over("block"),
        )
        .with_columns(
            within=(pl.col("entry_lines") <= MAX_ENTRY_LINES) & (pl.col("entry_bytes") <= MAX_ENTRY_BYTES)
        )
        .filter(~pl.col("is_entry"))
        .select("line_number", anchor=pl.when("within").then("anchor"))
    )
    return rest.join(anchors, on="line_number", how="left", maintain_order="left")


def join_continuations(errors: pl.DataFrame, rest: pl.DataFrame) -> Continued:
    """Join lines to the entries that they continue.

    `errors` has the columns of `error_lines.read_error_lines`; they come back with `line_count`, and of an
    entry with several lines `text` and `message` hold all of them, and `raw`
    all their bytes, line feeds between them.
    """
    if not errors.height or not rest.height:
        return Continued(errors.with_columns(line_count=pl.lit(1, pl.Int64)), rest)
    anchored = find_anchors(errors, rest)
    more = (
        anchored.filter(pl.col("anchor").is_not_null())
        .group_by("anchor", maintain_order=True)
        .agg(pl.col("text").str.join("\n").alias("more_text"), pl.col("line").alias("more_lines"))
    )
    joined = errors.join(more, left_on="line_number", right_on="anchor", how="left", maintain_order="left")
    has_more = pl.col("more_text").is_not_null()
    joined = joined.with_columns(
        text=pl.when(has_more).then(pl.col("text") + "\n" + pl.col("more_text")).otherwise("text"),
        message=pl.when(has_more).then(pl.col("message") + "\n" + pl.col("more_text")).otherwise("message"),
        line_count=pl.lit(1, pl.Int64) + pl.col("more_lines").list.len().fill_null(0).cast(pl.Int64),
        raw=pl.when(has_more).then(_joined_bytes(joined)).otherwise("raw"),
    )
    return Continued(
        joined.drop("more_text", "more_lines"),
        anchored.filter(pl.col("anchor").is_null()).drop("anchor"),
    )


def _joined_bytes(rows: pl.DataFrame) -> pl.Series:
    """All bytes of entries with several lines; null for the others. Polars joins no binary lists itself."""
    values = [
        None if more is None else b"\n".join([line, *more])
        for line, more in rows.select("line", "more_lines").iter_rows()
    ]
    return pl.Series(values, dtype=pl.Binary)
