"""Requests of silver to rows of gold that are counted by what requests say: `traffic` and `counts`.

What belongs here: what is counted, by which keys. What does not: what goes by visitor (`request_visitors`),
how rollups merge (`rollups`), and the other sources' rows.

Keys are joined to one number for each row. Where these are few, rows are counted by their places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel import histograms
from pipeline_assets.kernel.gold_rows import rows_of
from pipeline_assets.kernel.groups import Groups
from pipeline_assets.kernel.referrers import without_query
from pipeline_assets.kernel.request_rows import PATH_CHARACTERS, US_OF_MINUTE, Requests, from_zero
from pipeline_assets.kernel.schemas import GOLD_COUNTS, GOLD_TRAFFIC
from pipeline_assets.kernel.texts_by_number import Texts, joined

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from pipeline_assets.kernel.request_rows import ByVisitor
    from pipeline_assets.kernel.texts_by_number import Column
    from pipeline_assets.kernel.words import Mask, Places, Words

# IANA's HTTP Method Registry (www.iana.org/assignments/http-methods), without its reserved `*`.
METHODS: Final = (
    *("ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD"),
    *("LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE"),
    *("MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PRI", "PROPFIND", "PROPPATCH", "PUT", "QUERY"),
    *("REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE"),
    *("UPDATEREDIRECTREF", "VERSION-CONTROL"),
)
MALFORMED: Final = "malformed_request"

_FEW_NUMBERS: Final = 1_024


def traffic(ordered: ByVisitor) -> pa.Table:
    """Counts by minute, status, bot, method and protocol (columns: `schemas.GOLD_TRAFFIC`)."""
    requests = ordered.rows
    method = requests.texts["method"].told(_known_methods(requests.texts["method"].known))
    minute = requests.moment // US_OF_MINUTE
    keys: list[Texts | Column] = [
        requests.texts["source_file"],
        requests.texts["site"],
        from_zero(minute),
        _ranked(requests.status),
        (requests.is_bot, 2),
        method,
        requests.texts["protocol"],
    ]
    groups = _grouped(joined(keys, len(requests)), {"bytes": requests.size})
    here = groups["row"].to_numpy()
    return rows_of(
        GOLD_TRAFFIC,
        requests.at(here, "source_file", "event_date", "hour", "site", "is_bot", "protocol"),
        minute=pl.Series(minute[here] % 60),
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


def counts(ordered: ByVisitor) -> pa.Table:
    """Counts by aspect (columns: `schemas.GOLD_COUNTS`)."""
    import numpy as np
    import pyarrow as pa

    requests = ordered.rows
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
            # What a Referer says follows from it, but for its kind, which is that at a site.
            by=[texts["referrer_kind"], _told(texts["referer"], referrer, texts["search_phrase"])],
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
    by: Sequence[Texts | Column] = (),
    is_dated: bool = False,
) -> pa.Table:
    """Some of the rows, or all, counted by landed file, event day, site and these keys, with what adds up.

    `by` are columns of all rows that differ where the keys do, and have fewer numbers.
    """
    columns = by or [
        key.at(rows) if isinstance(key, Texts) else from_zero(key[rows]) for key in keys.values()
    ]
    place = from_zero(requests.place[rows])
    groups = _grouped(
        joined([place, *columns], len(place[0])),
        {name: values[rows] for name, values in (sums or {}).items()},
        requests.moment[rows] if is_dated else None,
    )
    row = groups["row"].to_numpy()
    here = row if isinstance(rows, slice) else rows[row]
    said = {
        name: key.at(here) if isinstance(key, Texts) else pl.Series(key[here]) for name, key in keys.items()
    }
    nothing = {name: 0 for name in ("bytes", "failures") if name not in groups.columns}
    known = requests.at(here, "source_file", "event_date", "site")
    known |= {name: groups[name] for name in groups.columns if name != "row"}
    return rows_of(GOLD_COUNTS, known, aspect=aspect, **said, **nothing)


def _told(by: Texts, *texts: Texts) -> Column:
    """A number for each row, the same where all of these columns are, which follow from its text."""
    import numpy as np

    said = []
    for column in texts:
        numbers = np.full(by.size, column.size - 1)
        numbers[by.numbers] = column.numbers
        said.append((numbers, column.size))
    different, places = np.unique(joined(said, by.size), return_inverse=True)
    return places.take(by.numbers), len(different)


def _grouped(number: Words, sums: Mapping[str, Places], moments: Places | None = None) -> pl.DataFrame:
    """For each number one `row` that has it, how many do (`hits`), and what adds up.

    With `moments`, microseconds since 1970, also the earliest and the latest: `first_seen` and `last_seen`.
    """
    import numpy as np

    least, most = (int(number.min()), int(number.max())) if len(number) else (0, 0)
    if most - least < 4 * len(number) + _FEW_NUMBERS:
        # They may be counted by their places.
        place = (number - np.uint64(least)).view(np.int64)
        hits = np.bincount(place)
        row = np.zeros(len(hits), np.int64)
        row[place] = np.arange(len(place))
        counted = {"row": row, "hits": hits, **{name: np.zeros(len(hits), np.int64) for name in sums}}
        for name, values in sums.items():
            np.add.at(counted[name], place, values)
        if moments is not None:
            counted["first_seen"] = np.full(len(hits), np.iinfo(np.int64).max)
            counted["last_seen"] = np.full(len(hits), np.iinfo(np.int64).min)
            np.minimum.at(counted["first_seen"], place, moments)
            np.maximum.at(counted["last_seen"], place, moments)
        found = np.flatnonzero(hits)
        return pl.DataFrame({name: values[found] for name, values in counted.items()})
    groups = Groups.of_numbers(number)
    added = {name: groups.total(pl.Series(values)) for name, values in sums.items()}
    if moments is not None:
        added["first_seen"] = groups.least(pl.Series(moments))
        added["last_seen"] = groups.most(pl.Series(moments))
    return pl.DataFrame({"row": groups.first, "hits": groups.sizes, **added})


def _ranked(values: npt.NDArray[np.integer]) -> Column:
    """Each number's place among the different ones, where that is cheap to tell, and how many there are.

    Statuses are a few of a thousand numbers: with the places the joined numbers are few as well.
    """
    import numpy as np

    numbers, span = from_zero(values)
    if not len(values) or span > len(values):
        return numbers, span
    places = np.cumsum(np.bincount(numbers) > 0) - 1
    return places.take(numbers), int(places[-1]) + 1
