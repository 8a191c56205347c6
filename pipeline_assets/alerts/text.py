"""Text that strangers wrote, made harmless for every place an alert goes to.

What belongs here: what a name or a line of a log may look like in a message. What does not: the message
(`alerts.render`), and the escapes that a target needs for plain text, which Apprise applies.

Some targets read Markdown or their own markup in what they are given as plain text, and most turn whatever
looks like an address into a link. So the text is changed where it could do something, and visibly.
"""

from __future__ import annotations

import re
from typing import Final

from pipeline_assets.escaping import visible

# Endings of landed files' names, which look like the last label of a domain to nobody.
_FILE_ENDINGS: Final = r"(?:log|gz|bz2|zst|txt|json|parquet|tmp|part|access|error)\b(?!\.[A-Za-z])"
_DOMAIN_DOT: Final = re.compile(rf"(?<=\w)\.(?!{_FILE_ENDINGS})(?=[^\W\d_]{{2}})", re.IGNORECASE)
# Twice the same: a Windows share, and markup of several targets.
_DOUBLED: Final = re.compile(r"([\\~|])(?=\1)")
_HARMLESS: Final = (
    ("://", "[:]//"),  # an address
    ("@", "(at)"),  # a mention, or a mail address
    ("<", "‹"),  # noqa: RUF001 - HTML, and Slack's <!channel>
    (">", "›"),  # noqa: RUF001
    ("`", "'"),  # code
    ("](", "] ("),  # a link or a picture
    ("*", "∗"),  # noqa: RUF001 - emphasis
)


def harmless(text: str, limit: int) -> str:
    """The text on one line, at most `limit` characters, with nothing in it that a target acts upon.

    Control characters, line ends and invisible characters are written out as escapes.
    """
    # More than enough is cut first, so that a line of any length costs the same.
    head = text[: limit + 1]
    shown = visible(head)
    for old, new in _HARMLESS:
        shown = shown.replace(old, new)
    shown = _DOUBLED.sub(r"\1 ", shown)
    shown = _DOMAIN_DOT.sub("[.]", shown)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
