"""Lines as text: UTF-8 where they are, and readable where they are not.

What belongs here: bytes to text. What does not: cutting lines (`lines`), and what a line says (`readers`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel.lines import BYTE_ORDER_MARK

_BYTE_ORDER_MARK: Final = BYTE_ORDER_MARK.decode()
# Python decodes what Polars refuses, much more slowly, so only the runs of this many lines that need it.
_TEXT_ROWS: Final = 1024


def with_text(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines with `text`, without the carriage return at its end, and whether that is not the line's bytes."""
    line = lines["line"]
    text = _valid_text(line)
    if text is None:
        parts = [line[begin : begin + _TEXT_ROWS] for begin in range(0, line.len(), _TEXT_ROWS)]
        text = pl.concat([_readable_text(part) for part in parts], rechunk=True)
        repaired = text.cast(pl.Binary) != line
    else:
        repaired = pl.repeat(False, line.len(), dtype=pl.Boolean, eager=True)
    repaired = repaired | text.str.ends_with("\r")
    text = text.str.strip_suffix("\r")
    if line.len() and lines["byte_offset"].item(0) == 0 and text.item(0).startswith(_BYTE_ORDER_MARK):
        is_first = pl.int_range(line.len(), eager=True) == 0
        text = text.str.strip_prefix(_BYTE_ORDER_MARK).zip_with(is_first, text)
        repaired = repaired | is_first
    return lines.select("line_number", "byte_offset", "line").with_columns(text=text, repaired=repaired)


def _valid_text(line: pl.Series) -> pl.Series | None:
    """These bytes as text, or None where any of them are not UTF-8.

    A cast says so by raising, whether it is strict or not (polars 2.1).
    """
    try:
        return line.cast(pl.String)
    except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError):
        return None


def _readable_text(line: pl.Series) -> pl.Series:
    """These bytes as text, those that are not UTF-8 written as `\\xNN`, as servers do."""
    text = _valid_text(line)
    if text is not None:
        return text
    return pl.Series([value.decode("utf-8", "backslashreplace") for value in line.to_list()], dtype=pl.String)
