"""Requests of silver to rows of gold, all rollups of a part from one look at it.

What belongs here: what requests give to each rollup. What does not: how rollups merge (`rollups`), and the
other sources' rows.

Rows are put in the order of their visitors once, and by time. A visit, a visitor's hour and a client's hour
are stretches then, or some stretches: what is counted of them needs no look-up of a key for each row. Texts
are numbers throughout (`texts_by_number`), and become texts again for the rows that are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel import histograms, sketches
from pipeline_assets.kernel.clean import STATUS_CLASSES, status_class_number
from pipeline_assets.kernel.codes import sorting
from pipeline_assets.kernel.probes import probes_among
from pipeline_assets.kernel.referrers import without_query
from pipeline_assets.kernel.schemas import (
    GOLD_CLIENTS,
    GOLD_COUNTS,
    GOLD_TRAFFIC,
    GOLD_VISITORS,
    GOLD_VISITS,
    SILVER_REQUESTS,
    Table,
)
from pipeline_assets.kernel.texts_by_number import Texts, joined
from pipeline_assets.kernel.visits import GAP_US

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from pipeline_assets.kernel.texts_by_number import Column, Places
    from pipeline_assets.kernel.words import Words

    Mask = npt.NDArray[np.bool_]

# Lengths, in characters, at which gold cuts what clients send. Texts that begin alike count as one.
USER_AGENT_CHARACTERS: Final = 512
PATH_CHARACTERS: Final = 1024

# IANA's HTTP Method Registry (www.iana.org/assignments/http-methods), without its reserved `*`.
METHODS: Final = (
    *("ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD"),
    *("LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE"),
    *("MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PRI", "PROPFIND", "PROPPATCH", "PUT", "QUERY"),
    *("REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE"),
    *("UPDATEREDIRECTREF", "VERSION-CONTROL"),
)
# What pages and the programs in them ask by; a browser asks by no other.
READING: Final = ("GET", "HEAD", "OPTIONS")
WRITING: Final = ("POST", "PUT", "PATCH", "DELETE")
MALFORMED: Final = "malformed_request"

AGENT: Final = ("bot", "browser", "browser_version", "os", "device")
# What is read of silver `requests`.
_TEXTS: Final = (
    *("source_file", "site", *AGENT, "remote_host", "user_agent", "method", "protocol", "vhost"),
    *("path", "path_kind", "referer", "referrer_kind", "search_phrase"),
)
_OTHERS: Final = (
    *("line_number", "event_date", "hour", "timestamp", "utc_offset_minutes", "status", "is_bot"),
    *("bytes", "duration_us"),
)
REQUEST_SCHEMA: Final = {name: SILVER_REQUESTS.schema[name] for name in (*_TEXTS, *_OTHERS)}

_US_OF_MINUTE: Final = 60_000_000
_US_OF_HOUR: Final = 60 * _US_OF_MINUTE
_US_OF_DAY: Final = 24 * _US_OF_HOUR
_CLASSES: Final = len(STATUS_CLASSES)
_CLASS_4XX: Final = 4
_FEW_NUMBERS: Final = 1_024


@dataclass(frozen=True)
class Requests:
    """Rows of silver `requests` in the order of their visitors: by file, site, client and user agent.

    Those of a visitor come by time, and those of one moment in the order of their lines. User agents and
    paths are as long as gold keeps them.
    """

    texts: Mapping[str, Texts]
    others: pl.DataFrame
    visitor: Words  # a number for each visitor of a landed file

    def __len__(self) -> int:
        return len(self.visitor)

    @cached_property
    def moment(self) -> Places:
        """Microseconds since 1970, UTC."""
        return self.others["timestamp"].to_physical().to_numpy()

    @cached_property
    def size(self) -> Places:
        """Bytes sent; 0 where that is not known."""
        return self.others["bytes"].fill_null(0).to_numpy()

    @cached_property
    def status(self) -> npt.NDArray[np.int64]:
        """The status; 0 where there is none."""
        return self.others["status"].cast(pl.Int64).fill_null(0).to_numpy()

    @cached_property
    def status_class(self) -> npt.NDArray[np.int64]:
        """The place of the status class in `STATUS_CLASSES`."""
        return self.others.select(status_class_number().cast(pl.Int64)).to_series().to_numpy()

    @cached_property
    def is_bot(self) -> Mask:
        """Whether the user agent is a bot's."""
        return self.others["is_bot"].to_numpy()

    @cached_property
    def has_cut_agents(self) -> bool:
        """Whether user agents may be cut, so that what one is doesn't follow from it."""
        longest = self.texts["user_agent"].known.str.len_chars().max()
        return isinstance(longest, int) and longest >= USER_AGENT_CHARACTERS

    @cached_property
    def is_page(self) -> Mask:
        """Whether a page was asked for."""
        kind = self.texts["path_kind"]
        found: Mask = kind.looked_up((kind.known == "page").fill_null(value=False))
        return found

    @cached_property
    def place(self) -> Words:
        """A number for the landed file, the event day and the site."""
        return joined(
            [self.texts["source_file"], self.texts["site"], _from_zero(self.moment // _US_OF_DAY)], len(self)
        )

    @cached_property
    def hours(self) -> Places:
        """Where the stretches of one visitor and hour begin."""
        return _stretches(self.visitor, self.moment // _US_OF_HOUR)

    def at(self, rows: Places, *names: str) -> dict[str, Texts | pl.Series]:
        """These columns of some rows."""
        return {
            name: self.texts[name].at(rows) if name in self.texts else self.others[name].gather(rows)
            for name in names
        }


def prepared(rows: pl.DataFrame | pa.Table) -> Requests:
    """Rows of `REQUEST_SCHEMA`, whose texts may be coded or dictionaries, as the rollups take them."""
    import numpy as np

    if isinstance(rows, pl.DataFrame):
        texts = {name: Texts.of(rows[name]) for name in _TEXTS}
        others = rows.select(_OTHERS)
    else:
        texts = {name: Texts.of_column(rows.column(name)) for name in _TEXTS}
        found = pl.from_arrow(rows.select(_OTHERS))
        assert isinstance(found, pl.DataFrame)
        others = found.rechunk()
    count = len(rows)
    del rows
    for name, limit in (("user_agent", USER_AGENT_CHARACTERS), ("path", PATH_CHARACTERS)):
        known = texts[name].known
        # Few texts are that long.
        if (known.str.len_bytes() > limit).any():
            texts[name] = texts[name].told(known.str.slice(0, limit))
    visitor = joined([texts[name] for name in ("source_file", "site", "remote_host", "user_agent")], count)
    # They come nearly by time and line, and then a stable sort is little more than a look at them.
    line, moment = (others[name].to_physical().to_numpy() for name in ("line_number", "timestamp"))
    order = np.argsort(line, kind="stable")
    order = order[np.argsort(moment[order], kind="stable")]
    order = order[sorting(visitor[order])]
    # Column by column, each of which is let go of as it came.
    ordered = {name: texts.pop(name).at(order) for name in _TEXTS}
    return Requests(ordered, others[order], visitor[order])


def traffic(requests: Requests) -> pa.Table:
    """Counts by minute, status, bot, method and protocol (columns: `schemas.GOLD_TRAFFIC`)."""
    method = requests.texts["method"].told(_known_methods(requests.texts["method"].known))
    keys: list[Texts | Column] = [
        requests.texts["source_file"],
        requests.texts["site"],
        _from_zero(requests.moment // _US_OF_MINUTE),
        _from_zero(requests.status),
        (requests.is_bot, 2),
        method,
        requests.texts["protocol"],
    ]
    groups = _grouped(joined(keys, len(requests)), {"bytes": requests.size})
    here = groups["first"].to_numpy()
    return _rows_of(
        GOLD_TRAFFIC,
        requests.at(here, "source_file", "event_date", "hour", "site", "is_bot", "protocol"),
        minute=pl.Series(requests.moment[here] // _US_OF_MINUTE % 60),
        status=pl.Series(requests.status[here]),
        method=method.at(here),
        hits=groups["hits"],
        bytes=groups["bytes"],
    )


def _known_methods(methods: pl.Series) -> pl.Series:
    """Methods as gold keeps them: whatever clients invent is one."""
    method = pl.col("method")
    known = pl.when(method.is_in(METHODS)).then(method).when(method.is_not_null()).then(pl.lit("other"))
    return methods.to_frame("method").select(known).to_series()


def visitors(requests: Requests) -> pa.Table:
    """The set of visitors by hour and by the date as written (columns: `schemas.GOLD_VISITORS`)."""
    import numpy as np
    import pyarrow as pa

    # A visitor's hour by class of status: there are few of these. Where texts are cut, bots and others may
    # have one of them in common.
    cell = (_numbers(requests.hours, len(requests)) * _CLASSES + requests.status_class) * 2
    if requests.has_cut_agents:
        cell += requests.is_bot
    hits = np.bincount(cell)
    size = np.zeros(len(hits), np.int64)
    np.add.at(size, cell, requests.size)
    found = np.flatnonzero(hits)
    here = _first_of(cell) if requests.has_cut_agents else requests.hours[found // (2 * _CLASSES)]
    by_hour = _rows_of(
        GOLD_VISITORS,
        requests.at(here, "source_file", "event_date", "hour", "site", "is_bot", "remote_host", "user_agent"),
        **_agents(requests, here, cell, slice(None)),
        status_class=STATUS_CLASSES.gather(found // 2 % _CLASSES),
        hits=pl.Series(hits[found]),
        bytes=pl.Series(size[found]),
    )
    return pa.concat_tables([by_hour, _by_written_date(requests)])


def _by_written_date(requests: Requests) -> pa.Table:
    """Visitors by the date as written; requests answered with 4xx are left out, as GoAccess does."""
    import numpy as np

    counts = requests.status_class != _CLASS_4XX
    offsets = requests.others["utc_offset_minutes"].cast(pl.Int64).to_numpy()
    hours = requests.hours
    if len(hours) and _are_one_whole_hour(offsets) and not requests.has_cut_agents:
        # An hour is of one date as written then.
        rows = hours[np.logical_or.reduceat(counts, hours)]
    else:
        rows = np.flatnonzero(counts)
    day = (requests.moment[rows] + offsets[rows] * _US_OF_MINUTE) // _US_OF_DAY
    visitor = (_numbers(_stretches(requests.visitor), len(requests))[rows], len(requests))
    number = joined([visitor, _from_zero(day), (requests.is_bot[rows], 2)], len(rows))
    first = _first_of(number)
    here = rows[first]
    return _rows_of(
        GOLD_VISITORS,
        requests.at(here, "source_file", "site", "is_bot", "remote_host", "user_agent"),
        **_agents(requests, here, number, rows),
        event_date=pl.Series(day[first]).cast(pl.Int32).cast(pl.Date),
        hits=0,
        bytes=0,
    )


def _are_one_whole_hour(offsets: Places) -> bool:
    return bool(offsets[0] % 60 == 0 and (offsets == offsets[0]).all())


def _agents(
    requests: Requests, here: Places, number: npt.NDArray[np.integer], of: Places | slice
) -> dict[str, Texts | pl.Series]:
    """What the user agents of these rows are, of which each is the first of its `number`'s.

    `number` is that of the rows `of`. What a user agent is follows from its text, unless that is cut: then
    several may have it, and the least of what they are is taken.
    """
    import numpy as np

    if not requests.has_cut_agents:
        return requests.at(here, *AGENT)
    rows = np.arange(len(requests))[of]
    every = pl.DataFrame({name: requests.texts[name].at(rows).plain() for name in AGENT} | {"number": number})
    least = every.group_by("number").agg(pl.col(AGENT).min()).sort("number")
    return {name: least[name] for name in AGENT}


def clients(requests: Requests) -> pa.Table:
    """Counts and different paths of each client address by hour (columns: `schemas.GOLD_CLIENTS`)."""
    import numpy as np

    begin = requests.hours
    texts = [requests.texts[name].at(begin) for name in ("source_file", "site", "remote_host")]
    number = joined([*texts, _from_zero(requests.moment[begin] // _US_OF_HOUR)], len(begin))
    _, first, client = np.unique(number, return_index=True, return_inverse=True)
    client = client[_numbers(begin, len(requests))]
    methods = requests.texts["method"]
    kind = requests.texts["referrer_kind"]
    ways = {
        "writes": methods.known.is_in(WRITING).fill_null(value=False),
        "odd_methods": ~methods.known.is_in((*WRITING, *READING)).fill_null(value=False),
    }
    which = {name: methods.looked_up(way) for name, way in ways.items()}
    which["referred"] = kind.looked_up((kind.known != "direct").fill_null(value=False))
    return _rows_of(
        GOLD_CLIENTS,
        requests.at(begin[first], "source_file", "event_date", "hour", "site", "remote_host"),
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


def visits(requests: Requests) -> pa.Table:
    """The visits that the requests of each landed file make by themselves (columns: `schemas.GOLD_VISITS`).

    It is `visits.join_intervals` for requests, which are intervals of a moment: none ends after a later one.
    """
    import numpy as np

    moment = requests.moment
    begins = _begins(requests.visitor, moment // _US_OF_DAY)
    begins[1:] |= moment[1:] - moment[:-1] > GAP_US
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(moment))[: len(first)] - 1
    is_page, place = requests.is_page, np.arange(len(moment))
    pages, hits, size = (
        (_added_up(values, first))
        for values in (is_page.astype(np.int64), np.ones_like(place), requests.size)
    )
    # Of a visit without a page these are places of no meaning, and it has neither end.
    entry = np.minimum.reduceat(np.where(is_page, place, len(place) - 1), first) if len(first) else first
    leaving = np.maximum.reduceat(np.where(is_page, place, 0), first) if len(first) else first
    has_page = pages > 0
    return _rows_of(
        GOLD_VISITS,
        requests.at(first, "source_file", "event_date", "site", "remote_host", "user_agent"),
        # Several user agents may be cut to one.
        is_bot=pl.Series(np.logical_and.reduceat(requests.is_bot, first) if len(first) else requests.is_bot),
        **_page_of(requests, "entry", entry, has_page),
        **_page_of(requests, "exit", leaving, has_page),
        started_at=requests.others["timestamp"].gather(first),
        ended_at=requests.others["timestamp"].gather(last),
        pages=pl.Series(pages),
        hits=pl.Series(hits),
        bytes=pl.Series(size),
    )


def _page_of(requests: Requests, end: str, at: Places, has_page: Mask) -> dict[str, Texts | pl.Series]:
    """What is kept of the requests at these places, as one end of each visit; nulls where it has no page."""
    file, path = (requests.texts[name].at(at).where(has_page) for name in ("source_file", "path"))
    others = requests.others.select(
        pl.when(pl.Series(has_page)).then(pl.col(name).gather(at)) for name in ("timestamp", "line_number")
    )
    moment, line = others.get_columns()
    return {f"{end}_at": moment, f"{end}_file": file, f"{end}_line": line, f"{end}_path": path}


def counts(requests: Requests) -> pa.Table:
    """Counts by aspect (columns: `schemas.GOLD_COUNTS`)."""
    import numpy as np
    import pyarrow as pa

    texts, size, status = requests.texts, requests.size, requests.status
    path, every = texts["path"], slice(None)
    has_path, has_vhost = ~path.is_null(), ~texts["vhost"].is_null()
    is_malformed = texts["method"].is_null()
    referrer = texts["referer"].told(_referrers(texts["referer"].known))
    found = [
        _counted(
            requests,
            "path",
            every if has_path.all() else np.flatnonzero(has_path),
            {"key_1": path, "key_2": texts["path_kind"]},
            {"bytes": size, "failures": (status >= 400).astype(np.int64)},
        ),
        _counted(
            requests,
            "not_found",
            np.flatnonzero(has_path & (status == 404)),
            {"key_1": path, "key_2": referrer},
            {"bytes": size},
        ),
        _counted(
            requests,
            "referrer",
            every,
            {"key_1": texts["referrer_kind"], "key_2": referrer, "key_3": texts["search_phrase"]},
            {"bytes": size},
        ),
        # Whether the lines say their site themselves; if not, the site has files of its own.
        _counted(
            requests,
            "file",
            every,
            {"key_1": texts["source_file"], "key_2": _if(has_vhost, "vhost")},
            is_dated=True,
        ),
        _counted(
            requests,
            "line",
            every,
            {"key_1": _if(np.ones_like(has_path), "parsed"), "key_2": _if(is_malformed, MALFORMED)},
        ),
    ]
    for measure in ("bytes", "duration_us"):
        values = requests.others[measure]
        if values.null_count() < len(values):
            known = values.fill_null(0).to_numpy()
            found.append(
                _counted(
                    requests,
                    measure,
                    np.flatnonzero(values.is_not_null().to_numpy()) if values.null_count() else every,
                    {"bucket": histograms.buckets(known)},
                    {"bytes": np.maximum(known, 0)},
                )
            )
    return pa.concat_tables(found)


def _referrers(referers: pl.Series) -> pl.Series:
    bare = without_query(pl.col("referer")).str.slice(0, PATH_CHARACTERS)
    return referers.to_frame("referer").select(bare).to_series()


def _if(which: Mask, text: str) -> Texts:
    """A column that has this text in some rows."""
    import numpy as np

    return Texts(np.where(which, 0, 1).astype(np.int32), pl.Series([text, None]))


def _counted(
    requests: Requests,
    aspect: str,
    rows: Places | slice,
    keys: Mapping[str, Texts | Places],
    sums: Mapping[str, Places] | None = None,
    *,
    is_dated: bool = False,
) -> pa.Table:
    """Some of the rows, or all, counted by landed file, event day, site and these keys, with what adds up."""
    columns = [key.at(rows) if isinstance(key, Texts) else _from_zero(key[rows]) for key in keys.values()]
    places = requests.place[rows]
    number = joined([_from_zero(places), *columns], len(places))
    groups = _grouped(
        number,
        {name: values[rows] for name, values in (sums or {}).items()},
        requests.moment[rows] if is_dated else None,
    )
    first = groups["first"].to_numpy()
    here = first if isinstance(rows, slice) else rows[first]
    said = {
        name: key.at(here) if isinstance(key, Texts) else pl.Series(key[here]) for name, key in keys.items()
    }
    nothing = {name: 0 for name in ("bytes", "failures") if name not in groups.columns}
    known = requests.at(here, "source_file", "event_date", "site")
    known |= {name: groups[name] for name in groups.columns if name != "first"}
    return _rows_of(GOLD_COUNTS, known, aspect=aspect, **said, **nothing)


def _grouped(number: Words, sums: Mapping[str, Places], moments: Places | None = None) -> pl.DataFrame:
    """For each number the `first` row that has it, how many do (`hits`), and what adds up.

    With `moments`, microseconds since 1970, also the earliest and the latest: `first_seen` and `last_seen`.
    """
    import numpy as np

    least, most = (int(number.min()), int(number.max())) if len(number) else (0, 0)
    if most - least < 4 * len(number) + _FEW_NUMBERS:
        # They may be counted by their places.
        place = (number - np.uint64(least)).view(np.int64)
        hits = np.bincount(place)
        found = np.flatnonzero(hits)
        first = np.zeros(len(hits), np.int64)
        first[place[::-1]] = np.arange(len(place))[::-1]
        added = {name: np.zeros(len(hits), np.int64) for name in sums}
        for name, values in sums.items():
            np.add.at(added[name], place, values)
        if moments is not None:
            added["first_seen"] = np.full(len(hits), np.iinfo(np.int64).max)
            added["last_seen"] = np.full(len(hits), np.iinfo(np.int64).min)
            np.minimum.at(added["first_seen"], place, moments)
            np.maximum.at(added["last_seen"], place, moments)
        counted = {"first": first, "hits": hits, **added}
        return pl.DataFrame({name: values[found] for name, values in counted.items()})
    rows = pl.DataFrame({"number": number, "first": np.arange(len(number)), **sums})
    wanted = [pl.col("first").first(), pl.len().alias("hits"), pl.col(list(sums)).sum()]
    if moments is not None:
        rows = rows.with_columns(moment=moments)
        wanted += [pl.col("moment").min().alias("first_seen"), pl.col("moment").max().alias("last_seen")]
    return rows.group_by("number").agg(wanted).select(pl.exclude("number"))


def _rows_of(
    table: Table, known: Mapping[str, Texts | pl.Series], **others: Texts | pl.Series | str | int
) -> pa.Table:
    """Rows of a table from its columns, of which some may be of one value; those not given are null."""
    import numpy as np
    import pyarrow as pa

    columns = {**known, **others}
    rows, types = len(next(iter(known.values()))), _arrow_types(table)
    arrays = []
    for column in table.columns:
        values = columns.get(column.name)
        if isinstance(values, pl.Series) and column.dtype == pl.String():
            values = Texts.of(values)
        if isinstance(values, Texts):
            arrays.append(values.of_few().dictionary())
        elif isinstance(values, pl.Series):
            arrays.append(values.cast(column.dtype).to_arrow(compat_level=pl.CompatLevel.oldest()))
        elif values is None:
            arrays.append(pa.nulls(rows, types.field(column.name).type))
        elif isinstance(values, int):
            arrays.append(
                pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(np.full(rows, values))])
            )
        else:
            arrays.append(Texts(np.zeros(rows, np.int32), pl.Series([values, None])).dictionary())
    return pa.table(arrays, table.column_names)


@lru_cache
def _arrow_types(table: Table) -> pa.Schema:
    """A table's types in Arrow, whose texts are dictionaries."""
    import pyarrow as pa

    texts = pa.dictionary(pa.int32(), pa.string())
    types = table.empty().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return pa.schema(
        field.with_type(texts) if pa.types.is_large_string(field.type) else field for field in types
    )


def _begins(*columns: npt.NDArray[np.integer]) -> Mask:
    """Whether a row begins a stretch of rows with the same in all of these columns."""
    import numpy as np

    found = np.ones(len(columns[0]), np.bool_)
    found[1:] = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        found[1:] |= column[1:] != column[:-1]
    return found


def _stretches(*columns: npt.NDArray[np.integer]) -> Places:
    """Where stretches of rows with the same in all of these columns begin."""
    import numpy as np

    return np.flatnonzero(_begins(*columns))


def _numbers(begins: Places, rows: int) -> Places:
    """For each row the number of its stretch."""
    import numpy as np

    return np.repeat(np.arange(len(begins)), np.diff(np.append(begins, rows)))


def _first_of(number: npt.NDArray[np.integer]) -> Places:
    """The first row of each number, in the numbers' order."""
    import numpy as np

    found: Places = np.unique(number, return_index=True)[1]
    return found


def _from_zero(values: npt.NDArray[np.integer]) -> Column:
    """The numbers, the least of them taken off, and how many there may be."""
    if not len(values):
        return values, 1
    least = values.min()
    return values - least, int(values.max()) - int(least) + 1


def _added_up(values: Places, begins: Places) -> Places:
    import numpy as np

    found: Places = np.add.reduceat(values, begins) if len(begins) else begins
    return found
