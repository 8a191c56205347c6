"""The members of JSON logs that are columns of a request.

What belongs here: their names, and the largest numbers that the columns hold. What does not: reading an
object (`json_lines`, `flat_json`).
"""

from __future__ import annotations

import re
from typing import Final

# Names in the order in which they are believed. Compared in lower case, with `-`, ` ` and `.` as `_`.
NAMES: Final[dict[str, tuple[str, ...]]] = {
    "time": (
        "startutc", "startlocal", "time_iso8601", "@timestamp", "timestamp", "time_local", "time", "ts",
        "msec", "datetime", "date",
    ),
    "remote_host": (
        "clienthost", "remote_addr", "remote_ip", "client_ip", "clientip", "client_addr", "client",
        "remote_host", "remoteip", "ip", "source_ip", "c_ip", "clientaddr",
    ),
    "identity": ("remote_logname", "identity", "ident"),
    "user": ("remote_user", "clientusername", "user", "user_id", "username", "auth"),
    "request": ("request", "request_line", "httprequest"),
    "method": ("requestmethod", "request_method", "method", "http_method", "verb"),
    "target": ("requestpath", "request_uri", "uri", "url", "path", "request_path", "target"),
    "query": ("query", "args", "query_string"),
    "protocol": ("requestprotocol", "server_protocol", "protocol", "proto", "http_version"),
    "status": (
        "downstreamstatus", "status", "status_code", "response_code", "response", "http_status", "sc_status",
    ),
    "bytes": (
        "downstreamcontentsize", "body_bytes_sent", "bytes_sent", "bytes", "size", "response_size",
        "response_bytes", "responsesize",
    ),
    "referer": ("http_referer", "request_referer", "referer", "referrer"),
    "user_agent": ("http_user_agent", "request_user_agent", "user_agent", "useragent", "agent"),
    "vhost": ("server_name", "vhost", "virtual_host", "servername"),
    "port": ("server_port", "port"),
}  # fmt: skip
# Names of durations, and the microseconds in one of their units.
DURATIONS: Final = {
    "request_time": 1_000_000, "request_duration": 1_000_000, "duration_s": 1_000_000,
    "time_taken": 1_000_000,
    "duration_ms": 1_000, "response_time_ms": 1_000, "request_time_ms": 1_000,
    "duration_us": 1, "response_time_us": 1, "request_time_us": 1, "time_us": 1,
}  # fmt: skip
FORWARDED: Final = ("http_x_forwarded_for", "x_forwarded_for", "xff")
# The largest number that a column holds.
LARGEST: Final = {"status": 2**15 - 1, "bytes": 2**63 - 1, "port": 2**31 - 1, "duration_us": 2**63 - 1}


def plain_name(name: str) -> str:
    """A member's name as it is compared: in lower case, with `-`, ` ` and `.` as `_`."""
    return re.sub(r"[-. ]", "_", name.lower())
