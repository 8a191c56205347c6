"""The counting store: it is the store it counts for, and each request is counted once.

What belongs here: the wrapper. What does not: the stores (`test_folder_store`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets.storage.counting import Requests, counting
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.store import Store, SwapConflictError

FRAME = pl.DataFrame({"a": [1, 2, 3]})


def test_every_request_is_counted_by_its_class_and_with_its_bytes(tmp_path: Path) -> None:
    store, counted = counting(FolderStore(tmp_path))
    source = tmp_path / "source"
    source.write_bytes(b"12345")

    assert store.create("a/x", b"123")
    assert not store.create("a/x", b"123")  # a request, and nothing written
    etag = store.swap("a/y", b"1234", None)
    with pytest.raises(SwapConflictError):
        store.swap("a/y", b"1234", "other")
    store.upload(source, "a/z")
    size = store.write_parquet("a/p", FRAME)
    assert counted.done == Requests(writes=6, bytes_written=3 + 4 + 5 + size)

    found = store.read("a/y")
    assert found is not None and found.etag == etag
    assert store.stat("a/none") is None
    with store.open("a/x") as stream:
        assert stream.read() == b"123"
    assert store.scan_parquet(["a/p", "a/p"]).collect().height == 6
    assert counted.done - Requests(writes=6, bytes_written=12 + size) == Requests(reads=5)

    assert [entry.path for entry in store.list("a")] == ["a/p", "a/x", "a/y", "a/z"]
    assert store.children("a") == ["p", "x", "y", "z"]
    store.delete("a/x")
    store.delta_address("serving/t")
    done = counted.done
    assert (done.reads, done.writes, done.lists, done.deletes) == (5, 6, 3, 1)


def test_what_is_not_counted_is_the_other_stores(tmp_path: Path) -> None:
    plain = FolderStore(tmp_path)
    store, counted = counting(plain)
    assert (store.location, store.uri("a")) == (plain.location, plain.uri("a"))
    assert store.temporaries() == plain.temporaries()
    assert counted.done == Requests()


def test_requests_of_many_threads_are_all_counted(tmp_path: Path) -> None:
    store, counted = counting(FolderStore(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.stat, [f"x{number}" for number in range(4_000)]))
    assert counted.done == Requests(reads=4_000)


def test_it_has_every_operation_of_a_store(tmp_path: Path) -> None:
    store, _ = counting(FolderStore(tmp_path))
    operations = [name for name in vars(Store) if not name.startswith("_")]
    assert len(operations) > 10
    for name in operations:
        assert hasattr(store, name), name
