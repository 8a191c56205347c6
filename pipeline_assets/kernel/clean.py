"""Bronze to silver: rows as the server wrote them become clean, enriched rows.

What belongs here: anything that a row says by itself, such as its event day, its path, its status class and
what its user agent is. What does not: anything that needs a second row (`rollups`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel import referrers, user_agents
from pipeline_assets.kernel.escapes import ESCAPED_COLUMNS, undo
from pipeline_assets.kernel.message_templates import template_of
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS, SILVER_ERRORS, SILVER_REQUESTS
from pipeline_assets.kernel.texts_by_number import Texts

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline_assets.kernel.texts_by_number import Numbers
    from pipeline_assets.kernel.words import Places

# GoAccess 1.7's `static-file` (goaccess.conf), and what has become common on the web since.
STATIC_FILE: Final = (
    r"(?i)\.(?:css|js|jpg|png|gif|ico|jpeg|pdf|csv|mpeg|mpg|swf|woff|woff2|xls|xlsx|doc|docx|ppt|pptx|txt|zip"
    r"|ogg|mp3|mp4|exe|iso|gz|rar|svg|bmp|tar|tgz|tiff|tif|ttf|flv|dmg|xz|zst"
    r"|webp|avif|webm|eot|otf|map|wasm|mjs)$"
)
STATUS_CLASSES: Final = pl.Series(["other", "1xx", "2xx", "3xx", "4xx", "5xx"])
_NO_TEXT: Final = pl.Series([None], dtype=pl.String)
# What cleaning asks of texts, by distinct value.
_ASKED: Final = ("format", "site", *ESCAPED_COLUMNS)
REQUESTS_FROM_BRONZE: Final = [
    name for name in BRONZE_REQUESTS.column_names if name in {*SILVER_REQUESTS.column_names, "target"}
]


def clean_requests(bronze: pl.LazyFrame) -> pl.LazyFrame:
    """Bronze `requests` to silver `requests` (columns: `schemas.SILVER_REQUESTS`). The rows are collected.

    What servers escaped is plain here. User agents, referrers and paths are looked at by distinct value.
    """
    rows = bronze.select(REQUESTS_FROM_BRONZE).collect()
    texts, others = _said({name: Texts.of(rows[name]) for name in _ASKED}, rows)
    said = [column.plain().alias(name) for name, column in texts.items()]
    return rows.with_columns(*said, *others).select(SILVER_REQUESTS.column_names).lazy()


def clean_table(bronze: pa.Table) -> pa.Table:
    """As `clean_requests`, for rows whose texts are dictionaries, and stay so (`REQUESTS_FROM_BRONZE`)."""
    import pyarrow as pa

    rows = pl.from_arrow(bronze.select(["timestamp", "status"]))
    assert isinstance(rows, pl.DataFrame)
    texts, others = _said({name: Texts.of_column(bronze.column(name)) for name in _ASKED}, rows)
    columns = {name: bronze.column(name) for name in bronze.column_names}
    columns |= {name: column.dictionary() for name, column in texts.items()}
    columns |= {column.name: column.to_arrow() for column in others}
    return pa.table({name: columns[name] for name in SILVER_REQUESTS.column_names})


def _said(texts: Mapping[str, Texts], rows: pl.DataFrame) -> tuple[dict[str, Texts], list[pl.Series]]:
    """What silver has of some rows that bronze has not: texts that are new or plain now, and other columns.

    `texts` are those of `_ASKED`; `rows` have `timestamp` and `status`.
    """
    plain = undo(texts)
    asked = {**texts, **plain}
    # Browsers send no fragment, so it is looked for once, and hardly ever cut off.
    target = pl.col("target")
    known = asked["target"].known
    if known.str.contains("#", literal=True).any():
        target = target.str.splitn("#", 2).struct[0]
    parts = known.to_frame("target").select(target.str.splitn("?", 2).struct.unnest()).get_columns()
    path, query = (asked["target"].told(part) for part in parts)
    kind = path.asked(_path_kinds).to_series()
    agents = asked["user_agent"].asked(_agents)
    is_bot = agents["is_bot"].fill_null(value=False)[asked["user_agent"].numbers]
    status = rows.select(status_class_number().cast(pl.Int32)).to_series().to_numpy()
    return (
        {
            **plain,
            "path": path,
            "query": query,
            "path_kind": path.told(kind),
            "status_class": Texts(status, pl.concat([STATUS_CLASSES, _NO_TEXT])),
            **_referrers_of(asked["referer"], asked["site"]),
            **{
                name: asked["user_agent"].told(agents[name])
                for name in ("bot", "browser", "browser_version", "os")
            },
            "device": asked["user_agent"].told(agents["device"].fill_null("other")),
        },
        # A request without a user agent says nothing of a bot.
        [is_bot, *rows.select(*_event_time()).get_columns()],
    )


def _agents(texts: pl.Series) -> pl.DataFrame:
    asked = pl.DataFrame({"user_agent": texts})
    found = asked.join(user_agents.look_up(texts), on="user_agent", how="left", maintain_order="left")
    return found.drop("user_agent")


def _path_kinds(texts: pl.Series) -> pl.DataFrame:
    is_static = pl.col("path").str.contains(STATIC_FILE)
    kind = pl.when(is_static).then(pl.lit("static")).otherwise(pl.lit("page"))
    return pl.DataFrame({"path": texts}).select(path_kind=kind)


def _referrers_of(referer: Texts, site: Texts) -> dict[str, Texts]:
    """Host, kind and phrase of Referers, the kind at the sites of the rows: only of one a page is its own."""
    found = referer.asked(_referrers)
    place, referers, sites = _coming_together(referer, site)
    asked = found[referers].with_columns(site=site.known[sites])
    is_own = referrers.is_own(pl.col("referrer_host"), pl.col("site"))
    kind = pl.when(is_own).then(pl.lit("own")).otherwise("referrer_kind").fill_null("direct")
    kinds = asked.select(kind).to_series()
    return {
        "referrer_host": referer.told(found["referrer_host"]),
        "referrer_kind": Texts(place, kinds).told(kinds),
        "search_phrase": referer.told(found["search_phrase"]),
    }


def _coming_together(referer: Texts, site: Texts) -> tuple[Numbers, Places, Places]:
    """The numbers of Referers and sites that come together in rows, and for each row the place of its own.

    Clients may choose both, so there may be as many of each as rows, and far too many of both by one another.
    """
    import numpy as np

    if not len(site) or site.numbers.min() == site.numbers.max():
        # As in most logs. To find those that come together would take longer than all that is asked of them.
        one = site.numbers[0] if len(site) else site.size - 1
        return referer.numbers, np.arange(referer.size), np.full(referer.size, one, np.int64)
    numbers = site.numbers.astype(np.int64) * referer.size + referer.numbers
    both, place = np.unique(numbers, return_inverse=True)
    sites, referers = np.divmod(both, referer.size)
    return place.astype(np.int32), referers, sites


def _referrers(texts: pl.Series) -> pl.DataFrame:
    """Host, kind and phrase of Referers; the kind is what it is at any site."""
    referer, host = pl.col("referer"), pl.col("referrer_host")
    asked = pl.DataFrame({"referer": texts}).with_columns(referrer_host=referrers.host_of(referer))
    kind = asked.select(referrers.kind_of(referer, host)).to_series()
    # Few pages are found by a search, and only of those there is a phrase to look for.
    searches = (kind == "search").arg_true()
    phrase = pl.repeat(None, asked.height, dtype=pl.String, eager=True)
    if searches.len():
        said = asked[searches].select(referrers.phrase_of(referer, host)).to_series()
        phrase = phrase.scatter(searches, said)
    return asked.select("referrer_host", referrer_kind=kind, search_phrase=phrase)


def clean_errors(bronze: pl.LazyFrame) -> pl.LazyFrame:
    """Bronze `errors` to silver `errors` (columns: `schemas.SILVER_ERRORS`)."""
    return bronze.with_columns(*_event_time(), template=template_of(pl.col("message"))).select(
        SILVER_ERRORS.column_names
    )


CLEANERS: Final = {"requests": clean_requests, "errors": clean_errors}


def _event_time() -> tuple[pl.Expr, pl.Expr]:
    timestamp = pl.col("timestamp")
    return timestamp.dt.date().alias("event_date"), timestamp.dt.hour().cast(pl.Int8).alias("hour")


def status_class() -> pl.Expr:
    """`status` to its class: 1xx to 5xx, or `other` where it has none or is out of range."""
    return pl.lit(STATUS_CLASSES).gather(status_class_number())


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
    times, offsets = requests["timestamp"], requests["utc_offset_minutes"]
    if requests.height and not times.null_count() and not offsets.null_count():
        first, last = (
            _written(moment, minutes)
            for moment, minutes in ((times.min(), offsets.min()), (times.max(), offsets.max()))
        )
        if first == last:
            counts = {"written_date": [first], "count": [requests.height]}
            return pl.DataFrame(counts, schema={"written_date": pl.Date, "count": pl.UInt32})
    return requests.group_by(written_date().alias("written_date")).len("count")


def _written(moment: object, offset_minutes: object) -> date:
    assert isinstance(moment, datetime) and isinstance(offset_minutes, int)
    return (moment + timedelta(minutes=offset_minutes)).date()
