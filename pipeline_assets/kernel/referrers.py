"""Where a request came from: the host that a Referer names, its kind, and what was searched for.

What belongs here: expressions over a Referer header as logged. What does not: counting them (`rollups`).

Hosts and query parameters of the search engines are those of AWStats (`search_engines.pm`) that are still in
business. Most engines have stopped sending the phrase, and then there is none.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

import polars as pl

# Scheme and host of a URL (RFC 3986, section 3); what a server escaped stays part of the host and matches no
# engine. A Referer may name credentials, which are left out.
_HOST: Final = r"(?i)^[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(\[[0-9a-f:.]+\]|[^/:?#@\[\]]+)"
# The parameter that holds the phrase, and the engines that have it there.
_ENGINES: Final = {
    "q": r"google\.[a-z.]{2,6}|bing\.com|duckduckgo\.com|ecosia\.org|qwant\.com|search\.brave\.com|ask\.com"
    r"|aol\.com|seznam\.cz|so\.com|search\.daum\.net|startpage\.com|mojeek\.com|kagi\.com|swisscows\.com",
    "p": r"search\.yahoo\.[a-z.]{2,6}|search\.yahoo\.co\.jp",
    "text": r"yandex\.[a-z.]{2,6}|ya\.ru",
    "wd": r"baidu\.com",
    "query": r"search\.naver\.com|sogou\.com",
}
# Other services of the same names are no search.
_NO_SEARCH: Final = (
    r"^(?:accounts|ads|apis|calendar|docs|drive|groups|mail|maps|meet|news|plus|sites|translate)\."
)
_MAX_PHRASE: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")


def host_of(referer: pl.Expr) -> pl.Expr:
    """The host that a Referer names, in lower case; null where it is no URL with a host."""
    return referer.str.extract(_HOST).str.to_lowercase().str.strip_suffix(".")


def kind_of(referer: pl.Expr, host: pl.Expr) -> pl.Expr:
    """direct, search or other (see the catalogue), whatever the site; `is_own` says which are own."""
    return (
        pl.when(referer.is_null() | (referer == ""))
        .then(pl.lit("direct"))
        .when(_is_engine(host, "|".join(_ENGINES.values())))
        .then(pl.lit("search"))
        .otherwise(pl.lit("other"))
    )


def is_own(host: pl.Expr, site: pl.Expr) -> pl.Expr:
    """Whether a Referer's host is the site itself; a site without a name has none of its own."""
    return _bare(host) == _bare(site.str.to_lowercase())


def phrase_of(referer: pl.Expr, host: pl.Expr) -> pl.Expr:
    """The words searched for at a known engine: decoded, in lower case, their first 200 characters."""
    raw = pl.lit(None, pl.String)
    for parameter, hosts in _ENGINES.items():
        found = referer.str.extract(rf"[?&#]{parameter}=([^&#]+)")
        raw = pl.when(_is_engine(host, hosts)).then(found).otherwise(raw)
    return raw.map_batches(_decoded, return_dtype=pl.String, is_elementwise=True)


def without_query(referer: pl.Expr) -> pl.Expr:
    """A Referer without its query and fragment; null where it is empty."""
    bare = referer.str.extract(r"^([^?#]*)")
    return pl.when(bare != "").then(bare)


def _is_engine(host: pl.Expr, hosts: str) -> pl.Expr:
    matches = host.str.contains(rf"^(?:[a-z0-9-]+\.)*(?:{hosts})$") & ~host.str.contains(_NO_SEARCH)
    return matches.fill_null(value=False)


def _bare(host: pl.Expr) -> pl.Expr:
    return host.str.strip_prefix("www.")


def _decoded(phrases: pl.Series) -> pl.Series:
    """Each distinct phrase decoded once: Polars has no percent-decoding."""
    distinct = phrases.drop_nulls().unique()
    if not distinct.len():
        return phrases
    decoded = [_readable(text) or None for text in distinct.to_list()]
    return phrases.replace_strict(distinct, pl.Series(decoded, dtype=pl.String), default=None)


def _readable(text: str) -> str:
    return _CONTROL.sub(" ", unquote_plus(text, errors="replace")).strip().lower()[:_MAX_PHRASE]
