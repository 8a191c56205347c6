"""What an event says has landed: from the body of a message to paths of the landing area. Pure.

What belongs here: the two schemas in which Event Grid tells of blobs, and every way in which a message may be
something else. What does not: receiving messages (`event_queue`). Whoever may write to the queue writes them,
so nothing in one is believed but a path, and that is looked at before anything follows from it.

The schemas: https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pipeline_assets.storage.landing import LANDING, why_ignored

_CREATED: Final = "Microsoft.Storage.BlobCreated"
_RENAMED: Final = "Microsoft.Storage.BlobRenamed"
_SUBJECT: Final = f"/blobServices/default/containers/{LANDING}/blobs/"
# A file of these calls is still empty; another event comes when it is complete.
_BEGUN: Final = ("CreateFile", "SftpCreate")


class NoEventError(ValueError):
    """The message is no event. It says why, and nothing of what the message holds."""


def landed_paths(body: str) -> list[str]:
    """The landing paths that a message tells of; none where it is of something else that happened.

    A body is an event or a list of events, in the schema of Event Grid or of CloudEvents, plain or in base64.
    Raises `NoEventError` where it is neither.
    """
    try:
        found = json.loads(_plain(body))
    except (ValueError, RecursionError):
        raise NoEventError("it is not JSON") from None
    paths = [_landed_path(event) for event in (found if isinstance(found, list) else [found])]
    return [path for path in paths if path and not _is_left_out(path)]


def _plain(body: str) -> str | bytes:
    text = body.strip()
    if text[:1] in "{[":
        return text
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoEventError("it is neither JSON nor base64") from None


def _landed_path(event: Any) -> str:
    if not isinstance(event, dict):
        raise NoEventError("it is no event")
    kind = event.get("eventType", event.get("type"))
    subject, data = event.get("subject"), event.get("data")
    if not isinstance(kind, str) or not isinstance(subject, str) or not isinstance(data, dict):
        raise NoEventError("it is no event")
    if kind == _RENAMED:
        return _path_of_address(data.get("destinationUrl"))
    if kind != _CREATED or data.get("api") in _BEGUN or not subject.startswith(_SUBJECT):
        return ""
    return f"{LANDING}/{subject.removeprefix(_SUBJECT)}"


def _path_of_address(address: object) -> str:
    try:
        return unquote(urlsplit(str(address)).path).removeprefix("/")
    except ValueError:
        raise NoEventError("it names no address") from None


def _is_left_out(path: str) -> bool:
    """What a listing leaves out as well: other places, hidden names, folders, files that are being copied."""
    return bool(why_ignored(path)) or "/." in path or path.endswith("/")
