"""States to the rows of serving: piece after piece is projected, and what they give is put together.

What belongs here: what is kept of each piece. What does not: the projections (`kernel.projections`), which
rows are a piece (`days`), and the commits (`publish`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from types import TracebackType
from typing import Final

import polars as pl

from pipeline_assets.compute.abreast import abreast, taken
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.sharding import Packed, Pieces, Spill, packed
from pipeline_assets.kernel.projections import AS_LARGE_AS_THE_STATE, PROJECTIONS, State, prepared
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.models.clients import most_telling, profile_clients
from pipeline_assets.models.series import hourly_values, of_hours, people_by_hour

# Rows of a table; where they are many, frame by frame.
Rows = pl.DataFrame | Iterator[pl.DataFrame]
_PROFILES: Final = "client_profiles"
# What pieces give to a table is gathered up to so many rows: then it is made those that matter.
_GATHERED_ROWS: Final = 100_000


@dataclass(frozen=True)
class _Given:
    """What one piece of several gives to the tables; `large` is that of the table that is not gathered."""

    rows: dict[str, pl.DataFrame]
    large: Packed
    people: pl.DataFrame
    hours: State


class Projecting:
    """The tables that days say by themselves, of pieces of their states.

    If one is all there is, it is projected table by table as they are asked for. Of several, the large table
    waits on the disk, and of each other one no more rows are kept than matter.
    """

    def __init__(self, context: Context) -> None:
        self._known_bots = context.known_bots
        self._only: State | None = None
        self._gathered: dict[str, list[pl.DataFrame]] = {}
        self._hours: list[State] = []
        self._people: list[pl.DataFrame] = []
        self._waiting: Spill | None = None

    def __enter__(self) -> Projecting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._waiting is not None:
            self._waiting.close()

    def add_all(self, pieces: Iterable[Pieces]) -> None:
        """Take in rollups of some days, by name. No two of these pieces have a key in common."""
        waiting = iter(pieces)
        some = list(islice(waiting, 2))
        if len(some) == 1:
            self._only = _state_of(some.pop())
            self._hours.append(of_hours(self._only))
            return
        self._waiting = Spill()
        # Two at once would take 70 MB more, and hardly less time: what they give is taken meanwhile.
        for given in abreast(self._given, chain(taken(some), waiting), at_once=1):
            self._take(given, self._waiting)

    def _given(self, pieces: Pieces) -> _Given:
        state = _state_of(pieces)
        rows = {name: projection.few([projection.rows(state)]) for name, projection in PROJECTIONS.items()}
        large = PROJECTIONS[AS_LARGE_AS_THE_STATE].table([rows.pop(AS_LARGE_AS_THE_STATE)])
        rows[_PROFILES] = profile_clients(state, self._known_bots)
        return _Given(
            rows,
            packed(large),
            people_by_hour(state),
            of_hours(state),
        )

    def _take(self, given: _Given, waiting: Spill) -> None:
        waiting.put(AS_LARGE_AS_THE_STATE, given.large)
        for name, rows in given.rows.items():
            gathered = self._gathered.setdefault(name, [])
            gathered.append(rows)
            if len(gathered) > 1 and sum(each.height for each in gathered) > _GATHERED_ROWS:
                gathered[:] = [self._few(name)]
        self._people.append(given.people)
        self._hours.append(given.hours)

    def _few(self, name: str) -> pl.DataFrame:
        """What has been gathered for a table, in no more rows than matter."""
        gathered = self._gathered[name]
        return most_telling(pl.concat(gathered)) if name == _PROFILES else PROJECTIONS[name].few(gathered)

    def tables(self) -> Iterator[tuple[str, Rows]]:
        """Each table by its name, with its rows."""
        if self._only is not None:
            for name, projection in PROJECTIONS.items():
                yield name, projection(self._only)
            yield _PROFILES, profile_clients(self._only, self._known_bots)
            return
        assert self._waiting is not None
        for name, projection in PROJECTIONS.items():
            if name == AS_LARGE_AS_THE_STATE:
                yield name, self._waiting.frames(name)
            else:
                yield name, projection.table([self._few(name)])
        yield _PROFILES, self._few(_PROFILES)

    def hourly_values(self) -> pl.DataFrame:
        """The series of these days by hour."""
        people = [people_by_hour(self._only)] if self._only is not None else self._people
        traffic, files = (pl.concat([hours[name] for hours in self._hours]) for name in ("traffic", "counts"))
        return hourly_values({"traffic": traffic, "counts": files}, people)


def _state_of(pieces: Pieces) -> State:
    return prepared(
        {name: pl.concat(pieces.get(name) or [rollup.no_day]) for name, rollup in ROLLUPS.items()}
    )
