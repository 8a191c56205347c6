"""A store that counts what it is asked for: the requests that cost money, and the bytes written.

What belongs here: counting. What does not: prices (`compute.costs`), and storage itself.

One call is one request, but for a listing, which is one for each 5,000 objects. Polars and delta-rs go to the
storage by themselves: of them only the beginnings are seen, one read for each Parquet object that is scanned
and one list for each table that is opened. So the counts are what was used at least.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from pipeline_assets.storage.store import DeltaAddress, Entry, Store, Versioned

if TYPE_CHECKING:
    import polars as pl

# Objects in one page of a listing, on Azure.
_PAGE: Final = 5_000


@dataclass(frozen=True)
class Requests:
    """Requests by class, as storage services charge them, and bytes written through the store."""

    reads: int = 0
    writes: int = 0
    lists: int = 0
    deletes: int = 0
    bytes_written: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(*(mine + theirs for mine, theirs in zip(_values(self), _values(other), strict=True)))

    def __sub__(self, other: Requests) -> Requests:
        return Requests(*(mine - theirs for mine, theirs in zip(_values(self), _values(other), strict=True)))


def _values(requests: Requests) -> tuple[int, ...]:
    return (
        requests.reads,
        requests.writes,
        requests.lists,
        requests.deletes,
        requests.bytes_written,
    )


class CountingStore:
    """Another store, with its requests counted in `done`; everything else is the other store's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.done = Requests()
        # Tables are opened and written by several threads at once.
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, prefix: str, *, after: str = "") -> list[Entry]:
        """As the store."""
        found = self._store.list(prefix, after=after)
        self._count(lists=1 + len(found) // _PAGE)
        return found

    def children(self, prefix: str) -> builtins.list[str]:
        """As the store."""
        found = self._store.children(prefix)
        self._count(lists=1 + len(found) // _PAGE)
        return found

    def stat(self, path: str) -> Entry | None:
        """As the store."""
        self._count(reads=1)
        return self._store.stat(path)

    def read(self, path: str) -> Versioned | None:
        """As the store."""
        self._count(reads=1)
        return self._store.read(path)

    def open(self, path: str) -> BinaryIO:
        """As the store."""
        self._count(reads=1)
        return self._store.open(path)

    def create(self, path: str, data: bytes | memoryview) -> bool:
        """As the store."""
        created = self._store.create(path, data)
        self._count(writes=1, bytes_written=len(data) if created else 0)
        return created

    def swap(self, path: str, data: bytes, expected: str | None) -> str:
        """As the store."""
        self._count(writes=1)
        etag = self._store.swap(path, data, expected)
        self._count(bytes_written=len(data))
        return etag

    def delete(self, path: str) -> None:
        """As the store."""
        self._count(deletes=1)
        self._store.delete(path)

    def upload(self, source: Path, path: str) -> None:
        """As the store."""
        self._count(writes=1, bytes_written=source.stat().st_size)
        self._store.upload(source, path)

    def write_parquet(self, path: str, frame: pl.DataFrame | pl.LazyFrame) -> int:
        """As the store."""
        size = self._store.write_parquet(path, frame)
        self._count(writes=1, bytes_written=size)
        return size

    def scan_parquet(self, paths: Sequence[str]) -> pl.LazyFrame:
        """As the store."""
        self._count(reads=len(paths))
        return self._store.scan_parquet(paths)

    def delta_address(self, path: str) -> DeltaAddress:
        """As the store."""
        self._count(lists=1)
        return self._store.delta_address(path)

    def _count(
        self, *, reads: int = 0, writes: int = 0, lists: int = 0, deletes: int = 0, bytes_written: int = 0
    ) -> None:
        with self._lock:
            self.done += Requests(reads, writes, lists, deletes, bytes_written)


def counting(store: Store) -> tuple[Store, CountingStore]:
    """The store to work with, and the same as the one that knows its counts."""
    counted = CountingStore(store)
    return cast(Store, counted), counted
