"""Referrers: their host, kind and search phrase, also of those that nobody's browser has sent."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.kernel import referrers


def read(referer: str | None, site: str = "shop.example") -> tuple[object, ...]:
    """Host, kind, phrase, and the Referer without its query."""
    host = pl.col("host")
    return (
        pl.DataFrame({"referer": [referer], "site": [site]}, schema={"referer": pl.String, "site": pl.String})
        .with_columns(host=referrers.host_of(pl.col("referer")))
        .select(
            "host",
            kind=pl.when(referrers.is_own(host, pl.col("site")))
            .then(pl.lit("own"))
            .otherwise(referrers.kind_of(pl.col("referer"), host)),
            phrase=referrers.phrase_of(pl.col("referer"), host),
            bare=referrers.without_query(pl.col("referer")),
        )
        .row(0)
    )


@pytest.mark.parametrize(
    ("referer", "host", "kind", "phrase"),
    [
        (None, None, "direct", None),
        ("", None, "direct", None),
        ("https://shop.example/a?b", "shop.example", "own", None),
        ("http://user:word@WWW.SHOP.example.:80/", "www.shop.example", "own", None),
        ("https://notshop.example/", "notshop.example", "other", None),
        ("https://www.google.co.uk/search?hl=en&q=Green+Tea%21", "www.google.co.uk", "search", "green tea!"),
        ("https://www.google.com/", "www.google.com", "search", None),
        ("https://mail.google.com/?q=secret", "mail.google.com", "other", None),
        ("https://evilgoogle.com/?q=x", "evilgoogle.com", "other", None),
        ("https://google.com.evil.example/?q=x", "google.com.evil.example", "other", None),
        ("https://yandex.ru/search/?text=%D1%87%D0%B0%D0%B9", "yandex.ru", "search", "чай"),
        ("http://www.baidu.com/s?wd=%ff", "www.baidu.com", "search", "\ufffd"),
        ("https://www.bing.com/search?q=a%00%0a%e2%80%aeb", "www.bing.com", "search", "a b"),
        ("https://duckduckgo.com/?q=", "duckduckgo.com", "search", None),
        ("http://[2001:db8::1]:8080/x", "[2001:db8::1]", "other", None),
        ("http://[nonsense", None, "other", None),
        ("javascript:alert(1)", None, "other", None),
    ],
)
def test_host_kind_and_phrase(referer: str | None, host: str | None, kind: str, phrase: str | None) -> None:
    assert read(referer)[:3] == (host, kind, phrase)


def test_a_site_without_a_name_has_no_referrers_of_its_own() -> None:
    assert read("https://shop.example/", "default")[1] == "other"


def test_query_and_fragment_are_left_out() -> None:
    assert read("https://a.example/b?c#d")[3] == "https://a.example/b"
    assert read("https://a.example/b#d?c")[3] == "https://a.example/b"
    assert read("?a")[3] is None


@given(st.text(), st.sampled_from(["", "https://www.google.com/search?q="]))
def test_any_text_has_a_kind_and_a_phrase_of_one_short_line(text: str, before: str) -> None:
    _, kind, phrase, _ = read(before + text)
    assert kind in ("direct", "own", "search", "other")
    assert phrase is None or (len(str(phrase)) <= 200 and len(str(phrase).splitlines()) == 1)
