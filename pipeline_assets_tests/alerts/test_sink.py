"""The sink: what real servers are sent, and that nothing secret or alive gets out.

What belongs here: one message to one target. What does not: when it is sent (`test_delivery`).
"""

from __future__ import annotations

import json
import os
import threading
from html.parser import HTMLParser
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline_assets.alerts.problems import Problem
from pipeline_assets.alerts.render import body, severity, title
from pipeline_assets.alerts.sink import Target, open_targets
from pipeline_assets.alerts.state import Message
from pipeline_assets.settings import Settings, SettingsError, alert_urls, load_settings
from pipeline_assets_tests.alerts.hostile import HOSTILE
from pipeline_assets_tests.alerts.sinks import free_port, http_sink, mail_sink

UI = "http://127.0.0.1:3000"
RUN_ID = "0b5c5b1e-6f0a-4f7e-9a63-0f6f2f1f0e11"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"


def target(url: str) -> Target:
    (one,) = open_targets(Settings(alert_urls=SecretStr(url)))
    return one


def message(*texts: str) -> Message:
    return Message(tuple(Problem(f"run/{text}", "run", text, RUN_ID) for text in texts))


def send(to: Target, what: Message, timeout_s: float = 10.0) -> str | None:
    return to.send(title(what), body(what, UI), severity(what), timeout_s)


def test_a_webhook_gets_title_text_and_a_link_to_the_run() -> None:
    with http_sink() as sink:
        assert send(target(sink.url), message("daily_job 2024-01-15: broken")) is None
    (taken,) = sink.bodies
    assert taken["title"] == "Web logs: 1 failed run"
    assert "daily_job 2024-01-15: broken" in taken["message"]
    assert f"{UI}/runs/{RUN_ID}" in taken["message"]
    assert taken["type"] == "failure"


def test_a_mail_gets_there() -> None:
    with mail_sink() as sink:
        assert send(target(sink.url), message("daily_job 2024-01-15: broken")) is None
    (mail,) = sink.mails
    assert mail["Subject"] == "Web logs: 1 failed run"
    assert "ops@example.org" in mail["To"]
    assert f"{UI}/runs/{RUN_ID}" in _text(mail)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.data = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        assert not attrs or tag in ("html", "body", "meta"), (tag, attrs)

    def handle_data(self, data: str) -> None:
        self.data += data


def _text(mail: Any) -> str:
    part = mail.get_body(preferencelist=("plain", "html"))
    content: str = part.get_content()
    return content


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_hostile_becomes_markup_a_link_or_a_header(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = message(HOSTILE[name])
    with http_sink() as sink, mail_sink() as mails:
        slack = target(SLACK)
        # Slack's own client, pointed at a server of ours.
        monkeypatch.setattr(type(slack.service), "webhook_url", f"http://127.0.0.1:{sink.port}/services")
        mattermost = target(f"mmost://127.0.0.1:{sink.port}/token")
        for one in (target(sink.url), slack, mattermost, target(mails.url)):
            assert send(one, what) is None
    assert len(sink.bodies) == 3
    for taken in sink.bodies:
        text = json.dumps(taken, ensure_ascii=False)
        for alive in ("<!", "<@", "@channel", "@everyone", "](", "evil.example", "\\u001b", "\\u0000", "```"):
            assert alive not in text, alive
        links = {word for word in text.replace("\\n", " ").split() if "://" in word}
        assert len(links) == 1 and RUN_ID in links.pop()
    (mail,) = mails.mails
    assert mail["Bcc"] is None and mail["Subject"] == "Web logs: 1 failed run"
    for part in mail.walk():
        if part.get_content_type() == "text/html":
            parser = _Tags()
            parser.feed(part.get_content())
            assert parser.tags <= {"html", "body", "head", "meta", "br", "p"}, parser.tags


def test_a_message_is_bounded_whatever_is_in_it() -> None:
    long = Message(
        tuple(
            Problem(f"{kind}/{number}", kind, "🔥" * 9000, RUN_ID)
            for kind in ("run", "stuck", "late", "quarantined", "check", "rejects", "model")
            for number in range(500)
        )
    )
    assert len(body(long, UI)) <= 4000
    assert len(title(long)) <= 250
    assert "500 failed runs" in title(long)


def test_a_target_that_says_no_or_nothing_is_an_answer_and_not_an_error() -> None:
    with http_sink() as sink:
        sink.status = 503
        assert send(target(sink.url), message("x")) == "it answered with HTTP 503"
    nowhere = target(f"json://127.0.0.1:{free_port()}/hook")
    assert send(nowhere, message("x")) == "it could not be reached, or refused the message"


def test_a_target_that_never_answers_costs_no_more_than_its_time() -> None:
    import socket
    import time

    with socket.create_server(("127.0.0.1", 0)) as silent:
        held: list[Any] = []
        threading.Thread(target=lambda: held.append(silent.accept()), daemon=True).start()
        began = time.monotonic()
        url = f"json://127.0.0.1:{silent.getsockname()[1]}/hook?rto=60"
        assert send(target(url), message("x"), timeout_s=1.0) == "it did not answer in time"
        assert time.monotonic() - began < 10
        for connection, _ in held:
            connection.close()


SECRET = "s3cr3tTokenThatNobodyMaySee"


@pytest.mark.parametrize(
    "url",
    [
        f"json://user:{SECRET}@127.0.0.1:9/{SECRET}?+X-Key={SECRET}",
        f"mailto://user:{SECRET}@example.org",
        f"slack://T1JJ3T3L2/A1BRTD4JD/{SECRET}",
        f"mmost://127.0.0.1:9/{SECRET}",
    ],
)
def test_no_secret_of_a_target_is_shown(url: str) -> None:
    settings = Settings(alert_urls=SecretStr(url))
    (one,) = open_targets(settings)
    shown = [one.label, one.key, repr(settings), str(settings), settings.model_dump_json()]
    assert not any(SECRET in text for text in shown)
    assert alert_urls(settings) == [url]


def test_a_secret_is_not_in_an_error_either(capfd: pytest.CaptureFixture[str]) -> None:
    one = target(f"json://user:{SECRET}@127.0.0.1:{free_port()}/{SECRET}")
    error = send(one, message("x"))
    captured = capfd.readouterr()
    assert SECRET not in str(error) + captured.out + captured.err


@pytest.mark.parametrize(
    ("urls", "place"),
    [
        ("json://127.0.0.1/a nonsense://x", 2),
        (f"slack://{SECRET}", 1),
        ("json://127.0.0.1/a,slack://x", 2),
    ],
)
def test_an_address_that_apprise_does_not_understand_is_named_by_its_place(urls: str, place: int) -> None:
    with pytest.raises(SettingsError, match=rf"^ALERT_URLS: .* number {place} ") as raised:
        open_targets(Settings(alert_urls=SecretStr(urls)))
    assert SECRET not in str(raised.value)


def test_what_is_no_address_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URLS", f"json://127.0.0.1/a {SECRET}")
    with pytest.raises(SettingsError, match=r"^ALERT_URLS: item number 2 is no Apprise URL") as raised:
        load_settings()
    assert SECRET not in str(raised.value)


def test_addresses_are_separated_by_commas_or_white_space_and_may_hold_commas() -> None:
    text = " json://a/x?to=b,c,\n mailto://d ,json://e,f "
    assert alert_urls(Settings(alert_urls=SecretStr(text))) == [
        "json://a/x?to=b,c",
        "mailto://d",
        "json://e,f",
    ]
    assert [one.label for one in open_targets(Settings(alert_urls=SecretStr("json://a/x json://a/x")))] == [
        "1. JSON"
    ]


def test_apprise_is_not_imported_where_nobody_is_to_be_told() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pipeline_assets.definitions import build_defs;"
        " from pipeline_assets.alerts.sink import open_targets;"
        " from pipeline_assets.settings import load_settings;"
        " build_defs(); assert open_targets(load_settings()) == [];"
        " assert 'apprise' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ALERT_URLS"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment, timeout=120)
