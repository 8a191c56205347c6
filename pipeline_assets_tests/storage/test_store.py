"""What every kind of storage promises alike: one winner, no guesses, and nothing half-written.

What belongs here: the protocol of `store`, tried on a folder and on Azurite. What does not: what only one of
them can do or get wrong (`test_folder_store`, `test_azure_store`).
"""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets.storage.store import Store, SwapConflictError
from pipeline_assets_tests.storages import Storage, on_both

pytestmark = on_both

WRITERS = 4
ROUNDS = 15


@pytest.fixture
def store(storage: Storage) -> Store:
    return storage.open()


def test_create_is_once_and_the_first_stays(store: Store) -> None:
    assert store.create("gold/b.json", b"first")
    assert not store.create("gold/b.json", b"second")
    found = store.read("gold/b.json")
    assert found is not None
    assert found.data == b"first"


def test_swap_takes_the_version_it_was_promised_and_no_other(store: Store) -> None:
    with pytest.raises(SwapConflictError):
        store.swap("gold/a.json", b"new", "no such version")
    assert store.read("gold/a.json") is None
    first = store.swap("gold/a.json", b"one", None)
    with pytest.raises(SwapConflictError):
        store.swap("gold/a.json", b"two", None)
    second = store.swap("gold/a.json", b"two", first)
    with pytest.raises(SwapConflictError):
        store.swap("gold/a.json", b"three", first)
    found = store.read("gold/a.json")
    assert found is not None
    assert (found.data, found.etag) == (b"two", second)


def test_what_was_read_can_be_swapped(store: Store) -> None:
    store.create("gold/a.json", b"one")
    found = store.read("gold/a.json")
    assert found is not None
    store.swap("gold/a.json", b"two", found.etag)
    with pytest.raises(SwapConflictError):
        store.swap("gold/a.json", b"three", found.etag)


def test_a_swap_of_something_deleted_is_a_conflict(store: Store) -> None:
    version = store.swap("gold/a.json", b"one", None)
    store.delete("gold/a.json")
    with pytest.raises(SwapConflictError):
        store.swap("gold/a.json", b"two", version)


def test_deleting_what_is_not_there_is_nothing(store: Store) -> None:
    store.create("gold/a.json", b"one")
    for _ in range(2):
        store.delete("gold/a.json")
        assert store.read("gold/a.json") is None
        assert store.stat("gold/a.json") is None
    store.delete("gold/not/there")


def test_nothing_is_left_behind_by_those_who_lose(store: Store) -> None:
    store.create("gold/a.json", b"1")
    store.create("gold/a.json", b"2")
    with pytest.raises(SwapConflictError):
        store.swap("gold/a.json", b"3", None)
    with pytest.raises(pl.exceptions.PolarsError):
        store.write_parquet("gold/a.parquet", pl.LazyFrame({"x": [1]}).select(pl.col("y")))
    assert store.children("gold") == ["a.json"]


def increments(storage: Storage, won: str, rounds: int) -> None:
    """Add one to a counter by compare-and-swap, and create files that others want to create too."""
    store = storage.open()
    for number in range(rounds):
        while True:
            found = store.read("gold/counter")
            value = int(found.data) if found else 0
            try:
                store.swap("gold/counter", str(value + 1).encode(), found.etag if found else None)
                break
            except SwapConflictError:
                continue
        if store.create(f"gold/prizes/{number}", won.encode()):
            store.create(f"gold/winners/{number}-{won}", b"")


def check_increments(store: Store) -> None:
    found = store.read("gold/counter")
    assert found is not None
    assert int(found.data) == WRITERS * ROUNDS, "an increment was lost"
    winners = [name.split("-") for name in store.children("gold/winners")]
    assert sorted(int(number) for number, _ in winners) == list(range(ROUNDS)), "not exactly one winner"
    for number, name in winners:
        prize = store.read(f"gold/prizes/{number}")
        assert prize is not None
        assert prize.data.decode() == name


def test_many_threads_have_one_winner_for_each_version(storage: Storage) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda name: increments(storage, name, ROUNDS), "abcd"))
    check_increments(storage.open())


def test_many_processes_have_one_winner_for_each_version(storage: Storage) -> None:
    storage.open()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=increments, args=(storage, name, ROUNDS)) for name in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * WRITERS
    check_increments(storage.open())


def test_a_listing_is_sorted_deep_and_without_hidden_leftovers(store: Store) -> None:
    for path in ("a/c/2.log", "a/b.log", "a/.b.log.f00", "a/.hidden/x.log", "ab/z.log", "a.log"):
        store.create(f"logs/{path}", b"12345")
    assert [(entry.path, entry.size) for entry in store.list("logs/a")] == [
        ("logs/a/b.log", 5),
        ("logs/a/c/2.log", 5),
    ]
    assert [entry.path for entry in store.list("logs")] == [
        "logs/a.log",
        "logs/a/b.log",
        "logs/a/c/2.log",
        "logs/ab/z.log",
    ]
    assert store.children("logs/a") == ["b.log", "c"]
    assert store.children("logs") == ["a", "a.log", "ab"]
    assert store.list("logs/nothing/there") == []
    assert store.children("logs/nothing/there") == []
    # Asked for by name, a hidden folder is a folder like any other.
    assert [entry.path for entry in store.list("logs/a/.hidden")] == ["logs/a/.hidden/x.log"]


def test_a_listing_can_begin_after_a_name(store: Store) -> None:
    paths = [f"logs/{name}" for name in ("2024-01-14/z", "2024-01-15", "2024-01-15/a", "incremental/b", "z")]
    for path in paths:
        if path != "logs/2024-01-15":  # on a folder a name is a file or a folder
            store.create(path, b"")
    assert [entry.path for entry in store.list("logs", after="2024-01-15")] == [paths[2], *paths[3:]]
    assert [entry.path for entry in store.list("logs", after="2024-01-15/a")] == paths[3:]
    assert [entry.path for entry in store.list("logs/2024-01-15", after="a")] == []
    assert store.list("logs", after="zz") == []


@pytest.mark.parametrize(
    "name",
    ["a b.log", "ä€漢.log", "x%20y.log", "a[1]*.log", "q?x=1#y.log", "a+b&c=d.log", "{a},b;c.log", "'\"`$.log",
     "\u00a0\u202e.log", "-rf.log", "~.log", "a=1/b=2.log"],
)  # fmt: skip
def test_any_name_is_kept_and_found(store: Store, name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"line\n")
    path = f"logs/2024-01-15/{name}"
    store.upload(source, path)
    (entry,) = store.list("logs/2024-01-15")
    assert (entry.path, entry.problem) == (path, "")
    assert store.stat(path) == entry
    with store.open(path) as stream:
        assert stream.read() == b"line\n"
    parquet = f"silver/{name}"
    store.write_parquet(parquet, pl.DataFrame({"x": [1]}))
    assert store.scan_parquet([parquet]).collect()["x"].to_list() == [1]
    store.delete(path)
    assert store.list("logs") == []


def test_what_is_no_object_has_no_state(store: Store) -> None:
    store.create("gold/folder/file", b"")
    assert store.stat("gold/folder") is None
    assert store.stat("gold/missing") is None
    assert store.stat("gold/folder/file/below") is None
    assert store.read("gold/folder/file/below") is None
    assert store.read("gold/missing") is None
    empty = store.stat("gold/folder/file")
    assert empty is not None
    assert empty.size == 0
    with store.open("gold/folder/file") as stream:
        assert stream.read() == b""
    with pytest.raises(FileNotFoundError):
        store.open("gold/missing")


def test_an_upload_appears_whole_and_replaces_what_was_there(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source.log"
    versions = set()
    for size in (0, 5, 20_000_000, 7):
        content = random.Random(size).randbytes(size)
        source.write_bytes(content)
        store.upload(source, "logs/2024-01-15/access.log")
        (entry,) = store.list("logs")
        assert entry == store.stat("logs/2024-01-15/access.log")
        assert entry.size == size
        versions.add(entry.etag)
        with store.open(entry.path) as stream:
            assert stream.read() == content
    assert len(versions) == 4
    with pytest.raises(FileNotFoundError):
        store.upload(tmp_path / "none", "logs/2024-01-15/none.log")
    assert store.children("logs/2024-01-15") == ["access.log"]


def test_a_stream_gives_what_is_asked_for_whatever_the_sizes(store: Store, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(17_500_000)
    (tmp_path / "source").write_bytes(content)
    store.upload(tmp_path / "source", "logs/big")
    read = bytearray()
    sizes = random.Random(2)
    with store.open("logs/big") as stream:
        while block := stream.read(sizes.choice((1, 1000, 65_536, 9_000_000))):
            read += block
    assert bytes(read) == content


def test_a_stream_can_be_put_anywhere(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    source = tmp_path / "source"
    source.write_bytes(content)
    store.upload(source, "logs/big")
    with store.open("logs/big") as stream:
        for offset in (9_000_000, 0, 255, 4_194_304, len(content)):
            assert stream.seek(offset) == offset
            assert stream.read(300) == content[offset : offset + 300]
            assert stream.tell() == min(offset + 300, len(content))


def test_parquet_appears_whole_and_its_size_is_known(store: Store) -> None:
    size = store.write_parquet("gold/a/b.parquet", pl.LazyFrame({"x": [1, 2]}))
    assert [(entry.path, entry.size) for entry in store.list("gold")] == [("gold/a/b.parquet", size)]
    assert store.scan_parquet(["gold/a/b.parquet"]).collect()["x"].to_list() == [1, 2]
    store.write_parquet("gold/a/c.parquet", pl.DataFrame({"x": [3]}))
    both = store.scan_parquet(["gold/a/b.parquet", "gold/a/c.parquet"])
    assert both.select(pl.col("x").sum()).collect().item() == 6


def test_where_it_is_can_be_shown_and_holds_no_secret(store: Store, storage: Storage) -> None:
    from pipeline_assets_tests.azurite import KEY

    shown = [store.location, store.uri("logs/a"), repr(store), repr(store.delta_address("serving/t"))]
    assert all(KEY not in text for text in shown)
    assert store.location == storage.environment["PIPELINE_STORAGE"]
    assert store.uri("logs/a").endswith("/logs/a")
