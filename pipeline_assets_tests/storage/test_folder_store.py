"""The folder store: what only a file system does, or gets wrong.

What belongs here: times, links, missing roots and folders that can't be listed. What does not: what every kind
of storage promises (`test_store`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.store import StorageUnavailableError


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def test_the_version_of_a_file_changes_with_its_size_and_its_time(store: FolderStore, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    versions = set()
    for content, time in ((b"1", 100), (b"22", 100), (b"22", 200)):
        path.write_bytes(content)
        os.utime(path, (time, time))
        entry = store.stat("a.log")
        assert entry is not None
        versions.add(entry.etag)
    assert len(versions) == 3


@pytest.mark.parametrize("prefix", ["", "logs", "logs/deep/down"])
def test_a_missing_root_is_an_error_and_never_an_empty_listing(tmp_path: Path, prefix: str) -> None:
    store = FolderStore(tmp_path / "gone")
    for listing in (store.list, store.children):
        with pytest.raises(StorageUnavailableError, match="PIPELINE_STORAGE"):
            listing(prefix)


def test_a_folder_that_cannot_be_listed_is_an_error(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs/closed").mkdir(parents=True)
    scandir = os.scandir

    def denied(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(StorageUnavailableError, match="closed"):
        store.list("logs")


def test_links_are_read_where_they_lead_to_a_file(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "real.log").write_bytes(b"123")
    (tmp_path / "logs/link.log").symlink_to(tmp_path / "real.log")
    (tmp_path / "logs/dangling.log").symlink_to(tmp_path / "nowhere")
    (tmp_path / "logs/loop.log").symlink_to(tmp_path / "logs/loop.log")
    (tmp_path / "logs/up").symlink_to(tmp_path)
    assert [(entry.path, entry.size) for entry in store.list("logs")] == [("logs/link.log", 3)]


def test_an_uploaded_file_keeps_its_time_and_leaves_nothing_else(store: FolderStore, tmp_path: Path) -> None:
    source = tmp_path / "source.log"
    source.write_bytes(b"line\n")
    os.utime(source, (1_600_000_000, 1_600_000_000))
    for _ in range(2):
        store.upload(source, "logs/2024-01-15/access.log")
        entry = store.stat("logs/2024-01-15/access.log")
        assert entry is not None
        assert (entry.size, entry.modified) == (5, 1_600_000_000)
    assert [path.name for path in (tmp_path / "logs/2024-01-15").iterdir()] == ["access.log"]
    with pytest.raises(FileNotFoundError):
        store.upload(tmp_path / "none", "logs/2024-01-15/none.log")
    assert store.children("logs/2024-01-15") == ["access.log"]
