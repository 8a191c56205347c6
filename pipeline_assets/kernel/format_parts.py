"""What the compilers of Apache's and nginx's format languages share: building a `Definition` from its parts.

What belongs here: literal text, the shapes of values, and the rules that any definition must keep. What does
not: either language (`apache_log_format`, `nginx_log_format`), and reading lines (`definitions`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from pipeline_assets.kernel.definitions import Definition, Field, Role, has_date_and_time
from pipeline_assets.kernel.log_times import CLF_TIME, ISO_TIME

# The shapes of values. Both servers escape a quote inside a value, so a bare one is always the format's own.
QUOTED: Final = r'(?:[^"\\]|\\.)*'
UNQUOTED: Final = r'(?:[^"\\]|\\.)*?'
WORD: Final = r'[^ "\t]*'
HOSTS: Final = r'(?:[^ ",\t]+, ?)*[^ "\t]+'
NUMBER: Final = r"-?[0-9]+|-"
DECIMAL: Final = r"-?[0-9]+(?:\.[0-9]+)?|-"
STATUS: Final = r"[0-9]{3}|-"
WHOLE_TIME: Final = f"{CLF_TIME}|{ISO_TIME}"
# The directives of strftime that can be read back, and what they write.
TIME_PARTS: Final = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "m": "[0-9]{2}",
    "b": "[A-Za-z]{3}",
    "B": "[A-Za-z]+",
    "d": "[0-9]{2}",
    "e": "[ 0-9][0-9]",
    "j": "[0-9]{3}",
    "H": "[0-9]{2}",
    "I": "[0-9]{2}",
    "M": "[0-9]{2}",
    "S": "[0-9]{2}",
    "p": "[AaPp][Mm]",
    "z": r"Z|[+-][0-9]{2}:?[0-9]{2}",
}
_TIME_TEXTS: Final = {"a": "[A-Za-z]{3}", "A": "[A-Za-z]+", "Z": "[A-Za-z]*", "u": "[0-9]", "w": "[0-9]"}
_TIME_SHORTHANDS: Final = {
    "T": "%H:%M:%S", "F": "%Y-%m-%d", "D": "%m/%d/%y", "R": "%H:%M", "h": "%b", "r": "%I:%M:%S %p",
    "c": "%a %b %e %H:%M:%S %Y",
}  # fmt: skip

# Groups that are columns already taken go to `extra` under this name.
_SPARE_KEYS: Final = {
    "status": "other_status",
    "bytes": "other_bytes",
    Role.REMOTE_HOST: "other_host",
    "user": "other_user",
    "vhost": "other_vhost",
    "port": "other_port",
    "referer": "other_referer",
    "user_agent": "other_user_agent",
    "request": "other_request",
    "method": "other_method",
    "target": "other_target",
    "protocol": "other_protocol",
    "identity": "other_identity",
    Role.PATH: "path",
    Role.QUERY: "query",
}

# Headers in which proxies name the client, and so perhaps lists of addresses.
_FORWARDED_KEYS: Final = (
    "http_x_forwarded_for", "http_x_real_ip", "http_cf_connecting_ip", "http_true_client_ip",
)  # fmt: skip


class FormatError(ValueError):
    """A definition that can't be used; the message says where, why, and what to write instead."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"at character {position + 1}: {problem}")


@dataclass
class Builder:
    """Puts a definition's expression together from left to right."""

    text: str
    _pattern: list[str] = field(default_factory=list)
    _fields: list[Field] = field(default_factory=list)
    _open_since: int | None = None
    _in_quotes: bool = False

    @property
    def in_quotes(self) -> bool:
        """Whether a quote of the format itself stands open here."""
        return self._in_quotes

    def literal(self, text: str) -> None:
        """Text that stands in every line as it is."""
        for character in text:
            if character == '"':
                self._in_quotes = not self._in_quotes
            self._pattern.append(escaped(character))
            self._open_since = None

    def value(self, position: int, role: str, shape: str, key: str = "", *, fixed: bool = False) -> None:
        """A field; where one that is not `fixed` in its shape ends, the text behind it must tell."""
        if not fixed:
            if self._open_since is not None:
                before = self.text[self._open_since : position]
                raise FormatError(
                    position,
                    f"nothing separates {before!r} from what follows, so a line can't say where it ends;"
                    " put a blank or a quote between them",
                )
            self._open_since = position
        group = f"f{len(self._fields)}"
        self._pattern.append(f"(?<{group}>{shape})")
        self._fields.append(Field(group, role, key))

    def text_value(self, position: int, role: str, key: str = "") -> None:
        """A field of any text, as its surroundings let it be."""
        shape = QUOTED if self._in_quotes else HOSTS if key in _FORWARDED_KEYS else UNQUOTED
        self.value(position, role, shape, key)

    def whole_time(self, position: int) -> None:
        """A time in one piece, without brackets."""
        self.value(position, Role.TIME, WHOLE_TIME, fixed=True)

    def strftime(self, position: int, pattern: str) -> None:
        """A time as strftime writes it; each of its directives is a field."""
        for letters in ("T", "F", "D", "R", "h", "r", "c"):
            pattern = re.sub(rf"(?<!%)((?:%%)*)%{letters}", rf"\1{_TIME_SHORTHANDS[letters]}", pattern)
        at = 0
        while at < len(pattern):
            if pattern[at] != "%":
                self.literal(pattern[at])
                at += 1
                continue
            letter = pattern[at + 1 : at + 2]
            if letter in TIME_PARTS and letter:
                self.value(position, Role.TIME_PART, TIME_PARTS[letter], letter, fixed=True)
            elif letter in _TIME_TEXTS and letter:
                self._pattern.append(f"(?:{_TIME_TEXTS[letter]})")
            elif letter == "s":
                self.value(position, Role.EPOCH_SECONDS, "[0-9]+", fixed=True)
            elif letter in ("%", "n", "t"):
                self.literal({"%": "%", "n": "\n", "t": "\t"}[letter])
            else:
                raise FormatError(
                    position, f"%{letter} of strftime can't be read back; use %Y-%m-%dT%H:%M:%S%z"
                )
            at += 2

    def definition(self, name: str) -> Definition:
        """The finished definition. Raises `FormatError` where no line of it could become a row."""
        fields = self._with_spares()
        roles = {each.role for each in fields}
        end = len(self.text)
        if self._in_quotes:
            raise FormatError(end - 1 if end else 0, "a quote is opened and never closed; add the other one")
        if Role.REMOTE_HOST not in roles:
            fields, roles = self._with_forwarded_host(fields)
        if Role.REMOTE_HOST not in roles:
            raise FormatError(end, "it names no client; add %h (Apache) or $remote_addr (nginx)")
        parts = {each.key: each for each in fields if each.role == Role.TIME_PART}
        epochs = {Role.EPOCH_SECONDS, Role.EPOCH_MILLISECONDS, Role.EPOCH_MICROSECONDS}
        if not (Role.TIME in roles or epochs & roles or has_date_and_time(parts)):
            raise FormatError(
                end, "it names no complete time; add %t (Apache) or $time_local or $time_iso8601 (nginx)"
            )
        return Definition(name, "^" + "".join(self._pattern) + " *$", tuple(fields))

    def _with_spares(self) -> list[Field]:
        """Each column once: what is written a second time goes to `extra`."""
        taken: set[tuple[str, str]] = set()
        fields: list[Field] = []
        for each in self._fields:
            key = each.key
            role = each.role
            if role in _SPARE_KEYS and (role, "") in taken:
                role, key = Role.EXTRA, key or _SPARE_KEYS[each.role]
            elif role in _SPARE_KEYS:
                taken.add((role, ""))
            if role == Role.EXTRA:
                number = 2
                base = key
                while (Role.EXTRA, key) in taken:
                    key = f"{base}_{number}"
                    number += 1
                taken.add((Role.EXTRA, key))
            fields.append(Field(each.group, role, key))
        return fields

    @staticmethod
    def _with_forwarded_host(fields: list[Field]) -> tuple[list[Field], set[str]]:
        """Where only a proxy's header names the client, it is the client."""
        for key in _FORWARDED_KEYS:
            for number, each in enumerate(fields):
                if each.role == Role.EXTRA and each.key == key:
                    fields = [*fields[:number], Field(each.group, Role.REMOTE_HOST), *fields[number + 1 :]]
                    return fields, {one.role for one in fields}
        return fields, {one.role for one in fields}


def escaped(character: str) -> str:
    """A character as an expression that matches it alone."""
    return "\\" + character if character in r"\.+*?()|[]{}^$#&-~" else character


def header_key(prefix: str, name: str) -> str:
    """The member of `extra` that a header, a cookie or a note becomes, as nginx would call its variable."""
    return prefix + re.sub(r"[^a-z0-9_]", "_", name.lower())
