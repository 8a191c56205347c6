"""User agents: what the libraries and the rules beside them say of well-known ones, and how they are asked."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline_assets.kernel import user_agents
from pipeline_assets.kernel.user_agents import look_up

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"


def answer(user_agent: str) -> tuple[object, ...]:
    return look_up(pl.Series([user_agent])).drop("user_agent").row(0)


@pytest.mark.parametrize(
    ("user_agent", "wanted"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0",
            (False, None, "Firefox", "121", "Windows", "desktop"),
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/17.2 Safari/605.1.15",
            (False, None, "Safari", "17", "Mac OS X", "desktop"),
        ),
        (
            f"Mozilla/5.0 (iPad; CPU OS 17_2 like Mac OS X) {WEBKIT} Version/17.2 Mobile/15E148 Safari/604.1",
            (False, None, "Mobile Safari", "17", "iOS", "tablet"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile Safari/537.36",
            (False, None, "Chrome Mobile", "120", "Android", "phone"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/80.0.3987.99 Mobile Safari/537.36",
            (False, None, "Chrome Mobile", "80", "Android", "phone"),
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            (True, "Googlebot", "Googlebot", "2", None, "bot"),
        ),
        ("curl/8.5.0", (True, "curl", "curl", "8", None, "bot")),
        ("UniversalFeedParser/4.2-pre", (True, "UniversalFeedParser", None, None, None, "bot")),
        ("", (False, None, None, None, None, "other")),
        ("no browser at all", (False, None, None, None, None, "other")),
    ],
    ids=[
        "firefox",
        "safari",
        "ipad",
        "android",
        "cubot",
        "googlebot",
        "curl",
        "feedparser",
        "empty",
        "other",
    ],
)
def test_well_known_user_agents(user_agent: str, wanted: tuple[object, ...]) -> None:
    assert answer(user_agent) == wanted


def test_every_crawler_of_the_list_is_a_bot_with_a_name_to_read() -> None:
    import crawleruseragents  # type: ignore[import-untyped]

    known = pl.Series([text for it in crawleruseragents.CRAWLER_USER_AGENTS_DATA for text in it["instances"]])
    found = look_up(known)
    assert found.height == known.n_unique()
    # One of its instances is a phone's app, whose build ends as a crawler is called.
    assert found["user_agent"].filter(~found["is_bot"]).str.contains("Instagram").to_list() == [True]
    assert found["bot"].str.contains(r"[\\^$\[\]*]").any() is False


@pytest.mark.parametrize(
    ("user_agent", "bot"),
    [
        ("Mozilla/5.0 (compatible; Surveyor of things/1.0)", "Surveyor of things"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Thing/2.1 (+https://thing.example)", "thing.example"),
        ("ping-o-matic 3", "ping-o-matic"),
        (
            f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT[:-1]}; Looking At Things) Chrome/126.0",
            "Looking At Things",
        ),
        ("Mozilla/5.0 thing/2.12", "thing"),
        ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:66.0) Thing/1.0-beta", "Thing"),
        # People's: a phone by whatever name, an old browser, a player, an app.
        (
            "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP3A.240617.008) Chrome/126.0 Mobile Safari/537.36",
            None,
        ),
        ("Mozilla/5.0 (Linux; Android 13; Bot Crawler 9) Chrome/126.0.0.0 Mobile Safari/537.36", None),
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", None),
        ("Mozilla/5.0 (X11; U; Linux i686; en-US; rv:1.9.2.28) Gecko/20130316 Nightingale/1.12.2", None),
        (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Thing/0.2", None),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36", None),
        ("VLC/3.0.20 LibVLC/3.0.20", None),
        ("Dalvik/2.1.0 (Linux; U; Android 9; SM-G960F Build/PPR1.180610.011)", None),
        ("NokiaC3-00/5.0 (07.20) Profile/MIDP-2.1 Configuration/CLDC-1.1", None),
    ],
)
def test_what_is_no_browser_by_its_shape_is_a_bot_and_phones_are_called_anything(
    user_agent: str, bot: str | None
) -> None:
    row = look_up(pl.Series([user_agent])).row(0, named=True)
    assert (row["is_bot"], row["bot"]) == (bot is not None, bot)


def test_each_distinct_user_agent_is_asked_once_and_a_null_never(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = user_agents._ask

    def noted(texts: pl.Series) -> pl.DataFrame:
        asked.extend(texts.to_list())
        return ask(texts)

    monkeypatch.setattr(user_agents, "_ask", noted)
    monkeypatch.setattr(user_agents, "_answers", [user_agents._answers[0].clear()])
    texts = pl.Series(["a", None, "b", "a"])
    assert sorted(look_up(texts)["user_agent"]) == ["a", "b"]
    assert sorted(look_up(pl.Series(["b", "c"]))["user_agent"]) == ["b", "c"]
    assert sorted(asked) == ["a", "b", "c"]
    assert look_up(pl.Series([], dtype=pl.String)).is_empty()


def test_what_is_kept_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_agents, "_answers", [user_agents._answers[0].clear()])
    monkeypatch.setattr(user_agents, "_KEPT", 10)
    for begin in range(0, 60, 15):
        texts = [f"agent {number}" for number in range(begin, begin + 15)]
        assert sorted(look_up(pl.Series(texts))["user_agent"]) == sorted(texts)
        assert user_agents._answers[0].height <= 10


def test_no_answer_is_longer_than_a_name() -> None:
    long = answer("x" * 100_000 + "bot/1.0")
    assert all(len(text) <= 64 for text in long if isinstance(text, str))


def test_the_data_of_the_answers_is_named() -> None:
    assert "ua-parser-builtins=" in user_agents.data_version()
    assert "crawler-user-agents=" in user_agents.data_version()
