"""Requests of silver to rows of gold that go by visitor: `visitors`, `clients` and `visits`.

What belongs here: what requests in the order of their visitors give to each of them. What does not: that
order (`request_rows`), what is counted by what requests say (`request_counts`), and how rollups merge
(`rollups`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel import sketches
from pipeline_assets.kernel.clean import STATUS_CLASSES
from pipeline_assets.kernel.gold_rows import rows_of
from pipeline_assets.kernel.groups import Groups, begins, numbers_of_stretches, stretches
from pipeline_assets.kernel.probes import probes_among
from pipeline_assets.kernel.request_rows import (
    AGENT,
    US_OF_DAY,
    US_OF_HOUR,
    US_OF_MINUTE,
    Requests,
    from_zero,
)
from pipeline_assets.kernel.schemas import GOLD_CLIENTS, GOLD_VISITORS, GOLD_VISITS
from pipeline_assets.kernel.texts_by_number import Texts, joined
from pipeline_assets.kernel.visits import GAP_US

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from pipeline_assets.kernel.request_rows import ByVisitor
    from pipeline_assets.kernel.words import Mask, Places

# What pages and the programs in them ask by; a browser asks by no other.
READING: Final = ("GET", "HEAD", "OPTIONS")
WRITING: Final = ("POST", "PUT", "PATCH", "DELETE")

_CLASSES: Final = len(STATUS_CLASSES)
_CLASS_4XX: Final = 4


def visitors(ordered: ByVisitor) -> pa.Table:
    """The set of visitors by hour and by the date as written (columns: `schemas.GOLD_VISITORS`)."""
    import numpy as np
    import pyarrow as pa

    # A visitor's hour by class of status: there are few of these. Where texts are cut, bots and others may
    # have one of them in common.
    cell = (numbers_of_stretches(ordered.hours, len(ordered)) * _CLASSES + ordered.status_class) * 2
    if ordered.rows.has_cut_agents:
        cell += ordered.is_bot
    hits = np.bincount(cell)
    size = np.zeros(len(hits), np.int64)
    np.add.at(size, cell, ordered.size)
    found = np.flatnonzero(hits)
    here = _first_of(cell) if ordered.rows.has_cut_agents else ordered.hours[found // (2 * _CLASSES)]
    by_hour = rows_of(
        GOLD_VISITORS,
        ordered.at(here, "source_file", "event_date", "hour", "site", "is_bot", "remote_host", "user_agent"),
        **_agents(ordered, here, cell, slice(None)),
        status_class=STATUS_CLASSES[found // 2 % _CLASSES],
        hits=pl.Series(hits[found]),
        bytes=pl.Series(size[found]),
    )
    return pa.concat_tables([by_hour, _by_written_date(ordered)])


def _by_written_date(ordered: ByVisitor) -> pa.Table:
    """Visitors by the date as written; requests answered with 4xx are left out, as GoAccess does."""
    import numpy as np

    counts = ordered.status_class != _CLASS_4XX
    offsets = ordered.rows.others["utc_offset_minutes"].cast(pl.Int64).to_numpy()
    hours = ordered.hours
    if len(hours) and _are_one_whole_hour(offsets) and not ordered.rows.has_cut_agents:
        # An hour is of one date as written then.
        places = hours[np.logical_or.reduceat(counts, hours)]
    else:
        places = np.flatnonzero(counts)
    day = (ordered.moment[places] + offsets[ordered.order[places]] * US_OF_MINUTE) // US_OF_DAY
    visitor = (numbers_of_stretches(stretches(ordered.visitor), len(ordered))[places], len(ordered))
    number = joined([visitor, from_zero(day), (ordered.is_bot[places], 2)], len(places))
    first = _first_of(number)
    here = places[first]
    return rows_of(
        GOLD_VISITORS,
        ordered.at(here, "source_file", "site", "is_bot", "remote_host", "user_agent"),
        **_agents(ordered, here, number, places),
        event_date=pl.Series(day[first]).cast(pl.Int32).cast(pl.Date),
        hits=0,
        bytes=0,
    )


def _are_one_whole_hour(offsets: Places) -> bool:
    return bool(offsets[0] % 60 == 0 and (offsets == offsets[0]).all())


def _agents(
    ordered: ByVisitor, here: Places, number: npt.NDArray[np.integer], of: Places | slice
) -> dict[str, Texts | pl.Series]:
    """What the user agents at these places are, of which each is the first of its `number`'s.

    `number` is that of the places `of`. What a user agent is follows from its text, unless that is cut: then
    several may have it, and the least of what they are is taken.
    """
    if not ordered.rows.has_cut_agents:
        return ordered.at(here, *AGENT)
    texts, rows = ordered.rows.texts, ordered.order[of]
    every = pl.DataFrame({name: texts[name].at(rows).plain() for name in AGENT} | {"number": number})
    least = every.group_by("number").agg(pl.col(AGENT).min()).sort("number")
    return {name: least[name] for name in AGENT}


def clients(ordered: ByVisitor) -> pa.Table:
    """Counts and different paths of each client address by hour (columns: `schemas.GOLD_CLIENTS`)."""
    import numpy as np

    requests, begin = ordered.rows, ordered.hours
    texts = [requests.texts[name].at(ordered.order[begin]) for name in ("source_file", "site", "remote_host")]
    number = joined([*texts, from_zero(ordered.moment[begin] // US_OF_HOUR)], len(begin))
    groups = Groups.of_numbers(number)
    first = groups.first
    of_hour = np.empty(len(begin), np.int64)
    of_hour[groups.order] = groups.number
    # By row, as it was read: what is counted need not be put in order then.
    client = np.empty(len(requests), np.int64)
    client[ordered.order] = of_hour.take(numbers_of_stretches(begin, len(requests)))
    methods = requests.texts["method"]
    kind = requests.texts["referrer_kind"]
    ways = {
        "writes": methods.known.is_in(WRITING).fill_null(value=False),
        "odd_methods": ~methods.known.is_in((*WRITING, *READING)).fill_null(value=False),
    }
    which = {name: methods.looked_up(way) for name, way in ways.items()}
    which["referred"] = kind.looked_up((kind.known != "direct").fill_null(value=False))
    return rows_of(
        GOLD_CLIENTS,
        ordered.at(begin[first], "source_file", "event_date", "hour", "site", "remote_host"),
        hits=pl.Series(np.bincount(client, minlength=len(first))),
        **{name: pl.Series(np.bincount(client[rows], minlength=len(first))) for name, rows in which.items()},
        **{
            name: sketches.sets_of(client[rows].astype(np.uint64), hashes, len(first))
            for name, (rows, hashes) in _looked_for(requests).items()
        },
    )


def _looked_for(requests: Requests) -> dict[str, tuple[Places, npt.NDArray[np.int32]]]:
    """The rows whose paths count among a client's different ones, and among its probes; their hashes."""
    import numpy as np

    path = requests.texts["path"]
    asked = path.asked(lambda texts: probes_among(texts).with_columns(hash=sketches.hash_texts(texts)))
    always, unless_served = (
        path.looked_up(asked[name].fill_null(value=False)) for name in ("always", "unless_served")
    )
    has_path = ~path.is_null()
    # A page brings its files with it, so they would say how pages are made and not what a client looks for.
    is_looked_for = has_path & (requests.is_page | (requests.status >= 400))
    is_probe = has_path & (always | (unless_served & (requests.status_class == _CLASS_4XX)))
    hashes = path.looked_up(asked["hash"].fill_null(0))
    return {
        name: (rows := np.flatnonzero(which), hashes[rows])
        for name, which in (("paths", is_looked_for), ("probes", is_probe))
    }


def visits(ordered: ByVisitor) -> pa.Table:
    """The visits that the requests of each landed file make by themselves (columns: `schemas.GOLD_VISITS`).

    It is `visits.join_intervals` for requests, which are intervals of a moment: none ends after a later one.
    """
    import numpy as np

    moment = ordered.moment
    is_first = begins(ordered.visitor, moment // US_OF_DAY)
    is_first[1:] |= moment[1:] - moment[:-1] > GAP_US
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(moment))[: len(first)] - 1
    is_page, place = ordered.is_page, np.arange(len(moment))
    pages, size = (_added_up(values, first) for values in (is_page.astype(np.int64), ordered.size))
    # Of a visit without a page these are places of no meaning, and it has neither end.
    entry = np.minimum.reduceat(np.where(is_page, place, len(place) - 1), first) if len(first) else first
    leaving = np.maximum.reduceat(np.where(is_page, place, 0), first) if len(first) else first
    has_page = pages > 0
    is_bot = np.logical_and.reduceat(ordered.is_bot, first) if len(first) else ordered.is_bot
    return rows_of(
        GOLD_VISITS,
        ordered.at(first, "source_file", "event_date", "site", "remote_host", "user_agent"),
        # Several user agents may be cut to one.
        is_bot=pl.Series(is_bot),
        **_page_of(ordered, "entry", entry, has_page),
        **_page_of(ordered, "exit", leaving, has_page),
        started_at=ordered.at(first, "timestamp")["timestamp"],
        ended_at=ordered.at(last, "timestamp")["timestamp"],
        pages=pl.Series(pages),
        hits=pl.Series(last - first + 1),
        bytes=pl.Series(size),
    )


def _page_of(ordered: ByVisitor, end: str, at: Places, has_page: Mask) -> dict[str, Texts | pl.Series]:
    """What is kept of the requests at these places, as one end of each visit; nulls where it has no page."""
    requests, rows = ordered.rows, ordered.order.take(at)
    file, path = (requests.texts[name].at(rows).where(has_page) for name in ("source_file", "path"))
    others = requests.others.select(
        pl.when(pl.Series(has_page)).then(pl.col(name).gather(rows)) for name in ("timestamp", "line_number")
    )
    moment, line = others.get_columns()
    return {f"{end}_at": moment, f"{end}_file": file, f"{end}_line": line, f"{end}_path": path}


def _first_of(number: npt.NDArray[np.integer]) -> Places:
    """The first row of each number, in the numbers' order."""
    import numpy as np

    found: Places = np.unique(number, return_index=True)[1]
    return found


def _added_up(values: Places, begins: Places) -> Places:
    import numpy as np

    found: Places = np.add.reduceat(values, begins) if len(begins) else begins
    return found
