"""Rows of silver `requests` as the rollups take them.

What belongs here: the rows as they were read, and in the order of their visitors. What does not: what is
counted of them (`request_visitors`, `request_counts`).

Rows are put in the order of their visitors once, and by time. A visit, a visitor's hour and a client's hour
are stretches then, or some stretches: what is counted of them needs no look-up of a key for each row. Texts
are numbers throughout (`texts_by_number`). Of the two dozen columns few are asked for in that order, or all
of them at few rows, so each stays as it was read until it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline_assets.kernel.clean import status_class_number
from pipeline_assets.kernel.codes import sorting
from pipeline_assets.kernel.groups import stretches
from pipeline_assets.kernel.schemas import SILVER_REQUESTS
from pipeline_assets.kernel.texts_by_number import Texts, joined

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from pipeline_assets.kernel.texts_by_number import Column
    from pipeline_assets.kernel.words import Mask, Places, Words

# Lengths, in characters, at which gold cuts what clients send. Texts that begin alike count as one.
USER_AGENT_CHARACTERS: Final = 512
PATH_CHARACTERS: Final = 1024

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

US_OF_MINUTE: Final = 60_000_000
US_OF_HOUR: Final = 60 * US_OF_MINUTE
US_OF_DAY: Final = 24 * US_OF_HOUR


@dataclass(frozen=True)
class Requests:
    """Rows of silver `requests`, in any order. User agents and paths are as long as gold keeps them."""

    texts: Mapping[str, Texts]
    others: pl.DataFrame

    def __len__(self) -> int:
        return self.others.height

    @cached_property
    def moment(self) -> Places:
        """Microseconds since 1970, UTC."""
        return self.others["timestamp"].cast(pl.Int64).to_numpy()

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
            [self.texts["source_file"], self.texts["site"], from_zero(self.moment // US_OF_DAY)], len(self)
        )

    def at(self, rows: Places, *names: str) -> dict[str, Texts | pl.Series]:
        """These columns of some rows."""
        return {
            name: self.texts[name].at(rows) if name in self.texts else self.others[name][rows]
            for name in names
        }


@dataclass(frozen=True)
class ByVisitor:
    """Requests in the order of their visitors: by file, site, client and user agent.

    Those of a visitor come by time, and those of one moment in the order of their lines. `visitor` has a
    number for each visitor of a landed file.
    """

    rows: Requests
    order: Places
    visitor: Words

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def moment(self) -> Places:
        """Microseconds since 1970, UTC."""
        return self.rows.moment.take(self.order)

    @cached_property
    def size(self) -> Places:
        """Bytes sent; 0 where that is not known."""
        return self.rows.size.take(self.order)

    @cached_property
    def status_class(self) -> npt.NDArray[np.int64]:
        """The place of the status class in `STATUS_CLASSES`."""
        return self.rows.status_class.take(self.order)

    @cached_property
    def is_bot(self) -> Mask:
        """Whether the user agent is a bot's."""
        return self.rows.is_bot.take(self.order)

    @cached_property
    def is_page(self) -> Mask:
        """Whether a page was asked for."""
        return self.rows.is_page.take(self.order)

    @cached_property
    def hours(self) -> Places:
        """Where the stretches of one visitor and hour begin."""
        return stretches(self.visitor, self.moment // US_OF_HOUR)

    def at(self, places: Places, *names: str) -> dict[str, Texts | pl.Series]:
        """These columns of the rows at these places of the order."""
        return self.rows.at(self.order.take(places), *names)


def prepared(rows: pl.DataFrame | pa.Table) -> ByVisitor:
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
    for name, limit in (("user_agent", USER_AGENT_CHARACTERS), ("path", PATH_CHARACTERS)):
        known = texts[name].known
        # Few texts are that long.
        if (known.str.len_bytes() > limit).any():
            texts[name] = texts[name].told(known.str.slice(0, limit))
    requests = Requests(texts, others)
    visitor = joined(
        [texts[name] for name in ("source_file", "site", "remote_host", "user_agent")], len(rows)
    )
    # They come nearly by time and line, and then a stable sort is little more than a look at them.
    order = np.argsort(others["line_number"].to_numpy(), kind="stable")
    order = order[np.argsort(requests.moment[order], kind="stable")]
    order = order[sorting(visitor[order])]
    return ByVisitor(requests, order, visitor.take(order))


def from_zero(values: npt.NDArray[np.integer]) -> Column:
    """The numbers, the least of them taken off, and how many there may be."""
    if not len(values):
        return values, 1
    least = values.min()
    return values - least, int(values.max()) - int(least) + 1
