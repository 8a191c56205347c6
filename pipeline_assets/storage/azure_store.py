"""An Azure storage account as storage: each first-level folder is a container of that name.

What belongs here: the operations of `store` on Azure's blob service. What does not: what the bytes mean, and
credentials (`azure_credentials`).

- Blobs appear whole: a small one by one request, a large one by the list of its blocks, which comes last.
- Create and swap are conditional requests, and the service picks the one winner.
- Parquet is streamed by Polars under a name that is written once: blocks that a killed writer left under a
  name would make a later upload to it fail.
- Requests that fail are repeated by the clients, a bounded number of times, and then raise
  `StorageUnavailableError`. A listing that fails is never an empty one.
"""

from __future__ import annotations

import builtins
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import polars as pl

from pipeline_assets.azure_access import AzureAccess
from pipeline_assets.storage.azure_credentials import Credentials
from pipeline_assets.storage.store import (
    PARQUET_COMPRESSION_LEVEL,
    DeltaAddress,
    Entry,
    StorageUnavailableError,
    SwapConflictError,
    Versioned,
)

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient
    from obstore import ObjectMeta
    from obstore.store import AzureStore as Container
    from obstore.store import ClientConfig, RetryConfig

CONTAINERS: Final = ("logs", "bronze", "silver", "gold", "serving", "model")
# How much of a blob is in memory while it is read, and how much goes into one request of an upload.
_BLOCK_BYTES: Final = 8 << 20
_UPLOADS_AT_ONCE: Final = 4
# A request may take as long as a block does on a slow line; a storage that is away is told within a minute.
_CLIENT: Final[ClientConfig] = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
_RETRIES: Final[RetryConfig] = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=10), "base": 2},
}


class AzureStore:
    """A `Store` in an Azure storage account; the protocol documents what its methods do."""

    def __init__(self, access: AzureAccess) -> None:
        self._access = access
        self._credentials = Credentials(access)
        self._containers: dict[str, Container] = {}
        self._sdk: BlobServiceClient | None = None

    def __repr__(self) -> str:
        return f"AzureStore({self.location!r})"

    @property
    def location(self) -> str:
        return f"az://{self._access.account}"

    def prepare(self) -> None:
        """Create the containers that are missing.

        Raises `StorageUnavailableError` where the account can't be reached or we may not.
        """
        with ThreadPoolExecutor(len(CONTAINERS)) as pool:
            missing = [
                name
                for name, there in zip(CONTAINERS, pool.map(self._exists, CONTAINERS), strict=True)
                if not there
            ]
        if missing:
            self._create_containers(missing)

    def list(self, prefix: str, *, after: str = "") -> list[Entry]:
        import obstore
        from obstore.exceptions import InvalidPathError

        container, below = _split(prefix.strip("/"))
        if not container:
            listed = (entry for name in CONTAINERS for entry in self.list(name))
            return sorted(entry for entry in listed if entry.path > after)
        # The service begins there; an older emulator sends everything, which is left out below.
        offset = "/".join(filter(None, (below, after))) if after else None
        try:
            with self._answering(f"list {prefix}"):
                found = obstore.list(self._container(container), below or None, offset=offset).collect()
            entries = [_entry(container, meta) for meta in found]
        except InvalidPathError:
            entries = self._list_odd_names(container, below)
        start = len(prefix.strip("/")) + 1
        return sorted(
            entry
            for entry in _without_folders(entries)
            if entry.path[start:] > after and not _is_hidden(entry.path, prefix)
        )

    def children(self, prefix: str) -> builtins.list[str]:
        import obstore
        from obstore.exceptions import InvalidPathError

        container, below = _split(prefix.strip("/"))
        if not container:
            return sorted(CONTAINERS)
        try:
            with self._answering(f"list {prefix}"):
                found = obstore.list_with_delimiter(self._container(container), below or None)
        except InvalidPathError:
            start = len(prefix.strip("/")) + 1
            names = {entry.path[start:].partition("/")[0] for entry in self._list_odd_names(container, below)}
            return sorted(name for name in names if name and name[0] != ".")
        paths = {*found["common_prefixes"], *(meta["path"] for meta in found["objects"])}
        return sorted(name for name in (path.rpartition("/")[2] for path in paths) if name[0] != ".")

    def stat(self, path: str) -> Entry | None:
        import obstore

        container, name = _split(path)
        if not _is_plain(name):
            return None
        try:
            with self._answering(f"look at {path}"):
                return _entry(container, obstore.head(self._container(container), name))
        except FileNotFoundError:
            return None

    def read(self, path: str) -> Versioned | None:
        import obstore

        container, name = _split(path)
        if not _is_plain(name):
            return None
        try:
            with self._answering(f"read {path}"):
                found = obstore.get(self._container(container), name)
                return Versioned(bytes(found.bytes()), _etag(found.meta))
        except FileNotFoundError:
            return None

    def open(self, path: str) -> BinaryIO:
        entry = self.stat(path)
        if entry is None:
            raise FileNotFoundError(2, "no such blob", path)
        return cast(BinaryIO, io.BufferedReader(_BlobReader(self, entry)))

    def create(self, path: str, data: bytes | memoryview) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        container, name = _split(path)
        try:
            with self._answering(f"create {path}"):
                obstore.put(self._container(container), name, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def swap(self, path: str, data: bytes, expected: str | None) -> str:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        container, name = _split(path)
        try:
            with self._answering(f"write {path}"):
                done = obstore.put(
                    self._container(container),
                    name,
                    data,
                    mode="create" if expected is None else {"e_tag": f'"{expected}"'},
                )
        except (AlreadyExistsError, PreconditionError):
            raise SwapConflictError(path) from None
        return _etag(done)

    def delete(self, path: str) -> None:
        import obstore

        container, name = _split(path)
        if self._access.kind == "sas":
            self._delete_by_sdk(container, name)
            return
        try:
            with self._answering(f"delete {path}"):
                obstore.delete(self._container(container), name)
        except FileNotFoundError:
            return

    def temporaries(self) -> builtins.list[Entry]:
        # A killed writer leaves blocks that belong to no blob; the service drops them after a week.
        return []

    def upload(self, source: Path, path: str) -> None:
        import obstore

        container, name = _split(path)
        with source.open("rb") as stream, self._answering(f"upload to {path}"):
            obstore.put(
                self._container(container),
                name,
                stream,
                chunk_size=_BLOCK_BYTES,
                max_concurrency=_UPLOADS_AT_ONCE,
            )

    def write_parquet(self, path: str, frame: pl.DataFrame | pl.LazyFrame) -> int:
        frame.lazy().sink_parquet(
            _address(path),
            compression="zstd",
            compression_level=PARQUET_COMPRESSION_LEVEL,
            **self._credentials.for_polars(),
        )
        written = self.stat(path)
        if written is None:
            raise StorageUnavailableError(f"{self.location}: {path} is gone as soon as it was written")
        return written.size

    def scan_parquet(self, paths: Sequence[str]) -> pl.LazyFrame:
        addresses = [_address(path) for path in paths]
        return pl.scan_parquet(addresses, glob=False, **self._credentials.for_polars())

    def delta_address(self, path: str) -> DeltaAddress:
        return DeltaAddress(_address(path), self._credentials.for_delta())

    def uri(self, path: str) -> str:
        return f"{self._access.endpoint}/{path}"

    def read_range(self, entry: Entry, start: int, end: int) -> bytes:
        """Bytes `start` to `end` (not included) of that version of a blob.

        Raises `OSError` where the blob is gone or has another version now.
        """
        import obstore
        from obstore.exceptions import PreconditionError

        container, name = _split(entry.path)
        try:
            with self._answering(f"read {entry.path}"):
                found = obstore.get(
                    self._container(container),
                    name,
                    options={"range": (start, end), "if_match": f'"{entry.etag}"'},
                )
                return bytes(found.bytes())
        except PreconditionError:
            raise OSError(f"{entry.path}: it was replaced while it was read") from None

    def _container(self, name: str) -> Container:
        from obstore.store import AzureStore as Container

        if name not in self._containers:
            identity = self._access.kind == "identity"
            self._containers[name] = Container(
                name,
                config=self._credentials.for_obstore(),
                client_options={**_CLIENT, "allow_http": self._access.is_plain_http},
                retry_config=_RETRIES,
                credential_provider=self._credentials.obstore_provider if identity else None,
            )
        return self._containers[name]

    def _exists(self, container: str) -> bool:
        try:
            self.children(container)
        except _NoContainerError:
            return False
        return True

    def _service_client(self) -> BlobServiceClient:
        # It brings the Azure SDK with it, a second of CPU time, so it is imported only where it is used.
        from pipeline_assets.storage.azure_client import service_client

        return service_client(self._access)

    def _create_containers(self, names: Sequence[str]) -> None:
        from azure.core.exceptions import AzureError, ResourceExistsError

        with self._service_client() as client:
            for name in names:
                try:
                    client.create_container(name)
                except ResourceExistsError:  # somebody else has just created it
                    continue
                except AzureError as error:
                    raise StorageUnavailableError(
                        f"{self.location}: there is no container {name}, and it can't be created"
                        f" ({_brief(error)}); create it, or grant the role Storage Blob Data Contributor"
                    ) from None

    def _delete_by_sdk(self, container: str, name: str) -> None:
        # obstore deletes by a batch, whose parts would have to be signed one by one.
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        if self._sdk is None:
            self._sdk = self._service_client()
        try:
            self._sdk.get_blob_client(container, name).delete_blob()
        except ResourceNotFoundError:
            return
        except AzureError as error:
            raise StorageUnavailableError(
                f"{self.location}: can't delete {container}/{name}: {_brief(error)}"
            ) from None

    def _list_odd_names(self, container: str, below: str) -> builtins.list[Entry]:
        """A listing with the names that obstore refuses: they are told, so that a person can rename them."""
        from azure.core.exceptions import AzureError

        prefix = f"{below}/" if below else ""
        try:
            with self._service_client() as client:
                blobs = builtins.list(client.get_container_client(container).list_blobs(prefix))
        except AzureError as error:
            raise StorageUnavailableError(
                f"{self.location}: can't list {container}/{below}: {_brief(error)}"
            ) from None
        return [
            Entry(
                f"{container}/{blob.name}",
                blob.size,
                blob.etag.strip('"'),
                blob.last_modified.timestamp(),
                "" if _is_plain(blob.name) else "its name is no path; rename it",
            )
            for blob in blobs
        ]

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        """Turn what the client could not mend into one line that says what was to be done and why not."""
        from obstore import exceptions

        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            text = str(error)
            if "ContainerNotFound" in text or "ContainerBeingDeleted" in text:
                raise _NoContainerError(
                    f"{self.location}: can't {what}: there is no such container; create it by"
                    " `pipeline-assets init`"
                ) from None
            if isinstance(error, self._answers()):
                raise
            raise StorageUnavailableError(f"{self.location}: can't {what}: {_brief(error)}") from None

    @staticmethod
    def _answers() -> tuple[type[Exception], ...]:
        """Errors that are answers: each caller knows what they mean."""
        from obstore import exceptions

        return (
            exceptions.AlreadyExistsError,
            exceptions.PreconditionError,
            exceptions.InvalidPathError,
            FileNotFoundError,
        )


class _NoContainerError(StorageUnavailableError):
    """The container is missing."""


class _BlobReader(io.RawIOBase):
    """Reads one version of a blob, from wherever it is put, a block in memory at a time."""

    def __init__(self, store: AzureStore, entry: Entry) -> None:
        self._store = store
        self._entry = entry
        self._next = 0
        self._block = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        begins = {io.SEEK_SET: 0, io.SEEK_CUR: self._next - len(self._block), io.SEEK_END: self._entry.size}
        self._next = max(0, begins[whence] + offset)
        self._block = memoryview(b"")
        return self._next

    def readinto(self, buffer: Any) -> int:
        if not self._block and self._next < self._entry.size:
            end = min(self._next + _BLOCK_BYTES, self._entry.size)
            self._block = memoryview(self._store.read_range(self._entry, self._next, end))
            self._next = end
        taken = self._block[: len(buffer)]
        buffer[: len(taken)] = taken
        self._block = self._block[len(taken) :]
        return len(taken)


def _split(path: str) -> tuple[str, str]:
    container, _, name = path.partition("/")
    return container, name


def _address(path: str) -> str:
    return f"az://{path}"


def _etag(meta: Mapping[str, Any]) -> str:
    # With quotes where it comes in a header, without where it comes in a listing.
    return str(meta["e_tag"]).strip('"')


def _entry(container: str, meta: ObjectMeta) -> Entry:
    path = f"{container}/{meta['path']}"
    return Entry(path, meta["size"], _etag(meta), meta["last_modified"].timestamp())


def _is_plain(name: str) -> bool:
    """Whether obstore takes the name: segments that are not empty and hold no control characters."""
    controls = any(character < " " or character == "\x7f" for character in name)
    return not controls and all(segment not in ("", ".", "..") for segment in name.split("/"))


def _is_hidden(path: str, prefix: str) -> bool:
    below = path[len(prefix.strip("/")) :]
    return "/." in below


def _without_folders(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Without the empty blobs that some tools put in place of folders."""
    folders = {entry.path.rpartition("/")[0] for entry in entries}
    return (entry for entry in entries if entry.size or entry.path not in folders)


def _brief(error: Exception) -> str:
    """What the service or the client said, in a line and without the request's address and its trace."""
    text = str(error).partition("\n\nDebug source:")[0]
    code = re.search(r"<Code>(\w+)</Code>", text)
    message = re.search(r"<Message>([^\n<]*)", text)
    if code:
        return f"{code[1]}: {message[1]}" if message else code[1]
    return " ".join(re.sub(r"https?://\S+", "…", text).split())[:300]
