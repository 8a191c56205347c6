"""Text that strangers wrote, made harmless for where it is shown.

What belongs here: pure functions from any text to one that a terminal, a log message or Markdown shows as it
is. What does not: HTML, which the report's templates escape by themselves.

Clients choose most of a log line, and file names may come from anywhere. Dagster's UI renders descriptions
and Markdown metadata with links, with addresses made into links, and with images that it fetches from any
host; in log messages it makes links of what begins like one. It shows text and table metadata as they are.
All of them obey characters that reverse or hide text.
"""

from __future__ import annotations

import re
from typing import Final

SHOWN_CHARACTERS: Final = 200
_SCHEME: Final = re.compile(r"://")
_BACKTICKS: Final = re.compile(r"`+")


def visible(text: str) -> str:
    """The text with everything that is not printable written out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shortened(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """The visible text, cut where it is longer than `limit` characters, and then saying how long it was."""
    shown = visible(text[:limit])
    cut = len(text) > limit or len(shown) > limit
    return f"{shown[:limit]}… ({len(text):,} characters)" if cut else shown


def shown_bytes(line: bytes, limit: int = SHOWN_CHARACTERS) -> str:
    """A line's bytes as text to show; what is not UTF-8 is written as `\\xNN`."""
    shown = visible(line[: 4 * limit].decode("utf-8", "backslashreplace"))
    return f"{shown[:limit]}… ({len(line):,} bytes)" if len(shown) > limit or len(line) > 4 * limit else shown


def plain(text: str, limit: int = 2_000) -> str:
    """The text for a log message or an error: nothing in it is taken for the address of a page."""
    return _SCHEME.sub(r":\\x2f\\x2f", shortened(text, limit))


def code(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """The text as Markdown code, in which nothing is markup and nothing a link."""
    shown = shortened(text, limit) or " "
    longest = max((len(run) for run in _BACKTICKS.findall(shown)), default=0)
    fence = "`" * (longest + 1)
    # A blank at both ends is taken off again, unless there is nothing else.
    pad = " " if shown.strip(" ") and (shown[0] in "` " or shown[-1] in "` ") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"
