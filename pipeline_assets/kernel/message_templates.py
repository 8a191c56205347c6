"""An error message without its variables, so that entries which say the same count together.

What belongs here: masking, a pure function of one message. What does not: anything learned from other
messages, because the answer would then depend on what came before.

A variable is told by its shape: quoted text, URLs, paths, addresses, UUIDs, hexadecimal and other numbers. In
their place stand `<text>`, `<url>`, `<path>`, `<ip>`, `<uuid>`, `<hex>` and `<n>`. Learning methods such as
Drain (He et al., ICWS 2017) mask first in the same way; here masking is all.
"""

from __future__ import annotations

from typing import Final

import polars as pl

MAX_CHARACTERS: Final = 200
# A message is cut before it is masked, too: what a client sent may be megabytes.
_MAX_READ: Final = 2_000

# In this order: a quoted path is text, a URL holds a path, an address holds numbers, and eight digits are a
# number rather than hexadecimal.
_MASKS: Final = (
    (r'"(?:[^"\\]|\\.)*"?|\'[^\']*\'|`[^`]*`', "<text>"),
    (r"(?i)\b[a-z][a-z0-9+.-]{1,15}://[^\s,;<>()]*", "<url>"),
    (r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]+)?\b", "<ip>"),
    (r"\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b", "<n>"),
    (r"(?i)\[?(?:\b(?:[0-9a-f]{1,4}:){2,7}[0-9a-f:]*|::1\b)(?:\](?::[0-9]+)?)?", "<ip>"),
    (r"(?:\b[A-Za-z]:\\|/)[^\s,;:<>()'\"]*", "<path>"),
    (r"\b[0-9]+(?:\.[0-9]+)*\b", "<n>"),
    (r"(?i)\b0x[0-9a-f]+\b|\b[0-9a-f]*[0-9][0-9a-f]{7,}\b", "<hex>"),
    (r"[0-9]+(?:\.[0-9]+)*", "<n>"),
    (r"[\s\x00-\x1f\x7f]+", " "),
)
# A masked number is no letter, so what follows it may be a word of hexadecimal letters in a second round. In
# a third there is nothing left to find: a template is its own template.
_ROUNDS: Final = 2


def template_of(message: pl.Expr) -> pl.Expr:
    """The template of an error message: its first line, masked, at most 200 characters long.

    Pure, total (any text has one, a null has none), and idempotent: a template is its own template.
    """
    text = message.str.extract(r"^([^\r\n]*)").str.slice(0, _MAX_READ)
    for _ in range(_ROUNDS):
        for pattern, mask in _MASKS:
            text = text.str.replace_all(pattern, mask)
    text = text.str.strip_chars()
    cut = text.str.slice(0, MAX_CHARACTERS)
    # Half a word could look like a variable that the whole word is not.
    whole_words = cut.str.replace(r"\w+$", "").str.strip_chars_end()
    return (
        pl.when(text.str.len_chars() <= MAX_CHARACTERS)
        .then(text)
        .when(whole_words != "")
        .then(whole_words)
        .otherwise(cut)
    )
