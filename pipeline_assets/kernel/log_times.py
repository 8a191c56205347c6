"""Times as logs write them, to UTC and back.

What belongs here: the textual forms of a time, and the zones. Null means that there was no such time.

What does not: which text of a line is its time (`formats`), and which times are accepted (`parse`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

# The forms of a time in an access log: that of `%t` and `$time_local`, with or without a fraction and a zone,
# a day padded with a zero or a blank; and ISO 8601 (`$time_iso8601`, `%{%FT%T%z}t`), with or without those.
_FRACTION: Final = r"(?:[.,][0-9]{1,9})?"
CLF_TIME: Final = (
    r"[ 0-3]?[0-9]/[A-Za-z]{3}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2}" + _FRACTION + r"(?: [+-][0-9]{4})?"
)
ISO_TIME: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
    + _FRACTION
    + r"(?:Z|z| ?[+-][0-9]{2}:?[0-9]{2})?"
)
_CLF_PARTS: Final = (
    r"^ ?(?<day>[0-9]{1,2})/(?<month>[A-Za-z]{3})/(?<year>[0-9]{4}):(?<clock>[0-9:]{8})"
    r"(?:[.,](?<fraction>[0-9]{1,9}))?(?: (?<zone>[+-][0-9]{4}))?$"
)
_ISO_PARTS: Final = (
    r"^(?<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?<clock>[0-9:]{8})"
    r"(?:[.,](?<fraction>[0-9]{1,9}))? ?(?<zone>[Zz]|[+-][0-9]{2}:?[0-9]{2})?$"
)

_ACCESS_TIME = "%d/%b/%Y:%H:%M:%S"
# Zones run from -12:00 to +14:00 (IANA time zone database).
LARGEST_OFFSET_MINUTES = 14 * 60


def access_offset_minutes(time: pl.Expr) -> pl.Expr:
    """Minutes east of UTC (Int16) of `17/Dec/2025:09:03:01 +0000`; null for an offset that no zone has."""
    hours = time.str.slice(22, 2).cast(pl.Int16, strict=False)
    minutes = time.str.slice(24, 2).cast(pl.Int16, strict=False)
    east = hours * 60 + minutes
    return (
        pl.when((minutes < 60) & (east <= LARGEST_OFFSET_MINUTES))
        .then(pl.when(time.str.slice(21, 1) == "-").then(-east).otherwise(east))
        .cast(pl.Int16)
    )


def access_timestamp(time: pl.Expr, offset_minutes: pl.Expr) -> pl.Expr:
    """UTC timestamp of `17/Dec/2025:09:03:01 +0000` (Apache `%t`, nginx `$time_local`)."""
    local = time.str.slice(0, 20).str.to_datetime(_ACCESS_TIME, time_unit="us", strict=False)
    return (local - pl.duration(minutes=offset_minutes, time_unit="us")).dt.replace_time_zone("UTC")


def any_timestamp(time: pl.Expr, timezone: str) -> tuple[pl.Expr, pl.Expr]:
    """UTC timestamp and minutes east of UTC (Int16) of a time in the form `CLF_TIME` or `ISO_TIME`.

    A fraction beyond microseconds is cut off. A time without a zone is taken in `timezone`.
    """
    clf, iso = time.str.extract_groups(_CLF_PARTS), time.str.extract_groups(_ISO_PARTS)
    part = {name: clf.struct.field(name) for name in ("day", "month", "year", "clock", "fraction", "zone")}
    local = pl.coalesce(
        pl.concat_str(
            part["day"].str.zfill(2), pl.lit("/"), part["month"], pl.lit("/"), part["year"], pl.lit(":"),
            part["clock"],
        ).str.to_datetime(_ACCESS_TIME, time_unit="us", strict=False),
        pl.concat_str(iso.struct.field("date"), pl.lit(" "), iso.struct.field("clock")).str.to_datetime(
            "%Y-%m-%d %H:%M:%S", time_unit="us", strict=False
        ),
    )  # fmt: skip
    fraction = pl.coalesce(part["fraction"], iso.struct.field("fraction"))
    local = local + pl.duration(microseconds=_microseconds(fraction), time_unit="us")
    zone = pl.coalesce(part["zone"], iso.struct.field("zone"))
    offset = zone_minutes(zone)
    zoned = (local - pl.duration(minutes=offset, time_unit="us")).dt.replace_time_zone("UTC")
    zoneless = in_timezone(local, timezone)
    minutes = (local.dt.replace_time_zone("UTC") - zoneless).dt.total_minutes().cast(pl.Int16)
    has_zone = zone.is_not_null()
    return (
        pl.when(has_zone).then(zoned).otherwise(zoneless),
        pl.when(has_zone).then(offset).otherwise(minutes),
    )


def zone_minutes(zone: pl.Expr) -> pl.Expr:
    """Minutes east of UTC (Int16) of `+0330`, `+03:30` or `Z`; null for an offset that no zone has."""
    digits = zone.str.slice(1).str.replace(":", "", literal=True)
    hours = digits.str.slice(0, 2).cast(pl.Int16, strict=False)
    minutes = digits.str.slice(2, 2).cast(pl.Int16, strict=False)
    east = hours * 60 + minutes
    return (
        pl.when(zone.is_in(["Z", "z"]))
        .then(pl.lit(0, pl.Int16))
        .when((minutes < 60) & (east <= LARGEST_OFFSET_MINUTES))
        .then(pl.when(zone.str.slice(0, 1) == "-").then(-east).otherwise(east))
        .cast(pl.Int16)
    )


def in_timezone(local: pl.Expr, timezone: str) -> pl.Expr:
    """UTC timestamp of a local time in `timezone`; null where a clock change skipped it, else the earlier."""
    return local.dt.replace_time_zone(
        timezone, ambiguous="earliest", non_existent="null"
    ).dt.convert_time_zone("UTC")


def _microseconds(fraction: pl.Expr) -> pl.Expr:
    digits = (fraction + pl.lit("000000")).str.slice(0, 6)
    return digits.cast(pl.Int64, strict=False).fill_null(0)


def microseconds_in(seconds: pl.Expr) -> pl.Expr:
    """Microseconds (Int64) of decimal seconds such as `0.049`; null where it is no such number.

    Digits, not floating point: 0.049 s are 49,000 microseconds. Beyond nine digits before the point it is
    null.
    """
    parts = seconds.str.extract_groups(r"^(?<whole>[0-9]{1,9})(?:\.(?<fraction>[0-9]{1,9}))?$")
    return parts.struct.field("whole").cast(pl.Int64) * 1_000_000 + _microseconds(
        parts.struct.field("fraction")
    )


def epoch_timestamp(time: pl.Expr, per_second: int) -> pl.Expr:
    """UTC timestamp of a count since 1970, of which `per_second` make a second; seconds may have a part."""
    parts = time.str.extract_groups(r"^(?<whole>[0-9]{1,17})(?:[.,](?<fraction>[0-9]{1,9}))?$")
    # Beyond year 9999 there is no such time; the limit keeps the multiplication within 64 bits.
    whole = parts.struct.field("whole").cast(pl.Int64)
    whole = pl.when(whole < 253_402_300_800 * per_second).then(whole)
    fraction = _microseconds(parts.struct.field("fraction")) if per_second == 1 else pl.lit(0, pl.Int64)
    return (whole * (1_000_000 // per_second) + fraction).cast(pl.Datetime("us", "UTC"))


def timestamp_of_parts(parts: Mapping[str, pl.Expr], timezone: str) -> tuple[pl.Expr, pl.Expr]:
    """UTC timestamp and minutes east of UTC of a time whose parts stand in fields of their own.

    The keys are directives of strftime: `Y y m b B d e j H I M S p z`. Seconds may be missing.
    """
    year = ("Y", parts["Y"]) if "Y" in parts else ("y", parts["y"])
    if "j" in parts and not {"d", "e"} & set(parts):
        day = [("j", parts["j"])]
    else:
        month = next((letter, parts[letter]) for letter in "mbB" if letter in parts)
        date = parts["d"] if "d" in parts else parts["e"]
        day = [month, ("d", date.str.strip_chars(" ").str.zfill(2))]
    hour = [("H", parts["H"])] if "H" in parts else [("I", parts["I"]), ("p", parts["p"].str.to_uppercase())]
    second = ("S", parts.get("S", pl.lit("00")))
    pieces = [year, *day, *hour, ("M", parts["M"]), second]
    text = pl.concat_str(*(value for _, value in pieces), separator=" ")
    pattern = " ".join(f"%{letter}" for letter, _ in pieces)
    local = text.str.to_datetime(pattern, time_unit="us", strict=False)
    if "z" in parts:
        offset = zone_minutes(parts["z"])
        zoned = (local - pl.duration(minutes=offset, time_unit="us")).dt.replace_time_zone("UTC")
        return zoned, offset
    zoneless = in_timezone(local, timezone)
    minutes = (local.dt.replace_time_zone("UTC") - zoneless).dt.total_minutes().cast(pl.Int16)
    return zoneless, minutes


def access_time_text(timestamp: pl.Expr, offset_minutes: pl.Expr) -> pl.Expr:
    """The text that a server writes for a time in a zone: what `access_timestamp` reads."""
    local = timestamp.dt.replace_time_zone(None) + pl.duration(minutes=offset_minutes, time_unit="us")
    distance = offset_minutes.abs()
    return pl.concat_str(
        local.dt.strftime(_ACCESS_TIME),
        pl.when(offset_minutes < 0).then(pl.lit(" -")).otherwise(pl.lit(" +")),
        (distance // 60).cast(pl.String).str.zfill(2),
        (distance % 60).cast(pl.String).str.zfill(2),
    )


def zoneless_timestamp(time: pl.Expr, pattern: str, timezone: str) -> pl.Expr:
    """UTC timestamp of a time without a zone, taken in `timezone`.

    A time that a clock change skipped is null; of one that came twice, the earlier is taken.
    """
    return in_timezone(time.str.to_datetime(pattern, time_unit="us", strict=False), timezone)
