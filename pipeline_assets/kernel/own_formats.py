"""Formats of the user's own: a setting's text to definitions.

What belongs here: the setting's shape, and which of the two languages a definition is written in. What does
not: the languages (`apache_log_format`, `nginx_log_format`).
"""

from __future__ import annotations

import json
import re
from typing import Final

from pipeline_assets.kernel.apache_log_format import compile_apache
from pipeline_assets.kernel.definitions import Definition
from pipeline_assets.kernel.format_parts import FormatError
from pipeline_assets.kernel.nginx_log_format import compile_nginx

# Rows name the format they were read as, so no two may share a name.
BUILT_IN: Final = frozenset(
    {
        *(prefix + name for prefix in ("", "vhost_") for name in (
            "common", "combined", "nginx_main", "common_extra", "combined_extra", "traefik", "ingress_nginx",
        )),
        "nginx_error", "apache_error_24", "apache_error_22", "json", "json_error", "caddy", "traefik_json",
        "w3c", "aws_alb", "aws_elb",
    }
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
# As in the servers' own configuration files.
_LOG_FORMAT: Final = re.compile(r'\s*LogFormat\s+"(?P<format>(?:[^"\\]|\\.)*)"(?:\s+[^\s"]+)?\s*', re.DOTALL)
_NGINX_LOG_FORMAT: Final = re.compile(
    r"\s*log_format\s+[^\s;'\"]+(?:\s+escape=[a-z]+)?"
    r"(?P<strings>(?:\s*(?:'[^']*'|\"[^\"]*\"))+)\s*;?\s*"
)
_NGINX_STRING: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_APACHE_SIGN: Final = re.compile(r"%[<>!0-9,]*(?:\{[^}]*\})?[<>]*[A-Za-z^]")
_NGINX_SIGN: Final = re.compile(r"\$\{?[A-Za-z_]")


class OwnFormatsError(ValueError):
    """Definitions that can't be used; the message names the format, the place, and what to write instead."""


def compile_formats(text: str) -> tuple[Definition, ...]:
    """Definitions from JSON text: an object of names and `LogFormat` or `log_format` strings, in its order.

    A string may be the format alone, or the whole directive as it stands in the server's configuration.
    Raises `OwnFormatsError`.
    """
    try:
        named = json.loads(text, object_pairs_hook=list)
    except ValueError as error:
        raise OwnFormatsError(
            f'no JSON ({error}); write an object such as {{"shop": "%h %l %u %t \\"%r\\" %>s %b %D"}}'
        ) from None
    if not isinstance(named, list) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in named):
        raise OwnFormatsError("not a JSON object of names and formats")
    names = [name for name, _ in named]
    for name in names:
        if not _NAME.fullmatch(name):
            raise OwnFormatsError(f"{name!r} is no name; begin with a letter, then letters, digits, _ . or -")
        if name in BUILT_IN:
            raise OwnFormatsError(f"{name}: the name of a format that is built in; choose another")
        if names.count(name) > 1:
            raise OwnFormatsError(f"{name}: given twice; give each format a name of its own")
    return tuple(compile_format(name, definition) for name, definition in named)


def compile_format(name: str, definition: object) -> Definition:
    """One definition. Raises `OwnFormatsError`."""
    if not isinstance(definition, str) or not definition.strip():
        raise OwnFormatsError(f"{name}: the format is not a text; write its LogFormat or log_format string")
    try:
        if match := _LOG_FORMAT.fullmatch(definition):
            return compile_apache(name, match["format"])
        if match := _NGINX_LOG_FORMAT.fullmatch(definition):
            strings = _NGINX_STRING.findall(match["strings"])
            return compile_nginx(name, "".join(single or double for single, double in strings))
        if re.match(r"\s*(?:LogFormat|log_format)\s", definition):
            raise FormatError(0, "the directive is not whole; copy it with its quotes, or the format alone")
        is_apache = _APACHE_SIGN.search(definition) is not None
        is_nginx = _NGINX_SIGN.search(definition) is not None
        if is_apache == is_nginx:
            raise FormatError(
                0,
                "it has both Apache's % and nginx's $; write the whole LogFormat or log_format directive"
                if is_apache
                else "it has neither Apache's %h nor nginx's $remote_addr; copy the server's own format",
            )
        return (compile_apache if is_apache else compile_nginx)(name, definition)
    except FormatError as error:
        raise OwnFormatsError(f"{name}, {error}") from None
