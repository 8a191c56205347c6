"""Which code this is: a stamp that a checkout and the wheel made of it share, and other code has not.

What belongs here: making the stamp. What does not: comparing two of them, and what follows where they differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Final

DISTRIBUTION: Final = "pipeline-assets"
_DIGITS: Final = 16


@cache
def code_version() -> str:
    """The stamp of the code that runs, such as `0.1.0+kernel2.8c1f5e0d9a7b6342`.

    It names the version of the package, that of the kernel, and a digest of all its Python sources.
    """
    from pipeline_assets.kernel.schemas import KERNEL_VERSION

    try:
        package = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:  # a checkout on the path, not installed
        package = "0"
    return f"{package}+kernel{KERNEL_VERSION}.{sources_digest(resources.files('pipeline_assets'))}"


def sources_digest(package: Traversable) -> str:
    """A digest of the Python sources under a package's folder, by relative path; 16 hex digits.

    The folder may be inside an archive. The end of a line may be either of the two that Git writes.
    """
    found = hashlib.sha256()
    for path, source in sorted(_sources(package, "")):
        text = source.replace(b"\r\n", b"\n")
        # With its length before it, no text can pass for the end of one file and the beginning of the next.
        found.update(f"{path}\n{len(text)}\n".encode())
        found.update(text)
    return found.hexdigest()[:_DIGITS]


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield f"{prefix}{entry.name}", entry.read_bytes()
