"""A user's own logs into landing: copied, never moved, nothing twice and nothing half.

What belongs here: which files of a place are taken, what they have to do with what has landed, and where they
land. What does not: copying a file that is being written (`snapshots`), what a file says (`kernel.peek`), and
what is remembered from one import to the next (`import_memory`).

A log is known by what is in it, never by its name: `access.log` is `access.log.1` tomorrow and
`access.log.2.gz` the day after. Where its lines have landed once, a longer state of them replaces that file,
an equal or shorter one is there already, and anything else is another log.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Final

from pipeline_assets.kernel.heads import content_head
from pipeline_assets.kernel.identity import stem
from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets.kernel.peek import Beginning
from pipeline_assets.storage.import_memory import ImportMemory, take_path
from pipeline_assets.storage.import_rule import Content, Known, Place, Verdict, decide
from pipeline_assets.storage.landed_contents import LandedContents
from pipeline_assets.storage.landing import INCREMENTAL, LANDING
from pipeline_assets.storage.snapshots import ChangedMeanwhileError, NotAFileError, OpenLog, open_log
from pipeline_assets.storage.store import StorageUnavailableError, Store
from pipeline_assets.storage.units import is_date, is_unfinished

_SAVE_EVERY_S: Final = 30.0
_COMPRESSIONS: Final = (".gz", ".bz2", ".zst", ".xz")
# Errors of a landing path alone; any other error of a write is one of the storage.
_PATH_ERRORS: Final = frozenset(
    {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

EMPTY: Final = "no line in it yet"
UNFINISHED: Final = "its first line is still being written; the next import takes it"


class ImportFailedError(Exception):
    """There is nothing to import at that place; the message says what was looked for."""


class _UnusablePathError(Exception):
    """A file can't have the landing path that it should; the message says why."""


@dataclass
class Imported:
    """What an import has done.

    `taken` are landing paths of logs that were not there, `grown` of those that were there in a shorter
    state. `there` counts files whose lines have all landed before. `unfinished` are files whose last line is
    still being written, and left to the next import. `left_out` maps a file to why it was not taken.
    """

    taken: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    there: int = 0
    unfinished: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def import_logs(
    store: Store,
    options: ReadOptions,
    source: Path,
    *,
    last_day: date,
    now: float | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Imported:
    """Copy the logs of a file or folder into landing, each whole, and each line once, however often it runs.

    A log lands as `logs/<day>/<folder>/<name>`: the day (UTC) of its first event that `options` accept, the
    folder below `source`, and its name without rotation and compression. It keeps that path while it grows,
    is renamed and compressed. Where another log has that path, it gets a folder of its own, named after its
    first line's digest. One that says no day between `options.earliest` and `last_day` lands below
    `logs/incremental/`. A folder laid out as landing (folders named after days, or `incremental`) keeps its
    layout, and a changed file replaces the one under its path.

    `now` is the time (seconds since the epoch) that decides which files may still be written.

    Raises `ImportFailedError` where there is no such place or nothing in it can be read, and
    `StorageUnavailableError` where the storage can't be written.
    """
    source = source.expanduser().absolute()
    _refuse(store, source)
    return _Importer(store, options, source, last_day, time.time() if now is None else now, progress).run()


def _refuse(store: Store, source: Path) -> None:
    if not source.exists():
        raise ImportFailedError(f"{source}: no such file or folder")
    if "://" in store.location:
        return
    root = Path(store.location).absolute()
    if root in (source, *source.parents) or source in root.parents:
        raise ImportFailedError(
            f"{source}: lies in the storage folder {root}, or holds it; name another place"
        )


@dataclass
class _Importer:
    """One import of one place."""

    store: Store
    options: ReadOptions
    source: Path
    last_day: date
    now: float
    progress: Callable[[str], None]
    result: Imported = field(default_factory=Imported)

    def __post_init__(self) -> None:
        self._landed = LandedContents(self.store)
        self._memory = ImportMemory(self.store, str(self.source), self.last_day)
        self._is_laid_out = self.source.is_dir() and _is_laid_out(self.source)

    def run(self) -> Imported:
        """Import every file; see `import_logs`."""
        files = list(self._files())
        if not files and not self.result.left_out:
            raise ImportFailedError(f"{self.source}: holds no file")
        saved_at = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="pipeline-assets-") as scratch:
            for number, path in enumerate(files, 1):
                name = self._name(path)
                self.progress(f"importing {name} ({number} of {len(files)})")
                why = self._try(path, name, Path(scratch) / "copy")
                if why:
                    self.result.left_out[name] = why
                if time.monotonic() - saved_at > _SAVE_EVERY_S:
                    self._save()
                    saved_at = time.monotonic()
        self._save()
        return self.result

    def _save(self) -> None:
        with _storage_errors():
            self._memory.save()

    def _try(self, path: Path, name: str, copy: Path) -> str:
        """Import one file; why it was left out, if it was."""
        try:
            return _unusable_name(name) or self._import(path, name, copy)
        except _UnusablePathError as error:
            return str(error)
        except NotAFileError:
            return "not a regular file"
        except ChangedMeanwhileError:
            return "truncated while it was read; the next import takes it"
        except FileNotFoundError:
            return "renamed or deleted meanwhile; the next import takes it"
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageUnavailableError(
                    f"can't copy {name} to {copy.parent}: {error.strerror}"
                ) from error
            return (error.strerror or str(error)).lower()

    def _import(self, path: Path, name: str, copy: Path) -> str:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise NotAFileError
        remembered = self._memory.get(found)
        if remembered and remembered.why:
            return remembered.why
        if remembered and self._landed.has(remembered.path):
            self.result.there += 1
            return ""
        with open_log(path, self.now) as log:
            place, fixed = self._place(name), self._fixed_path(name)
            beginning = log.beginning(path.name, self.options)
            if beginning.refusal:
                self._memory.put(log.found, why=beginning.refusal)
                return beginning.refusal
            if not log.size or not beginning.has_lines:
                return UNFINISHED if log.is_cut else EMPTY
            base = self._base(beginning)
            with _storage_errors():
                known = self._known_at([fixed]) if fixed else self._alike(place, base, beginning.head)
            copied = log.copy_to(copy, [(one.bytes, one.digest) for one in known])
            if copied.damaged and (log.is_being_written or _has_plain_sibling(path)):
                return "still being compressed; the next import takes it"
        content = Content(copied.bytes, copied.digest, copied.prefixes)
        with _storage_errors():
            if fixed:
                verdict = _decide_in_place(content, fixed, known)
            else:
                verdict = decide(content, place, known, self._landed.begins_with)
            if verdict.what in _LEFT_OUT:
                return _LEFT_OUT[verdict.what].format(path=verdict.path)
            head = beginning.head or content_head(copied.digest)
            target = verdict.path or take_path(
                self.store, place.paths(base, head), head, self._landed.is_free
            )
            if verdict.what != "there":
                self._land(copy, Known(target, content.bytes, content.digest), head)
        self._account(log, name, target, head, verdict)
        return ""

    def _land(self, copy: Path, content: Known, head: str) -> None:
        """Put the copy in its place, whole."""
        try:
            self.store.upload(copy, content.path)
        except OSError as error:
            if error.errno in _PATH_ERRORS:
                raise _UnusablePathError(f"can't land as {content.path}: {error.strerror}") from error
            raise
        self._landed.note(content, head)

    def _account(self, log: OpenLog, name: str, target: str, head: str, verdict: Verdict) -> None:
        if verdict.what == "there":
            self.result.there += 1
        else:
            (self.result.grown if verdict.what == "grown" else self.result.taken).append(target)
        if log.is_cut:
            # Not remembered: once it has come to rest, its last line is to be looked at.
            self.result.unfinished.append(name)
        elif stem(target) == stem(name):
            # Under another name it is there only as long as that other log has not gone its own way.
            self._memory.put(log.found, path=target, head=head)

    def _alike(self, place: Place, base: str, head: str | None) -> list[Known]:
        """Landed contents that this file may be a state of: by its first line, and under its own paths."""
        known: dict[str, Known] = {}
        if head is not None:
            known.update((one.path, one) for one in self._landed.beginning_with(head))
            known.update((one.path, one) for one in self._known_at(self._memory.paths_with(head)))
        for folder in (base, INCREMENTAL):
            paths = place.paths(folder, head) if head else [place.path(folder)]
            taken = takewhile(self._landed.has, paths)
            known.update((one.path, one) for one in self._known_at(taken))
        return list(known.values())

    def _known_at(self, paths: Iterable[str]) -> list[Known]:
        found = (self._landed.at(path) for path in paths)
        return [one for one in found if one is not None]

    def _base(self, beginning: Beginning) -> str:
        """The delivery that a file belongs to: the day of its first event, if that day is a partition."""
        day = beginning.first_event.date() if beginning.first_event else None
        if day is None or not self.options.earliest <= day <= self.last_day:
            return INCREMENTAL
        return f"{LANDING}/{day.isoformat()}"

    def _place(self, name: str) -> Place:
        folder = PurePosixPath(name).parent.as_posix()
        return Place("" if folder == "." else folder, stem(name))

    def _fixed_path(self, name: str) -> str:
        """The landing path of a file in a folder that is laid out as landing; empty for any other."""
        parts = name.split("/")
        in_place = len(parts) > 1 and (is_date(parts[0]) or parts[0] == "incremental")
        return f"{LANDING}/{name}" if self._is_laid_out and in_place else ""

    def _name(self, path: Path) -> str:
        """The file's name below the place, as it is shown and as its landing path is made from."""
        return path.name if path == self.source else path.relative_to(self.source).as_posix()

    def _files(self) -> Iterator[Path]:
        """Every file of the place in order of its name; what can't be one is left out with its reason."""
        if not self.source.is_dir():
            yield self.source
            return

        def failed(error: OSError) -> None:
            self._skip(Path(str(error.filename)), (error.strerror or str(error)).lower())

        for folder, folders, names in os.walk(self.source, onerror=failed):
            for name in sorted(folders):
                path = Path(folder) / name
                if name.startswith("."):
                    self._skip(path, "hidden")
                elif path.is_symlink():
                    self._skip(path, "a link to a folder; import that folder itself")
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder) / name
                if name.startswith("."):
                    self._skip(path, "hidden")
                elif path.is_symlink() and not path.exists():
                    self._skip(path, "a link that leads nowhere")
                else:
                    yield path

    def _skip(self, path: Path, why: str) -> None:
        self.result.left_out[self._name(path)] = why


_LEFT_OUT: Final = {
    "forgotten": "forgotten as {path}; to take it back, put it there yourself",
    "unclear": "begins like {path}, which was longer and has been deleted",
}


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Errors of the storage are not the file's: they end the import."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailableError(f"the storage can't be read or written: {error}") from error


def _decide_in_place(content: Content, path: str, known: list[Known]) -> Verdict:
    """What to do with a file whose landing path is given: there is at most one content it can be."""
    for one in known:
        if content.is_same(one):
            return Verdict("forgotten" if one.forgotten else "there", path)
        return Verdict("grown", path)
    return Verdict("new", path)


def _unusable_name(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if name.rpartition("/")[2].startswith("."):
        return "hidden"
    if is_unfinished(name) or is_unfinished(stem(name)):
        return "its name says that it is still being copied"
    return ""


def _has_plain_sibling(path: Path) -> bool:
    """Whether the file that a compressed one is made from is still there."""
    return path.suffix in _COMPRESSIONS and path.with_suffix("").exists()


def _is_laid_out(folder: Path) -> bool:
    return any(
        child.is_dir() and (is_date(child.name) or child.name == "incremental") for child in folder.iterdir()
    )
