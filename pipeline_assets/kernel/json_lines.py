"""JSON logs, an object a line: nginx and Apache with a format of the user's, Caddy, Traefik, and their
errors.

What belongs here: the columns of an object, whatever it holds. What does not: other formats, the names of
members (`json_members`), and the quick way for what a `log_format` writes (`flat_json`), with the same rows.

Polars decodes JSON into one shape for all rows and fails on the first line that has another, so here each
object is decoded by itself; of a file in another format no line comes here. Members that are no column are in
`extra`, and every row keeps its line raw, since JSON can be written in many ways.

Servers that write their usual escapes (`\\x16`, `\\v`) into a JSON format write no valid JSON; there a
backslash that begins no escape of JSON is read as itself. A name that comes twice in an object is a client's
invention or may be one, so such a line is rejected as ambiguous.

Sources: RFC 8259; nginx `log_format escape=json`; https://caddyserver.com/docs/logging (request, `duration`
in seconds); https://doc.traefik.io/traefik/observability/access-logs (`Duration` in nanoseconds).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from pipeline_assets.kernel import formats, log_times
from pipeline_assets.kernel.definitions import rows_schema
from pipeline_assets.kernel.error_lines import error_rows_schema
from pipeline_assets.kernel.flat_json import read_flat
from pipeline_assets.kernel.formats import RejectReason
from pipeline_assets.kernel.json_members import DURATIONS, FORWARDED, LARGEST, NAMES, plain_name

# An escape that JSON doesn't know, behind an even number of backslashes.
_NO_ESCAPE: Final = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9A-Fa-f]{4})|)')
_REQUEST_LINE: Final = re.compile(formats.REQUEST_LINE.replace("(?<", "(?P<"), re.DOTALL)
_BARE_REQUEST_LINE: Final = re.compile(formats.REQUEST_LINE_WITHOUT_PROTOCOL.replace("(?<", "(?P<"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_LEVELS: Final = ("level", "severity")
_MESSAGES: Final = ("msg", "message", "error")
_TIME: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))? ?(?P<zone>[Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_CLF_TIME: Final = re.compile(
    r"\[?(?P<day>[0-9]{1,2})/(?P<month>[A-Za-z]{3})/(?P<year>[0-9]{4}):(?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?(?: (?P<zone>[+-][0-9]{4}))?\]?"
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LARGEST_OFFSET: Final = timedelta(minutes=log_times.LARGEST_OFFSET_MINUTES)

Row = dict[str, Any]


class _TwiceError(Exception):
    """A name comes twice in an object."""


class _NumberError(Exception):
    """A number that its column can't hold."""


def read_json_lines(lines: pl.DataFrame, timezone: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Reads the JSON objects among `lines`; returns request rows, error rows and the other lines.

    `lines` and request rows are as in `access_lines`, error rows as in `error_lines`. The formats are json,
    caddy, traefik_json, and json_error for an object with a level and a message that is about no request.
    """
    text = lines["text"]
    likely = text.str.starts_with("{") & text.str.contains(r"\}\s*$")
    if not likely.any():
        return rows_schema().to_frame(), error_rows_schema().to_frame(), lines
    zone = ZoneInfo(timezone)
    quick, left = read_flat(lines.filter(likely), timezone)
    requests: list[Row] = []
    errors: list[Row] = []
    read: list[int] = []
    for line in left.iter_rows(named=True):
        row = _row(line["text"], zone)
        if row is None:
            continue
        read.append(line["line_number"])
        kept = {name: line[name] for name in ("line_number", "byte_offset", "line", "repaired")}
        if row.pop("is_error", False):
            errors.append(row | kept | {"raw": line["line"], "text": line["text"]})
        else:
            requests.append(row | kept | {"raw": line["line"]})
    done = pl.concat([quick["line_number"], pl.Series(read, dtype=quick.schema["line_number"])])
    rest = lines.filter(~pl.col("line_number").is_in(done.implode())) if done.len() else lines
    slow = pl.DataFrame(requests, schema=rows_schema(), orient="row")
    return (
        pl.concat([quick, slow]).sort("line_number") if quick.height else slow,
        pl.DataFrame(errors, schema=error_rows_schema(), orient="row"),
        rest,
    )


def decoded_object(text: str) -> dict[str, Any] | None:
    """The object that a line holds, or None where it holds none. Raises `_TwiceError`."""
    for repaired in (False, True):
        if repaired:
            text = _NO_ESCAPE.sub(lambda found: found[0] if found[1] else "\\\\", text)
        try:
            found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, strict=False)
        except (ValueError, RecursionError):
            if "\\" not in text:
                return None
            continue
        return found if isinstance(found, dict) else None
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceError
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _row(text: str, zone: ZoneInfo) -> Row | None:
    """The fields of a line as columns of a request or an error (`is_error`), or None where it is neither."""
    try:
        members = decoded_object(text)
    except _TwiceError:
        return {"format": "json", "reason": RejectReason.AMBIGUOUS.value}
    if members is None:
        return None
    name = "json"
    if isinstance(members.get("request"), dict):
        name = "caddy"
        members = _caddy(members)
    elif "ClientHost" in members or "ClientAddr" in members:
        name = "traefik_json"
        members = _traefik(members)
    return _request(members, name, zone) or _error(members, zone)


def _caddy(members: Row) -> Row:
    """Caddy's object, with the members of its `request` beside the others."""
    request = dict(members["request"])
    rest = {name: value for name, value in members.items() if name != "request"}
    headers = request.pop("headers", None)
    named = {name.lower(): value for name, value in headers.items()} if isinstance(headers, dict) else {}
    for header, column in (
        ("user-agent", "http_user_agent"),
        ("referer", "http_referer"),
        ("x-forwarded-for", "http_x_forwarded_for"),
    ):
        value = named.get(header)
        if isinstance(value, list) and value and isinstance(value[0], str):
            rest[column] = ", ".join(map(str, value))
    address = request.get("remote_addr")  # before Caddy 2.5, with its port
    if "remote_ip" not in request and isinstance(address, str):
        request["remote_ip"] = address.rpartition(":")[0].strip("[]")
    duration = rest.pop("duration", None)
    if isinstance(duration, int | float):
        rest["request_time"] = duration
    elif isinstance(duration, str):  # `duration_format string`
        rest["duration"] = duration
    flat = {**request, **rest}
    # `remote_ip` is the peer's address; `client_ip` may be what a header says, if a proxy is trusted.
    if isinstance(headers, dict):
        flat["headers"] = headers
    flat["user"] = flat.pop("user_id", None) or None
    return flat


def _traefik(members: Row) -> Row:
    """Traefik's object with its duration in microseconds and its content size as the bytes."""
    found = dict(members)
    nanoseconds = found.pop("Duration", None)
    if isinstance(nanoseconds, int):
        found["duration_us"] = nanoseconds // 1000
    return found


def _request(members: Row, name: str, zone: ZoneInfo) -> Row | None:
    """The columns of a request; None where no client and time, or nothing of a request, is in the object."""
    left = {plain_name(key): (key, value) for key, value in members.items()}
    if len(left) != len(members):
        return {"format": name, "reason": RejectReason.AMBIGUOUS.value}
    taken = {column: _take(left, names) for column, names in NAMES.items()}
    if taken["time"] is None or not isinstance(taken["remote_host"], str):
        return None
    if taken["status"] is None and taken["request"] is None and taken["method"] is None:
        return None
    row: Row = {"format": name, "reason": None}
    moment = _moment(taken["time"], zone)
    row["timestamp"], row["utc_offset_minutes"] = moment or (None, None)
    if moment is None:
        row["reason"] = RejectReason.INVALID_TIME.value
    try:
        for column in ("status", "bytes", "port"):
            row[column] = _number(taken[column], column)
        row["duration_us"] = _duration(left)
    except _NumberError:
        row["reason"] = row["reason"] or RejectReason.INVALID_NUMBER.value
    row["remote_host"] = taken["remote_host"] or "-"
    for column in (
        "identity",
        "user",
        "request",
        "method",
        "target",
        "protocol",
        "referer",
        "user_agent",
        "vhost",
    ):
        row[column] = _text(taken[column])
    _split_request(row)
    if row["target"] is None and taken["target"] is not None:
        row["target"] = _text(taken["target"])
    query = _text(taken["query"])
    if query and row["target"] and "?" not in row["target"] and row["request"] is None:
        row["target"] += "?" + query.removeprefix("?")
    elif query is not None:
        left["query"] = ("query", query)
    extra = {key: value for key, value in left.values() if value not in (None, "-")}
    for key in [key for key in extra if plain_name(key) in FORWARDED]:
        extra["forwarded_for"] = extra.pop(key)
    row["extra"] = json.dumps(extra, ensure_ascii=False, separators=(",", ":")) if extra else None
    return _encodable(row)


def _split_request(row: Row) -> None:
    """The words of the request line, where it is one; what the object says of them itself comes second."""
    request = row["request"]
    if request is None:
        return
    if found := _REQUEST_LINE.match(request):
        row |= found.groupdict()
    elif found := _BARE_REQUEST_LINE.match(request):
        row["method"], row["target"] = found["bare_method"], found["bare_target"]


def _error(members: Row, zone: ZoneInfo) -> Row | None:
    """The columns of an error-log entry; None where time, level or message is missing."""
    left = {plain_name(key): (key, value) for key, value in members.items()}
    moment = _take(left, NAMES["time"])
    level, message = _take(left, _LEVELS), _take(left, _MESSAGES)
    if moment is None or not isinstance(level, str) or not isinstance(message, str):
        return None
    found = _moment(moment, zone)
    module = _take(left, ("logger", "module"))
    client = _take(left, ("remote_ip", "client_ip", "client", "remote_addr"))
    return _encodable(
        {
            "is_error": True,
            "format": "json_error",
            "timestamp": found[0] if found else None,
            "level": level,
            "module": module if isinstance(module, str) else None,
            "client": client if isinstance(client, str) else None,
            "message": message,
            "reason": None if found else RejectReason.INVALID_TIME.value,
        }
    )


def _take(left: dict[str, tuple[str, Any]], names: Iterable[str]) -> Any:
    """The value of the first of these names that has one; it is taken out."""
    for name in names:
        if name in left and left[name][1] is not None and not isinstance(left[name][1], dict | list):
            return left.pop(name)[1]
    return None


def _text(value: Any) -> str | None:
    if value is None or value == "-":
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: Any, column: str) -> int | None:
    if value in (None, "", "-") or isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,30}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if not isinstance(value, int) or not 0 <= value <= LARGEST[column]:
        raise _NumberError
    return value


def _duration(left: dict[str, tuple[str, Any]]) -> int | None:
    for name, scale in DURATIONS.items():
        if name not in left:
            continue
        value = left[name][1]
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not 0 <= value * scale <= 2**53:
            raise _NumberError
        del left[name]
        return round(value * scale)
    return None


def _moment(value: Any, zone: ZoneInfo) -> tuple[datetime, int] | None:
    """UTC time and minutes east of UTC, from text or a number of seconds, milli-, micro- or nanoseconds."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{9,19}(?:\.[0-9]{1,9})?", value):
        value = float(value) if "." in value else int(value)
    if isinstance(value, int | float):
        return _epoch(value)
    if not isinstance(value, str):
        return None
    found = _TIME.fullmatch(value)
    if found:
        date, clock, fraction, written = found["date"], found["clock"], found["fraction"], found["zone"]
    elif (found := _CLF_TIME.fullmatch(value)) and found["month"].lower() in _MONTHS:
        month = _MONTHS.index(found["month"].lower()) + 1
        date = f"{found['year']}-{month:02}-{int(found['day']):02}"
        clock, fraction, written = found["clock"], found["fraction"], found["zone"]
    else:
        return None
    return _zoned(f"{date} {clock}", (fraction or "").ljust(6, "0")[:6], written, zone)


def _zoned(local: str, microseconds: str, written: str | None, zone: ZoneInfo) -> tuple[datetime, int] | None:
    try:
        moment = datetime.strptime(f"{local}.{microseconds}", "%Y-%m-%d %H:%M:%S.%f")
        if written is None:
            utc = moment.replace(tzinfo=zone).astimezone(UTC)
            if utc.astimezone(zone).replace(tzinfo=None) != moment:  # skipped by a clock change
                return None
            offset = moment - utc.replace(tzinfo=None)
        else:
            digits = written[1:].replace(":", "")
            offset = timedelta() if not digits else timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            if offset > _LARGEST_OFFSET or digits[2:] >= "60":
                return None
            offset = -offset if written[0] == "-" else offset
            utc = (moment - offset).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return utc, int(offset.total_seconds() // 60)


def _epoch(value: float) -> tuple[datetime, int] | None:
    """A number of this size can only be one of the units, for the years from 1973 to 2286."""
    if not math.isfinite(value):
        return None
    for below, per_second in ((10**10, 1), (10**13, 10**3), (10**16, 10**6), (10**19, 10**9)):
        if 10**8 * per_second <= value < below:
            microseconds = round(value * 10**6) if per_second == 1 else int(value) * 10**6 // per_second
            return _EPOCH + timedelta(microseconds=microseconds), 0
    return None


def _encodable(row: Mapping[str, Any]) -> Row:
    """Texts that UTF-8 can hold: a lone surrogate, which JSON can write, becomes U+FFFD."""
    return {
        name: value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if isinstance(value, str) and not value.isascii()
        else value
        for name, value in row.items()
    }
