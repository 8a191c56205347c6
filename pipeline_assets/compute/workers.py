"""Layers of many small deliveries, and the states of their days, made by processes beside each other.

What belongs here: which deliveries they get, and handing them out. What does not: what a layer is (`bronze`,
`silver`, `gold`), and a day (`days`). A large delivery uses the processors by itself, a small one is work for
one: its frames are small, and half of its time is Python, of which a process does one thing at a time.

Every unit is committed by the process that made it, so one that dies, or is ended, leaves what a killed run
leaves. Processes end with the one that started them, however that ends.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import date
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Final

from pipeline_assets.compute.days import fold_day
from pipeline_assets.compute.engine import LocalCompute, Progress, Refreshed, Request
from pipeline_assets.compute.metering import Meter, Usage
from pipeline_assets.compute.size import bytes_to_read
from pipeline_assets.storage.memory import own_process
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    from pipeline_assets.compute.context import Context
    from pipeline_assets.settings import Settings
    from pipeline_assets.storage.manifests import Layer, Manifest

# A process takes the time of some ten small deliveries to start.
_LEAST_UNITS: Final = 32
# Landed bytes: what a process holds of a smaller delivery is little beside what it has imported.
_MOST_BYTES: Final = 16 << 20
# Where the setting leaves it open; a process holds some 250 MB.
_MOST_PROCESSES: Final = 8
_SAY_EVERY_S: Final = 2.0
_POLARS_THREADS: Final = "POLARS_MAX_THREADS"


class WorkerDiedError(Exception):
    """A process that made deliveries has died: those that have no answer may or may not be made."""


@dataclass(frozen=True)
class _Done:
    """What a process says of a unit: what became of it (None: it is too large), and what that took.

    `before` is what the process took since its last answer, or since its start.
    """

    refreshed: Refreshed | None
    usage: Usage
    before: Usage


class WorkerCompute:
    """This process for few or large deliveries, and processes beside it for many small ones."""

    def __init__(self, settings: Settings, context: Context, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        self._here = LocalCompute(context, meter)
        self._processes = settings.workers or min(_processors(), _MOST_PROCESSES)
        self._pool: ProcessPoolExecutor | None = None
        # What was asked of processes ahead of the step that will want it.
        self._ahead: dict[tuple[Layer, Unit], Future[_Done]] = {}
        self._folds: dict[date, Future[Usage]] = {}
        self._lock = threading.Lock()

    def refresh(self, request: Request, progress: Progress) -> Iterator[Refreshed]:
        """Make the layer; `Compute` documents it. Raises `WorkerDiedError`."""
        if self._processes < 2 or len(request.units) < _LEAST_UNITS:
            yield from self._here.refresh(request, progress)
            return
        large: list[Unit] = []
        try:
            yield from self._beside(request, progress, large)
        except BrokenProcessPool as error:
            self.close()
            raise WorkerDiedError(
                f"a process that made {request.layer} has died, perhaps for want of memory; what it had not"
                " committed is as it was, so run again (PIPELINE_WORKERS=1 does without such processes)"
            ) from error
        if large:
            yield from self._here.refresh(replace(request, units=tuple(large)), progress)
        self._ask_ahead(request)

    def fold_ahead(self, gold: Mapping[Unit, Manifest]) -> None:
        """Have the units of a run folded into their days while this process tells of their gold.

        It is a head start and no more: a publication folds what is not folded, and says what can't be.
        """
        units: dict[date, list[Unit]] = {}
        large: set[date] = set()
        for unit, manifest in gold.items():
            days = {date.fromisoformat(day) for day in manifest.touched_days}
            if sum(file.size for file in manifest.files) > _MOST_BYTES:
                large |= days
            for day in days:
                units.setdefault(day, []).append(unit)
        with self._lock:
            if self._pool is None:
                return
            for day in sorted(units.keys() - large):
                self._folds[day] = self._pool.submit(_fold, day, units[day])

    def until_folded(self, days: Iterable[date]) -> None:
        """Wait until those of these days are folded that were to be ahead."""
        for day in days:
            with self._lock:
                asked = self._folds.pop(day, None)
            if asked is None:
                continue
            try:
                self._meter.count_elsewhere("publish", None, asked.result())
            except BrokenProcessPool:
                self.close()
            except Exception as error:  # noqa: BLE001 - who publishes the day folds it, and raises what it meets
                logging.getLogger(__name__).warning(
                    "%s could not be folded ahead: %s", day, type(error).__name__
                )

    def close(self) -> None:
        """End the processes, once each has done what it is at: a small delivery."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._ahead.clear()
            self._folds.clear()
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def _beside(self, request: Request, progress: Progress, large: list[Unit]) -> Iterator[Refreshed]:
        layer = request.layer
        futures = {self._asked(layer, unit, reuse=request.reuse): unit for unit in request.units}
        said = time.monotonic()
        for number, future in enumerate(as_completed(futures), 1):
            done = future.result()
            self._meter.count_elsewhere(layer, None, done.before)
            if time.monotonic() - said > _SAY_EVERY_S:
                said = time.monotonic()
                progress(f"{layer}: {number} of {len(futures)} deliveries")
            if done.refreshed is None:
                large.append(futures[future])
                continue
            self._meter.count_elsewhere(layer, futures[future], done.usage)
            yield done.refreshed

    def _asked(self, layer: Layer, unit: Unit, *, reuse: bool) -> Future[_Done]:
        """The answer that will come for a unit, asked for now unless it was before."""
        with self._lock:
            if found := self._ahead.pop((layer, unit), None):
                return found
            if self._pool is None:
                self._pool = _started(self._settings, self._processes)
            return self._pool.submit(_refresh, layer, unit, reuse=reuse)

    def _ask_ahead(self, request: Request) -> None:
        """Have the next layer of the run made while this process tells of the one that is done.

        Only now, as making a unit's layer reads what others have decided about its copies.
        """
        for layer in request.later[:1]:
            for unit in request.units:
                asked = self._asked(layer, unit, reuse=request.reuse)
                with self._lock:
                    self._ahead[layer, unit] = asked


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _started(settings: Settings, processes: int) -> ProcessPoolExecutor:
    # Processes that are started and not forked, as threads of Polars don't survive a fork. One thread each:
    # there are as many as processors.
    os.environ.setdefault(_POLARS_THREADS, "1")
    return ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(settings,))


# What a worker's process works with; the process that started it has none.
_worker: _Worker | None = None


class _Worker:
    """What stays the same through the life of a worker's process."""

    def __init__(self, settings: Settings) -> None:
        from pipeline_assets.compute.context import Context
        from pipeline_assets.storage.counting import counting

        made = Context.of(settings)
        store, counted = counting(made.store)
        self.context = replace(made, store=store)
        self.counted = counted
        self.answered = Usage()

    def refresh(self, layer: Layer, unit: Unit, *, reuse: bool) -> _Done:
        """Make a layer of a unit, unless it is large."""
        before = Usage(cpu_seconds=time.process_time() - self.answered.cpu_seconds)
        meter = Meter(self.counted)
        refreshed = None
        if bytes_to_read(self.context, layer, unit, reuse=reuse) <= _MOST_BYTES:
            compute = LocalCompute(self.context, meter)
            (refreshed,) = compute.refresh(Request(layer, (unit,), reuse), lambda message: None)
        self.answered = Usage(cpu_seconds=time.process_time())
        return _Done(refreshed, meter.total, before)

    def fold(self, day: date, units: list[Unit]) -> Usage:
        """Fold units into a day's state; what it took."""
        meter = Meter(self.counted)
        fold_day(self.context, day, units)
        return meter.total


def _begin(settings: Settings) -> None:
    """What a worker's process does first."""
    global _worker
    own_process()
    # An interrupt from the keyboard comes to all; the process that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = _Worker(settings)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _fold(day: date, units: list[Unit]) -> Usage:
    assert _worker is not None
    return _worker.fold(day, units)


def _refresh(layer: Layer, unit: Unit, *, reuse: bool) -> _Done:
    assert _worker is not None
    try:
        return _worker.refresh(layer, unit, reuse=reuse)
    except Exception as error:
        raise _sendable(error) from error


def _sendable(error: Exception) -> Exception:
    """The error, or one that says the same where it can't be sent: the other side would take us for dead."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever its class raises when it is made again
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
