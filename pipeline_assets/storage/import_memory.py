"""What earlier imports of a place have seen, so that the next one need not read it all again.

What belongs here: one small object below `bronze/_control/imports/` for each place that is imported from, and
whose a landing path is. What does not: anything that a table is computed from.

The object saves reading and decides nothing: without it an import comes to the same end by comparing
contents. So it may be lost, and of two imports at once the later one wins.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Final

from pipeline_assets.storage.store import Store, SwapConflictError

_IMPORTS: Final = "bronze/_control/imports"
_PATHS: Final = "bronze/_control/import_paths"
_VERSION: Final = 1
# A file that was not there for so long is forgotten: a disk that is not mounted today may be tomorrow.
_KEPT_DAYS: Final = 60
# An entry's day is noted anew only when it gets old, so that an import with nothing new writes nothing.
_NOTED_DAYS: Final = 7


@dataclass(frozen=True)
class Remembered:
    """One file in one state of it: the landing path that has its lines, or why it was left out.

    `head` is the digest of its first line, `seen` the last day on which it was there.
    """

    state: str
    path: str = ""
    head: str = ""
    why: str = ""
    seen: str = ""


class ImportMemory:
    """What is known of the files of one place, by inode: renaming a log doesn't change it."""

    def __init__(self, store: Store, source: str, today: date) -> None:
        self._store = store
        self._object = f"{_IMPORTS}/{_key(source)}"
        self._source = source
        self._today = today
        self._files, self._etag = self._load()
        self._paths: dict[str, set[str]] = {}
        for known in self._files.values():
            self._paths.setdefault(known.head, set()).add(known.path)
        self._is_changed = False

    def get(self, found: os.stat_result) -> Remembered | None:
        """What is remembered of a file that has not been written to since."""
        known = self._files.get(_inode(found))
        if known is None or known.state != _state(found):
            return None
        if (self._today - date.fromisoformat(known.seen)).days >= _NOTED_DAYS:
            self.put(found, path=known.path, head=known.head, why=known.why)
        return known

    def put(self, found: os.stat_result, *, path: str = "", head: str = "", why: str = "") -> None:
        """Remember a file in the state in which it was found."""
        self._files[_inode(found)] = Remembered(_state(found), path, head, why, self._today.isoformat())
        self._paths.setdefault(head, set()).add(path)
        self._is_changed = True

    def paths_with(self, head: str) -> set[str]:
        """Landing paths of files with this first line."""
        return self._paths.get(head, set())

    def save(self) -> None:
        """Write it down, if there is anything new."""
        if not self._is_changed:
            return
        files = {
            inode: asdict(known)
            for inode, known in sorted(self._files.items())
            if (self._today - date.fromisoformat(known.seen)).days <= _KEPT_DAYS
        }
        body = {"version": _VERSION, "source": self._source, "files": files}
        try:
            self._etag = self._store.swap(self._object, json.dumps(body).encode(), self._etag)
        except SwapConflictError:
            # Another import of this place has just written its own; either is as good as both.
            _, self._etag = self._load()
            return
        self._is_changed = False

    def _load(self) -> tuple[dict[str, Remembered], str | None]:
        found = self._store.read(self._object)
        if found is None:
            return {}, None
        try:
            body = json.loads(found.data)
            if body["version"] != _VERSION:
                return {}, found.etag
            return {inode: Remembered(**fields) for inode, fields in body["files"].items()}, found.etag
        except (ValueError, TypeError, KeyError, AttributeError):
            return {}, found.etag


def take_path(store: Store, candidates: Iterator[str], head: str, is_free: Callable[[str], bool]) -> str:
    """The first of these landing paths where nothing has landed and that no other log has taken.

    A path is taken by a conditional create and for ever: two imports that sort different logs to the same
    place at once must not overwrite each other. `head` is the digest that tells logs apart.
    """
    for path in candidates:
        if not is_free(path):
            continue
        claim = f"{_PATHS}/{_key(path)}"
        if store.create(claim, json.dumps({"path": path, "head": head}).encode()):
            return path
        owner = store.read(claim)
        if owner is not None and json.loads(owner.data)["head"] == head:
            return path  # an import that was killed had taken it for this very log
    raise AssertionError("there is always another candidate")


def _inode(found: os.stat_result) -> str:
    return f"{found.st_ino:x}"


def _state(found: os.stat_result) -> str:
    return f"{found.st_size:x}-{found.st_mtime_ns:x}"


def _key(text: str) -> str:
    # Paths may hold anything, so they are never part of a path of ours.
    return f"{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:32]}.json"
