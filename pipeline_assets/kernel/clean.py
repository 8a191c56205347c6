"""Bronze to silver: rows as the server wrote them become clean, enriched rows.

What belongs here: anything that a row says by itself, such as its event day, its path, its status class and
what its user agent is. What does not: anything that needs a second row (`rollups`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from pipeline_assets.kernel import codes, referrers, user_agents
from pipeline_assets.kernel.codes import answers, coded
from pipeline_assets.kernel.escapes import undo
from pipeline_assets.kernel.message_templates import template_of
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS, SILVER_ERRORS, SILVER_REQUESTS

# GoAccess 1.7's `static-file` (goaccess.conf), and what has become common on the web since.
_STATIC_FILE: Final = (
    r"(?i)\.(?:css|js|jpg|png|gif|ico|jpeg|pdf|csv|mpeg|mpg|swf|woff|woff2|xls|xlsx|doc|docx|ppt|pptx|txt|zip"
    r"|ogg|mp3|mp4|exe|iso|gz|rar|svg|bmp|tar|tgz|tiff|tif|ttf|flv|dmg|xz|zst"
    r"|webp|avif|webm|eot|otf|map|wasm|mjs)$"
)
STATUS_CLASSES: Final = pl.Series(["other", "1xx", "2xx", "3xx", "4xx", "5xx"])
_CODED_CLASSES: Final = STATUS_CLASSES.cast(pl.Categorical(pl.Categories.random()))
_FROM_BRONZE: Final = [name for name in BRONZE_REQUESTS.column_names if name in SILVER_REQUESTS.column_names]


def clean_requests(bronze: pl.LazyFrame) -> pl.LazyFrame:
    """Bronze `requests` to silver `requests` (columns: `schemas.SILVER_REQUESTS`).

    What servers escaped is plain here. The rows are collected; user agents, referrers and paths are looked at
    by distinct value. Where rows are many, they and what they say are coded (`codes`), so that whoever
    encodes them need not look for what is distinct again.
    """
    rows = undo(bronze.select(_FROM_BRONZE).collect())
    target = pl.col("target")
    # Browsers send no fragment, so it is looked for once, and hardly ever cut off.
    if rows["target"].str.contains("#", literal=True).any():
        target = target.str.splitn("#", 2).struct[0]
    parts = target.str.splitn("?", 2)
    rows = rows.with_columns(path=parts.struct[0], query=parts.struct[1])
    are_many = rows.height >= codes.MANY_ROWS
    code = _coded if are_many else _as_they_are
    rows = code(rows, ("user_agent", "referer", "path"))
    # A log is mostly of one site, and then a Referer says by itself whether it is the site's own.
    is_of_one_site = bool(rows["site"].n_unique() == 1)
    site = rows["site"][0] if is_of_one_site else None
    found = [
        rows,
        answers(rows["user_agent"], lambda texts: code(_agents(texts))),
        answers(rows["referer"], lambda texts: code(_referrers(texts, site))),
        answers(rows["path"], lambda texts: code(_path_kinds(texts))),
    ]
    return (
        pl.concat(found, how="horizontal")
        .lazy()
        .with_columns(
            *_event_time(),
            status_class=status_class(_CODED_CLASSES if are_many else STATUS_CLASSES),
            referrer_kind=(pl.col("referrer_kind") if is_of_one_site else _kind_at(pl.col("site"))).fill_null(
                "direct"
            ),
            # A request without a user agent says nothing of a bot.
            is_bot=pl.col("is_bot").fill_null(value=False),
            device=pl.col("device").fill_null("other"),
        )
        .select(SILVER_REQUESTS.column_names)
    )


def _coded(rows: pl.DataFrame, names: Collection[str] = ()) -> pl.DataFrame:
    return coded(rows.lazy(), names).collect()


def _as_they_are(rows: pl.DataFrame, names: Collection[str] = ()) -> pl.DataFrame:
    return rows


def _agents(texts: pl.Series) -> pl.DataFrame:
    asked = pl.DataFrame({"user_agent": texts})
    found = asked.join(user_agents.look_up(texts), on="user_agent", how="left", maintain_order="left")
    return found.drop("user_agent")


def _path_kinds(texts: pl.Series) -> pl.DataFrame:
    is_static = pl.col("path").str.contains(_STATIC_FILE)
    kind = pl.when(is_static).then(pl.lit("static")).otherwise(pl.lit("page"))
    return pl.DataFrame({"path": texts}).select(path_kind=kind)


def _kind_at(site: pl.Expr) -> pl.Expr:
    """`referrer_kind` where a site's own pages are none of another's. A site without a name has none."""
    is_own = referrers.is_own(pl.col("referrer_host").cast(pl.String), site)
    return pl.when(is_own).then(pl.lit("own")).otherwise("referrer_kind")


def _referrers(texts: pl.Series, site: str | None) -> pl.DataFrame:
    """Host, kind and phrase of Referers. The kind is that at a site; without one, what it is at any."""
    referer, host = pl.col("referer"), pl.col("referrer_host")
    asked = pl.DataFrame({"referer": texts}).with_columns(referrer_host=referrers.host_of(referer))
    kind = asked.select(referrers.kind_of(referer, host)).to_series()
    # Few pages are found by a search, and only of those there is a phrase to look for.
    searches = (kind == "search").arg_true()
    phrase = pl.repeat(None, asked.height, dtype=pl.String, eager=True)
    if searches.len():
        said = asked[searches].select(referrers.phrase_of(referer, host)).to_series()
        phrase = phrase.scatter(searches, said)
    found = asked.select("referrer_host", referrer_kind=kind, search_phrase=phrase)
    return found if site is None else found.with_columns(referrer_kind=_kind_at(pl.lit(site)))


def clean_errors(bronze: pl.LazyFrame) -> pl.LazyFrame:
    """Bronze `errors` to silver `errors` (columns: `schemas.SILVER_ERRORS`)."""
    return bronze.with_columns(*_event_time(), template=template_of(pl.col("message"))).select(
        SILVER_ERRORS.column_names
    )


CLEANERS: Final = {"requests": clean_requests, "errors": clean_errors}


def _event_time() -> tuple[pl.Expr, pl.Expr]:
    timestamp = pl.col("timestamp")
    return timestamp.dt.date().alias("event_date"), timestamp.dt.hour().cast(pl.Int8).alias("hour")


def status_class(classes: pl.Series = STATUS_CLASSES) -> pl.Expr:
    """`status` to its class: 1xx to 5xx, or `other` where it has none or is out of range."""
    return pl.lit(classes).gather(status_class_number())


def status_class_number() -> pl.Expr:
    """`status` to the place of its class among `STATUS_CLASSES`."""
    status = pl.col("status")
    return pl.when(status.is_between(100, 599)).then(status // 100).otherwise(0)


def written_date() -> pl.Expr:
    """The date as the log writes it, in the zone of the line."""
    return (pl.col("timestamp") + pl.duration(minutes=pl.col("utc_offset_minutes"))).dt.date()


def count_written_days(requests: pl.DataFrame) -> pl.DataFrame:
    """How many of some bronze `requests` each date as written has: `written_date` and `count`."""
    # Most stretches of a log are of one day, which their earliest and latest times tell at a glance.
    ends = requests.select(
        pl.col("timestamp").min().alias("first"),
        pl.col("timestamp").max().alias("last"),
        pl.col("utc_offset_minutes").min().alias("west"),
        pl.col("utc_offset_minutes").max().alias("east"),
    )
    dates = pl.concat(
        [
            ends.select(timestamp=time, utc_offset_minutes=offset)
            for time, offset in (("first", "west"), ("last", "east"))
        ]
    ).select(written_date().alias("written_date"))
    if dates["written_date"].n_unique() == 1 and requests.height:
        return dates.head(1).with_columns(count=pl.lit(requests.height, pl.UInt32))
    return requests.group_by(written_date().alias("written_date")).len("count")
