"""The formats in the order in which they are tried, line by line.

What belongs here: which reader gets which lines. What does not: any format, and what becomes of lines that
are in none (`parse`).

A line goes to the first format that reads it, so the order decides only where two would: the user's own
formats come before ours, and ours with fixed shapes before the tolerant ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from pipeline_assets.kernel.access_lines import read_exact_lines, read_tolerant_lines
from pipeline_assets.kernel.alb import ALB, CLASSIC_ELB
from pipeline_assets.kernel.definitions import Definition, json_member, read_defined, rows_schema
from pipeline_assets.kernel.error_lines import error_rows_schema, read_error_lines
from pipeline_assets.kernel.json_lines import read_json_lines
from pipeline_assets.kernel.lines import Directive
from pipeline_assets.kernel.prefixes import without_prefix
from pipeline_assets.kernel.w3c import read_w3c_lines

# Lines that a load balancer may have written; looking is cheaper than trying the whole expression.
_BALANCER: Final = r"^(?:(?:https?|h2|grpcs?|wss?) )?[0-9]{4}-[0-9]{2}-[0-9]{2}T"
_SYSLOG: Final = "syslog_"


@dataclass(frozen=True)
class Formats:
    """What decides how lines are read: the zone of times without one, and the user's own formats.

    `quick` tries the expressions for lines as servers write them first, which gives the same rows sooner.
    """

    timezone: str = "UTC"
    own: tuple[Definition, ...] = ()
    quick: bool = True


@dataclass
class Reading:
    """Rows of requests and of errors, in line order, and the lines that are in no format."""

    requests: pl.DataFrame
    errors: pl.DataFrame
    rest: pl.DataFrame


@dataclass
class _Found:
    requests: list[pl.DataFrame] = field(default_factory=list)
    errors: list[pl.DataFrame] = field(default_factory=list)


def read_texts(lines: pl.DataFrame, formats: Formats, directives: Sequence[Directive] = ()) -> Reading:
    """Reads lines in any format. `lines` and rows are as in `access_lines` and `error_lines`."""
    found = _Found()
    rest = _read_certain(lines, formats, directives, found)
    if rest.height:
        rest = _read_behind_prefix(rest, formats, found)
    rest = _read_others(rest, formats, found)
    if rest.height:
        # Where a server died, or its log was cut behind its back, zero bytes stand in front of a whole line.
        zeros = rest.filter(pl.col("text").str.starts_with("\0")).with_columns(
            text=pl.col("text").str.strip_chars_start("\0"), repaired=pl.lit(value=True)
        )
        if zeros.height:
            left = _read_others(_read_certain(zeros, formats, directives, found), formats, found)
            rest = _without(rest, zeros, left)
    return Reading(_joined(found.requests), _joined(found.errors), rest)


def _read_behind_prefix(rest: pl.DataFrame, formats: Formats, found: _Found) -> pl.DataFrame:
    """Adds rows of lines that a shipper put something in front of; returns the other lines as they were."""
    stripped = without_prefix(rest)
    if not stripped.height:
        return rest
    behind = _Found()
    left = _read_others(_read_certain(stripped.drop("prefix"), formats, (), behind), formats, behind)
    prefixes = stripped.select("line_number", "prefix")
    found.requests += [_with_prefix(rows, prefixes) for rows in behind.requests if rows.height]
    found.errors += [
        rows.with_columns(format=pl.lit(_SYSLOG) + pl.col("format")) for rows in behind.errors if rows.height
    ]
    return _without(rest, stripped, left)


def _without(rest: pl.DataFrame, tried: pl.DataFrame, left: pl.DataFrame) -> pl.DataFrame:
    """`rest` as it was, without the lines that were `tried` and are not `left`."""
    if left.height == tried.height:
        return rest
    read = tried.join(left, on="line_number", how="anti")
    return rest.join(read, on="line_number", how="anti", maintain_order="left")


def _read_certain(
    lines: pl.DataFrame, formats: Formats, directives: Sequence[Directive], found: _Found
) -> pl.DataFrame:
    """Adds rows of formats that leave no other reading of a line to `found`; returns the other lines."""
    rest = lines
    for definition in formats.own:
        rows, rest = read_defined(rest, definition, formats.timezone)
        found.requests.append(rows)
    if directives:
        rows, rest = read_w3c_lines(rest, directives)
        found.requests.append(rows)
    if formats.quick:
        rows, rest = read_exact_lines(rest)
        found.requests.append(rows)
    return rest


def _read_others(lines: pl.DataFrame, formats: Formats, found: _Found) -> pl.DataFrame:
    """Adds rows of the other formats to `found`; returns the lines that are in none."""
    if not lines.height:
        found.requests.append(rows_schema().to_frame())
        found.errors.append(error_rows_schema().to_frame())
        return lines
    rows, rest = read_tolerant_lines(lines, formats.timezone)
    found.requests.append(rows)
    if not rest.height:
        found.errors.append(error_rows_schema().to_frame())
        return rest
    errors, rest = read_error_lines(rest, formats.timezone)
    found.errors.append(errors)
    rows, errors, rest = read_json_lines(rest, formats.timezone)
    found.requests.append(rows)
    found.errors.append(errors)
    if rest["text"].str.contains(_BALANCER).any():
        for definition in (ALB, CLASSIC_ELB):
            rows, rest = read_defined(rest, definition, formats.timezone)
            found.requests.append(rows)
    return rest


def _with_prefix(rows: pl.DataFrame, prefixes: pl.DataFrame) -> pl.DataFrame:
    """Requests behind a prefix: it is kept in `extra`, and named in the format."""
    joined = rows.join(prefixes, on="line_number", how="left", maintain_order="left")
    member = json_member("prefix", pl.col("prefix").str.strip_chars_end(" "))
    extra = (
        pl.when(pl.col("extra").is_null())
        .then(pl.concat_str(pl.lit("{"), member, pl.lit("}")))
        .otherwise(pl.concat_str(pl.col("extra").str.strip_suffix("}"), pl.lit(","), member, pl.lit("}")))
    )
    return joined.with_columns(extra=extra, format=pl.lit(_SYSLOG) + pl.col("format")).select(rows.columns)


def _joined(found: list[pl.DataFrame]) -> pl.DataFrame:
    some = [rows for rows in found if rows.height]
    if len(some) == 1:
        return some[0]
    return pl.concat(some).sort("line_number") if some else found[0]
