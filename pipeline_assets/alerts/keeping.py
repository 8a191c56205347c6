"""Where the memory of alerts is kept: one small object in the storage, or a text.

What belongs here: reading and conditionally writing the memory. What does not: what is in it
(`alerts.state`).

In the storage it is shared by the daemon's sensor and every command, so each problem is told once, whoever
saw it first.
"""

from __future__ import annotations

from typing import Final, Protocol

from pipeline_assets.alerts.state import State
from pipeline_assets.storage.store import Store, SwapConflictError

_PATH: Final = "bronze/_control/alerts.json"


class Keeper(Protocol):
    """Keeps a `State` in versions."""

    def load(self) -> tuple[State, str | None]:
        """The memory, and its version (None: there is none yet)."""

    def save(self, state: State, expected: str | None) -> str | None:
        """Replace that version; the new one. Raises `SwapConflictError` where it is not current any more."""


class StoredKeeper:
    """Keeps the memory in the storage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self) -> tuple[State, str | None]:
        """The memory, and its version (None: there is none yet)."""
        found = self._store.read(_PATH)
        return (State.read(found.data), found.etag) if found else (State(), None)

    def save(self, state: State, expected: str | None) -> str | None:
        """Replace that version; the new one. Raises `SwapConflictError` where it is not current any more."""
        return self._store.swap(_PATH, state.write().encode(), expected)


class TextKeeper:
    """Keeps the memory in a text, such as a sensor's cursor, that one process at a time has."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def load(self) -> tuple[State, str | None]:
        """The memory, and the text as its version."""
        return State.read(self.text), self.text

    def save(self, state: State, expected: str | None) -> str | None:
        """Replace the text. Raises `SwapConflictError` where it is another one by now."""
        if self.text != expected:
            raise SwapConflictError("alerts")
        self.text = state.write()
        return self.text
