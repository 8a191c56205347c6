"""dagster-azure's resource, less talkative: its own shows the key to whoever prints it.

What belongs here: what has to be a class of dagster-azure's. What does not: anything that is imported before
it is used, for this module brings the Azure SDK with it, a second of CPU time.
"""

from __future__ import annotations

from collections.abc import Iterable

from dagster_azure.blob import (
    AzureBlobStorageDefaultCredential,
    AzureBlobStorageKeyCredential,
    AzureBlobStorageResource,
    AzureBlobStorageSASTokenCredential,
)

import pipeline_assets.storage.azure_client  # noqa: F401 - it keeps signatures out of the HTTP library's log
from pipeline_assets.azure_access import AzureAccess


class _Account(AzureBlobStorageResource):
    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        return [("account_url", self.account_url)]


def resource_of(access: AzureAccess) -> AzureBlobStorageResource:
    """The resource of the account."""
    secret = access.secret.get_secret_value() if access.secret else None
    if access.kind == "key":
        return _Account(account_url=access.endpoint, credential=AzureBlobStorageKeyCredential(key=secret))
    if access.kind == "sas":
        return _Account(
            account_url=access.endpoint, credential=AzureBlobStorageSASTokenCredential(token=secret)
        )
    return _Account(account_url=access.endpoint, credential=AzureBlobStorageDefaultCredential())
