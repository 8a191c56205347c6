"""Credentials for an Azure storage account, as each client takes them.

What belongs here: dagster-azure's resource for the account, the tokens it gives, and what of it obstore,
Polars and delta-rs want to hear. What does not: which credential it is (`azure_access`).

Each client is told everything explicitly. With half a set it would look around for the rest: in variables
meant for others, or at the address of the cloud's metadata service, which outside of Azure never answers.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline_assets.azure_access import AzureAccess

if TYPE_CHECKING:
    from dagster_azure.blob import AzureBlobStorageResource
    from obstore.store import AzureConfig, AzureCredential

_SCOPE: Final = "https://storage.azure.com/.default"
# A token is renewed this long before it ends, so that no request in flight outlives it.
_RENEW_BEFORE_S: Final = 300.0


def blob_storage_resource(access: AzureAccess) -> AzureBlobStorageResource:
    """dagster-azure's resource for the account; its `get_client()` gives the Azure SDK's client."""
    # It brings the Azure SDK with it, a second of CPU time, so it is imported only where it is used.
    from pipeline_assets.storage.azure_resource import resource_of

    return resource_of(access)


@dataclass(frozen=True)
class _Token:
    text: str = field(repr=False)
    expires_on: int  # seconds since the epoch


@dataclass
class Credentials:
    """What each client is given to get into the account; tokens are kept until shortly before they end."""

    access: AzureAccess
    _credential: Any = field(default=None, repr=False)
    _token: _Token | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def for_obstore(self) -> AzureConfig:
        """obstore's configuration; with an identity, `obstore_provider` goes with it."""
        config: AzureConfig = {
            "account_name": self.access.account,
            "endpoint": self.access.endpoint,
            "use_emulator": False,
            "skip_signature": False,
        }
        if self.access.secret and self.access.kind == "key":
            config |= {
                "account_key": self.access.secret.get_secret_value(),
                "credential_type": "access_key",
            }
        elif self.access.secret:
            config |= {"sas_key": self.access.secret.get_secret_value(), "credential_type": "sas_token"}
        return config

    def obstore_provider(self) -> AzureCredential:
        """A token, as obstore asks for one whenever its own is about to end."""
        token = self._fresh_token()
        return {"token": token.text, "expires_at": datetime.fromtimestamp(token.expires_on, UTC)}

    def for_polars(self) -> dict[str, Any]:
        """Arguments of Polars's scans and sinks."""
        if self.access.kind == "identity":
            return {"storage_options": self._options(), "credential_provider": self._polars_provider}
        return {"storage_options": self._options() | self._secret_options(), "credential_provider": None}

    def for_delta(self) -> dict[str, str]:
        """Options of delta-rs. A token in them doesn't renew itself: ask anew for each handle."""
        if self.access.kind == "identity":
            return self._options() | {"azure_storage_token": self._fresh_token().text}
        return self._options() | self._secret_options()

    def for_sdk(self) -> Any:
        """What a client of the Azure SDK takes."""
        if self.access.kind == "identity" or self.access.secret is None:
            from pipeline_assets.storage.azure_client import identity_of_process

            return identity_of_process()
        secret = self.access.secret.get_secret_value()
        if self.access.kind == "key":
            return {"account_name": self.access.account, "account_key": secret}
        from azure.core.credentials import AzureSasCredential

        # It is in each address, which the SDK's HTTP library would log: that module has it left out.
        import pipeline_assets.storage.azure_client  # noqa: F401

        return AzureSasCredential(secret)

    def _options(self) -> dict[str, str]:
        return {
            "azure_storage_account_name": self.access.account,
            "azure_storage_endpoint": self.access.endpoint,
            "allow_http": "true" if self.access.is_plain_http else "false",
        }

    def _secret_options(self) -> dict[str, str]:
        assert self.access.secret is not None
        name = "azure_storage_account_key" if self.access.kind == "key" else "azure_storage_sas_token"
        return {name: self.access.secret.get_secret_value()}

    def _polars_provider(self) -> tuple[dict[str, str | None], int | None]:
        token = self._fresh_token()
        return {"bearer_token": token.text}, token.expires_on

    def _fresh_token(self) -> _Token:
        with self._lock:
            if self._token is None or self._token.expires_on - time.time() < _RENEW_BEFORE_S:
                if self._credential is None:
                    from pipeline_assets.storage.azure_client import identity_of_process

                    self._credential = identity_of_process()
                found = self._credential.get_token(_SCOPE)
                self._token = _Token(found.token, found.expires_on)
            return self._token
