"""Context and messages as blobs of the storage account.

What belongs here: what has to be a class of dagster-azure's, and tidying up after it. What does not: anything
that is imported before it is used, for dagster-azure's Pipes bring Azure's machine learning SDK with them,
some seconds of CPU time.

The pair does the work. It leaves what was said behind, and its context too where a job fails; here all of it
is deleted, and what a killed process left is deleted a week later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import AzureError, ResourceExistsError
from dagster._core.pipes.context import PipesMessageHandler
from dagster_azure.pipes import PipesAzureBlobStorageContextInjector, PipesAzureBlobStorageMessageReader

if TYPE_CHECKING:
    import dagster as dg
    from azure.storage.blob import BlobServiceClient
    from dagster_pipes import PipesContextData, PipesParams

CONTAINER: Final = "pipes"
_INTERVAL_S: Final = 1.0
_FORGOTTEN_AFTER: Final = timedelta(days=7)


def blob_channel(client: BlobServiceClient) -> tuple[dg.PipesContextInjector, BlobReader]:
    """An injector and a reader for one job, through a container of their own."""
    with suppress(ResourceExistsError):
        client.create_container(CONTAINER)
    _tidy(client, datetime.now(UTC) - _FORGOTTEN_AFTER)
    return _Injector(container=CONTAINER, client=client), BlobReader(client)


class BlobReader(PipesAzureBlobStorageMessageReader):
    """Reads messages from blobs, keeps who handles them, and deletes the blobs."""

    handler: PipesMessageHandler | None = None

    def __init__(self, client: BlobServiceClient) -> None:
        super().__init__(container=CONTAINER, client=client, interval=_INTERVAL_S)

    def read_messages(self, handler: PipesMessageHandler) -> Any:
        """Read until the block ends."""
        self.handler = handler
        return super().read_messages(handler)

    @contextmanager
    def get_params(self) -> Iterator[PipesParams]:
        """Where the messages will lie."""
        with super().get_params() as params, ExitStack() as after:
            after.callback(_delete_below, self.client, f"{params['key_prefix']}/")
            yield params


class _Injector(PipesAzureBlobStorageContextInjector):
    @contextmanager
    def inject_context(self, context: PipesContextData) -> Iterator[PipesParams]:
        injected = super().inject_context(context)
        params = injected.__enter__()
        # Its own way of deleting is not taken where the block raises.
        with ExitStack() as after:
            after.callback(_delete_below, self.client, str(params["key"]))
            yield params


def _delete_below(client: BlobServiceClient, prefix: str) -> None:
    # What can't be deleted now is tidied away later, and fails nothing.
    with suppress(AzureError):
        container = client.get_container_client(CONTAINER)
        for blob in container.list_blobs(name_starts_with=prefix):
            container.delete_blob(blob.name)


def _tidy(client: BlobServiceClient, before: datetime) -> None:
    with suppress(AzureError):
        container = client.get_container_client(CONTAINER)
        for blob in container.list_blobs():
            if blob.last_modified < before:
                container.delete_blob(blob.name)
