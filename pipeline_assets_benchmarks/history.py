"""What a long history costs: an incremental run, the next batch of a busy day, and a look of the sensor.

What belongs here: storages with a history of any length, and counting what work on them asks for. What does
not: what is printed of it.

A history begins with deliveries that are really run. The rest are copies of one of them under other days: its
manifests, parts, landed file, control objects, states, and rows of tables. They are what the pipeline would
have written, but for the rows inside their parts, which nothing reads again.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import polars as pl

from pipeline_assets.automation.arrivals import look, open_batches, today
from pipeline_assets.compute.bronze import refresh_bronze
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.gold import refresh_gold
from pipeline_assets.compute.publish import publish_units, shown_note, tables_identity
from pipeline_assets.compute.silver import refresh_silver
from pipeline_assets.kernel.schemas import KERNEL_VERSION, MODEL, SERVING
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control, ledger
from pipeline_assets.storage.counting import CountingStore
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.manifests import (
    LAYER_NAMES,
    Manifest,
    contribution,
    day_folder,
    layer_folder,
    read_day,
    read_manifest,
    swap_day,
    swap_manifest,
)
from pipeline_assets.storage.store import Entry, Store
from pipeline_assets.storage.tables import TABLES, append_rows, open_table, overwrite_days, read_table
from pipeline_assets.storage.units import Unit

_LINE: Final = '192.0.2.%d - - [%s:%02d:00:00 +0000] "GET /%d HTTP/1.1" 200 512 "-" "Mozilla/5.0"\n'
_LINES: Final = 200
# Maintenance merges the days of a year, where they are small, into one file of a table.
_DAYS_A_FILE: Final = 366
_RECENT_DAYS: Final = 10
# About as many as maintenance puts into one file.
_LEDGER_ROWS_A_FILE: Final = 1250


@dataclass(frozen=True)
class Cost:
    """What some work asked of its storage.

    `requests` are calls of the store; `reads` are all reads by system calls, also those of delta-rs and
    Polars, and `bytes` what they read; `rows` are those of the Parquet parts that were opened.
    """

    requests: int
    reads: int
    bytes: int
    rows: int
    cpu_seconds: float


class _ReadingStore(CountingStore):
    """A store that also knows which Parquet objects were opened."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.scanned: list[str] = []
        self._adding = threading.Lock()

    def list(self, prefix: str, *, after: str = "") -> list[Entry]:
        """As the store, but that files lie there since they changed: no tool can set when they came."""
        return [replace(entry, placed=entry.modified) for entry in super().list(prefix, after=after)]

    def scan_parquet(self, paths: Sequence[str]) -> pl.LazyFrame:
        """As the store."""
        with self._adding:
            self.scanned += paths
        return super().scan_parquet(paths)


def measured(context: Context, work: Callable[[Context], object]) -> Cost:
    """What the work costs in this storage, a folder. Linux only: the kernel counts what is read."""
    counted = _ReadingStore(context.store)
    began, before = time.process_time(), _system_reads()
    work(replace(context, store=cast(Store, counted)))
    after = _system_reads()
    took = time.process_time() - began
    done = counted.done
    rows = sum(
        int(context.store.scan_parquet([path]).select(pl.len()).collect().item()) for path in counted.scanned
    )
    requests = done.reads + done.writes + done.lists + done.deletes
    return Cost(requests, after[0] - before[0], after[1] - before[1], rows, took)


def _system_reads() -> tuple[int, int]:
    # https://man7.org/linux/man-pages/man5/proc_pid_io.5.html
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["syscr"]), int(fields["rchar"])


class History:
    """A storage with so many days and batches behind it, the last of them of today."""

    def __init__(self, root: Path, *, days: int, batches: int) -> None:
        self.last = today()
        first = self.last - timedelta(days=max(days, _RECENT_DAYS))
        self.settings = Settings(storage=str(root), start_date=first, settle_seconds=0)
        self.context = Context.of(self.settings)
        self._root = root
        self._landed = 0
        self._now = datetime.now(UTC)
        for day in _days_before(self.last, _RECENT_DAYS):
            self.land(f"logs/{day.isoformat()}/access.log", day)
            self.run()
            self.land_batch(day)
            self.run()
        _Copies(self, days - _RECENT_DAYS, batches - _RECENT_DAYS).make()
        self._at_a_checkpoint()

    def _at_a_checkpoint(self) -> None:
        # Between two checkpoints a run reads more each time, so all histories begin at one.
        for name in TABLES:
            open_table(self.context.store, name).create_checkpoint()

    def land(self, path: str, day: date, *, hour: int = 12) -> None:
        """Land a small file with events of a day."""
        self._landed += 1
        lines = (
            _LINE % (number % 250, day.strftime("%d/%b/%Y"), hour, number % 20) for number in range(_LINES)
        )
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # A line of its own begins each file, or it would be taken for a copy.
        own = _LINE % (251, day.strftime("%d/%b/%Y"), hour, 1_000_000 + self._landed)
        target.write_text(own + "".join(lines))

    def land_batch(self, day: date) -> None:
        """Land a small incremental file with events of a day."""
        self.land(f"logs/incremental/new-{self._landed}.log", day)

    def make_busy(self, batches: int) -> None:
        """Let the last day have had so many batches more, all alike."""
        _Copies(self, 0, batches).make_busy(self.last)
        self._at_a_checkpoint()

    def run(self) -> Cost:
        """What the sensor and the run that it asks for do; what that cost."""
        return measured(self.context, self._run)

    def look(self) -> Cost:
        """What a look of the sensor costs that finds nothing new."""
        return measured(self.context, lambda context: look(context, self.settings, everything=False))

    def _run(self, context: Context) -> None:
        plan = look(context, self.settings, everything=False).plan
        # A minute of its own: a batch looks at the names of all others of its minute.
        self._now += timedelta(minutes=1)
        units = [*plan.units, *open_batches(context, self.settings, plan.new_files, now=self._now)]
        assert units, "nothing has landed"
        for refresh in (refresh_bronze, refresh_silver, refresh_gold):
            for unit in units:
                refresh(context, unit, reuse=True)
        publish_units(context, [*units, *control.flipped(context.store)])


class _Copies:
    """Makes copies of the oldest day and batch that were run, to the days before it."""

    def __init__(self, history: History, days: int, batches: int) -> None:
        self._context = history.context
        self._store = cast(FolderStore, history.context.store)
        self._model_day = history.last - timedelta(days=_RECENT_DAYS - 1)
        self._days = _days_before(self._model_day - timedelta(days=1), days)
        self._batches = batches

    def make(self) -> None:
        """Make them."""
        if not self._days:
            return
        unit = Unit("daily", self._model_day.isoformat())
        batch = next(iter(sorted(control.batches(self._store))))
        by_day: dict[date, list[Unit]] = {}
        for number, day in enumerate(self._days):
            made = [
                self._copy(unit, Unit("daily", day.isoformat()), day, f"logs/{day.isoformat()}/access.log")
            ]
            share = self._batches * (number + 1) // len(self._days) - self._batches * number // len(
                self._days
            )
            made += [self._batch(batch, day, count) for count in range(share)]
            by_day[day] = made
        self._tables()
        self._states(by_day)
        self._ledger(by_day)

    def make_busy(self, day: date) -> None:
        """Copies of a batch, all in a day that has a state already and shows the same with them."""
        batch = next(iter(sorted(control.batches(self._store))))
        made = [self._batch(batch, day, count) for count in range(self._batches)]
        stored = read_day(self._store, day.isoformat(), KERNEL_VERSION)
        state = replace(stored.value, units=stored.value.units | self._keys(made, day))
        swap_day(self._store, state, stored.etag)
        self._ledger({day: made}, datetime.now(UTC) - timedelta(hours=2))

    def _batch(self, source: Unit, day: date, count: int) -> Unit:
        # Suffixes that no batch of a minute that was really run has.
        minute = f"{count // 60 % 24:02}{count % 60:02}-{500 + count // 1440}"
        target = Unit("incremental", f"{day.isoformat()}-{minute}")
        path = f"logs/incremental/old-{day.isoformat()}-{count}.log"
        self._copy(source, target, day, path)
        control.claim(self._store, path, target)
        record = {"unit": str(target), "files": [{"path": path, "size": 0, "etag": ""}]}
        self._store.create(f"bronze/{target}/_batch.json", json.dumps(record).encode())
        return target

    def _keys(self, units: list[Unit], day: date) -> dict[str, str]:
        keys = {
            str(unit): contribution(self._manifest("gold", unit), self._manifest("bronze", unit), day)[0]
            for unit in units
        }
        return cast(dict[str, str], keys)

    def _copy(self, source: Unit, target: Unit, day: date, path: str) -> Unit:
        record = read_manifest(self._store, "bronze", source).value.files[0]
        landed = self._store.root / path
        landed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._store.root / record.path, landed)
        then = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
        os.utime(landed, (then, then))
        entry = self._store.stat(path)
        assert entry is not None
        head = f"{record.head}{target.key}".replace("-", "")
        control.register_head(self._store, head, path, target)
        for layer in LAYER_NAMES:
            model = read_manifest(self._store, layer, source).value
            for part in model.parts:
                linked = self._store.root / layer_folder(layer, target) / part.name
                linked.parent.mkdir(parents=True, exist_ok=True)
                os.link(self._store.root / layer_folder(layer, source) / part.name, linked)
            file = replace(
                record,
                path=path,
                etag=entry.etag,
                head=head,
                digest=record.digest[:40] + f"{day:%Y%m%d}{hash(path) % 10**16:016}",
                request_days={day.isoformat(): record.parsed},
                written_days={day.isoformat(): record.parsed},
            )
            copy = replace(
                model, unit=str(target), generation=0, files=(file,), touched_days=(day.isoformat(),)
            )
            swap_manifest(self._store, target, copy, None)
        return target

    def _tables(self) -> None:
        for name in (*SERVING, *MODEL):
            rows = read_table(self._store, name).filter(pl.col("event_date") == self._model_day).collect()
            for start in range(0, len(self._days), _DAYS_A_FILE):
                days = self._days[start : start + _DAYS_A_FILE]
                copies = pl.DataFrame({"event_date": days}).join(rows.drop("event_date"), how="cross")
                overwrite_days(open_table(self._store, name), name, days, copies)

    def _states(self, by_day: dict[date, list[Unit]]) -> None:
        identity = tables_identity(self._context)
        model = read_day(self._store, self._model_day.isoformat(), KERNEL_VERSION).value
        for day, units in by_day.items():
            state = replace(model, day=day.isoformat(), units=self._keys(units, day))
            folder = self._store.root / day_folder(day.isoformat())
            folder.mkdir(parents=True)
            for part in model.parts:
                os.link(self._store.root / day_folder(model.day) / part.name, folder / part.name)
            swap_day(self._store, state, None)
            note = json.dumps({"shows": shown_note(state, identity)}).encode()
            self._store.swap(f"{day_folder(day.isoformat())}/_published.json", note, None)

    def _ledger(self, by_day: dict[date, list[Unit]], moment: datetime | None = None) -> None:
        """Rows of the ledger as they would have been recorded on those days, or at that moment."""
        aside = FolderStore(self._store.root / ".ledger")
        ledger.record(
            aside, [(self._manifest("bronze", unit), None) for units in by_day.values() for unit in units]
        )
        moments = pl.DataFrame(
            [
                (str(unit), moment or datetime(day.year, day.month, day.day, 13, tzinfo=UTC))
                for day, units in by_day.items()
                for unit in units
            ],
            schema={"unit": pl.String, "at": pl.Datetime("us", "UTC")},
            orient="row",
        )
        recorded = (
            read_table(aside, "ledger")
            .collect()
            .join(moments, on="unit")
            .with_columns(recorded_at="at")
            .sort("recorded_at")
        )
        for rows in recorded.iter_slices(_LEDGER_ROWS_A_FILE):
            append_rows(self._store, "ledger", rows)
        append_rows(self._store, "unit_days", read_table(aside, "unit_days").collect())
        ledger.forget_answers()
        shutil.rmtree(aside.root)

    def _manifest(self, layer: Any, unit: Unit) -> Manifest:
        return read_manifest(self._store, layer, unit).value


def _days_before(last: date, count: int) -> list[date]:
    return [last - timedelta(days=back) for back in reversed(range(max(count, 0)))]
