"""How to get into an Azure storage account: from what a person has set to one endpoint and one credential.

What belongs here: reading and checking account, endpoint and credential, as pure functions. What does not:
asking Azure anything (`storage.azure_store`).

Formats: the connection string is described at
https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string, the shared access
signature at https://learn.microsoft.com/rest/api/storageservices/create-account-sas. Messages name the
variable and never what is in it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
KEY: Final = "AZURE_STORAGE_KEY"
SAS_TOKEN: Final = "AZURE_STORAGE_SAS_TOKEN"  # noqa: S105 (a name)
ENDPOINT: Final = "AZURE_STORAGE_SERVICE_ENDPOINT"
EVENT_QUEUE: Final = "PIPELINE_EVENT_QUEUE"

_SCHEME: Final = "az://"
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_QUEUE: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# The emulator's account and key are the same everywhere and published: they protect nothing.
EMULATOR_ACCOUNT: Final = "devstoreaccount1"
EMULATOR_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_EMULATOR: Final = {
    "AccountName": EMULATOR_ACCOUNT,
    "AccountKey": EMULATOR_KEY,
    "BlobEndpoint": f"http://127.0.0.1:10000/{EMULATOR_ACCOUNT}",
    "QueueEndpoint": f"http://127.0.0.1:10001/{EMULATOR_ACCOUNT}",
}


@dataclass(frozen=True)
class AzureAccess:
    """An account, the address of its blob service, and what proves who we are.

    `kind` says what `secret` is; with `identity` there is none, and a token is asked for when it is needed.
    `queues` is the address of the account's queue service, empty where it can't be told from what is set.
    """

    account: str
    endpoint: str
    kind: Literal["key", "sas", "identity"]
    secret: SecretStr | None = None
    queues: str = ""

    @property
    def is_plain_http(self) -> bool:
        """Whether the endpoint is without TLS, as an emulator on this machine is."""
        return self.endpoint.startswith("http://")


def is_azure(storage: str) -> bool:
    """Whether the storage is an Azure account and not a folder."""
    return storage.startswith(_SCHEME)


def resolve_access(
    storage: str,
    *,
    connection_string: SecretStr | None = None,
    key: SecretStr | None = None,
    sas_token: SecretStr | None = None,
    endpoint: str = "",
    now: datetime | None = None,
) -> AzureAccess:
    """How to get into the account that `storage` names (`az://<account>`).

    Raises `ValueError` with the variable, what is wrong with it, and what to write instead.
    """
    account = _account(storage)
    given = {CONNECTION_STRING: connection_string, KEY: key, SAS_TOKEN: sas_token}
    names = [name for name, secret in given.items() if secret is not None]
    if len(names) > 1:
        raise ValueError(
            f"{' and '.join(names)} are both set; keep the one that is meant and unset the other"
        )
    fields = _parse_connection_string(connection_string) if connection_string else {}
    if fields and fields.get("AccountName", account) != account:
        raise ValueError(
            f"{CONNECTION_STRING} is of another account than PIPELINE_STORAGE={_SCHEME}{account};"
            " make both name the same"
        )
    address = _endpoint(
        endpoint or _endpoint_of(fields, account), ENDPOINT if endpoint else CONNECTION_STRING
    )
    queues = _queues(fields, address)
    if "AccountKey" in fields:
        return AzureAccess(account, address, "key", _key(fields["AccountKey"], CONNECTION_STRING), queues)
    if key is not None:
        return AzureAccess(account, address, "key", _key(key.get_secret_value(), KEY), queues)
    if "SharedAccessSignature" in fields:
        token = fields["SharedAccessSignature"]
        return AzureAccess(account, address, "sas", _sas(token, CONNECTION_STRING, now), queues)
    if sas_token is not None:
        secret = _sas(sas_token.get_secret_value(), SAS_TOKEN, now)
        return AzureAccess(account, address, "sas", secret, queues)
    if address.startswith("http://"):
        raise ValueError(f"{ENDPOINT}: a token is not sent over http://; write https://, or set {KEY}")
    return AzureAccess(account, address, "identity", None, queues)


def queue_address(access: AzureAccess, text: str) -> str:
    """The address of a queue that is given by its name or whole.

    Raises `ValueError` with what is wrong with it, and what to write instead.
    """
    if "://" in text:
        address = _endpoint(text, EVENT_QUEUE)
        service, _, name = address.rpartition("/")
        if service.startswith("http://") and access.kind == "identity":
            raise ValueError(f"{EVENT_QUEUE}: a token is not sent over http://; write https://")
    else:
        service, name = access.queues, text
        if not service:
            raise ValueError(
                f"{EVENT_QUEUE}: where the account's queues are can't be told from the address of its blobs;"
                f" write the whole address of the queue, such as"
                f" https://{access.account}.queue.core.windows.net/<name>"
            )
    if not _QUEUE.fullmatch(name) or "--" in name:
        raise ValueError(
            f"{EVENT_QUEUE} names no queue (3 to 63 small letters, digits and single hyphens); write"
            f" its name, or https://{access.account}.queue.core.windows.net/<name>"
        )
    return f"{service}/{name}"


def _account(storage: str) -> str:
    account = storage.removeprefix(_SCHEME).rstrip("/")
    if not _ACCOUNT.fullmatch(account):
        raise ValueError(
            f"PIPELINE_STORAGE={_SCHEME}… must name a storage account and nothing else (3 to 24 small letters"
            f" and digits); write {_SCHEME}myaccount"
        )
    return account


def _parse_connection_string(text: SecretStr) -> dict[str, str]:
    # A key is base64 and may end in "=", so only the first one separates.
    written = text.get_secret_value().strip()
    fields = dict(part.partition("=")[::2] for part in written.split(";") if part.strip())
    if fields.get("UseDevelopmentStorage") == "true":
        return _EMULATOR
    if not ({"AccountKey", "SharedAccessSignature"} & fields.keys()) or not (
        {"AccountName", "BlobEndpoint"} & fields.keys()
    ):
        raise ValueError(
            f"{CONNECTION_STRING} is no connection string; copy it whole from the portal (Access keys):"
            " DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=core.windows.net"
        )
    return fields


def _endpoint_of(fields: dict[str, str], account: str) -> str:
    if "BlobEndpoint" in fields:
        return fields["BlobEndpoint"]
    protocol = fields.get("DefaultEndpointsProtocol", "https")
    return f"{protocol}://{account}.blob.{fields.get('EndpointSuffix', 'core.windows.net')}"


def _queues(fields: dict[str, str], blobs: str) -> str:
    """Where the queues are: as set, else where they are beside blobs that are where Azure puts them."""
    if "QueueEndpoint" in fields:
        return _endpoint(fields["QueueEndpoint"], CONNECTION_STRING)
    return blobs.replace(".blob.", ".queue.", 1) if ".blob." in blobs else ""


def _endpoint(text: str, name: str) -> str:
    """The endpoint as every client takes it: without a slash at its end."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError(f"{name}: the endpoint is no address; write https://myaccount.blob.core.windows.net")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError(f"{name}: the endpoint holds more than an address; put a SAS token into {SAS_TOKEN}")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError(
            f"{name}: the endpoint is http:// and not on this machine, so what is stored there could be read"
            " and changed on the way; write https://"
        )
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _key(text: str, name: str) -> SecretStr:
    try:
        is_key = bool(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        raise ValueError(
            f"{name}: the account key is not base64; copy it whole from the portal (Access keys)"
        )
    return SecretStr(text.strip())


def _sas(text: str, name: str, now: datetime | None) -> SecretStr:
    token = text.strip().removeprefix("?")
    fields = parse_qs(token)
    if "sig" not in fields:
        raise ValueError(
            f"{name}: this is no SAS token; one looks like sv=…&ss=b&srt=co&sp=rwdlac&se=…&sig=…"
        )
    try:
        expires = datetime.fromisoformat(fields["se"][0])
    except (KeyError, ValueError):
        return SecretStr(token)  # the time is in a policy that the account keeps
    expires = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
    if expires <= (now or datetime.now(UTC)):
        raise ValueError(f"{name}: the SAS token expired at {expires:%Y-%m-%d %H:%M} UTC; make a new one")
    return SecretStr(token)
