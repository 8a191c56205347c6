"""`pipeline-assets` as people, cron and CI call it: what it prints and its exit codes.

What belongs here: commands in this process. What does not: the other doors (`end_to_end`).
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline_assets.cli import main
from pipeline_assets.compute import silver
from pipeline_assets.home import prepare_home
from pipeline_assets_tests.alerts.sinks import free_port, http_sink, mail_sink

LINE = '192.0.2.{} - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIPELINE_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path / "storage"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_run_status_forget_and_full(root: Path, tmp_path: Path) -> None:
    logs = tmp_path / "my.log"
    logs.write_text(LINE.format(1) + LINE.format(2) + "garbage\n")
    first = call("run", "--logs", str(logs))
    assert first.exit_code == 0, first.output
    assert "2 requests from 1 file (" in first.output
    assert "3 lines read = 2 parsed + 1 rejected" in first.output

    again = call("run", "--logs", str(logs))
    assert (again.exit_code, "up to date" in again.output) == (0, True)

    status = call("status", "--json")
    assert status.exit_code == 0
    state = json.loads(status.output)
    assert (state["hits"], state["lines"]["rejected"], state["is_current"]) == (2, 1, True)

    more = root / "logs" / "incremental" / "more.log"
    more.parent.mkdir()
    more.write_text(LINE.format(3))
    assert call("status").exit_code == 1
    assert call("run").exit_code == 0

    assert call("forget", "logs/2024-01-15/my.log").exit_code == 0
    assert json.loads(call("status", "--json").output)["hits"] == 1
    assert call("full").exit_code == 0
    assert json.loads(call("status", "--json").output)["hits"] == 1


def test_what_an_import_took_and_left_out_is_said(root: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "access.log").write_text(LINE.format(1))
    (logs / "access.log.1").write_text(LINE.format(2))
    (logs / "evil\x1b]0;title\x07[bold].bin").write_bytes(b"\0" * 100)
    first = call("run", "--logs", str(logs)).output
    assert "2 logs taken into" in first
    assert "1 left out (binary): evil\\x1b]0;title\\x07[bold].bin" in first
    with (logs / "access.log").open("a") as log:
        log.write(LINE.format(3) + LINE.format(4)[:20])
    again = call("run", "--logs", str(logs)).output
    assert "0 logs taken" in again and "1 grown since the last import; 1 there already" in again
    assert "1 still being written: their last line is left to the next import" in again


def test_several_batches_of_one_command_are_one_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dagster as dg

    monkeypatch.setenv("PIPELINE_BATCH_MAX_FILES", "1")
    for number in range(3):
        path = root / "logs" / "incremental" / f"{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LINE.format(number))
    assert call("run").exit_code == 0
    assert json.loads(call("status", "--json").output)["hits"] == 3
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
    assert run.job_name == "incremental_job"


def test_what_is_wrong_with_a_command_or_a_setting_is_exit_2(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("forget", "logs/incremental/none.log").exit_code == 2
    assert call("run", "--logs", "/no/such/place").exit_code == 2
    monkeypatch.setenv("PIPELINE_TIMEZONE", "Mars/Olympus")
    wrong = call("status")
    assert wrong.exit_code == 2
    assert "PIPELINE_TIMEZONE" in wrong.output


def test_names_from_logs_cant_write_to_the_terminal(root: Path) -> None:
    folder = root / "logs" / "incremental"
    folder.mkdir(parents=True)
    (folder / "access.\x1b[31mred[bold].log").write_text("a\x1b[31mb[bold]:80 " + LINE.format(1))
    (folder / "evil\x1b]0;title\x07.part").write_text("x")
    output = call("run").output + call("status").output
    assert "\x1b" not in output and "\x07" not in output
    assert "title\\x07.part" in output


def test_a_home_is_initialised_once_and_kept(root: Path, tmp_path: Path) -> None:
    home = prepare_home()
    config = home / "dagster.yaml"
    config.write_text(config.read_text() + "# mine\n")
    assert prepare_home() == home
    assert config.read_text().endswith("# mine\n")


def test_a_test_message_says_who_took_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_URLS", raising=False)
    nobody = call("alerts", "test")
    assert (nobody.exit_code, "ALERT_URLS is not set" in nobody.output) == (2, True)
    with http_sink() as sink, mail_sink() as mails:
        monkeypatch.setenv("ALERT_URLS", f"{sink.url}?+X-Key=s3cr3t {mails.url}")
        both = call("alerts", "test")
        assert both.exit_code == 0
        assert both.output == "1. JSON: took it\n2. E-Mail: took it\n"
        sink.status = 403
        one = call("alerts", "test")
        assert one.exit_code == 1
        assert one.output == "1. JSON: it answered with HTTP 403\n2. E-Mail: took it\n"
    assert len(sink.messages) == 1 and len(mails.mails) == 2
    assert "s3cr3t" not in both.output + one.output


def test_what_cron_finds_wrong_is_told_without_a_daemon(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "logs" / "2024-01-15"
    folder.mkdir(parents=True)
    (folder / "access.log").write_text(LINE.format(1) + "garbage\n" * 20)
    with http_sink() as sink:
        monkeypatch.setenv("ALERT_URLS", sink.url)
        assert call("run").exit_code == 0
        assert call("run").exit_code == 0
        assert [message.split("\n")[0] for message in sink.messages] == [
            "Web logs: 1 delivery with many rejected lines"
        ]
        shown = call("alerts", "show")
        assert "20 of 21 lines rejected (95%)" in shown.output and "told 1. JSON" in shown.output

        with _unreadable(monkeypatch, "logs/2024-01-15/access.log"):
            (folder / "access.log").write_text(LINE.format(1))
            assert call("run").exit_code == 1
        quarantined = sink.messages[-1]
        assert quarantined.startswith("Web logs: 1 failed run, 1 quarantined delivery\n")
        assert "http://127.0.0.1:3000/runs/" in quarantined
        assert call("run").exit_code == 0
        assert sink.messages[-1].startswith("Web logs: over\n")


def test_a_sink_that_is_down_does_not_fail_a_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "logs" / "2024-01-15"
    folder.mkdir(parents=True)
    (folder / "access.log").write_text(LINE.format(1) + "garbage\n" * 20)
    monkeypatch.setenv("ALERT_URLS", f"json://127.0.0.1:{free_port()}/")
    done = call("run")
    assert done.exit_code == 0
    assert "alerts: 1. JSON failed: it could not be reached" in done.output
    assert "nobody was told yet" in call("alerts", "show").output


def test_alerts_that_break_do_not_fail_a_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    folder = root / "logs" / "2024-01-15"
    folder.mkdir(parents=True)
    (folder / "access.log").write_text(LINE.format(1))
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:9/")
    monkeypatch.setattr("pipeline_assets.telling.tell", broken)
    done = call("run")
    assert done.exit_code == 0
    assert "alerts: could not look around (ValueError)" in done.output
    assert "1 request from 1 file (" in done.output


def test_a_storage_that_is_away_is_told_once_by_cron(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline_assets.storage.folder_store import FolderStore
    from pipeline_assets.storage.store import StorageUnavailableError

    def away(*_: object, **__: object) -> None:
        raise StorageUnavailableError("no route to the disk")

    with http_sink() as sink:
        monkeypatch.setenv("ALERT_URLS", sink.url)
        monkeypatch.setenv("PIPELINE_ALERT_QUIET_MINUTES", "0")
        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "list", away)
            patch.setattr(FolderStore, "children", away)
            for _ in range(2):
                assert call("run").exit_code == 3
        assert call("run").exit_code == 0
    first, last = sink.messages
    assert first.startswith("Web logs: 1 storage unavailable\n") and "no route to the disk" in first
    assert last.startswith("Web logs: over\n")


def test_an_address_for_alerts_that_is_wrong_is_found_before_anything_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URLS", "slak://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7")
    for command in ("run", "init", "full"):
        wrong = call(command)
        assert (wrong.exit_code, "ALERT_URLS" in wrong.output) == (2, True)
        assert "TIiajkdnlazkcOXrIdevi7" not in wrong.output


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_a_command_gets_no_other_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: signal.Signals
) -> None:
    logs = tmp_path / "my.log"
    logs.write_text(LINE.format(1))
    runs = 0

    def interrupted(*_: Any) -> None:
        nonlocal runs
        runs += 1
        os.kill(os.getpid(), ending)

    with monkeypatch.context() as patch:
        patch.setattr(silver, "clean_parts", interrupted)
        result = call("run", "--logs", str(logs))
    assert (result.exit_code, runs) == (130, 1), result.output
    assert "daily/2024-01-15: interrupted; what was committed stays" in result.output
    assert call("status").exit_code == 1
    assert call("run").exit_code == 0
    assert json.loads(call("status", "--json").output)["hits"] == 1


@contextmanager
def _unreadable(monkeypatch: pytest.MonkeyPatch, path: str) -> Iterator[None]:
    """As long as the block runs, that file can be listed and not read, by root neither."""
    from pipeline_assets.storage.folder_store import FolderStore

    original = FolderStore.open

    def failing(self: FolderStore, wanted: str) -> Any:
        if wanted == path:
            raise OSError(5, "Input/output error")
        return original(self, wanted)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "open", failing)
        yield


def test_maintain_says_what_it_would_do_and_then_does_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = root / "logs" / "2024-01-15"
    logs.mkdir(parents=True)
    (logs / "access.log").write_text(LINE.format(1))
    os.utime(logs / "access.log", (1_700_000_000, 1_700_000_000))
    assert call("run").exit_code == 0
    evil = root / "bronze" / "daily" / "2024-01-15" / "\x1b[31m[bold]-20240101T000000-0123456789.parquet"
    evil.write_bytes(b"x" * 1000)
    os.utime(evil, (1_700_000_000, 1_700_000_000))
    monkeypatch.setenv("PIPELINE_SWEEP_GRACE_HOURS", "0")
    monkeypatch.setenv("PIPELINE_RETENTION_DAYS_LOGS", "30")

    would = call("maintain", "--dry-run")
    assert would.exit_code == 0
    assert "would delete logs/2024-01-15/access.log" in would.output
    assert "2 files would be deleted" in would.output
    assert "\\x1b[31m[bold]" in would.output and "\x1b" not in would.output
    assert evil.exists() and (logs / "access.log").exists()

    done = call("maintain")
    assert done.exit_code == 0
    assert "2 files deleted" in done.output
    assert not evil.exists() and not (logs / "access.log").exists()
    assert call("status").exit_code == 0
    assert "0 files deleted" in call("maintain", "--quick").output


def test_what_the_storage_wont_delete_is_named_and_is_exit_1(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline_assets.storage.folder_store import FolderStore

    def refuse(self: FolderStore, path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    folder = root / "bronze" / "daily" / "2024-01-15"
    folder.mkdir(parents=True)
    part = folder / "requests-20240101T000000-0123456789-0000.parquet"
    part.write_bytes(b"x")
    os.utime(part, (1_700_000_000, 1_700_000_000))
    monkeypatch.setattr(FolderStore, "delete", refuse)
    refused = call("maintain")
    assert refused.exit_code == 1
    assert "can't be deleted (Permission denied)" in refused.output


def test_the_last_runs_are_shown_with_what_they_took(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no run is on record yet" in call("runs").output
    monkeypatch.setenv("PIPELINE_PRICE_CPU_HOUR", "1000")
    folder = root / "logs" / "2024-01-15"
    folder.mkdir(parents=True)
    (folder / "access.log").write_text(LINE.format(1))
    assert call("run").exit_code == 0
    shown = call("runs").output
    assert "daily_job" in shown and "done" in shown and "USD" in shown
    (run,) = json.loads(call("runs", "--json").output)
    assert (run["lines"], run["door"], run["units"]) == (1, "run", 1)
    assert run["cost"] > 0
