"""A small world for tests: a storage, what lands in it, and every way of running over it.

What belongs here: landing files, running without Dagster, and faults at any write. What does not: what must
come out (`oracle`), and assertions.
"""

from __future__ import annotations

import copy
import gzip
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import polars as pl
from blake3 import blake3

from pipeline_assets.automation.arrivals import look, open_batches
from pipeline_assets.compute.bronze import refresh_bronze
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.forget import forget
from pipeline_assets.compute.gold import refresh_gold
from pipeline_assets.compute.maintenance.maintain import maintain
from pipeline_assets.compute.maintenance.report import Report
from pipeline_assets.compute.publish import publish_units
from pipeline_assets.compute.silver import refresh_silver
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control
from pipeline_assets.storage.azure_store import AzureStore
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.quarantine import QuarantinedError
from pipeline_assets.storage.tables import read_table
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests import oracle
from pipeline_assets_tests.storages import Storage

STORES: Final = (FolderStore, AzureStore)
TOUCHES: Final = ("scan_parquet", "delta_address", "read", "create", "swap", "delete", "write_parquet")


class Killed(BaseException):
    """Stands for the end of the process: nothing in the code under test may catch it."""


class World:
    """A storage, the bytes that landed in it, and the ways of running."""

    def __init__(self, where: Path | Storage, **settings: Any) -> None:
        self.storage = where if isinstance(where, Storage) else Storage.in_folder(where)
        self.settings = Settings(**self.storage.settings, **settings)
        self.context = Context.of(self.settings)
        self.landed: dict[str, bytes] = {}
        self.forgotten: set[tuple[str, str]] = set()
        self._clock = 1_700_000_000

    @property
    def root(self) -> Path:
        """The storage folder; there is none in Azure."""
        assert self.settings.azure is None
        return self.settings.root

    def copy_to(self, root: Path) -> World:
        """The same world in another folder, as it is now."""
        shutil.copytree(self.root, root)
        other = copy.copy(self)
        other.storage = Storage.in_folder(root)
        other.settings = self.settings.model_copy(update={"storage": str(root)})
        other.context = Context.of(other.settings)
        other.landed, other.forgotten = dict(self.landed), set(self.forgotten)
        return other

    def land(self, path: str, content: bytes) -> None:
        """Put a file in place at once; its time of change is always a new one."""
        stored = gzip.compress(content, mtime=0) if path.endswith(".gz") else content
        self.landed[path] = stored
        if self.settings.azure is not None:
            self.storage.put_blob(path, stored)
            return
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".landing-{target.name}")
        temporary.write_bytes(stored)
        self._clock += 1
        os.utime(temporary, (self._clock, self._clock))
        temporary.replace(target)

    def remove(self, path: str) -> None:
        """Retention: the landed file goes, what it said stays."""
        self.context.store.delete(path)

    def forget(self, path: str) -> None:
        content = oracle.decompressed(self.landed[path])
        unit = forget(self.context, path)
        self.forgotten.add((path, blake3(content).hexdigest()))
        self.process([unit], reuse=True)

    def process(self, units: Iterable[Unit], *, reuse: bool) -> list[Unit]:
        """Bronze to publish of some units, as a run does; the units that were quarantined."""
        mine = sorted(set(units))
        bad = []
        for refresh in (refresh_bronze, refresh_silver, refresh_gold):
            for unit in mine:
                if unit in bad:
                    continue
                try:
                    refresh(self.context, unit, reuse=reuse)
                except QuarantinedError:
                    bad.append(unit)
        publish_units(self.context, [*mine, *control.flipped(self.context.store)])
        return bad

    def catch_up(self, *, everything: bool = True) -> int:
        """What `run` does, until nothing is left to do; the number of rounds that did something."""
        for round_number in range(10):
            plan = look(self.context, self.settings, everything=everything).plan
            units = [*plan.units, *open_batches(self.context, self.settings, plan.new_files)]
            if not units:
                return round_number
            self.process(units, reuse=True)
        raise AssertionError(f"still something to do after 10 rounds: {units}")

    def units(self) -> list[Unit]:
        """Every unit that could be run: landed daily folders and batches."""
        days = {path.split("/")[1] for path in self.landed if not path.startswith("logs/incremental/")}
        return [*(Unit("daily", day) for day in sorted(days)), *control.batches(self.context.store)]

    def full(self) -> None:
        """Everything again, from the landed bytes."""
        self.process([unit for unit in self.units() if unit.lane == "daily"], reuse=False)
        self.process([unit for unit in self.units() if unit.lane == "incremental"], reuse=False)

    def moment(self) -> float:
        """Now, in seconds since the epoch; what is stored from now on is no older."""
        if self.settings.azure is not None:
            return math.floor(time.time())  # Azure notes times of change by the second
        # File systems note them by a coarser clock than this one.
        time.sleep(0.02)
        now = time.time()
        time.sleep(0.02)
        return now

    def maintain(self, *, since: float | None = None, deep: bool = True, **settings: Any) -> Report:
        """Maintenance that leaves alone what has changed `since` then (seconds since the epoch; now if none)."""
        chosen = self.settings.model_copy(update=settings)
        now = (time.time() + 1 if since is None else since) + chosen.sweep_grace_hours * 3600
        return maintain(self.context, chosen, deep=deep, now=now)

    def table(self, name: str) -> list[tuple[Any, ...]]:
        """A table's rows, sorted."""
        return rows_of(read_table(self.context.store, name))

    def truth(self) -> oracle.Serving:
        return oracle.serving(self.landed, self.forgotten)


def rows_of(frame: pl.LazyFrame) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = frame.collect().rows()
    return sorted(rows, key=repr)


@contextmanager
def hook_storage(hook: Callable[[str], None]) -> Iterator[None]:
    """Call `hook` around every touch of the storage, tables included; it may raise `Killed`.

    Opening a table begins with asking for its address.
    """
    import deltalake

    def around(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            hook(f"before {name}")
            result = original(*args, **kwargs)
            hook(f"after {name}")
            return result

        return wrapped

    with ExitStack() as patches:
        for store in STORES:
            for name in TOUCHES:
                patches.enter_context(mock.patch.object(store, name, around(getattr(store, name), name)))
        writing = around(deltalake.write_deltalake, "write_deltalake")
        patches.enter_context(mock.patch.object(deltalake, "write_deltalake", writing))
        yield


class AtStep:
    """Does something once, at the n-th step of all steps before and after touching the storage."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self._left = step
        self._action = action
        self.done = False

    def __call__(self, name: str) -> None:
        self._left -= 1
        if self._left < 0 and not self.done:
            self.done = True
            self._action()


def kill() -> None:
    raise Killed
