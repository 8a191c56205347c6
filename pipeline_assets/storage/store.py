"""The few operations on named bytes that everything else is built from.

What belongs here: the operations, and the errors that every kind of storage raises alike. What does not: a
kind of storage (`folder_store`, `azure_store`), and what the bytes mean. Paths are relative to the storage
root, with `/` between segments.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

if TYPE_CHECKING:
    import polars as pl

# Parts are scratch until a manifest names them, so encoding speed counts for more than the last few percent.
PARQUET_COMPRESSION_LEVEL: Final = 1


class StorageUnavailableError(Exception):
    """The storage can't be reached. A failed listing is never taken for an empty one."""


class SwapConflictError(Exception):
    """Somebody else changed the object since it was read."""


@dataclass(frozen=True, order=True)
class Entry:
    """One stored object: its path, size in bytes, version, and time of change (seconds since the epoch).

    `problem` says why the object can't be read, where its name already tells. `placed` is when it came under
    its name, where that is known: moving and many ways of copying leave `modified` as it was.
    """

    path: str
    size: int
    etag: str
    modified: float
    problem: str = ""
    placed: float = field(default=0.0, compare=False)

    @property
    def news_since(self) -> float:
        """When the object last became another, or was put there; seconds since the epoch."""
        return max(self.modified, self.placed)


@dataclass(frozen=True)
class DeltaAddress:
    """Where delta-rs finds a table, and what it needs to get in (nothing on a folder)."""

    uri: str
    options: Mapping[str, str] | None = field(default=None, repr=False)  # may hold a key


@dataclass(frozen=True)
class Versioned:
    """Bytes of an object, and the version they are of."""

    data: bytes
    etag: str


class Store(Protocol):
    """Named bytes below one root.

    Polars and delta-rs open what is stored by themselves, so the store tells them how: nobody else knows what
    kind of storage it is.
    """

    @property
    def location(self) -> str:
        """Where the storage is, as people are shown it: a folder, or `az://` and the account. No secret."""

    def list(self, prefix: str, *, after: str = "") -> list[Entry]:
        """Every object below `prefix`, sorted by path; with `after`, those whose name below it is greater.

        Raises `StorageUnavailableError`, never guesses.
        """

    def children(self, prefix: str) -> builtins.list[str]:
        """Names directly below `prefix`, sorted; folders and objects alike."""

    def stat(self, path: str) -> Entry | None:
        """The object as it is now, or None where there is none (a folder is none)."""

    def read(self, path: str) -> Versioned | None:
        """An object's bytes and version, or None if there is none."""

    def open(self, path: str) -> BinaryIO:
        """A seekable stream of an object's bytes. Raises `OSError` where it can't be read."""

    def create(self, path: str, data: bytes | memoryview) -> bool:
        """Create an object unless it exists; False where it does."""

    def swap(self, path: str, data: bytes, expected: str | None) -> str:
        """Replace the object if its version is still `expected` (None: there is none); its new version.

        Raises `SwapConflictError` otherwise.
        """

    def delete(self, path: str) -> None:
        """Delete an object; nothing happens if there is none."""

    def temporaries(self) -> builtins.list[Entry]:
        """Objects that writers had not finished when they were killed, and no listing shows; may be none."""

    def upload(self, source: Path, path: str) -> None:
        """Put a local file in place of the object, or where there is none; it appears whole or not at all.

        It keeps its time of change where the storage can. Raises `OSError` where the file can't be read.
        """

    def write_parquet(self, path: str, frame: pl.DataFrame | pl.LazyFrame) -> int:
        """Write a frame as one Parquet object, visible only when complete; its size in bytes."""

    def scan_parquet(self, paths: Sequence[str]) -> pl.LazyFrame:
        """The rows of one or more Parquet objects of the same columns, lazily."""

    def delta_address(self, path: str) -> DeltaAddress:
        """How delta-rs opens the table at that path."""

    def uri(self, path: str) -> str:
        """The path's address as people are shown it. No secret."""
