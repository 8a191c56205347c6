"""A queue of an Azure storage account in which Event Grid puts what has landed.

What belongs here: receiving messages and deleting them. What does not: what a message says
(`landing_events`), and what follows from it (`automation`). The client is a part of the Azure SDK, a second
of CPU time, so it is imported only where a queue is set.

A message that was received is hidden for a while and then comes again, unless it was deleted. So it is
deleted only after what it tells of is on record, and whatever dies before is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipeline_assets.settings import Settings
from pipeline_assets.storage.azure_credentials import Credentials
from pipeline_assets.storage.landing_events import NoEventError, landed_paths
from pipeline_assets.storage.store import StorageUnavailableError

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient

# A tick ends after 60 s at the latest; what it has received must not come again before.
HIDDEN_S: Final = 120
# What came this often and was never put on record is given up; the nightly look finds the file.
MAX_DELIVERIES: Final = 5
# As many as the service gives at once.
_PAGE: Final = 32
_DELETIONS_AT_ONCE: Final = 8


class QueueUnavailableError(StorageUnavailableError):
    """The queue can't be asked; the message says why and what to do."""


@dataclass(frozen=True)
class Message:
    """One message: the landing paths it tells of, and why it is none that can be used, if it is none."""

    paths: tuple[str, ...]
    problem: str
    body: str = field(repr=False)
    received: Any = field(repr=False)


class EventQueue:
    """The queue of that address (https://<account>.queue.core.windows.net/<name>)."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client

    def receive(self, at_most: int) -> list[Message]:
        """Messages that wait, hidden from others for `HIDDEN_S`; one request for each 32, and at least one.

        Raises `QueueUnavailableError`.
        """
        found: list[Message] = []
        with self._answering("read"):
            while len(found) < at_most:
                wanted = min(_PAGE, at_most - len(found))
                pages = self._client.receive_messages(
                    messages_per_page=wanted, max_messages=wanted, visibility_timeout=HIDDEN_S
                ).by_page()
                page = [_message(received) for received in next(pages, ())]
                found += page
                if len(page) < wanted:
                    break
        return found

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages; one that has come again meanwhile is whoever's has it now.

        Raises `QueueUnavailableError`.
        """
        if messages:
            with ThreadPoolExecutor(min(_DELETIONS_AT_ONCE, len(messages))) as pool:
                list(pool.map(self._delete, messages))

    def _delete(self, message: Message) -> None:
        from azure.core.exceptions import HttpResponseError

        with self._answering("delete from"):
            try:
                self._client.delete_message(message.received)
            except HttpResponseError as error:
                if str(getattr(error, "error_code", "")) not in ("MessageNotFound", "PopReceiptMismatch"):
                    raise

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        name = self._client.queue_name
        try:
            yield
        except ResourceNotFoundError:
            raise QueueUnavailableError(
                f"there is no queue {name} in the account {self._client.account_name}; create it, or unset"
                " PIPELINE_EVENT_QUEUE"
            ) from None
        except AzureError as error:
            advice = ""
            if getattr(error, "status_code", None) in (401, 403):
                advice = (
                    "; grant the role Storage Queue Data Message Processor, or let the signature hold ss=bq"
                )
            reason = str(error).partition("\n")[0]
            raise QueueUnavailableError(f"can't {what} the queue {name}: {reason}{advice}") from None


def open_queue(settings: Settings) -> EventQueue | None:
    """The queue that the settings name, if they name one. Asks nothing of it yet."""
    if settings.azure is None or not settings.event_queue_address:
        return None
    from azure.storage.queue import LinearRetry, QueueClient

    client = QueueClient.from_queue_url(
        settings.event_queue_address,
        credential=Credentials(settings.azure).for_sdk(),
        # The body as it stands: one that can't be decoded would make the whole answer fail.
        message_decode_policy=None,
        message_encode_policy=None,
        retry_policy=LinearRetry(backoff=1, retry_total=3, random_jitter_range=1),
        connection_timeout=5,
        read_timeout=30,
    )
    return EventQueue(client)


def _message(received: Any) -> Message:
    body = str(received.content)
    if (received.dequeue_count or 0) > MAX_DELIVERIES:
        return Message(
            (), f"it came {received.dequeue_count} times and was never put on record", body, received
        )
    try:
        return Message(tuple(landed_paths(body)), "", body, received)
    except NoEventError as error:
        return Message((), str(error), body, received)
