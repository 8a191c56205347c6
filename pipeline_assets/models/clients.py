"""Clients: who each address of a day is - a person, a good bot by name, a tool or a scanner - and why.

What belongs here: the rules and their points, on what a day's state knows of an address. What does not: what
a user agent says of itself (`kernel.user_agents`), or who is told.

The rules are few and can be read: each gives points and a reason, and from `SCANNER_POINTS` on an address is
a scanner, whatever it calls itself. There is no classifier of single requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import polars as pl

from pipeline_assets.kernel import sketches
from pipeline_assets.kernel.codes import answers, numbered, numbers_of, plain, ranks, sorting
from pipeline_assets.kernel.groups import Groups, stretches
from pipeline_assets.kernel.most import beyond_most
from pipeline_assets.kernel.projections import OF_THE_DAY
from pipeline_assets.kernel.schemas import MODEL_CLIENT_PROFILES
from pipeline_assets.kernel.user_agents import crawler_tags
from pipeline_assets.models.bot_ranges import BotRanges

# Of a site and day so many clients are kept: scanners first, then those with most requests.
ROW_LIMIT: Final = 10_000
SCANNER_POINTS: Final = 5
# No client has sent so many.
_MOST_REQUESTS: Final = 1 << 62

# What a crawler of crawler-user-agents is for, by its tags; the first that it has counts.
_PURPOSES: Final = (
    ("scanner", "scanner"),
    ("search-engine", "search"),
    ("ai-crawler", "ai"),
    ("monitoring", "monitoring"),
    ("feed-reader", "feed"),
    ("social-preview", "preview"),
    ("seo", "seo"),
    ("advertising", "advertising"),
    ("archiver", "archive"),
    ("academic", "academic"),
    ("browser-automation", "tool"),
    ("http-library", "tool"),
)
_ATTACK_TOOLS: Final = (
    r"(?i)nmap|nikto|sqlmap|masscan|zgrab|nuclei|gobuster|dirbuster|dirb|feroxbuster|ffuf|wfuzz|wpscan|acunetix|nessus"
    r"|openvas|l9explore|l9tcpid|libredtail|jndi:|\(\) *\{"
)
_CLIENT: Final = ("event_date", "site", "remote_host")
_MANNERS: Final = ("writes", "odd_methods", "referred")


def profile_clients(state: Mapping[str, pl.DataFrame], known_bots: BotRanges | None = None) -> pl.DataFrame:
    """A row for each client address of a site and day (columns: `schemas.MODEL_CLIENT_PROFILES`), sorted.

    `state` is what `projections.prepared` gives, `known_bots` has the addresses of bots.
    """
    return profiles_of(plain(behaviour_of(state, known_bots)))


def profiles_of(behaviour: pl.DataFrame) -> pl.DataFrame:
    """As `profile_clients`, of what states that have no client in common know of theirs, with its texts."""
    # Only those that are kept are looked at in full.
    scored = _scored(most_telling(behaviour))
    kind = (
        pl.when(pl.col("points") >= SCANNER_POINTS)
        .then(pl.lit("scanner"))
        .when(pl.col("purpose").is_not_null() & (pl.col("purpose") != "tool") & ~_IS_PRETENDER)
        .then(pl.lit("bot"))
        .when(pl.col("bot").is_not_null() | pl.col("browser").is_null())
        .then(pl.lit("tool"))
        .when(_CLAIMS_BROWSER & (_LOADS_NOTHING | _FOLLOWS_NOTHING))
        .then(pl.lit("tool"))
        .otherwise(pl.lit("human"))
    )
    return (
        scored.with_columns(_reasons(scored).alias("reasons"), kind=kind)
        .rename({"bot": "name"})
        .select(MODEL_CLIENT_PROFILES.column_names)
        .cast(MODEL_CLIENT_PROFILES.schema)
        .sort(_CLIENT)
    )


def _reasons(scored: pl.DataFrame) -> pl.Series:
    """What is said of each row. Few combinations of reasons occur, so each is put into words once."""
    holds = (
        pl.when(rule).then(pl.lit(1 << number, pl.Int64)).otherwise(0)
        for number, (rule, _) in enumerate(_SAID)
    )
    said = scored.select(said=pl.sum_horizontal(holds))["said"]
    different = said.unique().sort()
    words = [
        [reason for number, (_, reason) in enumerate(_SAID) if all_of >> number & 1]
        for all_of in different.to_list()
    ]
    return pl.Series(words, dtype=pl.List(pl.String))[different.search_sorted(said)]


def most_telling(behaviour: pl.DataFrame) -> pl.DataFrame:
    """Of each site and day the `ROW_LIMIT` clients that tell most, from what states know of theirs.

    Scanners come first, then those with most requests.
    """
    if behaviour.height <= ROW_LIMIT:
        return behaviour
    first = (_scored(behaviour)["points"] >= SCANNER_POINTS).cast(pl.Int64) * _MOST_REQUESTS
    beyond = beyond_most(behaviour, first + behaviour["hits"], ["remote_host"], ROW_LIMIT)
    return behaviour if beyond is None else behaviour.remove(beyond)


def _scored(behaviour: pl.DataFrame) -> pl.DataFrame:
    """The rows in their order with what their bots are for, and `points`."""
    points = (pl.when(rule).then(pl.lit(points, pl.Int64)).otherwise(0) for rule, points, _ in _RULES)
    return behaviour.join(_purposes(), on="bot", how="left", maintain_order="left").with_columns(
        points=pl.sum_horizontal(points)
    )


def behaviour_of(state: Mapping[str, pl.DataFrame], known_bots: BotRanges | None) -> pl.DataFrame:
    """What a state knows of each address: its requests, and what the user agent that it used most says of
    itself. Texts are coded."""
    agents = state[OF_THE_DAY]
    attacks = answers(agents["user_agent"], lambda texts: texts.str.contains(_ATTACK_TOOLS).to_frame())
    client = numbered([numbers_of(agents[name]) for name in _CLIENT])
    # Of each address the user agent with most requests comes first, or of several with as many the least.
    by_use = [numbers_of(-agents["hits"]), ranks(agents["user_agent"])]
    order = sorting(numbered([pl.Series(client), *by_use]))
    groups = Groups(order, stretches(client.take(order)))
    rows = (
        groups.first_of(agents.select(*_CLIENT, "user_agent", "bot", "browser"))
        .with_columns(
            pl.Series("user_agents", groups.sizes, pl.Int64),
            *(groups.total(agents[name]) for name in ("hits", "bytes")),
            groups.total(agents["client_errors"]).alias("failures"),
            (groups.total(attacks.to_series()) > 0).alias("is_attack_tool"),
        )
        .join(_visits(state["visits"]), on=_CLIENT, how="left")
        .join(_manners(state["clients"]), on=_CLIENT, how="left")
        .with_columns(pl.col("pages", "visits", "seconds", "probes", "paths", *_MANNERS).fill_null(0))
    )
    verified = (
        known_bots.verified(rows["bot"].cast(pl.String), rows["remote_host"].cast(pl.String))
        if known_bots
        else pl.repeat(None, rows.height, dtype=pl.Boolean, eager=True)
    )
    return rows.with_columns(verified.alias("verified"))


def _visits(visits: pl.DataFrame) -> pl.DataFrame:
    """How often each address came, for how many pages and for how long."""
    groups = Groups.of(visits, _CLIENT)
    asked = visits.select(asked_robots=pl.col("entry_path") == "/robots.txt").to_series()
    seconds = (visits["ended_at"] - visits["started_at"]).dt.total_seconds()
    return groups.first_of(visits.select(_CLIENT)).with_columns(
        groups.total(visits["pages"]),
        pl.Series("visits", groups.sizes, pl.Int64),
        groups.total(seconds).alias("seconds"),
        groups.total(asked) > 0,
    )


def _manners(clients: pl.DataFrame) -> pl.DataFrame:
    """How each address asked, and how many different paths, and of those that scanners ask for."""
    groups = Groups.of(clients, _CLIENT)
    return groups.first_of(clients.select(_CLIENT)).with_columns(
        *(groups.total(clients[name]) for name in _MANNERS),
        *(
            sketches.distinct_of(clients[name][groups.order], groups.number, len(groups))
            for name in ("paths", "probes")
        ),
    )


@cache
def _purposes() -> pl.DataFrame:
    """What each crawler is for (columns: bot, purpose)."""
    purposes = {bot: _purpose(tags) for bot, tags in crawler_tags().items()}
    return pl.DataFrame(
        {"bot": list(purposes), "purpose": list(purposes.values())},
        schema={"bot": pl.String, "purpose": pl.String},
    )


def _purpose(tags: tuple[str, ...]) -> str:
    return next((purpose for tag, purpose in _PURPOSES if tag in tags), "other")


_IS_PRETENDER: Final = ~pl.col("verified").fill_null(value=True)
# Requests that were refused or not found, as a share.
_FAILED: Final = pl.col("failures") / pl.col("hits")
_LOADS_NOTHING: Final = (pl.col("pages") == pl.col("hits")) & (pl.col("pages") >= 20)
# Of a crawler by name it is expected that it asks for everything, of a tool it is not.
_CRAWLS: Final = pl.col("bot").is_not_null() & (pl.col("purpose").fill_null("tool") != "tool")
_CLAIMS_BROWSER: Final = pl.col("bot").is_null() & pl.col("browser").is_not_null()
# Browsers name the page with every file that they load for it, so who loads files and names none is kept from
# it, or the log is.
_FOLLOWS_NOTHING: Final = (
    (pl.col("referred") == 0) & (pl.col("pages") >= 10) & (pl.col("pages") >= 0.8 * pl.col("hits"))
)
# Each rule with its points and what it says.
_RULES: Final = (
    (pl.col("is_attack_tool"), 5, "its user agent names a tool of attackers"),
    (pl.col("purpose") == "scanner", 5, "its user agent names a service that scans"),
    (pl.col("probes") == 1, 3, "it asked for a path that scanners ask for"),
    (pl.col("probes") >= 2, 5, "it asked for several paths that scanners ask for"),
    (
        (pl.col("failures") >= 10) & _FAILED.is_between(0.5, 0.8, closed="left"),
        3,
        "half of its requests failed",
    ),
    ((pl.col("failures") >= 10) & (_FAILED >= 0.8), 5, "most of its requests failed"),
    (
        (pl.col("failures") >= 3) & (pl.col("failures") < 10) & (_FAILED >= 0.8),
        2,
        "most of its few requests failed",
    ),
    (
        (pl.col("pages") >= 30) & (pl.col("pages") > 2 * pl.col("seconds")),
        2,
        "it asked for more than two pages a second",
    ),
    (
        ~_CRAWLS & (pl.col("paths") >= 100) & (pl.col("paths") >= 0.9 * pl.col("pages")),
        3,
        "it asked for a hundred different paths, and for hardly any twice",
    ),
    ((pl.col("hits") >= 10) & (pl.col("pages") == pl.col("hits")), 1, "it loaded no file of any page"),
    (
        (pl.col("odd_methods") >= 3) & (_FAILED >= 0.5),
        2,
        "it used methods that pages don't use, and half of its requests failed",
    ),
    (
        _CLAIMS_BROWSER
        & (pl.col("writes") >= 10)
        & (pl.col("pages") == pl.col("hits"))
        & (pl.col("referred") == 0),
        1,
        "it sent data ten times or more, and from no page",
    ),
    (pl.col("user_agents") >= 10, 2, "it used ten user agents or more"),
    (pl.col("user_agent").is_null(), 1, "it sent no user agent"),
)
# All that may be said of a client: each with when it holds. Not more than 63.
_SAID: Final = (
    (pl.col("verified"), "its address is one of the bot's"),
    (_IS_PRETENDER, "it claims to be a bot that has other addresses"),
    (pl.col("bot").is_not_null() & ~_IS_PRETENDER, "its user agent is that of a bot or tool"),
    (pl.col("bot").is_null() & pl.col("browser").is_null(), "its user agent is no browser's"),
    (_CLAIMS_BROWSER, "its user agent is a browser's"),
    (_CLAIMS_BROWSER & _LOADS_NOTHING, "it loads no file of any page"),
    (_CLAIMS_BROWSER & _FOLLOWS_NOTHING, "it never says which page it comes from"),
    *((rule, reason) for rule, _, reason in _RULES),
)
