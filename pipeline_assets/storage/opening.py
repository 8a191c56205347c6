"""From settings to a store.

What belongs here: choosing the kind of storage and making it ready. What does not: the kinds themselves.
"""

from __future__ import annotations

from pipeline_assets.settings import Settings
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.store import Store


def open_store(settings: Settings) -> Store:
    """The storage that the settings name; what is missing of it is created.

    Raises `StorageUnavailableError` where it can't be reached, or we may not.
    """
    if settings.azure is not None:
        from pipeline_assets.storage.azure_store import AzureStore

        store = AzureStore(settings.azure)
        store.prepare()
        return store
    settings.root.mkdir(parents=True, exist_ok=True)
    return FolderStore(settings.root)
