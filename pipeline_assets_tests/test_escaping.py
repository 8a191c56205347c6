"""Text that strangers wrote, as Markdown, log messages and terminals take it.

What belongs here: properties of `escaping`, read with a Markdown parser of its own. What does not: the real UI
(`end_to_end/test_hostile_ui.py`).
"""

from __future__ import annotations

from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline_assets.escaping import code, plain, shortened, shown_bytes, visible
from pipeline_assets.samples import HOSTILE

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# Any text, and text with more of what Markdown cares for.
TEXTS = st.one_of(
    st.text(), st.text("`*_[]()!<>|\\#-+~ \n\r\t&;ab:/.@", max_size=40), st.sampled_from(HOSTILE)
)


@given(TEXTS)
def test_code_is_one_code_span_whatever_is_in_it(text: str) -> None:
    shown = shortened(text)
    if not shown.strip(" "):
        shown = shown or " "
    html = MARKDOWN.render(f"a {code(text)} b").strip()
    assert html == f"<p>a <code>{escape(shown, quote=False).replace(chr(34), '&quot;')}</code> b</p>"


@given(st.text(st.characters(), max_size=60))
def test_nothing_that_hides_or_reverses_text_is_left(text: str) -> None:
    for shown in (visible(text), shortened(text), plain(text), code(text)):
        assert shown.isprintable()


@given(st.binary(max_size=80))
def test_any_bytes_are_shown(line: bytes) -> None:
    assert shown_bytes(line).isprintable()


@given(TEXTS)
def test_log_messages_name_no_address(text: str) -> None:
    assert "://" not in plain(text)


@pytest.mark.parametrize("length", [199, 200, 201, 100_000])
def test_long_text_is_cut_and_says_how_long_it_was(length: int) -> None:
    shown = shortened("x" * length)
    assert len(shown) < 240
    assert shown.startswith("x" * 199)
    assert (f"({length:,} characters)" in shown) == (length > 200)
    assert (f"({length:,} bytes)" in shown_bytes(b"x" * length)) == (length > 200)


def test_a_name_that_is_not_utf8_is_written_out() -> None:
    assert plain("logs/a\udcff.log") == "logs/a\\udcff.log"
