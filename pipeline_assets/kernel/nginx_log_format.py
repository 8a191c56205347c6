"""nginx's `log_format` to a `Definition`.

What belongs here: the language of ngx_http_log_module and the variables that are columns. What does not: what
a definition is read with (`definitions`), and Apache's language (`apache_log_format`).

Source: https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format and
https://nginx.org/en/docs/varindex.html. A variable that is no column becomes a member of `extra` by its name.
"""

from __future__ import annotations

import re
from typing import Final

from pipeline_assets.kernel.definitions import Definition, Role
from pipeline_assets.kernel.format_parts import (
    DECIMAL,
    HOSTS,
    NUMBER,
    QUOTED,
    STATUS,
    WORD,
    Builder,
    FormatError,
)

_VARIABLE: Final = re.compile(r"\$(?:\{(?P<braced>[A-Za-z0-9_]+)\}|(?P<bare>[A-Za-z0-9_]+))")
# Variables with a shape of their own: the role or column, and the shape.
_SHAPED: Final = {
    "remote_addr": (Role.REMOTE_HOST, HOSTS),
    "remote_user": ("user", QUOTED),
    "status": ("status", STATUS),
    "body_bytes_sent": ("bytes", NUMBER),
    "request_time": (Role.DURATION_SECONDS, DECIMAL),
    "server_port": ("port", NUMBER),
    "request_method": ("method", WORD),
    "server_protocol": ("protocol", WORD),
    "server_name": ("vhost", WORD),
    "host": ("vhost", WORD),
    "msec": (Role.EPOCH_SECONDS, r"[0-9]+\.[0-9]{3}"),
}
_TEXTS: Final = {
    "request": "request",
    "request_uri": "target",
    "http_referer": "referer",
    "http_user_agent": "user_agent",
    "args": Role.QUERY,
    "query_string": Role.QUERY,
}
_PATHS: Final = ("uri", "document_uri")
_EXTRA_NUMBERS: Final = (
    "bytes_sent",
    "connection",
    "connection_requests",
    "pid",
    "request_length",
    "remote_port",
)


def compile_nginx(name: str, text: str) -> Definition:
    """The definition of `text`, the string that `log_format` is given.

    Raises `FormatError` at what can't be read back.
    """
    builder = Builder(text)
    variables = {match["braced"] or match["bare"] for match in _VARIABLE.finditer(text)}
    at = 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in ("t", "n", "\\", '"', "'"):
            builder.literal({"t": "\t", "n": "\n"}.get(text[at + 1], text[at + 1]))
            at += 2
            continue
        if text[at] != "$":
            builder.literal(text[at])
            at += 1
            continue
        variable = _VARIABLE.match(text, at)
        if variable is None:
            raise FormatError(at, f"{text[at : at + 8]!r} is no variable; a dollar sign can't stand alone")
        _variable(builder, at, variable["braced"] or variable["bare"], variables)
        at = variable.end()
    return builder.definition(name)


def _variable(builder: Builder, at: int, name: str, variables: set[str]) -> None:
    if name in ("time_local", "time_iso8601"):
        builder.whole_time(at)
    elif name == "bytes_sent" and "body_bytes_sent" not in variables:
        builder.value(at, "bytes", NUMBER)
    elif name in _SHAPED:
        role, shape = _SHAPED[name]
        builder.value(at, role, shape, name)
    elif name in _TEXTS:
        builder.text_value(at, _TEXTS[name], name)
    elif name in _PATHS and "request_uri" not in variables and "request" not in variables:
        builder.text_value(at, Role.PATH, name)
    elif name in _EXTRA_NUMBERS:
        builder.value(at, Role.EXTRA, NUMBER, name)
    elif name == "is_args":
        builder.value(at, Role.EXTRA, r"\??", name, fixed=True)
    elif name == "pipe":
        builder.value(at, Role.EXTRA, r"[p.]", name, fixed=True)
    else:
        builder.text_value(at, Role.EXTRA, name)
