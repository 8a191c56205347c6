"""Message templates: what differs between two entries of one kind is masked, and nothing else decides."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel.message_templates import MAX_CHARACTERS, template_of

# What masks look for, in pieces, so that random messages are made of it.
PIECES = st.sampled_from(
    [
        *("ab:cd:", "0x", "deadbeef", "abcdefab-abcd-abcd-abcd-abcdefabcdef", "12", "1.2.3.4", ":80", "::1"),
        *('"', "'", "`", "\\", "/", "C:\\", "http://", "x", "g", " ", "\t", "<n>", "<ip>", ".", "-", "é"),
        *("[", "]", "\u2028", "\x1f"),
    ]
)
MESSAGES = st.one_of(st.text(), st.lists(PIECES, max_size=60).map("".join))


def template(message: str) -> str:
    return str(pl.DataFrame({"message": [message]}).select(template_of(pl.col("message"))).item())


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ('open() "/usr/share/x.ico" failed (2: No such file)', "open() <text> failed (<n>: No such file)"),
        (
            "client denied by server configuration: /var/www/x",
            "client denied by server configuration: <path>",
        ),
        ("upstream http://10.0.0.1:8080/x timed out", "upstream <url> timed out"),
        ("connect to 192.0.2.1:80 and [2001:db8::1]:443 failed", "connect to <ip> and <ip> failed"),
        ("child pid 4711 exit signal 11", "child pid <n> exit signal <n>"),
        ("id 550e8400-e29b-41d4-a716-446655440000 at 0x7fff5", "id <uuid> at <hex>"),
        ("session 00c0ffee1234abcd is gone after 1.5 s", "session <hex> is gone after <n> s"),
        ("at 10:20:30 std::exception was thrown", "at <n> std::exception was thrown"),
        ("too large body: 1234 bytes", "too large body: <n> bytes"),
        ("too large body: 123456789 bytes", "too large body: <n> bytes"),
        ("can't read C:\\temp\\x.txt", "can't read <path>"),
        ("Uncaught Exception\nStack trace:\n#0 {main}", "Uncaught Exception"),
        ("  many   blanks\there ", "many blanks here"),
        ("", ""),
    ],
)
def test_variables_are_masked_and_words_stay(message: str, wanted: str) -> None:
    assert template(message) == wanted


def test_a_message_of_any_size_has_a_short_template() -> None:
    assert template("x" * 5_000_000) == "x" * MAX_CHARACTERS
    assert len(template("word " * 1_000_000)) <= MAX_CHARACTERS


@settings(max_examples=300, deadline=None)
@given(MESSAGES)
def test_a_template_is_its_own_template_and_bounded_and_one_line(message: str) -> None:
    once = template(message)
    assert template(once) == once
    assert len(once) <= MAX_CHARACTERS
    assert "\n" not in once and once == once.strip()


@settings(max_examples=30, deadline=None)
@given(st.lists(MESSAGES, max_size=8))
def test_a_template_depends_on_its_message_alone(messages: list[str]) -> None:
    together = pl.DataFrame({"message": messages}, schema={"message": pl.String})
    assert together.select(template_of(pl.col("message")))["message"].to_list() == list(
        map(template, messages)
    )
