"""A month of logs that are written, rotated and compressed, and imported at any moment.

Every line that a server ever wrote must count exactly once in the end, however logrotate is set up, whenever
the imports ran, and whatever killed them. The truth is counted from the lines as they were written, so
nothing of how they came here can show.
"""

from __future__ import annotations

import gzip
import os
import random
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.storage.importing import Imported, import_logs
from pipeline_assets.storage.store import Entry
from pipeline_assets_tests import oracle
from pipeline_assets_tests.storages import FOLDER, NewStorage, Storage
from pipeline_assets_tests.world import STORES, AtStep, Killed, World, hook_storage, kill

BEGIN: Final = datetime(2024, 1, 10, 3, 0, tzinfo=UTC)
NAMES: Final = ("access.log", "a.example/access.log", "b.example/access.log", "access.c.example.log")
AGENTS: Final = ("Mozilla/5.0", "curl/8.0", "Googlebot/2.1")


@dataclass
class LogRotate:
    """How a log is rotated: what logrotate's options of these names do."""

    copytruncate: bool
    compress: bool
    delaycompress: bool
    dateext: bool
    rotate: int = 400

    @classmethod
    def random(cls, generator: random.Random) -> LogRotate:
        return cls(*(generator.random() < 0.5 for _ in range(4)))


@dataclass
class Server:
    """A server that writes one log, and what it has written to it since it began."""

    path: Path
    rotation: LogRotate
    written: list[bytes] = field(default_factory=list)
    # The end of a line that is in the writer's buffer.
    held: bytes = b""
    pending: Path | None = None


@dataclass
class Month:
    """Servers, their folder, a clock, and imports into a world."""

    folder: Path
    storage: Storage
    generator: random.Random
    servers: list[Server] = field(default_factory=list)
    now: datetime = BEGIN

    def __post_init__(self) -> None:
        self.logs = self.folder / "log"
        self.world = World(self.storage, look_back_days=100_000)
        for name in NAMES:
            path = self.logs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self.servers.append(Server(path, LogRotate.random(self.generator)))

    # ---- what servers do ----
    def write(self, server: Server) -> None:
        """Some lines, perhaps the beginning of one more, and what was held back before."""
        lines = [self.line() for _ in range(self.generator.randrange(6))]
        data = server.held + b"".join(lines)
        server.written += lines
        server.held = b""
        if self.generator.random() < 0.4:
            line = self.line()
            cut = self.generator.randrange(len(line))
            data, server.held = data + line[:cut], line[cut:]
            server.written.append(line)
        with server.path.open("ab") as log:
            log.write(data)
        self.touch(server.path)

    def flush(self, server: Server) -> None:
        with server.path.open("ab") as log:
            log.write(server.held)
        server.held = b""
        self.touch(server.path)

    def line(self) -> bytes:
        if self.generator.random() < 0.03:
            return self.generator.choice([b"\n", b"# comment\n", b"garbage\n"])
        self.now += timedelta(seconds=self.generator.randrange(40))
        host = f"192.0.2.{self.generator.randrange(5)}"
        request = self.generator.choice(["GET / HTTP/1.1", "GET /a HTTP/1.1", "-"])
        return (
            f"{host} - - [{self.now:%d/%b/%Y:%H:%M:%S} +0000]"
            f' "{request}" {self.generator.choice([200, 304, 404])} {self.generator.randrange(9)}'
            f' "-" "{self.generator.choice(AGENTS)}"\n'
        ).encode()

    # ---- what logrotate does ----
    def rotate(self, server: Server) -> None:
        if not server.path.stat().st_size:
            return  # notifempty
        self.flush(server)  # the server reopens its log, or `copytruncate` finds what was flushed
        self.end_compression(server)
        rotation, path = server.rotation, server.path
        if rotation.dateext:
            target = path.with_name(f"{path.name}-{self.now:%Y%m%d}-{self.now:%H%M}")
            if target.exists() or target.with_name(target.name + ".gz").exists():
                return  # logrotate leaves what it has already made alone
        else:
            self.shift(server)
            target = path.with_name(f"{path.name}.1")
        if rotation.copytruncate:
            self.copy_and_truncate(path, target)
        else:
            path.rename(target)
            path.touch()
        self.touch(path)
        if rotation.compress and not rotation.delaycompress:
            server.pending = target
        elif rotation.compress:
            older = [one for one in self.rotated(server) if one != target and one.suffix != ".gz"]
            server.pending = older[0] if older else None

    def copy_and_truncate(self, path: Path, target: Path) -> None:
        """An import may come between any two steps of it."""
        content = path.read_bytes()
        if self.generator.random() < 0.3:
            target.write_bytes(content[: self.generator.randrange(len(content) + 1)])
            self.touch(target)
            self.import_logs()
        target.write_bytes(content)
        self.touch(target)
        if self.generator.random() < 0.3:
            self.import_logs()
        with path.open("r+b") as log:
            log.truncate()

    def shift(self, server: Server) -> None:
        numbered = {int(one.name.removesuffix(".gz").rpartition(".")[2]): one for one in self.rotated(server)}
        for number in sorted(numbered, reverse=True):
            ending = ".gz" if numbered[number].suffix == ".gz" else ""
            numbered[number].rename(server.path.with_name(f"{server.path.name}.{number + 1}{ending}"))

    def rotated(self, server: Server) -> list[Path]:
        return sorted(
            one
            for one in server.path.parent.iterdir()
            if one != server.path and one.name.startswith((f"{server.path.name}.", f"{server.path.name}-"))
        )

    def compress(self, server: Server) -> None:
        """gzip writes beside the file, keeps its time of change, and removes it in the end."""
        source = server.pending
        if source is None or not source.exists():
            server.pending = None
            return
        target = source.with_name(source.name + ".gz")
        data = gzip.compress(source.read_bytes(), mtime=0)
        if self.generator.random() < 0.5:
            target.write_bytes(data[: self.generator.randrange(len(data))])
            self.touch(target)
            if self.generator.random() < 0.5:
                return  # to be completed later
        self.end_compression(server)

    def end_compression(self, server: Server) -> None:
        source, server.pending = server.pending, None
        if source is None or not source.exists():
            return
        found = source.stat()
        target = source.with_name(source.name + ".gz")
        target.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
        os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
        source.unlink()

    # ---- what the pipeline does ----
    def import_logs(self, **options: Any) -> Imported:
        context = self.world.context
        now = self.now.timestamp()
        return import_logs(
            context.store, context.options, self.logs, last_day=self.now.date(), now=now, **options
        )

    def import_and_be_killed(self) -> None:
        """Killed at any touch of the storage, landing a file included."""
        hook = AtStep(self.generator.randrange(self.generator.choice((10, 60))), kill)
        try:
            with hook_storage(hook), ExitStack() as patches:
                for store in STORES:
                    patches.enter_context(mock.patch.object(store, "upload", around(store.upload, hook)))
                self.import_logs()
        except Killed:
            return

    def run(self) -> None:
        self.world.catch_up(everything=False)

    def retain(self) -> None:
        """A landed file that was read is deleted, and will be the log's next state if it grows."""
        self.run()
        landed = self.world.context.store.list("logs")
        if landed:
            self.world.remove(self.generator.choice(landed).path)

    def lose_memory(self) -> None:
        for entry in self.world.context.store.list("bronze/_control/imports"):
            self.world.remove(entry.path)

    def stored(self) -> list[Entry]:
        """Every stored object in its version."""
        folders = ("logs", "bronze", "silver", "gold", "serving", "model")
        return [entry for folder in folders for entry in self.world.context.store.list(folder)]

    # ---- the month ----
    def touch(self, path: Path) -> None:
        os.utime(path, (self.now.timestamp(), self.now.timestamp()))

    def play(self, steps: int) -> None:
        weighted: list[tuple[Callable[[], None], int]] = [
            (lambda: self.write(self.generator.choice(self.servers)), 12),
            (lambda: self.rotate(self.generator.choice(self.servers)), 4),
            (lambda: self.compress(self.generator.choice(self.servers)), 4),
            (lambda: void(self.import_logs()), 6),
            (self.import_and_be_killed, 3),
            (self.run, 2),
            (self.retain, 1),
            (self.lose_memory, 1),
        ]
        actions = [action for action, weight in weighted for _ in range(weight)]
        for _ in range(steps):
            self.now += timedelta(minutes=self.generator.choice((1, 30, 300, 1500)))
            self.generator.choice(actions)()

    def end(self) -> None:
        """Everybody comes to rest, and a last import takes what is left."""
        for server in self.servers:
            self.flush(server)
            self.end_compression(server)
        self.now += timedelta(hours=1)
        self.import_logs()
        self.world.catch_up()

    def check(self) -> None:
        written = {
            f"logs/incremental/{server.path.relative_to(self.logs)}": b"".join(server.written)
            for server in self.servers
        }
        truth = oracle.serving(written)
        assert self.world.table("traffic_hourly") == sorted(map(tuple, truth.traffic_hourly), key=repr)
        assert self.world.table("status_daily") == sorted(map(tuple, truth.status_daily), key=repr)


def void(_: object) -> None:
    return None


def around(original: Callable[..., Any], hook: Callable[[str], None]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **options: Any) -> Any:
        hook("before upload")
        result = original(*arguments, **options)
        hook("after upload")
        return result

    return wrapped


def check_month(seed: int, steps: int, new_storage: NewStorage) -> None:
    with tempfile.TemporaryDirectory() as folder:
        month = Month(Path(folder), new_storage(), random.Random(seed))
        month.play(steps)
        month.end()
        month.check()
        # Again: nothing is copied, nothing is to be run, and not an object of the storage changes.
        before = month.stored()
        again = month.import_logs()
        assert (again.taken, again.grown, again.unfinished) == ([], [], [])
        assert set(again.left_out.values()) <= {"no line in it yet"}
        assert month.stored() == before
        # Nor without what was remembered.
        month.lose_memory()
        again = month.import_logs()
        assert (again.taken, again.grown) == ([], [])
        assert month.world.catch_up() == 0


@pytest.mark.parametrize("kind", [FOLDER])
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_every_line_of_a_rotated_log_counts_once(seed: int, new_storage: NewStorage) -> None:
    check_month(seed, 30, new_storage)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), [*(("folder", seed) for seed in range(4)), ("azurite", 0)])
def test_every_line_of_a_month_counts_once(seed: int, new_storage: NewStorage) -> None:
    check_month(seed, 120, new_storage)
