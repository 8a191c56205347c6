"""Delivery through real servers: down and up again, storms, kills, and two processes at once.

What belongs here: from found problems to taken messages. What does not: finding problems
(`automation/test_watch`).
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline_assets.alerts.delivery import Delivery, deliver
from pipeline_assets.alerts.keeping import Keeper, StoredKeeper, TextKeeper
from pipeline_assets.alerts.problems import Problem
from pipeline_assets.alerts.sink import Target, open_targets
from pipeline_assets.alerts.state import Pace, State
from pipeline_assets.settings import Settings
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.store import Store
from pipeline_assets_tests.alerts.sinks import HttpSink, free_port, http_sink, mail_sink

UI = "https://dagster.example.org"
NOW = 1_700_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path)


def targets(*urls: str) -> list[Target]:
    return open_targets(Settings(alert_urls=SecretStr(" ".join(urls))))


def units(count: int) -> list[Problem]:
    return [
        Problem(
            f"quarantined/daily/{number:04}",
            "quarantined",
            f"daily/{number:04}: can't be read",
            f"run{number}",
        )
        for number in range(count)
    ]


def tell(
    keeper: Keeper, problems: list[Problem], to: list[Target], after_s: float = 0.0, quiet_s: float = 600.0
) -> Delivery:
    return deliver(keeper, problems, to, pace=Pace(quiet_s, 86_400.0), ui_url=UI, now=NOW + after_s)


def test_a_storm_is_one_message(store: Store) -> None:
    keeper = StoredKeeper(store)
    with http_sink() as sink:
        to = targets(sink.url)
        for minute in range(9):
            tell(keeper, units(200), to, after_s=60.0 * minute)
    (message,) = sink.messages
    assert message.startswith("Web logs: 200 quarantined deliveries\n")
    assert "and 195 more" in message
    assert message.count("- daily/") == 5
    assert f"{UI}/runs/run0" in message


def test_a_target_that_was_down_gets_one_message_with_all_it_missed(store: Store) -> None:
    keeper = StoredKeeper(store)
    port = free_port()
    (to,) = targets(HttpSink(port).url)
    down = tell(keeper, units(1), [to])
    assert down.failed == ((to.label, "it could not be reached, or refused the message"),)
    assert "failed" in str(down)
    # Not tried again at once, and what it waits for is still named.
    assert tell(keeper, units(2), [to], after_s=1.0).failed
    with http_sink(port) as sink:
        sink.status = 500
        assert "HTTP 500" in str(tell(keeper, units(3), [to], after_s=60.0))
        sink.status = 200
        up = tell(keeper, units(3), [to], after_s=600.0)
        assert (up.told, up.failed) == ((to.label,), ())
        again = tell(keeper, units(3), [to], after_s=1200.0)
        assert (again.told, again.failed) == ((), ())
    assert sink.refused == 1
    (message,) = sink.messages
    assert message.startswith("Web logs: 3 quarantined deliveries\n")


def test_one_target_that_is_down_costs_the_others_nothing(store: Store) -> None:
    keeper = StoredKeeper(store)
    with http_sink() as sink, mail_sink() as mails:
        to = targets(f"json://127.0.0.1:{free_port()}/", sink.url, mails.url)
        done = tell(keeper, units(1), to)
        assert [label for label, _ in done.failed] == ["1. JSON"]
        assert done.told == ("2. JSON", "3. E-Mail")
        tell(keeper, units(1), to, after_s=40.0)
    assert len(sink.messages) == len(mails.mails) == 1


def test_the_end_is_told_and_then_forgotten(store: Store) -> None:
    keeper = StoredKeeper(store)
    with http_sink() as sink:
        to = targets(sink.url)
        tell(keeper, units(2), to)
        tell(keeper, units(1), to, after_s=700.0)
        tell(keeper, [], to, after_s=1400.0)
        tell(keeper, [], to, after_s=2100.0)
    assert [message.split("\n")[0] for message in sink.messages] == [
        "Web logs: 2 quarantined deliveries",
        "Web logs: over",
        "Web logs: over",
    ]
    assert "daily/0001" in sink.messages[1] and "daily/0000" not in sink.messages[1]
    assert sink.bodies[-1]["type"] == "success"
    assert not keeper.load()[0].problems


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_process_that_dies_while_it_sends_loses_no_alert(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = StoredKeeper(store)
    with http_sink() as sink:
        to = targets(sink.url)

        def die(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Target, "send", die)
            with pytest.raises(Killed):
                tell(keeper, units(3), to)
        # Whoever comes next can't know whether it still sends, for less than a minute.
        assert tell(keeper, units(3), to, after_s=5.0).waiting
        assert not sink.messages
        assert tell(keeper, units(3), to, after_s=61.0).told
    assert len(sink.messages) == 1


def test_processes_that_look_at_the_same_time_tell_it_once(store: Store) -> None:
    with http_sink() as sink:
        to = targets(sink.url)
        threads = [
            threading.Thread(
                target=tell, args=(StoredKeeper(store), units(7), to), kwargs={"after_s": number}
            )
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tell(StoredKeeper(store), units(7), to, after_s=61.0)
    assert len(sink.messages) == 1


def test_a_clock_that_is_behind_does_not_tell_it_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = StoredKeeper(store)
    outcomes = []
    with http_sink() as sink:
        to = targets(sink.url)
        send = Target.send

        def look_meanwhile(target: Target, title: str, body: str, level: str, left: float) -> str | None:
            outcomes.append(tell(keeper, units(1), to))
            return send(target, title, body, level, left)

        with monkeypatch.context() as patch:
            patch.setattr(Target, "send", look_meanwhile)
            assert tell(keeper, units(1), to, after_s=5.0).told
    assert [outcome.waiting for outcome in outcomes] == [True]
    assert len(sink.messages) == 1


def test_a_look_that_changes_nothing_writes_nothing(store: Store) -> None:
    keeper = StoredKeeper(store)
    with http_sink() as sink:
        to = targets(sink.url)
        tell(keeper, units(1), to)
        _, version = keeper.load()
        tell(keeper, units(1), to, after_s=30.0)
        assert keeper.load()[1] == version
        tell(keeper, units(1), to, after_s=400.0)
    assert keeper.load()[0].looked == NOW + 400.0


def test_a_text_keeps_the_memory_too() -> None:
    keeper = TextKeeper(None)
    with http_sink() as sink:
        to = targets(sink.url)
        for minute in range(3):
            keeper = TextKeeper(keeper.text)
            tell(keeper, units(1), to, after_s=60.0 * minute)
    assert len(sink.messages) == 1
    assert State.read(keeper.text).open.keys() == {"quarantined/daily/0000"}
