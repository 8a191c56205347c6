"""What a user agent says of itself: bot or not, its name, browser, system and device class.

What belongs here: the answers of the kept libraries, by distinct value and in bulk, and the few rules beside
them. What does not: any row of a log. An answer depends on the text and on the libraries' data alone, so
`data_version` belongs to the digest of the configuration.

Crawlers come from crawler-user-agents, browsers and systems from ua-parser (uap-core). All lists run in
ua-parser's Rust engine, which looks for the literal pieces of a pattern first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from threading import Lock
from typing import Any, Final

import polars as pl

from pipeline_assets.kernel.schemas import SILVER_REQUESTS

COLUMNS: Final = ("is_bot", "bot", "browser", "browser_version", "os", "device")
_SCHEMA: Final = pl.Schema(
    {"user_agent": pl.String(), **{name: SILVER_REQUESTS.schema[name] for name in COLUMNS}}
)
_LIBRARIES: Final = ("ua-parser", "ua-parser-builtins", "ua-parser-rs", "crawler-user-agents")

# What the list of crawlers leaves out: tools and libraries that call themselves by name, and clients that say
# in a word that they are no browser. Only words that no browser's user agent holds, but for the phones of
# Cubot, whose name is taken out first.
_TOOLS: Final = (
    r"(?i)([a-z0-9_.!-]{0,40}(?:curl|wget|python|libwww|go-http-client|okhttp|http-?client|\bjava/|ruby|perl"
    r"|php/|node-fetch|axios|postman|insomnia|headless|phantomjs|selenium|playwright|puppeteer|nmap|nikto"
    r"|sqlmap|masscan|zgrab|nuclei|scan|crawl|spider|slurp|monitor|uptime|archiv|fetch|feed|preview"
    r"|facebookexternalhit|bot)[a-z_-]{0,40})"
)
_CUBOT: Final = r"(?i)\bcubot"

# The model of a phone and its build, which people name as they like: one build of Android ends with the name
# of a crawler.
_MODEL: Final = r"(?i)(\bAndroid(?: [0-9.]+)?; (?:[a-z]{2}[-_][a-z]{2}; )?)[^;()]*"
# What browsers don't say of themselves: an address, that they are compatible as a name that no browser has,
# a word for what a program does. And what is neither Mozilla nor Opera nor known by a system or a word of
# phones, players and apps, or is bare of all that a browser adds to Mozilla, is a program.
_ADDRESS: Final = r"(?i)https?:|www\.|[a-z0-9.-]@[a-z0-9-]+\.[a-z]"
_COMPATIBLE: Final = r"(?i)compatible; *([a-z0-9][^;,/()]{0,60})"
_COMPATIBLE_BROWSERS: Final = (
    r"(?i)compatible; *(?:MSIE [0-9]|Konqueror|ABrowse|IBrowse|AmigaVoyager|MSPIE|Windows|Trident|iCab"
    r"|OmniWeb|NetFront|NetPositive|Maxthon|Opera|Linux|X11|U;|ms-office|Polaris|ANTGalio|OffByOne)"
)
_DOES: Final = (
    r"(?i)thumbnail|checker\b|observatory|collector|google[- ](?:page|sites?|adwords|web|read)|insights"
    r"|\bproxy\b|transcoder|survey|research|inspect|\bprobe|harvest|grab(?:ber)?\b|indexer|measurement|scrape"
    r"|prospect|leadgen|[a-z]agent\b|analy[sz]er|validator|detect|extractor|downloader|linkexpand|diagnostics"
)
_FAMILIAR: Final = (
    r"(?i)browser|wap|midp|profile|release|maui|vlc|player|ucweb|nokia|samsung|sony|\blg|mot-|brew|obigo|teleca"
    r"|netfront|symbian|android|ios|iphone|windows|win64|win10|darwin|roku|tv\b|mobile|phone|itunes|radio|kodi|xbmc"
    r"|exo|stagefright|gstreamer|music|pod|lavf|winamp|foobar|quicktime|news|app/|mail|office|cfnetwork|docomo"
    r"|chromium|playstation|nintendo|xbox"
)
# Shorter than this it says nothing at all.
_FEWEST_CHARACTERS: Final = 4
_MOZILLA: Final = r"^(?:Mozilla|Opera|Dalvik)/"
_BARE: Final = r"^Mozilla/[0-9.]+ \([^()]*\)$"
# Nor do they put a remark where they say which engine they are like, or say Mozilla and one product alone. On
# a desktop's system they are known, but for forks of Firefox, which have the day of their engine: an unknown
# product that is no engine is a program.
_REMARK: Final = r"KHTML, like Gecko; *([A-Za-z][^;,/()]{0,60})"
_ONE_PRODUCT: Final = r"^Mozilla/[0-9.]+ [A-Za-z][^\s/();]*/[0-9][^\s();]*$"
_OWN_PRODUCT: Final = r"\) *[A-Za-z][A-Za-z0-9_-]*/[0-9.]+[^ ]*$"
_ENGINE: Final = r"Gecko/[0-9]{6}|(?:AppleWebKit|Gecko|Presto)/[0-9.+]+$"
_FIRST_WORD: Final = r"^[^A-Za-z0-9]*([A-Za-z0-9][^\s/;(),]*)"
_LAST_PRODUCT: Final = r"([A-Za-z][A-Za-z0-9_.-]*)(?:/[0-9A-Za-z_.-]+)?[^A-Za-z0-9/]*$"

# Device classes as MDN's "Browser detection using the user agent" says to find them: a phone's browser has
# `Mobi` in its user agent, and one on Android without it is a tablet's.
_TV: Final = r"(?i)smart-?tv|\btv\b|appletv|googletv|hbbtv|roku|\bcrkey\b"
_TABLET: Final = r"(?i)ipad|tablet|kindle|playbook|silk/"
_DESKTOPS: Final = (
    *("Windows", "Mac OS X", "Mac OS", "Chrome OS", "Linux", "Ubuntu", "Debian", "Fedora", "Red Hat", "SUSE"),
    *("Arch Linux", "Gentoo", "Slackware", "Mandriva", "CentOS", "FreeBSD", "OpenBSD", "NetBSD", "Solaris"),
)
_PHONES: Final = (
    *("iOS", "Windows Phone", "Windows Mobile", "BlackBerry OS", "Symbian OS", "KaiOS", "Firefox OS"),
    "HarmonyOS",
)

# Answers are kept for a process's next unit, up to so many user agents.
_KEPT: Final = 100_000
_LONGEST: Final = 64
_answers: list[pl.DataFrame] = [pl.DataFrame(schema=_SCHEMA)]
# Of threads that clean rows at once, the second one waits for what the first one asks: it asks the same.
_asking: Final = Lock()


def look_up(user_agents: pl.Series) -> pl.DataFrame:
    """The answers for these user agents (columns: `user_agent` and `COLUMNS`), each distinct one once.

    A null is not looked up. Imports the libraries at the first value that is not known yet.
    """
    wanted = pl.DataFrame({"user_agent": user_agents.drop_nulls().unique()})
    with _asking:
        (kept,) = _answers
        found = kept.join(wanted, on="user_agent", how="semi")
        unknown = wanted.join(kept, on="user_agent", how="anti")["user_agent"]
        if unknown.len():
            asked = _ask(unknown)
            found = pl.concat([found, asked])
            _answers[:] = [pl.concat([kept, asked]).tail(_KEPT)]
    return found


@cache
def data_version() -> str:
    """The versions of the libraries whose data the answers come from."""
    return " ".join(f"{name}={version(name)}" for name in _LIBRARIES)


def _ask(user_agents: pl.Series) -> pl.DataFrame:
    crawler, browser, system = _engines()
    texts = user_agents.to_list()
    without_model = user_agents.str.replace(_MODEL, "$1")
    browsers = [browser(text) for text in texts]
    frame = pl.DataFrame(
        {
            "user_agent": user_agents,
            "without_model": without_model,
            "bot": [crawler(text) for text in without_model.to_list()],
            "browser": [found.family if found else None for found in browsers],
            "browser_version": [found.major if found else None for found in browsers],
            "os": [found.family if (found := system(text)) else None for text in texts],
        },
        schema=dict.fromkeys(
            ("user_agent", "without_model", "bot", "browser", "browser_version", "os"), pl.String
        ),
    )
    text, os = pl.col("user_agent"), pl.col("os")
    named = pl.col("without_model").str.replace_all(_CUBOT, "")
    tool = named.str.extract(_TOOLS).str.strip_chars("/_.!-")
    is_mobile = text.str.contains("Mobi", literal=True)
    return (
        frame.with_columns(bot=pl.coalesce("bot", tool))
        .with_columns(bot=pl.coalesce("bot", _program(pl.col("without_model"))))
        .with_columns(
            is_bot=pl.col("bot").is_not_null(),
            device=pl.when(pl.col("bot").is_not_null())
            .then(pl.lit("bot"))
            .when(text.str.contains(_TV))
            .then(pl.lit("tv"))
            .when(text.str.contains(_TABLET) | ((os == "Android") & ~is_mobile))
            .then(pl.lit("tablet"))
            .when(os.is_in(_PHONES) | is_mobile)
            .then(pl.lit("phone"))
            .when(os.is_in(_DESKTOPS))
            .then(pl.lit("desktop"))
            .otherwise(pl.lit("other")),
        )
        # What an engine takes out of a text may be as long as the text.
        .with_columns(pl.col("bot", "browser", "browser_version", "os").str.slice(0, _LONGEST))
        .select(_SCHEMA.names())
    )


def _program(text: pl.Expr) -> pl.Expr:
    """A name for what is no browser by the shape of its user agent; null for what may be one."""
    is_mozilla, is_strange = text.str.contains(_MOZILLA), pl.col("os").is_null()
    is_unfamiliar = is_strange & pl.col("browser").is_null() & ~text.str.contains(_FAMILIAR)
    is_compatible = text.str.contains(_COMPATIBLE) & ~text.str.contains(_COMPATIBLE_BROWSERS)
    is_bare = text.str.contains(_BARE) & is_strange & ~text.str.contains(_FAMILIAR)
    is_remark = text.str.contains(_REMARK)
    is_own = (
        pl.col("browser").is_null()
        & pl.col("os").is_in(_DESKTOPS)
        & text.str.contains(_OWN_PRODUCT)
        & ~text.str.contains(_ENGINE)
    )
    is_program = (
        (~is_mozilla & is_unfamiliar & (text.str.len_chars() >= _FEWEST_CHARACTERS))
        | is_compatible
        | is_bare
        | is_remark
        | is_own
        | text.str.contains(_ONE_PRODUCT)
        | text.str.contains(_ADDRESS)
        | text.str.contains(_DOES)
    )
    name = (
        pl.when(is_compatible)
        .then(text.str.extract(_COMPATIBLE))
        .when(is_remark)
        .then(text.str.extract(_REMARK))
        .when(~is_mozilla)
        .then(text.str.extract(_FIRST_WORD))
        .otherwise(text.str.extract(_LAST_PRODUCT))
    )
    return pl.when(is_program & (text.str.strip_chars() != "")).then(name.fill_null("unnamed"))


@cache
def _engines() -> tuple[Callable[[str], str | None], Callable[[str], Any], Callable[[str], Any]]:
    """The three lists of patterns, compiled once a process (a quarter of a second)."""
    import ua_parser_rs
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # type: ignore[import-untyped]
    from ua_parser_builtins.lazy import MATCHERS

    browsers, systems, _ = MATCHERS
    names = [_crawler_name(entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA]
    crawlers = ua_parser_rs.UserAgentExtractor(
        # The engine answers with a family; here that is the place in the list.
        (entry["pattern"], str(place), None, None, None, None)
        for place, entry in enumerate(CRAWLER_USER_AGENTS_DATA)
    )

    def crawler(text: str) -> str | None:
        found = crawlers.extract(text)
        return names[int(found.family)] if found else None

    return (
        crawler,
        ua_parser_rs.UserAgentExtractor(
            (it.regex, it.family, it.major, it.minor, it.patch, it.patch_minor) for it in browsers
        ).extract,
        ua_parser_rs.OSExtractor(
            (it.regex, it.family, it.major, it.minor, it.patch, it.patch_minor) for it in systems
        ).extract,
    )


@cache
def crawler_tags() -> dict[str, tuple[str, ...]]:
    """What crawler-user-agents says a crawler is for (its `tags`), by the name that `look_up` gives it."""
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA

    # Several patterns may have one name; the first counts, as in a lookup.
    return {
        _crawler_name(entry["pattern"])[:_LONGEST]: tuple(entry.get("tags", ()))
        for entry in reversed(CRAWLER_USER_AGENTS_DATA)
    }


def _crawler_name(pattern: str) -> str:
    """A crawler's pattern as a name to read: `Googlebot\\/` is Googlebot, `[cC]urebot` is Curebot."""
    name = re.sub(r"\(\[\^[^)]*\)|\[\\s\\S\]\*|\\d\S*", " ", pattern)
    name = re.sub(r"\[(\w)\w\]", lambda letter: letter[1].upper(), name)
    name = re.sub(r"\(\^\| \)|\\|[$^*+?]", "", name)
    name = re.sub(r"\((\w+)\|[^)]*\)", r"\1", name)
    name = re.sub(r"[(|].*", "", name)
    return re.sub(r"\s+", " ", name).strip(" /;:-()!") or pattern
