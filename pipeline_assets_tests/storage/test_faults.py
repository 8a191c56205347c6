"""Failures between the pipeline and an Azure account: throttled, broken, slow and cut, through a real network.

What belongs here: that the pipeline ends right, or fails clearly and the next run puts it right. What does not:
kills (`test_promises`), and what the account itself refuses (`test_azure_store`).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline_assets.automation.arrivals import look
from pipeline_assets.storage.store import StorageUnavailableError, Store
from pipeline_assets_tests.azurite import Account, Azurite
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.test_promises import check_serving
from pipeline_assets_tests.unreliable import Fault, Network, Request, between
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.slow

LINE = '192.0.2.{} - - [15/Jan/2024:{:02}:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'
BUSY = Fault("answer", 429, {"Retry-After": "1"})
UNAVAILABLE = Fault("answer", 503, {"Retry-After": "1"})
BROKEN = Fault("answer", 500)
BIG = 20_000_000


@pytest.fixture
def account(azurite: Azurite) -> Account:
    return azurite.new_account()


@pytest.fixture
def network(azurite: Azurite) -> Iterator[Network]:
    with between(azurite.url) as network:
        yield network


@pytest.fixture
def store(network: Network, account: Account) -> Store:
    return network.storage(account).open()


def now_and_then(seed: int, faults: Sequence[Fault], share: float) -> Callable[[Request], Fault | None]:
    """One of those faults for a share of the requests, the same ones each time."""
    generator = random.Random(seed)
    return lambda request: generator.choice(faults) if generator.random() < share else None


def once(fault: Fault, method: str) -> Callable[[Request], Fault | None]:
    """That fault for the next request of that method."""
    left = iter([fault])
    return lambda request: next(left, None) if request.method == method else None


def some_lines(first: int, number: int) -> bytes:
    return "".join(LINE.format(host, host % 24) for host in range(first, first + number)).encode()


@pytest.mark.parametrize(
    "faults",
    [[BUSY, UNAVAILABLE, BROKEN], [Fault("slow", seconds=0.5), Fault("cut download")], [Fault("cut upload")],
     [Fault("lost answer")]],
    ids=["refused", "slow or cut", "cut upload", "lost answer"],
)  # fmt: skip
def test_whatever_happens_on_the_way_now_and_then_serving_is_true_in_the_end(
    account: Account, network: Network, faults: list[Fault]
) -> None:
    world = World(network.storage(account), look_back_days=100_000)
    # Files land by another way: what is tried here is the pipeline.
    direct = Storage.in_account(account)
    told: list[str] = []
    for turn in range(2):
        for path in ("logs/2024-01-15/access.log", f"logs/incremental/{turn}.log"):
            world.landed[path] = some_lines(1 + 40 * turn, 5 + len(path))
            direct.put_blob(path, world.landed[path])
        network.decide = now_and_then(turn, faults, 0.05)
        try:
            world.catch_up(everything=False)
        except Exception as error:  # noqa: BLE001 (a run that fails clearly is allowed; that it heals is asserted)
            told.append(f"{type(error).__name__}: {error}")
        network.decide = lambda request: None
        # What a reader sees in between is the days as they were or as they are, of whole files.
        assert all(row[3] >= 0 for row in world.table("status_daily"))
        world.catch_up(everything=False)
        check_serving(world)
    assert network.faults
    assert world.catch_up() == 0
    assert all(account.key not in text for text in told)


@pytest.mark.parametrize(
    "fault",
    [BUSY, UNAVAILABLE, BROKEN, Fault("lost answer")],
    ids=lambda fault: f"{fault.kind} {fault.status}",
)
def test_a_few_failures_in_a_row_are_waited_out(
    store: Store, network: Network, fault: Fault, tmp_path: Path
) -> None:
    def fails_twice() -> None:
        left = iter([fault, fault])
        network.decide = lambda request: next(left, None) if request.method == "GET" else None

    store.create("gold/a.json", b"1")
    asked: list[Callable[[], Any]] = [
        lambda: store.read("gold/a.json"),
        lambda: store.list("gold"),
        lambda: store.children("gold"),
    ]
    for ask in asked:
        expected = ask()
        fails_twice()
        assert ask() == expected
    assert len(network.faults) == 2 * len(asked)


def test_a_listing_that_fails_for_good_is_an_error_and_no_run_follows(
    account: Account, network: Network
) -> None:
    world = World(network.storage(account), look_back_days=100_000)
    network.decide = lambda request: Fault("answer", 404) if "comp=list" in request.path else None
    for ask in (world.context.store.list, world.context.store.children):
        with pytest.raises(StorageUnavailableError, match="can't list logs"):
            ask("logs")
    with pytest.raises(StorageUnavailableError):
        look(world.context, world.settings, everything=False)


def test_a_download_that_is_cut_goes_on_where_it_was(
    account: Account, store: Store, network: Network
) -> None:
    content = random.Random(1).randbytes(BIG)
    Storage.in_account(account).put_blob("logs/big.log", content)
    turns = iter([None, None, Fault("cut download"), None, Fault("cut download")])
    network.decide = lambda request: next(turns, None)
    with store.open("logs/big.log") as stream:
        assert stream.read() == content
    assert len(network.faults) == 2


@pytest.mark.parametrize("kind", ["cut upload", "lost answer"])
def test_an_upload_that_is_cut_half_way_shows_nothing_and_can_be_repeated(
    account: Account, store: Store, network: Network, kind: Any, tmp_path: Path
) -> None:
    source = tmp_path / "big.log"
    source.write_bytes(random.Random(2).randbytes(BIG))
    path = "logs/2024-01-15/big.log"
    blocks = iter([None, None])
    # Two blocks arrive, and no request after them, the list of blocks included.
    network.decide = lambda request: (
        next(blocks, Fault(kind)) if request.is_block else Fault(kind) if request.method == "PUT" else None
    )
    with pytest.raises(StorageUnavailableError, match="can't upload"):
        store.upload(source, path)
    assert network.faults
    network.decide = lambda request: None
    if kind == "cut upload":
        assert store.stat(path) is None
        assert store.list("logs") == []
    store.upload(source, path)
    with store.open(path) as stream:
        assert stream.read() == source.read_bytes()


def test_parquet_that_is_cut_half_way_shows_nothing(store: Store, network: Network) -> None:
    frame = pl.DataFrame({"x": random.Random(3).choices(range(1 << 62), k=1_200_000)})
    network.decide = lambda request: (
        Fault("cut upload") if request.method == "PUT" and request.size > 1 else None
    )
    outcome: list[BaseException] = []

    def write() -> None:
        try:
            store.write_parquet("gold/part.parquet", frame)
        except BaseException as error:  # noqa: BLE001 (handed over)
            outcome.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    writing.join(120)
    assert outcome and isinstance(outcome[0], Exception)
    network.decide = lambda request: None
    assert store.list("gold") == []
    store.write_parquet("gold/part-of-another-attempt.parquet", frame)
    assert store.scan_parquet(["gold/part-of-another-attempt.parquet"]).collect().equals(frame)


def test_a_race_whose_answer_is_lost_still_has_one_winner(store: Store, network: Network) -> None:
    """Whoever does not hear that he has won is told that he has lost, and finds out by reading."""
    for number in range(5):
        path = f"gold/claims/{number}"
        network.decide = once(Fault("lost answer"), "PUT")
        outcomes = []
        for name in (b"first", b"second"):
            try:
                outcomes.append(store.create(path, name))
            except StorageUnavailableError:
                outcomes.append(False)
        found = store.read(path)
        assert found is not None
        assert found.data == b"first"
        assert outcomes[1] is False
