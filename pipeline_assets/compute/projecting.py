"""States to the rows of serving: piece after piece is projected, and what they give is put together.

What belongs here: what is kept of each piece. What does not: the projections (`kernel.projections`), which
rows are a piece (`days`), and the commits (`publish`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice
from types import TracebackType
from typing import Final

import polars as pl

from pipeline_assets.compute.abreast import abreast, taken
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.sharding import Pieces
from pipeline_assets.compute.waiting import Waiting
from pipeline_assets.kernel.codes import plain
from pipeline_assets.kernel.projections import AS_LARGE_AS_THE_STATE, OF_THE_DAY, PROJECTIONS, State, prepared
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.kernel.schemas import MODEL
from pipeline_assets.models.bot_ranges import BotRanges
from pipeline_assets.models.clients import behaviour_of, most_telling, profile_clients, profiles_of
from pipeline_assets.models.series import hourly_values, of_hours, people_by_hour
from pipeline_assets.storage.memory import give_back

# Rows of a table; where they are many, frame by frame.
Rows = pl.DataFrame | Iterator[pl.DataFrame]
_PROFILES: Final = "client_profiles"
# What pieces give to a table is gathered up to so many rows, or twice those that matter; then only those stay
_GATHERED_ROWS: Final = 40_000


@dataclass(frozen=True)
class Given:
    """What one piece of several gives to the tables; `large` is that of the table that is not gathered.

    Their texts may be coded.
    """

    rows: dict[str, pl.DataFrame]
    large: pl.DataFrame
    people: pl.DataFrame
    hours: State


class Gathered:
    """What pieces of states give to the tables, no two of which have a key in common.

    The large table waits on the disk, and of each other one no more rows are kept than matter, with texts of
    their own.
    """

    def __init__(self) -> None:
        self.people: list[pl.DataFrame] = []
        self.hours: list[State] = []
        self._rows: dict[str, list[pl.DataFrame]] = {}
        self._most: dict[str, int] = {}
        self._bounds: dict[str, pl.DataFrame] = {}
        # The last one is not settled, if any rows have been taken.
        self._waiting: list[Waiting] = []
        self._is_open = False

    def close(self) -> None:
        """Let go of all that was taken, and of what waits on the disk."""
        for waiting in self._waiting:
            waiting.close()
        is_large, self._waiting, self._is_open = bool(self._waiting), [], False
        for gathered in (self.people, self.hours, self._rows):
            gathered.clear()
        if is_large:
            give_back()

    def take(self, given: Given) -> None:
        """Take what a piece gives."""
        if not self._is_open:
            self._waiting.append(Waiting())
            self._is_open = True
        self._waiting[-1].add(given.large)
        self.people.append(_by_itself(given.people))
        self.hours.append({name: _by_itself(rows) for name, rows in given.hours.items()})
        for name, rows in given.rows.items():
            bounds = self._bounds.get(name)
            some = rows if bounds is None else PROJECTIONS[name].within(rows, bounds)
            self._gather(name, [_by_itself(some)])

    def take_all(self, other: Gathered) -> None:
        """Take what another has gathered, with what waits for it; it has nothing then."""
        self._waiting[:0], other._waiting = other._waiting, []
        other._is_open = False
        self.people += other.people
        self.hours += other.hours
        for name, rows in other._rows.items():
            self._gather(name, rows)
        for taken_over in (other.people, other.hours, other._rows):
            taken_over.clear()

    def settle(self) -> None:
        """Keep no more than matters: others may have to wait for long."""
        for name in self._rows:
            self._rows[name] = [self._few(name)]
        if self._is_open:
            self._waiting[-1].settle()
            self._is_open = False

    def _gather(self, name: str, rows: list[pl.DataFrame]) -> None:
        gathered = self._rows.setdefault(name, [])
        gathered += rows
        if sum(each.height for each in gathered) > self._most.get(name, _GATHERED_ROWS):
            gathered[:] = [self._few(name)]
            if name in PROJECTIONS and (bounds := PROJECTIONS[name].bounds(gathered[0])) is not None:
                self._bounds[name] = bounds
            self._most[name] = max(_GATHERED_ROWS, 2 * gathered[0].height)

    def _few(self, name: str) -> pl.DataFrame:
        """What has been gathered for a table, in no more rows than matter."""
        gathered = self._rows[name]
        few = most_telling(pl.concat(gathered)) if name == _PROFILES else PROJECTIONS[name].few(gathered)
        return _by_itself(few)

    def tables(self) -> Iterator[tuple[str, Rows]]:
        """Each table by its name, with its rows."""
        for name, projection in PROJECTIONS.items():
            if name == AS_LARGE_AS_THE_STATE:
                yield name, chain.from_iterable(map(Waiting.frames, self._waiting))
            else:
                yield name, projection.table(self._rows.get(name, []))
        behaviour = self._rows.get(_PROFILES)
        yield _PROFILES, profiles_of(pl.concat(behaviour)) if behaviour else MODEL[_PROFILES].empty()


class Projecting:
    """The tables that days say by themselves, of pieces of their states.

    If one is all there is, it is projected table by table as they are asked for.
    """

    def __init__(self, context: Context) -> None:
        self._known_bots = context.known_bots
        self._only: State | None = None
        self._gathered = Gathered()

    def __enter__(self) -> Projecting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._only = None
        self._gathered.close()

    def add_all(self, pieces: Iterable[Pieces | Gathered]) -> None:
        """Take in rollups of some days, by name, or what they gave. No two of them have a key in common."""
        waiting = iter(pieces)
        some = list(islice(waiting, 2))
        if len(some) == 1 and not isinstance(only := some[0], Gathered):
            self._only = prepared(_frames(only))
            return
        # Two at once would take 70 MB more, and hardly less time: what they give is taken meanwhile.
        for given in abreast(self._given, chain(taken(some), waiting), at_once=1):
            if isinstance(given, Gathered):
                self._gathered.take_all(given)
            else:
                self._gathered.take(given)

    def _given(self, pieces: Pieces | Gathered) -> Given | Gathered:
        return pieces if isinstance(pieces, Gathered) else projected(_frames(pieces), self._known_bots)

    def tables(self) -> Iterator[tuple[str, Rows]]:
        """Each table by its name, with its rows."""
        if self._only is None:
            yield from self._gathered.tables()
            return
        for name, projection in PROJECTIONS.items():
            yield name, projection(self._only)
        yield _PROFILES, profile_clients(self._only, self._known_bots)

    def hourly_values(self) -> pl.DataFrame:
        """The series of these days by hour."""
        people = [people_by_hour(self._only)] if self._only is not None else self._gathered.people
        state = [of_hours(self._only)] if self._only is not None else self._gathered.hours
        traffic, files = (pl.concat([hours[name] for hours in state]) for name in ("traffic", "counts"))
        return hourly_values({"traffic": traffic, "counts": files}, people)


def _by_itself(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with texts of their own: some rows of a frame keep the texts of all of it in memory.

    Over a day of 40 shards that came to 90 MB.
    """
    if pl.String not in rows.dtypes:
        return plain(rows)
    sink = BytesIO()
    plain(rows).write_ipc_stream(sink)
    return pl.read_ipc_stream(BytesIO(sink.getbuffer()))


def projected(rollups: State, known_bots: BotRanges | None) -> Given:
    """What one piece of several, rollups by name, gives to the tables; its texts may be coded."""
    state = prepared(rollups)
    large = PROJECTIONS[AS_LARGE_AS_THE_STATE].coded_table(state)
    rows = {
        name: projection.rows(state)
        for name, projection in PROJECTIONS.items()
        if name != AS_LARGE_AS_THE_STATE and projection.has_rows(state)
    }
    if OF_THE_DAY in state and state[OF_THE_DAY].height:
        rows[_PROFILES] = behaviour_of(state, known_bots)
    return Given(rows, large, people_by_hour(state), of_hours(state))


def _frames(pieces: Pieces) -> State:
    return {name: pl.concat(pieces.get(name) or [rollup.no_day]) for name, rollup in ROLLUPS.items()}
