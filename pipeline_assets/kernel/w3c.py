"""W3C extended logs, as IIS and CloudFront write them: a `#Fields` directive to a `Definition`.

What belongs here: the fields' names, and which directive holds for which line. What does not: cutting lines
(`lines`, which counts directives as comments and hands them on), and reading by a definition (`definitions`).

Sources: https://www.w3.org/TR/WD-logfile.html, IIS's W3C fields (`time-taken` in whole milliseconds), and
CloudFront's standard log (fields behind tabs, `time-taken` in seconds with a fraction). Times are UTC.
A value is a word, or stands in quotes; IIS writes a blank inside a value as `+`, and bronze keeps that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import polars as pl

from pipeline_assets.kernel.definitions import Definition, Field, Role, read_defined, rows_schema
from pipeline_assets.kernel.lines import MOST_DIRECTIVES, Directive

_COLUMNS: Final = {
    "cs-method": "method",
    "cs-username": "user",
    "cs-version": "protocol",
    "cs-protocol-version": "protocol",
    "cs(user-agent)": "user_agent",
    "cs(referer)": "referer",
    "cs(referrer)": "referer",
    "sc-status": "status",
    "sc-bytes": "bytes",
    "s-port": "port",
    "cs-uri-stem": Role.PATH,
    "cs-uri-query": Role.QUERY,
    "cs-uri": "target",
}
_TIMES: Final = {
    "date": "(?<Y>[0-9]{4})-(?<m>[0-9]{2})-(?<d>[0-9]{2})",
    "time": r"(?<H>[0-9]{2}):(?<M>[0-9]{2}):(?<S>[0-9]{2})(?:\.[0-9]+)?",
}
_CLIENTS: Final = ("c-ip", "c-dns", "x-forwarded-for")
_VALUE: Final = r'"[^"]*"|[^ \t"]+'
_SHAPES: Final = {"sc-status": "[0-9]{3}|-", "sc-bytes": "[0-9]+|-", "s-port": "[0-9]+|-"}
_MOST_FIELDS: Final = 200


def read_w3c_lines(lines: pl.DataFrame, directives: Sequence[Directive]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reads the lines of W3C logs among `lines`; returns their rows and the other lines.

    `directives` are the file's `#Fields` lines, by line number: each holds for the lines up to the next.
    """
    if not directives or not lines.height:
        return rows_schema().to_frame(), lines
    starts = pl.Series([number for number, _ in directives], dtype=pl.Int64)
    # How many directives stand in front of each line.
    before = starts.search_sorted(lines["line_number"])
    found: list[pl.DataFrame] = []
    rest: list[pl.DataFrame] = []
    for (count,), group in lines.group_by(before.alias("before")):
        definition = w3c_definition(directives[count - 1][1]) if count else None
        if definition is None:
            rest.append(group)
            continue
        rows, others = read_defined(group, definition, "UTC")
        found.append(rows)
        rest.append(others)
    rows = pl.concat(found).sort("line_number") if found else rows_schema().to_frame()
    return rows, pl.concat(rest).sort("line_number")


@lru_cache(maxsize=MOST_DIRECTIVES)
def w3c_definition(directive: str) -> Definition | None:
    """The definition that `#Fields: …` gives; None where its lines would name no client or no time."""
    names = re.split(r"[ \t]+", directive.removeprefix("#Fields:").strip())
    lowered = [name.lower() for name in names]
    client = next((name for name in _CLIENTS if name in lowered), None)
    if client is None or not {"date", "time"} <= set(lowered) or len(names) > _MOST_FIELDS:
        return None
    patterns: list[str] = []
    fields: list[Field] = []
    taken: set[str] = set()
    for number, name in enumerate(lowered):
        group = f"f{number}"
        shape = _SHAPES.get(name, _VALUE)
        role: str = Role.REMOTE_HOST if name == client else _COLUMNS.get(name, Role.EXTRA)
        if name in _TIMES and name not in taken:
            taken.add(name)
            patterns.append(_TIMES[name])
            fields += [
                Field(letter, Role.TIME_PART, letter) for letter in re.findall(r"<(\w)>", _TIMES[name])
            ]
            continue
        if name == "time-taken" and name not in taken:
            taken.add(name)
            # Which unit it is shows in every value, so both are fields, and one of them stays empty.
            patterns.append(rf"(?:(?<{group}>[0-9]+)|(?<{group}s>[0-9]+\.[0-9]+)|-)")
            fields += [Field(group, Role.DURATION_MILLISECONDS), Field(f"{group}s", Role.DURATION_SECONDS)]
        else:
            if role in taken:
                role = Role.EXTRA
            patterns.append(f"(?<{group}>{shape})")
            fields.append(Field(group, role, names[number]))
        if role != Role.EXTRA:
            taken.add(role)
    return Definition("w3c", "^" + r"[ \t]+".join(patterns) + r"[ \t]*$", tuple(fields), zone="UTC")
