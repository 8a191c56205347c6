"""By which digest contents are known.

What belongs here: the kind of digest by which two landed contents are told to be the same, and the kind
before it. What does not: digests of short texts such as first lines, names and settings, which are SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from blake3 import blake3

# Before kernel 5 contents were known by SHA-256. Those digests begin with this.
_BEFORE: Final = "sha256:"


def content_digest() -> blake3:
    """A new digest (BLAKE3, 256 bits), which takes bytes by `update` and tells itself by `hexdigest`.

    Whoever writes a log must not be able to make two contents that count as one, so it has to be a
    cryptographic one. SHA-256 takes three times as long: 0.4 of the 8 s that a gigabyte takes to bronze.
    """
    return blake3()


def digest_of_before(hexadecimal: str) -> str:
    """A digest of before kernel 5, as it was written then, as one that says so."""
    return _BEFORE + hexadecimal


def is_of_before(digest: str) -> bool:
    """Whether it is a digest of before kernel 5: then the same content has another one now."""
    return digest.startswith(_BEFORE)


class Digests:
    """The digests of some bytes: that of now, and that of before where one of those `known` is such."""

    def __init__(self, known: Iterable[str]) -> None:
        self._now = content_digest()
        self._before = hashlib.sha256() if any(map(is_of_before, known)) else None

    def update(self, block: bytes) -> None:
        """Take more bytes."""
        self._now.update(block)
        if self._before is not None:
            self._before.update(block)

    @property
    def now(self) -> str:
        """The digest by which contents are known now."""
        return self._now.hexdigest()

    @property
    def all(self) -> frozenset[str]:
        """All of them, by which the content may be known."""
        before = () if self._before is None else (digest_of_before(self._before.hexdigest()),)
        return frozenset((self.now, *before))
