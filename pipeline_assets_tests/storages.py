"""Storages for tests: a folder, or an account of a running Azurite, both empty.

What belongs here: what is the same for a test whatever the storage is. What does not: what is stored.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline_assets.settings import Settings
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import Store
from pipeline_assets_tests.azurite import Account


@dataclass(frozen=True)
class Storage:
    """A storage: how `Settings` and how a process's environment name it."""

    settings: dict[str, Any]
    environment: dict[str, str] = field(repr=False)
    account: Account | None = None

    @classmethod
    def in_folder(cls, folder: Path) -> Storage:
        return cls({"storage": str(folder)}, {"PIPELINE_STORAGE": str(folder)})

    @classmethod
    def in_account(cls, account: Account) -> Storage:
        return cls(account.settings, account.environment, account)

    @classmethod
    def of_environment(cls) -> Storage:
        """The storage that a process was started for; nothing can be put into it by another program."""
        names = {"PIPELINE_STORAGE": "storage", "AZURE_STORAGE_CONNECTION_STRING": "azure_connection_string"}
        given = {name: os.environ[name] for name in names if name in os.environ}
        return cls({names[name]: value for name, value in given.items()}, given)

    def put_blob(self, path: str, data: bytes) -> None:
        """Put a blob in place as some other program would; of an account only."""
        import obstore
        from obstore.store import AzureStore

        assert self.account is not None
        container, _, name = path.partition("/")
        config: Any = {
            "account_name": self.account.name,
            "account_key": self.account.key,
            "endpoint": self.account.endpoint,
        }
        obstore.put(AzureStore(container, config=config, client_options={"allow_http": True}), name, data)

    def open(self) -> Store:
        return open_store(Settings(**self.settings))


# Makes a new storage of the kind that the test is run for.
NewStorage = Callable[[], Storage]

FOLDER = pytest.param("folder")
AZURITE = pytest.param("azurite", marks=pytest.mark.slow)
on_both = pytest.mark.parametrize("kind", [FOLDER, AZURITE])
