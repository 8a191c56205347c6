"""Formats given by a definition: an expression, and what each of its fields becomes.

What belongs here: reading lines by such a definition, whoever made it. What does not: making one from
Apache's or nginx's language (`apache_log_format`, `nginx_log_format`), from a `#Fields` directive (`w3c`), or
for one product (`alb`).

Every row keeps its line raw: a definition can change, and then only the line itself says what was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

import polars as pl

from pipeline_assets.kernel import formats, log_times
from pipeline_assets.kernel.formats import RejectReason
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS

# Columns that a text becomes as it is; `-` is null.
TEXT_COLUMNS: Final = (
    "identity", "user", "request", "method", "target", "protocol", "referer", "user_agent", "vhost",
)  # fmt: skip
_NUMBER_COLUMNS: Final = {"status": pl.Int16, "bytes": pl.Int64, "port": pl.Int32}
_NO_TEXT: Final = pl.lit(None, dtype=pl.String)
# Some 285 years; a longer time to serve is no fact.
_LONGEST_US: Final = 2**53
# What a row has before the reader of whole files adds the site and the file's name.
ROW_COLUMNS: Final = (
    "line_number", "byte_offset", "line", "repaired", "remote_host", "identity", "user", "timestamp",
    "utc_offset_minutes", "request", "method", "target", "protocol", "status", "bytes", "referer",
    "user_agent", "vhost", "port", "duration_us", "extra", "format", "reason", "raw",
)  # fmt: skip


class Role(StrEnum):
    """What a field that is no column by itself means."""

    REMOTE_HOST = "remote_host"
    PATH = "path"  # the target without its query
    QUERY = "query"  # with or without its question mark
    EXTRA = "extra"  # one member of `extra`, named by the field's key
    TIME = "time"  # a whole time: `formats.CLF_TIME` or `ISO_TIME`
    TIME_PART = "time_part"  # one directive of strftime, named by the field's key
    EPOCH_SECONDS = "epoch_seconds"  # with or without a fraction
    EPOCH_MILLISECONDS = "epoch_milliseconds"
    EPOCH_MICROSECONDS = "epoch_microseconds"
    MILLISECONDS = "milliseconds"  # the fraction of a time, three digits
    MICROSECONDS = "microseconds"  # the fraction of a time, six digits
    DURATION_SECONDS = "duration_seconds"  # with or without a fraction; several are added up
    DURATION_MILLISECONDS = "duration_milliseconds"
    DURATION_MICROSECONDS = "duration_microseconds"


@dataclass(frozen=True)
class Field:
    """What one group of the expression becomes: a column's name or a `Role`, and the role's key."""

    group: str
    role: str
    key: str = ""


@dataclass(frozen=True)
class Definition:
    """One format: its name, its expression (for Rust's `regex`, the whole line), and its fields.

    `zone` is that of times that name none; None means the configured one.
    """

    name: str
    pattern: str
    fields: tuple[Field, ...] = field(default=())
    zone: str | None = None

    def of_role(self, *roles: str) -> list[Field]:
        """The fields of these roles, in order."""
        return [each for each in self.fields if each.role in roles]


def read_defined(
    lines: pl.DataFrame, definition: Definition, timezone: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reads the lines of a defined format among `lines`; returns their rows and the other lines.

    `lines` and the rows are as in `access_lines.read_tolerant_lines`.
    """
    groups = lines.with_columns(pl.col("text").str.extract_groups(definition.pattern).alias("groups"))
    matched = lines["text"].str.contains(definition.pattern)
    if not matched.any():
        return rows_schema().to_frame(), lines
    rest = lines.filter(~matched)
    found = groups.filter(matched).unnest("groups")
    return finished(found, definition, timezone), rest


def finished(found: pl.DataFrame, definition: Definition, timezone: str) -> pl.DataFrame:
    """Fields as text, in the definition's groups, to typed rows of `ROW_COLUMNS`."""
    zone = definition.zone or timezone
    timestamp, offset = _moment(definition, zone)
    columns: dict[str, pl.Expr] = {name: _text(definition, name) for name in TEXT_COLUMNS}
    whole = {each.role: each.group for each in definition.fields}
    path, query = whole.get(Role.PATH), whole.get(Role.QUERY)
    if "target" not in whole and path is not None:
        columns["target"] = _target(path, query)
    words = found.with_columns(request_text=columns["request"]).with_columns(
        pl.col("request_text").str.extract_groups(formats.REQUEST_LINE).alias("words"),
        pl.col("request_text").str.extract_groups(formats.REQUEST_LINE_WITHOUT_PROTOCOL).alias("bare_words"),
    )
    said = {
        "method": pl.coalesce(
            columns["method"],
            pl.col("words").struct.field("method"),
            pl.col("bare_words").struct.field("bare_method"),
        ),
        "target": pl.coalesce(
            pl.col("words").struct.field("target"),
            pl.col("bare_words").struct.field("bare_target"),
            columns["target"],
        ),
        "protocol": pl.coalesce(pl.col("words").struct.field("protocol"), columns["protocol"]),
    }
    numbers = {
        name: _number(whole[name], dtype) if name in whole else (pl.lit(None, dtype), pl.lit(value=False))
        for name, dtype in _NUMBER_COLUMNS.items()
    }
    duration, bad_duration = _duration(definition)
    overflows = pl.any_horizontal(bad_duration, *(bad for _, bad in numbers.values()))
    host = pl.col(whole[Role.REMOTE_HOST])
    return words.select(
        "line_number",
        "byte_offset",
        "line",
        "repaired",
        remote_host=pl.when(host == "").then(pl.lit("-")).otherwise(host),
        identity=columns["identity"],
        user=columns["user"],
        timestamp=timestamp,
        utc_offset_minutes=offset,
        request=columns["request"],
        **said,
        **{name: number for name, (number, _) in numbers.items() if name != "port"},
        referer=columns["referer"],
        user_agent=columns["user_agent"],
        vhost=columns["vhost"],
        port=numbers["port"][0],
        duration_us=duration,
        extra=json_object({each.key: pl.col(each.group) for each in definition.of_role(Role.EXTRA)}),
        format=pl.lit(definition.name),
        reason=pl.when(timestamp.is_null() | offset.is_null())
        .then(pl.lit(RejectReason.INVALID_TIME.value))
        .when(overflows)
        .then(pl.lit(RejectReason.INVALID_NUMBER.value)),
        raw="line",
    ).select(ROW_COLUMNS)


@lru_cache(maxsize=1)
def rows_schema() -> pl.Schema:
    """Names and types of the rows that `read_defined` gives."""
    own = {
        "line": pl.Binary(), "repaired": pl.Boolean(), "reason": pl.String(),
    }  # fmt: skip
    catalogued = BRONZE_REQUESTS.schema
    return pl.Schema({name: own.get(name) or catalogued[name] for name in ROW_COLUMNS})


def json_object(members: Mapping[str, pl.Expr]) -> pl.Expr:
    """JSON text of an object of these members without nulls and `-`; null where none is left."""
    texts = [
        pl.when(value != "-").then(json_member(name, value)).otherwise(_NO_TEXT)
        for name, value in members.items()
    ]
    if not texts:
        return _NO_TEXT
    joined = pl.concat_str(*texts, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.concat_str(pl.lit("{"), joined, pl.lit("}")))


def json_member(name: str, value: pl.Expr) -> pl.Expr:
    """One member of a JSON object, such as `"forwarded_for":"203.0.113.9"`."""
    return pl.struct(value.alias(name)).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")


def _text(definition: Definition, column: str) -> pl.Expr:
    values = [_unless_dash(pl.col(each.group)) for each in definition.of_role(column)]
    return pl.coalesce(values) if values else _NO_TEXT


def _unless_dash(value: pl.Expr) -> pl.Expr:
    return pl.when(value != "-").then(value)


def _target(path: str, query: str | None) -> pl.Expr:
    stem = _unless_dash(pl.col(path))
    if query is None:
        return stem
    said = pl.col(query).fill_null("").str.strip_prefix("?")
    return pl.when(said.is_in(["", "-"])).then(stem).otherwise(pl.concat_str(stem, pl.lit("?"), said))


def _number(group: str, dtype: type[pl.DataType]) -> tuple[pl.Expr, pl.Expr]:
    """A number, and whether its text is one that the column can't hold."""
    text = pl.col(group)
    number = text.cast(dtype, strict=False)
    return number, number.is_null() & ~text.fill_null("-").is_in(["-", ""])


def _duration(definition: Definition) -> tuple[pl.Expr, pl.Expr]:
    """Microseconds from the field with the finest unit, and whether its text is no number we can hold."""
    amounts: list[pl.Expr] = []
    bad: list[pl.Expr] = []
    for role, scale in ((Role.DURATION_MICROSECONDS, 1), (Role.DURATION_MILLISECONDS, 1000)):
        for each in definition.of_role(role):
            number = pl.col(each.group).cast(pl.Int64, strict=False)
            fits = number.is_between(0, _LONGEST_US // scale)
            amounts.append(pl.when(fits).then(number * scale))
            is_number = pl.col(each.group).str.contains("^[0-9]+$")
            bad.append((is_number & ~fits.fill_null(value=False)).fill_null(value=False))
    seconds = [
        log_times.microseconds_in(pl.col(each.group)) for each in definition.of_role(Role.DURATION_SECONDS)
    ]
    if seconds:
        total = seconds[0]
        for amount in seconds[1:]:
            total = total + amount
        amounts.append(total)
    if not amounts:
        return pl.lit(None, pl.Int64), pl.lit(value=False)
    return pl.coalesce(amounts), pl.any_horizontal(pl.lit(value=False), *bad)


def _moment(definition: Definition, zone: str) -> tuple[pl.Expr, pl.Expr]:
    """UTC timestamp and minutes east of UTC, from the first whole time, else its parts, else an epoch."""
    for each in definition.of_role(Role.TIME):
        moment, offset = log_times.any_timestamp(pl.col(each.group), zone)
        return moment + _fraction(definition), offset
    parts = {each.key: pl.col(each.group) for each in definition.of_role(Role.TIME_PART)}
    if has_date_and_time(parts):
        moment, offset = log_times.timestamp_of_parts(parts, zone)
        return moment + _fraction(definition), offset
    for role, per_second in (
        (Role.EPOCH_MICROSECONDS, 1_000_000),
        (Role.EPOCH_MILLISECONDS, 1_000),
        (Role.EPOCH_SECONDS, 1),
    ):
        for each in definition.of_role(role):
            moment = log_times.epoch_timestamp(pl.col(each.group), per_second)
            fraction = _fraction(definition) if role == Role.EPOCH_SECONDS else pl.duration(microseconds=0)
            return moment + fraction, pl.lit(0, pl.Int16)
    raise ValueError(f"{definition.name}: no time")


def has_date_and_time(parts: Mapping[str, object]) -> bool:
    """Whether these directives of strftime make a moment."""
    letters = set(parts)
    has_day = bool(letters & {"d", "e"}) and bool(letters & {"b", "B", "m"})
    has_hour = "H" in letters or {"I", "p"} <= letters
    return bool(letters & {"Y", "y"}) and (has_day or "j" in letters) and has_hour and "M" in letters


def _fraction(definition: Definition) -> pl.Expr:
    for role, scale in ((Role.MICROSECONDS, 1), (Role.MILLISECONDS, 1000)):
        for each in definition.of_role(role):
            digits = pl.col(each.group).cast(pl.Int64, strict=False)
            return pl.duration(microseconds=digits.fill_null(0) * scale, time_unit="us")
    return pl.duration(microseconds=0, time_unit="us")
