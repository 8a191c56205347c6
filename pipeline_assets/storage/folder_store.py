"""A local folder as storage.

What belongs here: the operations of `store` on a file system. What does not: what the bytes mean.
"""

from __future__ import annotations

import builtins
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final

import polars as pl
from filelock import FileLock

from pipeline_assets.storage.store import (
    PARQUET_COMPRESSION_LEVEL,
    DeltaAddress,
    Entry,
    StorageUnavailableError,
    SwapConflictError,
    Versioned,
)

# Names that only `_temporary_beside` gives; other hidden files are somebody else's.
_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{12}", re.DOTALL)


class FolderStore:
    """A `Store` in a local folder; the protocol documents what its methods do.

    Every object appears by a rename or a hard link, so a killed process leaves a hidden temporary file at
    worst. Compare-and-swap takes one advisory lock for the folder; the system frees it when its holder dies.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def location(self) -> str:
        return str(self.root)

    def list(self, prefix: str, *, after: str = "") -> list[Entry]:
        start = len(prefix.strip("/")) + 1
        return sorted(entry for entry in self._walk(prefix, after) if entry.path[start:] > after)

    def children(self, prefix: str) -> builtins.list[str]:
        self._require_root()
        try:
            return sorted(item.name for item in os.scandir(self._path(prefix)) if item.name[0] != ".")
        except (FileNotFoundError, NotADirectoryError):
            return []

    def stat(self, path: str) -> Entry | None:
        try:
            found = self._path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _entry(path, found) if S_ISREG(found.st_mode) else None

    def read(self, path: str) -> Versioned | None:
        return _read(self._path(path))

    def open(self, path: str) -> BinaryIO:
        return self._path(path).open("rb")

    def create(self, path: str, data: bytes | memoryview) -> bool:
        final = self._path(path)
        temporary = self._write_aside(final, data)
        try:
            os.link(temporary, final)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            return self._create_by_rename(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def swap(self, path: str, data: bytes, expected: str | None) -> str:
        final = self._path(path)
        temporary = self._write_aside(final, data)
        try:
            with FileLock(self.root / ".lock"):
                found = _read(final)
                if (found.etag if found else None) != expected:
                    raise SwapConflictError(path)
                temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
        return _content_etag(data)

    def delete(self, path: str) -> None:
        self._path(path).unlink(missing_ok=True)

    def temporaries(self) -> builtins.list[Entry]:
        found = []
        for folder, _, names in os.walk(self.root):
            for name in filter(_TEMPORARY.fullmatch, names):
                path = Path(folder) / name
                # Finished or deleted while we looked.
                with suppress(OSError):
                    found.append(_entry(path.relative_to(self.root).as_posix(), path.stat()))
        return sorted(found)

    def upload(self, source: Path, path: str) -> None:
        final = self._path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_beside(final)
        try:
            shutil.copyfile(source, temporary)
            shutil.copystat(source, temporary)
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)

    def write_parquet(self, path: str, frame: pl.DataFrame | pl.LazyFrame) -> int:
        final = self._path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_beside(final)
        try:
            frame.lazy().sink_parquet(
                temporary, compression="zstd", compression_level=PARQUET_COMPRESSION_LEVEL
            )
            size = temporary.stat().st_size
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
        return size

    def scan_parquet(self, paths: Sequence[str]) -> pl.LazyFrame:
        return pl.scan_parquet([self._path(path) for path in paths], glob=False)

    def delta_address(self, path: str) -> DeltaAddress:
        return DeltaAddress(str(self._path(path)))

    def uri(self, path: str) -> str:
        return str(self._path(path))

    def _create_by_rename(self, temporary: Path, final: Path) -> bool:
        with FileLock(self.root / ".lock"):
            if final.exists():
                return False
            temporary.replace(final)
        return True

    def _path(self, path: str) -> Path:
        return self.root / path

    def _require_root(self) -> None:
        if not self.root.is_dir():
            raise StorageUnavailableError(
                f"storage folder {self.root} does not exist; create it or set PIPELINE_STORAGE to another"
            )

    def _walk(self, prefix: str, after: str) -> Iterator[Entry]:
        self._require_root()
        top = prefix.strip("/")
        stack = [top]
        while stack:
            folder = stack.pop()
            try:
                found = builtins.list(os.scandir(self._path(folder)))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise StorageUnavailableError(f"can't list {self._path(folder)}: {error.strerror}") from error
            for item in found:
                path = f"{folder}/{item.name}"
                if folder == top and item.name < after.partition("/")[0]:
                    continue
                if item.is_dir(follow_symlinks=False):
                    if not item.name.startswith("."):
                        stack.append(path)
                elif not item.name.startswith("."):
                    try:
                        if item.is_file():
                            yield _entry(path, item.stat())
                    except OSError:  # deleted while we looked, or a link that leads nowhere
                        continue

    def _write_aside(self, final: Path, data: bytes | memoryview) -> Path:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_beside(final)
        temporary.write_bytes(data)
        return temporary


def _read(path: Path) -> Versioned | None:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Versioned(data, _content_etag(data))


def _temporary_beside(final: Path) -> Path:
    return final.with_name(f".{final.name[:100]}.{secrets.token_hex(6)}")


def _content_etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _entry(path: str, stat: os.stat_result) -> Entry:
    # Size and time of change identify a version of a landed file without reading it. A change that keeps
    # both is not seen, as with make and rsync.
    etag = f"{stat.st_size:x}-{stat.st_mtime_ns:x}"
    return Entry(path, stat.st_size, etag, stat.st_mtime, placed=stat.st_ctime)
