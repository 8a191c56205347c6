"""Dagster's event log on SQLite, with many events in one transaction, and none that waits for the disk.

What belongs here: how events are written. What does not: which events there are (`assets`), and a log in
Postgres, which batches by itself.

Dagster opens the database of the run and the index for each event, and waits until both are on disk. That
takes longer than to compute a small day, and a refresh of a year has some thirteen thousand events. A small
run asks for some hundreds of such waits, and a disk that others write to makes each of them long.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Final, Self

from dagster import DagsterEventType
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.event import listen

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy.engine import Connection, Engine

# What a kill may lose of events, and never of data: those of one batch. A power failure may lose some seconds
# of events: SQLite's log is then older, but whole (https://www.sqlite.org/pragma.html#pragma_synchronous).
_EVENTS: Final = 500
_BATCH_SIZE: Final = "DAGSTER_EVENT_BATCH_SIZE"
# Databases that stay open: the index, and of the runs those that are asked for now.
_DATABASES: Final = 8
_OF_PARTITIONS: Final = (
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
)


class BatchingSqliteEventLogStorage(SqliteEventLogStorage):
    """The stock log in the stock place, to be named in `dagster.yaml`.

    Each event is stored by Dagster's own code. While a batch is stored, that is given the same connections
    again, so that there is one transaction in each database.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._batch_lock = RLock()
        self._batch: _Batch | None = None
        self._waiting: list[EventLogEntry] | None = None
        self._open: OrderedDict[str, _Database] = OrderedDict()
        super().__init__(base_dir, inst_data)
        # One thread holds both databases at once for a batch; the stock lock would wait for itself.
        self._db_lock = RLock()  # type: ignore[assignment]
        # Dagster hands events of partitions over in batches only where this is set.
        os.environ.setdefault(_BATCH_SIZE, str(_EVENTS))

    @classmethod
    def config_type(cls) -> Any:
        """There is nothing to configure."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Where Dagster keeps it by default, so that either class finds what the other has written."""
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs"), inst_data)

    def store_event(self, event: EventLogEntry) -> None:
        """As the stock log, or later with others."""
        with self._batch_lock:
            if self._waiting is None:
                super().store_event(event)
                self._tell([event])
                return
            self._waiting.append(event)
            if len(self._waiting) >= _EVENTS:
                self._store_waiting()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """All of them, in one transaction in each database."""
        with self._batch_lock, ExitStack() as stack:
            self._batch = _Batch(stack, get_ident())
            try:
                alike = {(event.run_id, event.dagster_event_type in _OF_PARTITIONS) for event in events}
                if len(alike) == 1 and alike.pop()[1]:
                    self._store_partitions(events)
                else:
                    for event in events:
                        super().store_event(event)
            finally:
                self._batch = None
        self._tell(events)

    @contextmanager
    def batching(self) -> Iterator[None]:
        """Keep what is logged in this block for batches; the last is stored when it ends, however it does."""
        with self._batch_lock:
            self._waiting = []
        try:
            yield
        finally:
            with self._batch_lock:
                self._store_waiting()
                self._waiting = None

    def run_connection(self, run_id: str | None = None) -> Any:
        """The connection of the batch, else one of its own."""
        return self._connection(f"run {run_id}", partial(super().run_connection, run_id))

    def index_connection(self) -> AbstractContextManager[Connection]:
        """The connection of the batch, else one of its own."""
        return self._connection("index", super().index_connection)

    def dispose(self) -> None:
        """Close what is open."""
        super().dispose()
        with self._db_lock:
            while self._open:
                self._open.popitem()[1].close()

    def _store_partitions(self, events: Sequence[EventLogEntry]) -> None:
        """What the stock log does for each event of one run, for all in one statement a database.

        Of an asset it keeps the last event of a kind apart; earlier ones would be overwritten at once.
        """
        # Dagster's own statement has a parameter for each value, and to compile it takes longer than to store
        # the rows.
        insert = SqlEventLogStorageTable.insert()
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(insert, rows)
        with self.index_transaction() as connection:
            connection.execute(insert, rows)
            # SQLite numbers the rows of a transaction one after the other.
            last = int(connection.execute(text("SELECT last_insert_rowid()")).scalar_one())
        numbers = range(last - len(events) + 1, last + 1)
        self.store_asset_event_tags(events, numbers)
        newest = {
            (event.dagster_event_type, event.get_dagster_event().asset_key): (event, number)
            for event, number in zip(events, numbers, strict=True)
        }
        for event, number in newest.values():
            self.store_asset_event(event, number)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """As the stock log, but that the database is known already, and stays open."""
        with self._db_lock:
            database = self._open.pop(shard, None)
            if database is not None and not database.is_there:
                # Another process has wiped the log: tables are made anew.
                self._initialized_dbs.discard(shard)
            if database is not None and shard not in self._initialized_dbs:
                database.close()
                database = None
            if database is None:
                database = self._opened(shard)
            self._open[shard] = database
            if len(self._open) > _DATABASES:
                self._open.popitem(last=False)[1].close()
            with database.engine.begin() as connection:
                yield connection

    def _opened(self, shard: str) -> _Database:
        # A new engine would compile each statement anew.
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=NullPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )
        listen(engine, "connect", _wait_less)
        # Dagster's code waits for other processes that make the same database, and makes its journal the kind
        # that can be kept open: SQLite refuses both at once while another one is at it.
        path = Path(self.path_for_shard(shard))
        if shard not in self._initialized_dbs or not path.exists():
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        return _Database(path, engine)

    def _tell(self, events: Sequence[EventLogEntry]) -> None:
        """Let the UI know that a run has something new: it watches the file, which SQLite changes later."""
        for run_id in {event.run_id for event in events}:
            # Somebody may have deleted the run just now.
            with suppress(FileNotFoundError):
                os.utime(self.path_for_shard(run_id))

    def _store_waiting(self) -> None:
        events, self._waiting = self._waiting, []
        if events:
            self.store_event_batch(events)

    def _connection(
        self, shard: str, connect: Callable[[], AbstractContextManager[Connection]]
    ) -> AbstractContextManager[Connection]:
        batch = self._batch
        if batch is None or batch.thread != get_ident():
            return connect()
        if shard not in batch.connections:
            batch.connections[shard] = batch.stack.enter_context(connect())
        return nullcontext(batch.connections[shard])


class _Database:
    """One of the log's databases: connections to it don't wait for the disk, and it stays open between them.

    To close the last connection would bring all that is new to the disk, after each event. The one that is
    kept is never used, so a database that is deleted is opened anew like any other.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self.engine = engine
        self._path = path
        self._kept = engine.connect()
        # SQLite opens a database when it is first read.
        self._kept.exec_driver_sql("SELECT 1 FROM sqlite_schema").all()
        self._kept.rollback()
        self._number = path.stat().st_ino

    @property
    def is_there(self) -> bool:
        """Whether its file is still the one that was opened."""
        try:
            return self._path.stat().st_ino == self._number
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let go of it."""
        self._kept.close()


def _wait_less(connection: Any, _: object) -> None:
    """Let SQLite wait for the disk when it moves its journal into the database, and not at each commit."""
    # With a journal of another kind, as a database has that is just being made, it would be unsafe.
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        connection.execute("PRAGMA synchronous = NORMAL")


@dataclass
class _Batch:
    """A batch that is being stored: its open connections by database, and the thread that stores it."""

    stack: ExitStack
    thread: int
    connections: dict[str, Connection] = field(default_factory=dict)
