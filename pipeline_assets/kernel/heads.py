"""Heads: a digest of how a content begins, by which copies and longer states of a log are found.

What belongs here: what a head is. What does not: which of two contents counts (`identity`).
"""

from __future__ import annotations

import hashlib
from typing import Final

# Heads of these two kinds are never equal, whatever the digests.
_LINE_HEAD: Final = "line-"
_CONTENT_HEAD: Final = "content-"


def line_head(first_line: bytes) -> str:
    """The head of a file whose first complete line, neither blank nor a comment, is this one."""
    return _LINE_HEAD + hashlib.sha256(first_line).hexdigest()


def content_head(digest: str) -> str:
    """The head of a file without such a line, from the digest of all its decompressed bytes."""
    return _CONTENT_HEAD + digest


def has_first_line(head: str) -> bool:
    """Whether a file with this head has a complete line that is neither blank nor a comment."""
    return head.startswith(_LINE_HEAD)
