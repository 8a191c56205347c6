"""The meter: seconds, processor time, requests and bytes of a run, by layer and unit.

What belongs here: measuring what happens between two moments of this process. What does not: prices
(`compute.costs`), and where it is recorded (`storage.run_records`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipeline_assets.storage.counting import CountingStore, Requests
from pipeline_assets.storage.units import Unit


@dataclass(frozen=True)
class Usage:
    """What some work took: seconds by the clock and of the processor (all threads), and requests."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    requests: Requests = field(default_factory=Requests)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.requests + other.requests,
        )


class Meter:
    """Measures one run: what happens in this process, and what it is told of others (`elsewhere`).

    Work of units that have a run to themselves is theirs alone. Nested work is counted by the outer one.
    """

    def __init__(self, store: CountingStore) -> None:
        self._store = store
        self.started = time.time()
        self._start = self._now()
        self.by_work: dict[tuple[str, Unit | None], Usage] = {}
        self.elsewhere = Usage()

    @contextmanager
    def measuring(self, layer: str, unit: Unit | None = None) -> Iterator[None]:
        """Count what the block takes as work on this layer of a unit (None: of the run as a whole)."""
        before = self._now()
        try:
            yield
        finally:
            took = _difference(before, self._now())
            key = (layer, unit)
            self.by_work[key] = self.by_work.get(key, Usage()) + took

    def count_elsewhere(self, layer: str, unit: Unit | None, usage: Usage) -> None:
        """Add what another process or machine says that its work on this layer took, as in `measuring`."""
        key = (layer, unit)
        self.by_work[key] = self.by_work.get(key, Usage()) + usage
        self.elsewhere += usage

    @property
    def total(self) -> Usage:
        """Everything in this process since the meter was made, between the measured blocks too."""
        return _difference(self._start, self._now())

    def of_unit(self, unit: Unit) -> Usage:
        """What was spent on a unit alone."""
        return sum((use for (_, whose), use in self.by_work.items() if whose == unit), Usage())

    def seconds(self, layer: str, unit: Unit | None = None) -> float | None:
        """Seconds spent on a layer: of a unit, or of all the run. None where nothing was measured."""
        found = [
            use.seconds
            for (name, whose), use in self.by_work.items()
            if name == layer and (unit is None or whose == unit)
        ]
        return sum(found) if found else None

    def _now(self) -> Usage:
        return Usage(time.monotonic(), time.process_time(), self._store.done)


def peak_memory_bytes() -> int | None:
    """The most memory that this process has ever held; None where the system doesn't tell."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _difference(before: Usage, after: Usage) -> Usage:
    return Usage(
        after.seconds - before.seconds,
        after.cpu_seconds - before.cpu_seconds,
        after.requests - before.requests,
    )
