"""Hostile text in alerts: whatever it is, it stays text, on one line, and short.

What belongs here: the text itself. What does not: what targets are sent (`test_sink`).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.alerts.text import harmless
from pipeline_assets_tests.alerts.hostile import HOSTILE

LIMIT = 220


def assert_harmless(shown: str) -> None:
    assert shown.isprintable()
    assert len(shown) <= LIMIT
    for dangerous in ("://", "@", "<", ">", "`", "](", "*", "~~", "||", "\\\\"):
        assert dangerous not in shown


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_of_the_corpus_does_anything(name: str) -> None:
    shown = harmless(HOSTILE[name], LIMIT)
    assert_harmless(shown)
    assert "evil.example" not in shown


@given(st.text(alphabet=st.characters(), max_size=400))
def test_no_text_does_anything(text: str) -> None:
    assert_harmless(harmless(text, LIMIT))


@given(st.lists(st.sampled_from([":", "/", "]", "(", "~", "|", "\\", ".", "a", "com", "@"]), max_size=60))
def test_pieces_dont_meet_to_become_what_was_taken_out(pieces: list[str]) -> None:
    assert_harmless(harmless("".join(pieces), LIMIT))


@pytest.mark.parametrize(
    "text",
    [
        "daily/2024-01-15: logs/2024-01-15/access.log.1.gz: can't be read (Permission denied)",
        "incremental_job 2024-01-17-1430: no step failed; its log in the UI says more",
        "2024-01-15 shop_eu: 14:00 UTC with 12,345 requests, where 400 were expected",
    ],
)
def test_what_we_say_ourselves_stays_as_it_is(text: str) -> None:
    assert harmless(text, LIMIT) == text


def test_a_site_can_be_read_and_is_no_link() -> None:
    assert harmless("www.example.org/access.example.org.log", LIMIT) == (
        "www[.]example[.]org/access[.]example[.]org.log"
    )


def test_control_characters_are_seen() -> None:
    assert harmless("a\x1b[31mb\r\nc\u202ed", LIMIT) == "a\\x1b[31mb\\r\\nc\\u202ed"
