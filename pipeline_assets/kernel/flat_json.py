"""The quick way through JSON logs: objects without objects in them, as one `log_format` writes them.

What belongs here: reading lines that have the members, the order and the kinds of values of another line,
all at once. What does not: what a member means where it is not plain, which is for `json_lines` to say;
whatever is odd about a line sends it there, so both ways give the same rows.

A line's *shape* is compiled into one expression. With it some 98,000 lines a second were read on a core where
decoding each object by itself read 24,000.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import polars as pl

from pipeline_assets.kernel import formats, log_times
from pipeline_assets.kernel.definitions import ROW_COLUMNS, TEXT_COLUMNS, rows_schema
from pipeline_assets.kernel.json_members import DURATIONS, FORWARDED, LARGEST, NAMES, plain_name

# A format with optional members has a few shapes. Beyond these, and for fewer lines than this, compiling an
# expression costs more than it saves.
_SHAPES: Final = 8
_FEWEST: Final = 64

_TEXT: Final = r'"([^"\\\x00-\x1f]*)"'
_WHOLE: Final = r"(0|[1-9][0-9]{0,14})"
_DECIMAL: Final = r"((?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?)"
# Numbers that Python writes as they stand here: the others change when they are decoded and written again.
_AS_IT_STANDS: Final = r"(0|-?(?:[1-9][0-9]{0,14}|[1-9][0-9]{0,5}\.[0-9]{0,5}[1-9]|0\.[0-9]{0,3}[1-9]))"
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_@. -]{1,64}")
_BLANKS: Final = r"[ \t]*"
# Times that both ways read alike. The rules of time zones are in tables up to 2037, and extrapolated behind.
_CLOCK: Final = r"[0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:[.,][0-9]{1,9})?"
_YEAR: Final = r"(?:19[7-9][0-9]|20[0-2][0-9]|203[0-7])"
_PLAIN_TIME: Final = (
    rf"^(?:{_YEAR}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}(?:Z| ?[+-][0-9]{{2}}:?[0-9]{{2}})?"
    rf"|[0-9]{{2}}/(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/{_YEAR}:{_CLOCK}(?: [+-][0-9]{{4}})?)$"
)
_NUMBERS: Final = ("status", "bytes", "port")


@dataclass(frozen=True)
class _Member:
    name: str
    kind: str  # text, number, null
    group: str


@dataclass(frozen=True)
class _Shape:
    """The expression of a shape, the members that are columns, and those that are in `extra`."""

    pattern: str
    columns: dict[str, _Member]
    duration: tuple[_Member, int] | None  # and the microseconds in its unit
    extra: tuple[_Member, ...]


def read_flat(lines: pl.DataFrame, timezone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reads the plain flat objects among `lines`; returns their rows and the other lines.

    `lines` and rows are as in `access_lines`. A line is left where `json_lines` may say anything else of it.
    """
    rows: list[pl.DataFrame] = []
    left = lines
    odd: list[pl.DataFrame] = []
    for _ in range(_SHAPES):
        if left.height < _FEWEST:
            break
        shape = _shape(left["text"][0])
        if shape is None:
            odd.append(left.head(1))
            left = left.slice(1)
            continue
        found = left.with_columns(pl.col("text").str.extract_groups(shape.pattern).alias("groups"))
        matched = found["groups"].struct.field(shape.columns["time"].group).is_not_null()
        read = _finished(found.filter(matched).unnest("groups"), shape, timezone)
        plain = read["plain"]
        odd.append(left.filter(matched).filter(~plain))
        rows.append(read.filter(plain).select(ROW_COLUMNS))
        # A line that fails its own shape is written in a way that the expression doesn't know.
        left = left.filter(~matched)
        if not matched[0]:
            odd.append(left.head(1))
            left = left.slice(1)
    if not rows:
        return rows_schema().to_frame(), lines
    return (
        pl.concat(rows).cast(rows_schema()),
        pl.concat([left, *odd]).sort("line_number"),
    )


def _shape(text: str) -> _Shape | None:
    """The shape of a line, or None where it is no plain flat object about a request."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        return None
    named = tuple((name, _kind(value)) for name, value in pairs)
    return None if any(kind is None for _, kind in named) else _compiled(named)


def _kind(value: Any) -> str | None:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else None


@lru_cache(maxsize=256)
def _compiled(named: tuple[tuple[str, str], ...]) -> _Shape | None:
    members = {plain_name(name): _Member(name, kind, f"m{i}") for i, (name, kind) in enumerate(named)}
    if len(members) != len(named) or not all(_PLAIN_KEY.fullmatch(name) for name, _ in named):
        return None
    if any(name in ("ClientHost", "ClientAddr") for name, _ in named):  # Traefik's
        return None
    # Names whose order in `extra` depends on which of them came first.
    queries = [name for name in NAMES["query"] if name in members]
    forwarded = [name for name in (*FORWARDED, "forwarded_for") if name in members]
    if len(queries) > 1 or len(forwarded) > 1:
        return None
    left = {name: member for name, member in members.items() if member.kind != "null"}
    columns: dict[str, _Member] = {}
    for column, names in NAMES.items():
        taken = next((name for name in names if name in left), None)
        if taken is not None:
            columns[column] = left.pop(taken)
    if not {"time", "remote_host"} <= columns.keys() or not {"status", "request", "method"} & columns.keys():
        return None
    if any(member.kind != "text" for column, member in columns.items() if column not in _NUMBERS):
        return None
    duration = next(((left.pop(name), scale) for name, scale in DURATIONS.items() if name in left), None)
    values = {member.group: _WHOLE for column, member in columns.items() if column in _NUMBERS}
    if duration is not None:
        values[duration[0].group] = _DECIMAL
    written = [
        f'"{member.name.replace(".", "[.]")}"{_BLANKS}:{_BLANKS}{_value(member, values)}'
        for member in members.values()
    ]
    pattern = rf"^\{{{_BLANKS}" + f"{_BLANKS},{_BLANKS}".join(written) + rf"{_BLANKS}\}}[ \t\r]*$"
    return _Shape(pattern, columns, duration, tuple(left.values()))


def _value(member: _Member, numbers: dict[str, str]) -> str:
    if member.kind == "null":
        return "null"
    value = _TEXT if member.kind == "text" else numbers.get(member.group, _AS_IT_STANDS)
    return value.replace("(", f"(?<{member.group}>", 1)


def _finished(found: pl.DataFrame, shape: _Shape, timezone: str) -> pl.DataFrame:
    """Rows of `ROW_COLUMNS`, and `plain`: whether `json_lines` would say the same of the line."""
    text = {
        column: _unless_dash(pl.col(shape.columns[column].group))
        if column in shape.columns
        else pl.lit(None, pl.String)
        for column in (*TEXT_COLUMNS, "query")
    }
    time = pl.col(shape.columns["time"].group)
    host = pl.col(shape.columns["remote_host"].group)
    timestamp, offset = log_times.any_timestamp(time, timezone)
    numbers, whole = _numbers(shape)
    duration, exact = _duration(shape)
    query = text["query"]
    words = found.with_columns(
        request_text=text["request"],
        asked=text["request"].str.extract_groups(formats.REQUEST_LINE),
        asked_bare=text["request"].str.extract_groups(formats.REQUEST_LINE_WITHOUT_PROTOCOL),
    )
    said = {
        "method": pl.coalesce(_word("asked", "method"), _word("asked_bare", "bare_method"), text["method"]),
        "target": pl.coalesce(_word("asked", "target"), _word("asked_bare", "bare_target"), text["target"]),
        "protocol": pl.coalesce(_word("asked", "protocol"), text["protocol"]),
    }
    goes_to_target = (
        pl.col("request_text").is_null()
        & (query != "")
        & (said["target"] != "")
        & ~said["target"].str.contains("?", literal=True)
    ).fill_null(value=False)
    said["target"] = (
        pl.when(goes_to_target)
        .then(pl.concat_str(said["target"], pl.lit("?"), query.str.strip_prefix("?")))
        .otherwise(said["target"])
    )
    return words.select(
        "line_number",
        "byte_offset",
        "line",
        "repaired",
        plain=time.str.contains(_PLAIN_TIME) & timestamp.is_not_null() & offset.is_not_null() & whole & exact,
        remote_host=pl.when(host == "").then(pl.lit("-")).otherwise(host),
        timestamp=timestamp,
        utc_offset_minutes=offset,
        request="request_text",
        **said,
        **{column: text[column] for column in ("identity", "user", "referer", "user_agent", "vhost")},
        **numbers,
        duration_us=duration,
        extra=_extra(shape, pl.when(~goes_to_target).then(query)),
        format=pl.lit("json"),
        reason=pl.lit(None, pl.String),
        raw="line",
    )


def _word(groups: str, name: str) -> pl.Expr:
    return pl.col(groups).struct.field(name)


def _unless_dash(value: pl.Expr) -> pl.Expr:
    return pl.when(value != "-").then(value)


def _numbers(shape: _Shape) -> tuple[dict[str, pl.Expr], pl.Expr]:
    """The columns of numbers, and whether each is one that its column holds, or none."""
    found: dict[str, pl.Expr] = {}
    whole = pl.lit(value=True)
    for column in _NUMBERS:
        if column not in shape.columns:
            found[column] = pl.lit(None, pl.Int64)
            continue
        text = pl.col(shape.columns[column].group)
        # Fifteen digits fit whatever they are; longer ones are rare and for the other way.
        number = pl.when(text.str.contains("^[0-9]{1,15}$")).then(text).cast(pl.Int64)
        fits = (number <= LARGEST[column]).fill_null(value=False) | text.is_in(["", "-"])
        found[column], whole = number, whole & fits
    # What doesn't fit is not plain, so its value here is of no account but for its type.
    types = rows_schema()
    return {column: value.cast(types[column], strict=False) for column, value in found.items()}, whole


def _duration(shape: _Shape) -> tuple[pl.Expr, pl.Expr]:
    """Microseconds, and whether they are a whole number of them, written as a plain decimal."""
    if shape.duration is None:
        return pl.lit(None, pl.Int64), pl.lit(value=True)
    member, scale = shape.duration
    written = pl.col(member.group)
    millionths = log_times.microseconds_in(written)
    finer = 1_000_000 // scale
    exact = written.str.contains(r"^[0-9]{1,9}(?:\.[0-9]{1,6})?$") & (millionths % finer == 0)
    return millionths // finer, exact.fill_null(value=False)


def _extra(shape: _Shape, query: pl.Expr) -> pl.Expr:
    """JSON text of the members that are no column, then of a query that is not in the target."""
    members = sorted(shape.extra, key=lambda member: plain_name(member.name) in FORWARDED)
    ordered = [
        _written(member, "forwarded_for" if plain_name(member.name) in FORWARDED else member.name)
        for member in members
    ]
    place = sum(plain_name(member.name) not in FORWARDED for member in members)
    if "query" in shape.columns:
        ordered.insert(place, pl.concat_str(pl.lit('"query":"'), query, pl.lit('"')))
    if not ordered:
        return pl.lit(None, pl.String)
    joined = pl.concat_str(*ordered, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.concat_str(pl.lit("{"), joined, pl.lit("}")))


def _written(member: _Member, name: str) -> pl.Expr:
    value = _unless_dash(pl.col(member.group))
    quote = '"' if member.kind == "text" else ""
    return pl.concat_str(pl.lit(f'"{name}":{quote}'), value, pl.lit(quote))
