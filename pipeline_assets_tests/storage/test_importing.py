"""A user's own logs into landing: whole, sorted by what is in them, and nothing twice.

What belongs here: one case at a time. What does not: months of rotation (`test_rotation`).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipeline_assets.storage import snapshots
from pipeline_assets.storage.importing import Imported, ImportFailedError, import_logs
from pipeline_assets.storage.store import StorageUnavailableError
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.older import write_digests_of_before
from pipeline_assets_tests.world import World

NOW = time.time()
LAST_DAY = date(2026, 6, 1)
ERROR = "2024/01/15 06:30:00 [error] 7#7: *1 open() failed, client: 192.0.2.1, server: a.example\n"


def line(day: int, hour: int = 12, client: int = 1) -> str:
    moment = f"{day:02}/Jan/2024:{hour:02}:00:00 +0000"
    return f'192.0.2.{client} - - [{moment}] "GET / HTTP/1.1" 200 5 "-" "x"\n'


class Logs:
    """A folder of logs beside a storage, and imports of it."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder / "storage")
        self.folder = folder / "source"
        self.folder.mkdir()

    def write(self, name: str, content: str | bytes, *, age_s: float = 3600) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (NOW - age_s, NOW - age_s))
        return path

    def take(self, source: Path | None = None, **options: Any) -> Imported:
        context = self.world.context
        options = {"last_day": LAST_DAY, "now": NOW, **options}
        return import_logs(context.store, context.options, source or self.folder, **options)

    def landed(self) -> dict[str, str]:
        root = self.world.root / "logs"
        return {
            path.relative_to(root).as_posix(): path.read_bytes().decode(errors="replace")
            for path in root.rglob("*")
            if path.is_file()
        }

    def hits(self) -> int:
        self.world.catch_up()
        return sum(row[5] for row in self.world.table("traffic_hourly"))


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_a_log_lands_in_the_day_of_its_first_event_under_its_name_without_rotation(logs: Logs) -> None:
    logs.write("access.log.1", line(15) + line(16))
    logs.write("a.example/access.log-20240117", line(16, 6))
    logs.write("b.example/access.log", line(16, 6, client=2))
    logs.write("error.log", ERROR)
    done = logs.take()
    assert sorted(logs.landed()) == [
        "2024-01-15/access.log",
        "2024-01-15/error.log",
        "2024-01-16/a.example/access.log",
        "2024-01-16/b.example/access.log",
    ]
    assert sorted(done.taken) == [f"logs/{path}" for path in sorted(logs.landed())]
    assert (logs.folder / "access.log.1").read_text() == line(15) + line(16)


@pytest.mark.parametrize(
    ("beginning", "where"),
    [
        pytest.param("#Version: 1.0\n#Fields: date time\n\n   \n", "2024-01-15", id="headers and blanks"),
        pytest.param('1 HTTP/1.1" 200 5 "-" "x"\n', "2024-01-15", id="a line without its beginning"),
        pytest.param("  at Foo.bar(Foo.java:7)\n#0 /srv/x.php(3): y()\n", "2024-01-15", id="a stack trace"),
        pytest.param("\0" * 5000 + "\n", "2024-01-15", id="zero bytes of a crash"),
        pytest.param(line(1).replace("2024", "2014"), "2024-01-15", id="an event before the first day"),
        pytest.param("x" * 3_000_000 + "\n", "incremental", id="megabytes of one line"),
    ],
)
def test_what_can_be_read_first_decides_the_day(logs: Logs, beginning: str, where: str) -> None:
    logs.write("access.log", beginning + line(15))
    logs.take()
    assert list(logs.landed()) == [f"{where}/access.log"]


def test_a_file_that_names_no_day_of_the_pipeline_lands_as_an_incremental_delivery(logs: Logs) -> None:
    logs.write("app.log", "something of our own\n")
    logs.write("early.log", line(15).replace("2024", "2014"))
    logs.write("late.log", line(15).replace("2024", "2031"))
    logs.take()
    assert sorted(logs.landed()) == ["incremental/app.log", "incremental/early.log", "incremental/late.log"]


def test_the_same_again_copies_nothing_and_reads_nothing(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.write("access.log", line(15))
    logs.write("access.log.2.gz", gzip.compress(line(14).encode()))
    logs.write("wtmp", b"\0" * 5000)
    logs.take()
    before = snapshot(logs.world.root)
    monkeypatch.setattr(snapshots, "read_beginning", pytest.fail)
    again = logs.take()
    assert (again.taken, again.grown, again.there, again.left_out) == ([], [], 2, {"wtmp": "binary"})
    assert snapshot(logs.world.root) == before


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()
    }


def test_a_log_keeps_its_place_while_it_grows_is_rotated_and_compressed(logs: Logs) -> None:
    active = logs.write("access.log", line(15))
    logs.take()
    logs.write("access.log", line(15) + line(16))
    assert logs.take().grown == ["logs/2024-01-15/access.log"]
    # Rotated, with a line more: the new file under the old name is another log.
    active.rename(logs.folder / "access.log.1")
    logs.write("access.log.1", line(15) + line(16) + line(17, 1))
    logs.write("access.log", line(17))
    done = logs.take()
    assert (done.taken, done.grown) == (["logs/2024-01-17/access.log"], ["logs/2024-01-15/access.log"])
    # Compressed, and a line more.
    (logs.folder / "access.log.1").unlink()
    whole = line(15) + line(16) + line(17, 1) + line(17, 2)
    logs.write("access.log.2.gz", gzip.compress(whole.encode()))
    assert logs.take().grown == ["logs/2024-01-15/access.log"]
    logs.write("access.log.3.bz2", bz2.compress(whole.encode()))
    assert logs.take().there == 3
    assert logs.hits() == 5
    assert len(logs.landed()) == 2


def test_a_truncated_log_is_another_one_and_the_old_stays(logs: Logs) -> None:
    logs.write("access.log", line(15) + line(16))
    logs.take()
    logs.write("access.log", line(15, 13))
    assert logs.take().taken == [twin(line(15, 13))]
    assert logs.hits() == 3


def twin(first_line: str, number: str = "") -> str:
    digest = hashlib.sha256(first_line.rstrip("\n").encode()).hexdigest()[:8]
    return f"logs/2024-01-15/{digest}{number}/access.log"


def test_two_logs_that_begin_with_the_same_line_are_both_taken_and_grow_apart(logs: Logs) -> None:
    logs.write("access.log", line(15, client=1) + line(15, client=2))
    logs.write("access.log.1", line(15, client=1) + line(15, client=3))
    logs.write("access.log.2", line(15, client=1) + line(15, client=4))
    assert logs.take().taken == [
        "logs/2024-01-15/access.log",
        twin(line(15, client=1)),
        twin(line(15, client=1), "-2"),
    ]
    for number, client in (("", 2), (".1", 3), (".2", 4)):
        logs.write(f"access.log{number}", line(15, client=1) + line(15, client=client) + line(16))
    assert len(logs.take().grown) == 3
    assert logs.hits() == 9


def test_an_older_state_of_a_log_is_there_already(logs: Logs) -> None:
    logs.write("access.log", line(15) + line(16))
    logs.take()
    logs.world.catch_up()
    logs.write("access.log.1", line(15))
    logs.write("backup/access.log", line(15))
    done = logs.take()
    assert (done.taken, done.there) == ([], 3)


def test_the_same_lines_under_another_name_are_taken_once_they_differ(logs: Logs) -> None:
    logs.write("a.log", line(15))
    logs.write("b.log", line(15))
    first, second = logs.take(), logs.take()
    assert (len(first.taken), first.there, second.there) == (1, 1, 2)
    logs.world.catch_up()
    logs.write("a.log", line(15) + line(16))
    done = logs.take()
    assert (done.grown, done.taken) == (["logs/2024-01-15/a.log"], ["logs/2024-01-15/b.log"])


def test_a_log_imported_from_two_places_counts_once(logs: Logs) -> None:
    logs.write("nginx/access.log", line(15))
    logs.take()
    assert logs.hits() == 1
    assert logs.take(logs.folder / "nginx").there == 1
    logs.write("nginx/access.log", line(15) + line(16))
    logs.take(logs.folder / "nginx" / "access.log")
    logs.take()
    assert logs.hits() == 2


def test_a_log_that_was_laid_down_by_hand_is_there_already_before_and_after_it_was_read(logs: Logs) -> None:
    logs.write("access.log", line(15))
    logs.world.land("logs/2024-01-15/access.log", line(15).encode())
    assert logs.take().there == 1
    logs.world.land("logs/2024-01-20/mine/other.log", (line(15) + line(16)).encode())
    logs.world.catch_up()
    logs.write("renamed.log", line(15) + line(16))
    assert logs.take().there == 2


def test_a_line_that_is_half_written_waits_for_the_next_import(logs: Logs) -> None:
    logs.write("access.log", line(15) + line(16)[:30], age_s=1)
    logs.write("new.log", line(15)[:30], age_s=1)
    done = logs.take()
    assert done.unfinished == ["access.log"]
    assert done.left_out == {"new.log": "its first line is still being written; the next import takes it"}
    assert logs.landed() == {"2024-01-15/access.log": line(15)}
    # It has come to rest: a last line without a line feed is a line.
    logs.write("access.log", line(15) + line(16).rstrip(), age_s=1000)
    assert logs.take().grown == ["logs/2024-01-15/access.log"]
    assert logs.hits() == 2


def test_an_unfinished_line_is_taken_at_last_though_nothing_was_written_any_more(logs: Logs) -> None:
    logs.write("access.log", line(15) + line(16).rstrip(), age_s=1)
    logs.take()
    logs.take(now=NOW + 3600)
    assert logs.landed() == {"2024-01-15/access.log": line(15) + line(16).rstrip()}


def test_a_file_that_is_still_being_compressed_waits_and_a_damaged_one_lands(logs: Logs) -> None:
    whole = gzip.compress(b"".join(line(15, client=client % 250).encode() for client in range(5000)))
    logs.write("access.log.2.gz", whole[: len(whole) // 2], age_s=1)
    logs.write("access.log.3.gz", whole[: len(whole) // 3])
    logs.write("access.log.3", line(14))
    done = logs.take()
    reason = "still being compressed; the next import takes it"
    assert done.left_out == {"access.log.2.gz": reason, "access.log.3.gz": reason}
    assert done.taken == ["logs/2024-01-14/access.log"]
    # Nobody will complete it: what can be read of it counts, and its end is a reject.
    logs.write("access.log.2.gz", whole[: len(whole) // 2])
    assert logs.take().taken == ["logs/2024-01-15/access.log"]
    assert logs.hits() > 1000
    logs.write("access.log.2.gz", whole)
    assert logs.take().grown == ["logs/2024-01-15/access.log"]
    assert logs.hits() == 5001


def test_a_log_whose_landing_file_was_deleted_is_not_taken_again(logs: Logs) -> None:
    logs.write("access.log", line(15) + line(16))
    logs.take()
    assert logs.hits() == 2
    logs.world.remove("logs/2024-01-15/access.log")
    assert logs.take().there == 1
    # Also under another name, and without what was remembered of the place.
    (logs.folder / "access.log").unlink()
    logs.write("access.log.2.gz", gzip.compress((line(15) + line(16)).encode()))
    forget_memory(logs)
    assert logs.take().there == 1
    # Whether a shorter one was this log can't be told any more; a longer one is.
    logs.write("access.log.3", line(15))
    (why,) = logs.take().left_out.values()
    assert why == "begins like logs/2024-01-15/access.log, which was longer and has been deleted"
    logs.write("access.log.2.gz", gzip.compress((line(15) + line(16) + line(17)).encode()))
    assert logs.take().grown == ["logs/2024-01-15/access.log"]
    assert logs.hits() == 3


def forget_memory(logs: Logs) -> None:
    for path in (logs.world.root / "bronze/_control/imports").iterdir():
        path.unlink()


def test_what_was_forgotten_stays_forgotten_also_when_the_log_grows(logs: Logs) -> None:
    logs.write("access.log", line(15))
    logs.write("other.log", line(15, client=9))
    logs.take()
    assert logs.hits() == 2
    logs.world.landed["logs/2024-01-15/access.log"] = line(15).encode()
    logs.world.forget("logs/2024-01-15/access.log")
    assert (logs.take().there, logs.hits()) == (2, 1)
    logs.write("access.log", line(15) + line(16))
    (logs.folder / "access.log.1").write_text(line(15))
    done = logs.take()
    reason = "forgotten as logs/2024-01-15/access.log; to take it back, put it there yourself"
    assert done.left_out == {"access.log": reason, "access.log.1": reason}
    assert logs.hits() == 1


def test_what_an_older_version_knew_by_another_digest_is_not_taken_again(logs: Logs) -> None:
    """Neither what was forgotten nor what was deleted from landing; what has grown is still the same log."""
    logs.write("access.log", line(15))
    logs.write("other.log", line(15, client=9))
    logs.write("grown.log", line(15, client=8))
    logs.take()
    assert logs.hits() == 3
    landed = {f"logs/{path}": text.encode() for path, text in logs.landed().items()}
    logs.world.landed |= landed
    logs.world.forget("logs/2024-01-15/access.log")
    write_digests_of_before(logs.world.context.store, Unit("daily", "2024-01-15"), landed)
    for path in landed:
        logs.world.remove(path)
    forget_memory(logs)
    logs.write("grown.log", line(15, client=8) + line(15, client=7))
    done = logs.take()
    assert (done.there, list(done.left_out), done.grown) == (1, ["access.log"], ["logs/2024-01-15/grown.log"])
    assert logs.hits() == 3


def test_another_time_zone_or_first_day_moves_no_log_that_has_landed(logs: Logs, tmp_path: Path) -> None:
    logs.write("error.log", ERROR.replace("06:30", "23:30"))
    logs.take()
    logs.world.catch_up()
    forget_memory(logs)
    moved = World(logs.world.root, timezone="America/New_York", start_date=date(2024, 2, 1))
    logs.world = moved
    logs.write("error.log", ERROR.replace("06:30", "23:30") + ERROR)
    assert logs.take().grown == ["logs/2024-01-15/error.log"]


def test_a_folder_laid_out_as_landing_keeps_its_layout(logs: Logs) -> None:
    logs.write("2024-01-15/access.log.1", line(20))
    logs.write("incremental/b.log", line(20, client=2))
    logs.write("loose.log", line(20, client=3))
    logs.take()
    assert sorted(logs.landed()) == [
        "2024-01-15/access.log.1",
        "2024-01-20/loose.log",
        "incremental/b.log",
    ]
    assert logs.take().there == 3
    # A changed file replaces the one under its path, whatever it says now.
    logs.write("2024-01-15/access.log.1", line(21), age_s=3000)
    assert logs.take().grown == ["logs/2024-01-15/access.log.1"]
    assert logs.landed()["2024-01-15/access.log.1"] == line(21)
    assert logs.hits() == 3


def test_a_file_of_a_laid_out_folder_that_was_deleted_from_landing_is_not_taken_again(logs: Logs) -> None:
    logs.write("2024-01-15/access.log", line(15))
    logs.take()
    logs.world.catch_up()
    logs.world.remove("logs/2024-01-15/access.log")
    forget_memory(logs)
    assert (logs.take().there, logs.landed()) == (1, {})


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo("access.log")
        member.size = len(line(15))
        tar.addfile(member, io.BytesIO(line(15).encode()))
    return out.getvalue()


def test_what_is_no_log_is_left_out_with_its_reason(logs: Logs) -> None:
    logs.write("access.log", line(15))
    logs.write(".hidden.log", line(15))
    logs.write(".git/access.log", line(15))
    logs.write("empty.log", "")
    logs.write("comments.log", "#Version: 1.0\n\n")
    logs.write("wtmp", b"\7\0\0\0ts/0\0\0" * 100)
    logs.write("system.journal", b"LPKSHHRH" + b"\0" * 3_000_000)
    logs.write("old.tar.gz", archive())
    logs.write("old.log.xz", b"\xfd7zXZ\x00\x00\x04")
    logs.write("upload.log.part", line(15))
    logs.write("upload.log.part.gz", gzip.compress(line(15).encode()))
    (logs.folder / "broken").symlink_to(logs.folder / "nowhere")
    (logs.folder / "elsewhere").symlink_to(logs.folder, target_is_directory=True)
    (logs.folder / "null").symlink_to("/dev/null")
    os.mkfifo(logs.folder / "pipe")
    (logs.folder / os.fsdecode(b"caf\xe9.log")).write_text(line(15))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(logs.folder / "socket"))
        done = logs.take()
    assert done.left_out == {
        ".hidden.log": "hidden",
        ".git": "hidden",
        "empty.log": "no line in it yet",
        "comments.log": "no line in it yet",
        "wtmp": "binary",
        "system.journal": "binary",
        "old.tar.gz": "a tar archive; unpack it",
        "old.log.xz": "compressed by xz, which is not read; decompress it",
        "upload.log.part": "its name says that it is still being copied",
        "upload.log.part.gz": "its name says that it is still being copied",
        "broken": "a link that leads nowhere",
        "elsewhere": "a link to a folder; import that folder itself",
        "null": "not a regular file",
        "pipe": "not a regular file",
        "socket": "not a regular file",
        os.fsdecode(b"caf\xe9.log"): "its name is not UTF-8; rename it",
    }
    assert list(logs.landed()) == ["2024-01-15/access.log"]


def test_a_link_to_a_log_is_that_log(logs: Logs) -> None:
    target = logs.write("access.log-20240116", line(15))
    (logs.folder / "access.log").symlink_to(target)
    done = logs.take()
    assert (done.taken, done.there) == (["logs/2024-01-15/access.log"], 1)


def test_a_file_that_may_not_be_read_is_named_and_the_others_are_taken(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden = logs.write("access.log", line(15))
    logs.write("other.log", line(16))
    real = os.open

    def guarded(path: Any, *arguments: Any, **options: Any) -> int:
        # root, who runs some tests, may read everything
        if path == forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", guarded)
    done = logs.take()
    assert done.left_out == {"access.log": "permission denied"}
    assert done.taken == ["logs/2024-01-16/other.log"]


def test_a_log_that_is_truncated_while_it_is_copied_is_not_taken(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs.write("access.log", line(15) * 1000)
    when_copying(monkeypatch, lambda: path.write_text(line(17)))
    (why,) = logs.take().left_out.values()
    assert why == "truncated while it was read; the next import takes it"
    assert logs.landed() == {}


def test_lines_that_are_appended_while_it_is_copied_are_left_to_the_next_import(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs.write("access.log", line(15))
    when_copying(monkeypatch, lambda: path.write_text(line(15) + line(16)[:20]))
    logs.take()
    assert logs.landed() == {"2024-01-15/access.log": line(15)}


def test_a_log_that_is_rotated_while_it_is_copied_lands_as_it_was_opened(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs.write("access.log", line(15))

    def rotate() -> None:
        path.rename(logs.folder / "access.log.1")
        logs.write("access.log", line(16))

    when_copying(monkeypatch, rotate)
    logs.take()
    assert logs.landed() == {"2024-01-15/access.log": line(15)}
    logs.take()
    assert logs.landed()["2024-01-16/access.log"] == line(16)


def when_copying(monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> None:
    """Do something once, after a file was opened and before it is copied."""
    real = snapshots.OpenLog.copy_to
    waiting = [action]

    def copy_to(log: snapshots.OpenLog, *arguments: Any) -> snapshots.Copied:
        if waiting:
            waiting.pop()()
        return real(log, *arguments)

    monkeypatch.setattr(snapshots.OpenLog, "copy_to", copy_to)


def test_a_place_that_another_log_took_at_the_same_time_is_left_to_it(
    logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.write("access.log", line(15, client=1))
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "access.log").write_text(line(15, client=2))
    when_copying(monkeypatch, lambda: logs.take(other, now=NOW + 9999))
    logs.take()
    assert logs.hits() == 2
    assert sorted(logs.landed()) == ["2024-01-15/access.log", twin(line(15, client=1)).removeprefix("logs/")]


def test_what_was_remembered_may_be_lost_or_garbled(logs: Logs) -> None:
    logs.write("access.log", line(15))
    logs.take()
    (memory,) = (logs.world.root / "bronze/_control/imports").iterdir()
    for garbled in (b"", b"{}", b"[]", b'{"version": 1, "files": {"a": 3}}', b'{"version": 99}'):
        memory.write_bytes(garbled)
        assert logs.take().there == 1
    assert len(logs.landed()) == 1


def test_a_storage_that_takes_nothing_more_ends_the_import(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.write("access.log", line(15))

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(logs.world.context.store), "upload", full)
    with pytest.raises(StorageUnavailableError, match="No space left"):
        logs.take()
    assert logs.landed() == {}


def test_a_landing_path_that_can_not_be_is_the_files_own_trouble(logs: Logs) -> None:
    logs.write("access.log", line(15))
    logs.write("other.log", line(15, client=2))
    (logs.world.root / "logs/2024-01-15/access.log").mkdir(parents=True)
    done = logs.take()
    assert done.taken == ["logs/2024-01-15/other.log"]
    assert list(done.left_out) == ["access.log"]


_IMPORT = """
import sys
from datetime import date
from pathlib import Path
from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.importing import import_logs
print("ready", flush=True)
import_logs(FolderStore(Path(sys.argv[1])), ReadOptions(), Path(sys.argv[2]), last_day=date(2026, 6, 1))
"""


@pytest.mark.slow
def test_an_import_that_is_killed_leaves_whole_files_or_none_and_the_next_one_ends_it(logs: Logs) -> None:
    whole = {f"{number}.log": line(15, client=number) * 50_000 for number in range(6)}
    for name, content in whole.items():
        logs.write(name, content)
    landing = logs.world.root / "logs"
    for wanted in range(1, len(whole)):
        arguments = [sys.executable, "-c", _IMPORT, str(logs.world.root), str(logs.folder)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        while process.poll() is None and sum(1 for _ in landing.rglob("*.log*")) < wanted:
            time.sleep(0.001)
        process.kill()
        process.wait()
        process.stdout.close()
        for entry in logs.world.context.store.list("logs"):
            with logs.world.context.store.open(entry.path) as landed:
                assert landed.read().decode() == whole[entry.path.rpartition("/")[2]]
    logs.take()
    assert logs.landed().keys() >= {f"2024-01-15/{name}" for name in whole}
    assert logs.take().there == len(whole)


def test_a_place_with_nothing_to_import_is_an_error_that_says_so(logs: Logs, tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match="no such file or folder"):
        logs.take(tmp_path / "none")
    with pytest.raises(ImportFailedError, match="holds no file"):
        logs.take()
    with pytest.raises(ImportFailedError, match="storage folder"):
        logs.take(logs.world.root)
    with pytest.raises(ImportFailedError, match="storage folder"):
        logs.take(tmp_path)
