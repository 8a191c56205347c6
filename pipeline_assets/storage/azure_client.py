"""The Azure SDK's client for the account, for what obstore can't do.

What belongs here: making the client. What does not: anything that is imported before it is used, for this
module brings the Azure SDK with it, a second of CPU time; and Dagster's resource for the account
(`azure_resource`), because a job without Dagster comes this way too.
"""

from __future__ import annotations

import logging
from typing import Any

from azure.storage.blob import BlobServiceClient

from pipeline_assets.azure_access import AzureAccess


class _WithoutSignatures(logging.Filter):
    """Leaves out what the HTTP library would log of an address that carries a signature."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be seen."""
        return "sig=" not in record.getMessage()


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutSignatures())


def service_client(access: AzureAccess) -> BlobServiceClient:
    """The client of the account's blob service; leaving its context closes it."""
    return BlobServiceClient(account_url=access.endpoint, credential=_credential(access))


def identity_of_process() -> Any:
    """The identity of this process in Azure, by its variables, its machine or a person's login."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _credential(access: AzureAccess) -> Any:
    return access.secret.get_secret_value() if access.secret else identity_of_process()
