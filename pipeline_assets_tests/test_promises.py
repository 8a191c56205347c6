"""The promises, as properties of random histories: whatever lands, in whatever order, however it is run.

Each history lands, grows, changes, copies, rotates, deletes and forgets files of a few days and sites, runs
them by both lanes, again, in full, with a kill anywhere and with a second process in between, and puts the
storage in order. In the end serving must equal a brute-force count over the landed bytes, and so must a full
run of them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.compute import sharding
from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets_tests.storages import AZURITE, FOLDER, NewStorage
from pipeline_assets_tests.world import AtStep, Killed, World, hook_storage, kill

DAYS = ("2024-01-14", "2024-01-15", "2024-01-16")
NAMES = ("access.log", "access.log.1", "access.log.2.gz", "access.a.example.log", "other.log")
# The last two differ only where gold cuts them off.
AGENTS = (
    "Mozilla/5.0",
    "curl/8.0",
    "-",
    "",
    "Googlebot/2.1",
    *(f"Mozilla/5.0 {'x' * 600}{end}" for end in "ab"),
)
REQUESTS = (
    "GET / HTTP/1.1",
    "GET /a?b=c HTTP/1.1",
    "HEAD /s.css HTTP/1.0",
    f"POST /{'p' * 1100} HTTP/2.0",
    "\\x16\\x03\\x01",
    "-",
)
REFERERS = (
    "-",
    "",
    "https://www.google.com/search?q=tea&x",
    "https://www.A.example/x?y#z",
    "https://news.example/i?id=7",
)
ERRORS = ("worker 12 exited", "worker 7 exited", "too many connections")


def some_lines(number: int, generator: random.Random) -> bytes:
    """Lines of two neighbouring days, with a few that are no log lines."""
    lines = []
    for _ in range(number):
        roll = generator.random()
        if roll < 0.06:
            lines.append(generator.choice(["", "   ", "# a comment", "no log line at all", '"\\x16\\x03"']))
            continue
        day = generator.choice((13, 14, 15, 16))
        zone = generator.choice(("+0000", "+0330", "-0800"))
        if roll < 0.12:
            moment = f"2024/01/{day:02} {generator.randrange(24):02}:30:00"
            lines.append(f"{moment} [error] 1#1: {generator.choice(ERRORS)}")
            continue
        moment = f"{day:02}/Jan/2024:{generator.randrange(24):02}:{generator.randrange(60):02}:07 {zone}"
        host = f"192.0.2.{generator.randrange(6)}"
        request = generator.choice(REQUESTS)
        size = generator.choice(["-", "0", "512", "70000"])
        lines.append(
            f'{host} - - [{moment}] "{request}" {generator.choice([200, 304, 404, 500])} {size}'
            f' "{generator.choice(REFERERS)}" "{generator.choice(AGENTS)}"'
        )
    text = "\n".join(lines).encode()
    return text + (b"\n" if generator.random() < 0.8 else b"")


@dataclass
class History:
    """A random history over one world; every choice comes from the seed, so a failure can be replayed."""

    world: World
    generator: random.Random
    # Either files are deleted or older, shorter states of files land late: once a longer file is deleted,
    # nobody can tell any more that a shorter one is how it began.
    deletes: bool = False
    begun: float | None = None

    def landing_path(self) -> str:
        name = self.generator.choice(NAMES)
        folder = self.generator.choice([*DAYS, "incremental", "incremental/sub"])
        return f"logs/{folder}/{name}"

    def content_of(self, path: str) -> bytes:
        from pipeline_assets_tests.oracle import decompressed

        return decompressed(self.world.landed[path])

    def longer(self, content: bytes) -> bytes:
        """The content as it is some lines later; a line that was half written is complete then."""
        ending = b"" if content.endswith(b"\n") or not content else b"\n"
        return content + ending + some_lines(self.generator.randrange(1, 4), self.generator)

    def land(self) -> None:
        self.world.land(self.landing_path(), some_lines(self.generator.randrange(7), self.generator))

    def grow(self) -> None:
        if self.world.landed:
            path = self.generator.choice(sorted(self.world.landed))
            self.world.land(path, self.longer(self.content_of(path)))

    def copy(self) -> None:
        if self.world.landed:
            path = self.generator.choice(sorted(self.world.landed))
            self.world.land(self.landing_path(), self.content_of(path))

    def rotate(self) -> None:
        """A file lands once more under another name, with more lines or with fewer."""
        if self.world.landed:
            path = self.generator.choice(sorted(self.world.landed))
            content = self.content_of(path)
            if self.deletes or self.generator.random() < 0.6:
                content = self.longer(content)
            else:
                content = content[: self.generator.randrange(len(content) + 1)]
            self.world.land(self.landing_path(), content)

    def forget(self) -> None:
        self.world.catch_up()
        if self.world.landed:
            self.world.forget(self.generator.choice(sorted(self.world.landed)))

    def retain(self) -> None:
        """Files that were read are deleted: that retracts nothing."""
        if not self.deletes:
            return
        self.world.catch_up()
        there = [path for path in sorted(self.world.landed) if self.world.context.store.stat(path)]
        if there:
            self.world.remove(self.generator.choice(there))

    def run(self) -> None:
        choice = self.generator.random()
        if choice < 0.5:
            self.world.catch_up(everything=self.generator.random() < 0.5)
        elif choice < 0.9 and self.world.units():
            count = self.generator.randrange(1, 4)
            units = [self.generator.choice(self.world.units()) for _ in range(count)]
            self.world.process(units, reuse=self.generator.random() < 0.5)
        else:
            self.world.full()

    def maintain(self) -> None:
        """Whatever is not at work is old enough to go, rows of bronze and silver among it."""
        self.world.maintain(
            since=self.begun,
            deep=self.generator.random() < 0.5,
            retention_days_bronze=self.generator.choice((None, 30)),
            retention_days_silver=self.generator.choice((None, 30)),
        )

    def some_step(self) -> int:
        """Early or late in a run: one batch touches the storage some 200 times, a full run thousands."""
        return self.generator.randrange(self.generator.choice((60, 300, 1500)))

    def run_and_be_killed(self) -> None:
        with hook_storage(AtStep(self.some_step(), kill)):
            try:
                self.run()
            except Killed:
                return

    def run_with_another(self) -> None:
        """A second process does a whole run while the first stands still."""

        def another() -> None:
            choice = self.generator.random()
            if choice < 0.4:
                self.generator.choice([self.land, self.grow, self.copy, self.rotate])()
            elif choice < 0.6:
                self.maintain()
            self.run()

        with self.at_work(), hook_storage(AtStep(self.some_step(), another)):
            self.run()

    def maintain_and_be_overtaken(self) -> None:
        """Maintenance is killed, or a run comes between two of its steps."""
        step = AtStep(self.generator.randrange(300), self.generator.choice((kill, self.run)))
        with self.at_work(), hook_storage(step), contextlib.suppress(Killed):
            self.maintain()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """What changes within the block belongs to work that is going on."""
        self.begun = self.world.moment()
        try:
            yield
        finally:
            self.begun = None

    def play(self, steps: int) -> None:
        weighted: list[tuple[Callable[[], None], int]] = [
            (self.land, 5),
            (self.grow, 3),
            (self.copy, 2),
            (self.rotate, 3),
            (self.run, 4),
            (self.run_and_be_killed, 4),
            (self.run_with_another, 3),
            (self.forget, 1),
            (self.retain, 1),
            (self.maintain, 1),
            (self.maintain_and_be_overtaken, 2),
        ]
        actions = [action for action, weight in weighted for _ in range(weight)]
        for _ in range(steps):
            self.generator.choice(actions)()


def check_serving(world: World) -> None:
    truth = world.truth()
    for name, rows in vars(truth).items():
        shown = world.table(name)
        if name == "quality_daily":
            shown, rows = without_reasons(shown), without_reasons(rows)
        assert shown == rows, name


def without_reasons(quality: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rejected lines by day and site alone: brute force knows that a line is none, and not why."""
    found: dict[tuple[Any, ...], int] = {}
    for day, site, fate, reason, lines in quality:
        key = (day, site, fate, None if fate == "rejected" else reason)
        found[key] = found.get(key, 0) + lines
    return sorted(((*key, lines) for key, lines in found.items()), key=repr)


def tables(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """All that people query of event days, also what only libraries can tell."""
    return {name: world.table(name) for name in (*SERVING, *MODEL)}


def check_history(seed: int, steps: int, new_storage: NewStorage) -> None:
    world = World(new_storage(), anomaly_threshold=3.0, look_back_days=100_000)
    # Every other history is of days that are too large to be worked on in one piece.
    together = sharding.ROWS_TOGETHER if seed // 2 % 2 else 25
    with mock.patch.object(sharding, "ROWS_TOGETHER", together):
        History(world, random.Random(seed), deletes=seed % 2 == 0).play(steps)
        # Without reconciliation: what a kill leaves must be found by its markers alone.
        world.catch_up(everything=False)
        check_serving(world)
        shown = tables(world)

        assert world.catch_up() == 0, "the manifests and the days disagree"
        world.full()
        world.catch_up()
        check_serving(world)
        assert tables(world) == shown

    # The same bytes in an empty storage, in one full run: nothing depends on how we got here.
    other = World(new_storage(), anomaly_threshold=3.0)
    for path, stored in world.landed.items():
        from pipeline_assets_tests.oracle import decompressed

        other.land(path, decompressed(stored))
    other.catch_up()
    for path, digest in world.forgotten:
        if blake3(decompressed(world.landed[path])).hexdigest() == digest:
            other.forget(path)
    other.catch_up()
    assert tables(other) == shown


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FOLDER])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_any_history_ends_in_the_truth(seed: int, new_storage: NewStorage) -> None:
    check_history(seed, 14, new_storage)


@pytest.mark.parametrize("kind", [AZURITE])
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_any_history_ends_in_the_truth_on_azure_too(seed: int, new_storage: NewStorage) -> None:
    check_history(seed, 10, new_storage)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "seed"),
    [*(("folder", seed) for seed in range(10)), *(("azurite", seed) for seed in range(2))],
)
def test_long_histories_end_in_the_truth(seed: int, new_storage: NewStorage) -> None:
    check_history(seed, 30, new_storage)
