"""Apache's `LogFormat` to a `Definition`.

What belongs here: the language of mod_log_config and mod_logio. What does not: what a definition is read with
(`definitions`), and nginx's language (`nginx_log_format`).

Source: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats and mod_logio.
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
    WHOLE_TIME,
    WORD,
    Builder,
    FormatError,
    header_key,
)

# %, modifiers, an argument in braces, and the letter or letters.
_DIRECTIVE: Final = re.compile(
    r"%(?P<modifiers>(?:!?[0-9]{3}(?:,[0-9]{3})*|[<>])*)(?:\{(?P<argument>[^}]*)\})?"
    r"(?P<modifiers_2>[<>]*)(?P<letter>\^ti|\^to|[A-Za-z%])"
)
# Directive letters that are numbers, and the member of `extra` they become.
_EXTRA_NUMBERS: Final = {
    "I": "bytes_received",
    "S": "bytes_transferred",
    "k": "keepalive_requests",
    "P": "pid",
}
_EXTRA_WORDS: Final = {"A": "server_address", "L": "log_id", "X": "connection_status"}
_EXTRA_TEXTS: Final = {"f": "filename", "R": "handler"}
_DURATION_UNITS: Final = {
    "us": Role.DURATION_MICROSECONDS,
    "ms": Role.DURATION_MILLISECONDS,
    "s": Role.DURATION_SECONDS,
}
_EPOCHS: Final = {
    "sec": (Role.EPOCH_SECONDS, "[0-9]+"),
    "msec": (Role.EPOCH_MILLISECONDS, "[0-9]+"),
    "usec": (Role.EPOCH_MICROSECONDS, "[0-9]+"),
    "msec_frac": (Role.MILLISECONDS, "[0-9]{3}"),
    "usec_frac": (Role.MICROSECONDS, "[0-9]{6}"),
}


def compile_apache(name: str, text: str) -> Definition:
    """The definition of `text`, the string that `LogFormat` or `CustomLog` is given.

    Raises `FormatError` at what can't be read back.
    """
    builder = Builder(text)
    has_final_status = bool(re.search(r"%[^a-zA-Z{]*>[^a-zA-Z{]*s", text))
    at = 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in ("t", "n", "\\", '"'):
            builder.literal({"t": "\t", "n": "\n", "\\": "\\", '"': '"'}[text[at + 1]])
            at += 2
            continue
        if text[at] != "%":
            builder.literal(text[at])
            at += 1
            continue
        directive = _DIRECTIVE.match(text, at)
        if directive is None:
            raise FormatError(at, f"{text[at : at + 8]!r} is no directive; write %% for a percent sign")
        modifiers = directive["modifiers"] + directive["modifiers_2"]
        _directive(builder, at, directive["letter"], directive["argument"], modifiers, has_final_status)
        at = directive.end()
    return builder.definition(name)


def _directive(
    builder: Builder, at: int, letter: str, argument: str | None, modifiers: str, has_final_status: bool
) -> None:
    value, text_value = builder.value, builder.text_value
    if letter == "%":
        builder.literal("%")
    elif letter in ("h", "a"):
        value(at, Role.REMOTE_HOST, HOSTS, "peer" if argument == "c" else "")
    elif letter == "l":
        value(at, "identity", WORD)
    elif letter == "u":
        # Clients send anything as a name; it ends at the literal text behind it.
        value(at, "user", QUOTED)
    elif letter == "t":
        _time(builder, at, argument)
    elif letter == "r":
        text_value(at, "request")
    elif letter == "s":
        is_final = ">" in modifiers or not has_final_status
        value(at, "status" if is_final else Role.EXTRA, STATUS, "" if is_final else "original_status")
    elif letter in ("b", "B"):
        value(at, "bytes", NUMBER)
    elif letter == "O":
        value(at, *(("bytes",) if not re.search("%[<>]*[bB]", builder.text) else (Role.EXTRA,)), NUMBER,
              key="bytes_sent")  # fmt: skip
    elif letter in ("D", "T"):
        _duration(builder, at, letter, argument)
    elif letter == "m":
        value(at, "method", WORD)
    elif letter == "U":
        value(
            at,
            Role.PATH,
            r'(?:[^"\\?]|\\.)*' if builder.in_quotes else r'[^ "?\t]*',
            fixed=_before_query(builder, at),
        )
    elif letter == "q":
        value(at, Role.QUERY, r'(?:\?(?:[^"\\ ]|\\.)*)?')
    elif letter == "H":
        value(at, "protocol", WORD)
    elif letter in ("v", "V"):
        value(at, "vhost", WORD)
    elif letter == "p":
        value(
            at, "port" if argument in (None, "canonical", "local") else Role.EXTRA, NUMBER, f"{argument}_port"
        )
    elif letter == "i":
        _header(builder, at, _argument(at, letter, argument))
    elif letter in ("o", "C", "e", "n", "^ti", "^to"):
        prefix = {
            "o": "sent_http_",
            "C": "cookie_",
            "e": "env_",
            "n": "note_",
            "^ti": "trailer_",
            "^to": "sent_trailer_",
        }
        text_value(at, Role.EXTRA, header_key(prefix[letter], _argument(at, letter, argument)))
    elif letter in _EXTRA_NUMBERS:
        key = "tid" if letter == "P" and argument in ("tid", "hextid") else _EXTRA_NUMBERS[letter]
        value(at, Role.EXTRA, r"[0-9A-Fa-fx]+|-" if letter == "P" else NUMBER, key)
    elif letter in _EXTRA_WORDS:
        value(at, Role.EXTRA, WORD, _EXTRA_WORDS[letter])
    elif letter in _EXTRA_TEXTS:
        text_value(at, Role.EXTRA, _EXTRA_TEXTS[letter])
    else:
        raise FormatError(at, f"%{letter} is no directive of mod_log_config; write %% for a percent sign")


def _argument(at: int, letter: str, argument: str | None) -> str:
    if not argument:
        raise FormatError(at, f"%{letter} needs a name; write %{{NAME}}{letter}")
    return argument


def _before_query(builder: Builder, at: int) -> bool:
    """Whether `%q` follows at once: a path has no question mark, so nothing need stand between them."""
    return bool(re.match(r"%[^A-Za-z%]*U%[^A-Za-z%]*q", builder.text[at:]))


def _header(builder: Builder, at: int, name: str) -> None:
    column = {"referer": "referer", "user-agent": "user_agent"}.get(name.lower())
    if column:
        builder.text_value(at, column)
    else:
        builder.text_value(at, Role.EXTRA, header_key("http_", name))


def _time(builder: Builder, at: int, argument: str | None) -> None:
    if argument is None or argument == "":
        builder.literal("[")
        builder.value(at, Role.TIME, WHOLE_TIME, fixed=True)
        builder.literal("]")
        return
    pattern = re.sub(r"^(?:begin|end):?", "", argument)
    if pattern in _EPOCHS:
        role, shape = _EPOCHS[pattern]
        builder.value(at, role, shape, fixed=True)
    elif pattern == "":
        _time(builder, at, None)
    elif "%" not in pattern:
        raise FormatError(
            at, f"%{{{argument}}}t is no format of time; use %{{%Y-%m-%dT%H:%M:%S%z}}t, or sec, msec, usec"
        )
    else:
        builder.strftime(at, pattern)


def _duration(builder: Builder, at: int, letter: str, argument: str | None) -> None:
    if letter == "D":
        builder.value(at, Role.DURATION_MICROSECONDS, NUMBER)
    elif (argument or "s") in _DURATION_UNITS:
        shape = DECIMAL if (argument or "s") == "s" else NUMBER
        builder.value(at, _DURATION_UNITS[argument or "s"], shape)
    else:
        raise FormatError(at, f"%{{{argument}}}T has no such unit; use %{{us}}T, %{{ms}}T or %{{s}}T")
