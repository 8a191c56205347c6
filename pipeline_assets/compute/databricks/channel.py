"""How a job is told its context and how it answers: blobs of the storage account, or files of the folder.

What belongs here: Pipes' injector and reader for the storage. What does not: what is said
(`compute.job_spec`), and the other end (`spark_job`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import dagster as dg
from dagster._core.pipes.context import PipesMessageHandler

from pipeline_assets.settings import Settings

if TYPE_CHECKING:
    from pipeline_assets.compute.databricks.blob_channel import BlobReader

# Below the storage's folder, which the cluster sees under the same path, as a volume that is mounted in both.
FOLDER: Final = ".pipes"


@contextmanager
def channel(settings: Settings) -> Iterator[tuple[dg.PipesContextInjector, BlobReader | FileReader]]:
    """An injector and a reader for one job, through the pipeline's own storage."""
    if settings.azure is None:
        folder = settings.root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        name = uuid4().hex
        yield dg.PipesFileContextInjector(str(folder / f"{name}.json")), FileReader(folder / f"{name}.log")
        return
    from pipeline_assets.compute.databricks.blob_channel import blob_channel
    from pipeline_assets.storage.azure_client import service_client

    with service_client(settings.azure) as client:
        yield blob_channel(client)


class FileReader(dg.PipesFileMessageReader):
    """Reads messages from a file, and keeps who handles them: the client forgets it where a job fails."""

    handler: PipesMessageHandler | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))

    def read_messages(self, handler: PipesMessageHandler) -> Any:
        """Read until the block ends."""
        self.handler = handler
        return super().read_messages(handler)
