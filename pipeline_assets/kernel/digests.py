"""By which digest contents are known.

What belongs here: the one kind of digest by which two landed contents are told to be the same. What does not:
digests of short texts such as first lines, names and settings, which are SHA-256.
"""

from __future__ import annotations

from blake3 import blake3


def content_digest() -> blake3:
    """A new digest (BLAKE3, 256 bits), which takes bytes by `update` and tells itself by `hexdigest`.

    Whoever writes a log must not be able to make two contents that count as one, so it has to be a
    cryptographic one. SHA-256 takes three times as long: 0.4 of the 8 s that a gigabyte takes to bronze.
    """
    return blake3()
