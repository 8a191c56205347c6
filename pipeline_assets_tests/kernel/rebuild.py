"""A landed file's bytes, put together again from its bronze rows.

What belongs here: the canonical line of each format written out in plain Python, and the strategies and
small readers that the kernel's tests share.

What does not: any of the kernel's own expressions for a canonical line. Code shared with what is tested
would share its faults.

The times of error logs must have been read as UTC, for no column holds their zone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from pipeline_assets.kernel.file_facts import FileFacts
from pipeline_assets.kernel.parse import FileReader, ReadOptions, Start
from pipeline_assets.kernel.schemas import BRONZE_ERRORS, BRONZE_REJECTED, BRONZE_REQUESTS

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ANY_TIME = ReadOptions(earliest=date(1970, 1, 1), latest=date(2100, 1, 1))

Row = dict[str, Any]


@dataclass
class Bronze:
    """Everything that one file became."""

    requests: list[Row]
    errors: list[Row]
    rejected: list[Row]
    facts: FileFacts

    @property
    def request(self) -> Row:
        assert len(self.requests) == 1 and not self.rejected, (self.requests, self.rejected)
        return self.requests[0]

    @property
    def error(self) -> Row:
        assert len(self.errors) == 1 and not self.rejected, (self.errors, self.rejected)
        return self.errors[0]

    @property
    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.rejected]


def read(
    content: bytes | io.RawIOBase,
    options: ReadOptions = ANY_TIME,
    name: str = "logs/x/any.log",
    *,
    quick: bool = True,
    start: Start | None = None,
    **limits: int,
) -> Bronze:
    """Read one file to its end; every chunk must have exactly the catalogue's columns and types."""
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    reader = FileReader(stream, name, options, quick=quick, start=start, **limits)
    found: dict[str, list[Row]] = {"requests": [], "errors": [], "rejected": []}
    for chunk in reader:
        for table in (BRONZE_REQUESTS, BRONZE_ERRORS, BRONZE_REJECTED):
            frame: pl.DataFrame = getattr(chunk, table.name)
            assert frame.schema == table.schema
            for column in table.columns:
                assert column.nullable or not frame[column.name].null_count(), column.name
            found[table.name] += frame.iter_rows(named=True)
    return Bronze(**found, facts=reader.facts)


def composed_request(row: Row) -> bytes:
    """The line that a server would write for a row of `requests`."""
    local = row["timestamp"] + timedelta(minutes=row["utc_offset_minutes"])
    sign = "-" if row["utc_offset_minutes"] < 0 else "+"
    hours, minutes = divmod(abs(row["utc_offset_minutes"]), 60)
    day = f"{local.day:02}/{MONTHS[local.month - 1]}/{local.year:04}"
    time = f"{day}:{_clock(local)} {sign}{hours:02}{minutes:02}"
    words = [
        row["remote_host"],
        _or_dash(row["identity"]),
        '""' if row["user"] == "" else _or_dash(row["user"]),
    ]
    words += [f"[{time}]", f'"{_or_dash(row["request"])}"', _or_dash(row["status"]), _or_dash(row["bytes"])]
    name = row["format"]
    if name.startswith("vhost_"):
        name = name.removeprefix("vhost_")
        words.insert(0, row["vhost"] + ("" if row["port"] is None else f":{row['port']}"))
    extra = json.loads(row["extra"]) if row["extra"] is not None else {}
    if name in ("combined", "combined_extra", "nginx_main"):
        words += [f'"{_or_dash(row["referer"])}"', f'"{_or_dash(row["user_agent"])}"']
    if name == "nginx_main":
        words.append(f'"{_or_dash(extra.get("forwarded_for"))}"')
    if name in ("common_extra", "combined_extra"):
        words.append(extra["trailing"])
    return " ".join(words).encode()


def composed_error(row: Row) -> bytes:
    """The line that a server would write, in UTC, for a row of `errors`."""
    time: datetime = row["timestamp"]
    if row["format"] == "nginx_error":
        line = f"{time.year:04}/{time.month:02}/{time.day:02} {_clock(time)} [{row['level']}] "
        line += f"{row['pid']}#{row['tid']}: "
        line += _around("*", row["connection"], " ") + str(row["message"])
        line += _around(", client: ", row["client"]) + _around(", server: ", row["server"])
        line += _around(', request: "', row["request"], '"') + _around(', upstream: "', row["upstream"], '"')
        return (
            line + _around(', host: "', row["host"], '"') + _around(', referrer: "', row["referer"], '"')
        ).encode()
    line = f"[{WEEKDAYS[time.weekday()]} {MONTHS[time.month - 1]} {time.day:02} {_clock(time)}"
    if row["format"] == "apache_error_24":
        line += f".{time.microsecond:06} {time.year:04}] [{row['module'] or ''}:{row['level']}] "
    else:
        assert row["format"] == "apache_error_22"
        line += f" {time.year:04}] [{row['level']}] "
    if row["pid"] is not None:
        line += f"[pid {row['pid']}{_around(':tid ', row['tid'])}] "
    if row["client"] is not None:
        line += f"[client {row['client']}{_around(':', row['client_port'])}] "
    return (
        line
        + _around("", row["error_code"], ": ")
        + str(row["message"])
        + _around(", referer: ", row["referer"])
    ).encode()


def rebuilt(bronze: Bronze) -> bytes:
    """The whole decompressed file; it must hold no blank line and no comment.

    Every row must stand where the rows before it end.
    """
    pieces: list[tuple[Row, bytes, int]] = []
    for row in bronze.requests:
        pieces.append((row, composed_request(row) if row["raw"] is None else row["raw"], 1))
    for row in bronze.errors:
        pieces.append((row, composed_error(row) if row["raw"] is None else row["raw"], row["line_count"]))
    for row in bronze.rejected:
        pieces.append((row, row["line"], 1))
    pieces.sort(key=lambda piece: piece[0]["line_number"])
    content = b""
    line_number = 1
    for row, line, line_count in pieces:
        assert (row["line_number"], row["byte_offset"]) == (line_number, len(content)), row
        assert line.count(b"\n") == line_count - 1, row
        content += line + b"\n"
        line_number += line_count
    # A last line that is not empty may lack its line feed; only the size says so.
    return content[: bronze.facts.bytes]


def check_raw_is_needed(bronze: Bronze) -> None:
    """Fail where `raw` repeats what the columns of a single line say already."""
    for row in bronze.requests:
        assert row["raw"] is None or row["raw"] != composed_request(row), row
    for row in bronze.errors:
        assert row["raw"] is None or row["line_count"] > 1 or row["raw"] != composed_error(row), row


def without_blank_and_comment_lines(content: bytes) -> bytes:
    """Its other lines, each with its line feed if it had one."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    kept = [
        line for number, line in enumerate(lines) if line and not is_uncounted(line, is_first=number == 0)
    ]
    without = b"".join(kept)
    # Another line may now be the first, which alone may begin with a byte order mark.
    return without if without == content else without_blank_and_comment_lines(without)


def looks_compressed(content: bytes) -> bool:
    return content.startswith((b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd")) or content[1:4] == b"\x2a\x4d\x18"


def is_uncounted(line: bytes, *, is_first: bool = False) -> bool:
    if is_first:
        line = line.removeprefix(b"\xef\xbb\xbf")
    return not line.strip(b" \t\n\r\x0b\x0c") or (line[:1] == b"#" and not line[1:2].isdigit())


def access_line(**fields: str) -> bytes:
    """A Combined line with some fields put in place of the usual ones."""
    usual = {
        "vhost": "",
        "host": "203.0.113.7",
        "identity": "-",
        "user": "-",
        "time": "17/Dec/2025:09:03:01 +0000",
        "request": "GET /a?b=c HTTP/1.1",
        "status": "200",
        "bytes": "1234",
        "tail": ' "https://example.org/" "Mozilla/5.0"',
    }
    return (
        '{vhost}{host} {identity} {user} [{time}] "{request}" {status} {bytes}{tail}'.format(
            **(usual | fields)
        )
    ).encode()


def joined(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _clock(time: datetime) -> str:
    return f"{time.hour:02}:{time.minute:02}:{time.second:02}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _around(before: str, value: object, after: str = "") -> str:
    return "" if value is None else f"{before}{value}{after}"
