"""Bad units: what makes one, and the note that is left.

What belongs here: telling data that can't be committed from a failure of ours. What does not: retrying, since
a bad file stays bad until it changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline_assets.storage import control
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit


class BadDataError(Exception):
    """Data of a unit that can't be committed; the message says which and what to do."""


class InvalidRowsError(BadDataError):
    """Rows that break the catalogue or the conservation of lines."""


class UnreadableFileError(BadDataError):
    """A landed file that can't be read to its end."""

    def __init__(self, path: str, error: OSError) -> None:
        super().__init__(
            f"{path}: can't be read ({error.strerror or error}); check its permissions and its disk"
        )


class QuarantinedError(Exception):
    """A unit was left as it was, with a note why; what it published before still stands."""

    def __init__(self, unit: Unit, reason: str) -> None:
        super().__init__(f"{unit}: {reason}")
        self.unit = unit
        self.reason = reason


@contextmanager
def quarantining(store: Store, unit: Unit) -> Iterator[None]:
    """Turn bad data into a quarantined unit: pending, so that the next run tries again, and noted."""
    try:
        yield
    except BadDataError as error:
        control.mark_pending(store, unit)
        control.quarantine(store, unit, str(error))
        raise QuarantinedError(unit, str(error)) from error
