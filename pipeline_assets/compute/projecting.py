"""States to the rows of serving: shard after shard is projected, and what they give is put together.

What belongs here: what is kept of each shard. What does not: the projections (`kernel.projections`), cutting
(`sharding`), and the commits (`publish`).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Final

import polars as pl

from pipeline_assets.compute.context import Context
from pipeline_assets.compute.sharding import Pieces, Spill
from pipeline_assets.kernel.projections import AS_LARGE_AS_THE_STATE, PROJECTIONS, State, prepared
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.models.clients import most_telling, profile_clients
from pipeline_assets.models.series import hourly_values, people_by_hour

# Rows of a table; where they are many, frame by frame.
Rows = pl.DataFrame | Iterator[pl.DataFrame]
_PROFILES: Final = "client_profiles"


class Projecting:
    """The tables that days say by themselves, of shards that are added one after another.

    A single shard is projected table by table as they are asked for; of several, the large table waits on the
    disk, and of each other one no more rows are kept than it has.
    """

    def __init__(self, context: Context) -> None:
        self._known_bots = context.known_bots
        self._first: State | None = None
        self._gathered: dict[str, pl.DataFrame] = {}
        self._people: list[pl.DataFrame] = []
        self._waiting: Spill | None = None

    def __enter__(self) -> Projecting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._waiting is not None:
            self._waiting.__exit__(kind, error, trace)

    def add(self, pieces: Pieces) -> None:
        """Take in a shard: pieces of the rollups of some days, by name, without a row in common."""
        state = prepared(
            {name: pl.concat(pieces.get(name) or [rollup.no_day]) for name, rollup in ROLLUPS.items()}
        )
        if self._first is None:
            self._first = state
            return
        if self._waiting is None:
            self._waiting = Spill()
            self._put_aside(self._first, self._waiting)
            # Hours are counted at last, of what is in the first shard alone.
            self._first = {name: self._first[name] for name in ("traffic", "counts")}
        self._put_aside(state, self._waiting)

    def _put_aside(self, state: State, waiting: Spill) -> None:
        for name, projection in PROJECTIONS.items():
            rows = projection.few([projection.rows(state)])
            if name == AS_LARGE_AS_THE_STATE:
                waiting.add(name, projection.table([rows]))
            else:
                known = self._gathered.get(name)
                self._gathered[name] = rows if known is None else projection.few([known, rows])
        profiles = [self._gathered[_PROFILES]] if _PROFILES in self._gathered else []
        profiles.append(profile_clients(state, self._known_bots))
        self._gathered[_PROFILES] = most_telling(pl.concat(profiles))
        self._people.append(people_by_hour(state))

    def tables(self) -> Iterator[tuple[str, Rows]]:
        """Each table by its name, with its rows."""
        assert self._first is not None
        if self._waiting is None:
            for name, projection in PROJECTIONS.items():
                yield name, projection(self._first)
            yield _PROFILES, profile_clients(self._first, self._known_bots)
            return
        for name, projection in PROJECTIONS.items():
            if name == AS_LARGE_AS_THE_STATE:
                yield name, self._waiting.frames(name)
            else:
                yield name, projection.table([self._gathered[name]])
        yield _PROFILES, self._gathered[_PROFILES]

    def hourly_values(self) -> pl.DataFrame:
        """The series of these days by hour."""
        assert self._first is not None
        return hourly_values(self._first, self._people or None)
