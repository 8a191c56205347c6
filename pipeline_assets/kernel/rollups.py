"""Silver to gold and gold to a day's state: mergeable rollups, and the one way they merge.

What belongs here: rollups whose merge is associative and commutative (counts, sums, earliest and latest,
sets, intervals, histograms), so that a day is the same whatever the order and the batching of its deliveries.
A distinct count is kept as its set of keys, because counts of distinct things don't add up. What does not:
what requests give to them (`request_counts`, `request_visitors`), and what people query (`projections`).

There are few rollups, each of which serves several tables: every one of them is an object to read and to
write for each delivery and each day. Text that clients choose is cut to a length; how many different texts
there are is not limited here, because every limit that knows only what came before depends on the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel import request_counts, request_visitors, sketches
from pipeline_assets.kernel.codes import coded, in_order, plain, together
from pipeline_assets.kernel.groups import Groups
from pipeline_assets.kernel.request_rows import AGENT, REQUEST_SCHEMA, prepared
from pipeline_assets.kernel.schemas import (
    GOLD_CLIENTS,
    GOLD_COUNTS,
    GOLD_TRAFFIC,
    GOLD_VISITORS,
    GOLD_VISITS,
    Table,
)
from pipeline_assets.kernel.texts_by_number import coded_rows
from pipeline_assets.kernel.visits import join_intervals

if TYPE_CHECKING:
    import pyarrow as pa

Merge = Callable[[pl.DataFrame, list[str]], pl.DataFrame]


@dataclass(frozen=True)
class Rollup:
    """A mergeable rollup: what each source gives to it, and how rows of equal keys become one.

    Sources are silver's tables and `lines`, those lines of files that became no row (source_file,
    event_date, site, fate, reason, lines). Each gives rows that are merged already, of what `prepared_rows`
    makes of its own. `keys` are the columns that tell rows apart, the landed file first; `merge` is given
    rows and those keys. `proofs` say for a source which rows' hits, added up, are all of its rows. `recurs`
    says that its keys come again through all of a log, and not only within an hour or so.
    """

    table: Table
    sources: Mapping[str, Callable[[Any], pl.DataFrame | pa.Table]]
    keys: tuple[str, ...]
    merge: Merge
    proofs: Mapping[str, pl.Expr] = field(default_factory=dict)
    recurs: bool = False

    def roll_up(self, source: str, rows: Any) -> pl.DataFrame | pa.Table:
        """What prepared rows of one source give, rolled up by landed file; texts may be dictionaries."""
        found = self.sources[source](rows)
        if not isinstance(found, pl.DataFrame):
            return found
        return plain(found.select(self.table.column_names).sort("event_date", maintain_order=True))

    def merge_files(self, parts: Iterable[pl.DataFrame | pa.Table]) -> pl.DataFrame:
        """Rollups of parts of one unit as one, by day. Their texts may be dictionaries, and come coded."""
        frames, tables = [], []
        for part in parts:
            frames.append(part) if isinstance(part, pl.DataFrame) else tables.append(part)
        if tables:
            import pyarrow as pa

            frames.append(coded_rows(pa.concat_tables(tables)))
        rows = coded(together(frames, self.table.column_names).lazy()).collect()
        return self.merge(rows, list(self.keys)).sort("event_date", maintain_order=True)

    @cached_property
    def day_table(self) -> Table:
        """The columns of a day's state: the landed file of a row is not known any more."""
        return replace(self.table, columns=tuple(c for c in self.table.columns if c.name != "source_file"))

    @property
    def no_day(self) -> pl.DataFrame:
        """The state of a day into which nothing is folded: no rows."""
        return self.day_table.empty()

    def merge_day(self, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """Rollups of several units, or earlier states of a day, to one state (without `source_file`).

        Rows come back sorted by key: the same parts in any order give the same bytes.
        """
        rows = self.merge_coded(parts)
        order = [*self._day_keys, *(["started_at"] if "started_at" in rows.columns else [])]
        return plain(in_order(rows, order))

    def merge_coded(self, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """As `merge_day`, but that texts are coded, as the parts' may be, and rows come in any order."""
        some = [part for part in parts if part.height]
        if not some:
            return coded(self.no_day.lazy()).collect()
        is_merged = len(some) == 1 and _is_of_one_file(some[0])
        rows = together(some, self.day_table.column_names)
        # Whoever hands over the only reference to the parts gets their texts' memory back before the merge.
        del parts, some
        rows = coded(rows.lazy()).collect()
        return rows if is_merged else self.merge(rows, self._day_keys)

    @property
    def _day_keys(self) -> list[str]:
        return [name for name in self.keys if name != "source_file"]


def _is_of_one_file(part: pl.DataFrame) -> bool:
    """Whether a rollup of a unit holds one landed file: its rows are merged then. A state has no files."""
    return "source_file" not in part.columns or part["source_file"].n_unique() == 1


def _adding_up(
    sums: Sequence[str] = (),
    earliest: Sequence[str] = (),
    latest: Sequence[str] = (),
    determined: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Merge:
    """Rows of equal keys are one: numbers add up, of times the earliest or the latest holds, sets are united.

    What the keys determine is the same in all of them, but for units that an older library has answered.
    """

    def merge(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
        groups = Groups.of(rows, keys)
        if len(groups) == rows.height:
            return rows

        def joined(groups: Groups) -> pl.DataFrame:
            found = groups.first_of(rows.select(keys)).with_columns(
                *(groups.total(rows[name]) for name in sums),
                *(groups.least(rows[name]) for name in earliest),
                *(groups.most(rows[name]) for name in latest),
                *groups.least_texts([rows[name] for name in determined]),
                *(sketches.union_of(rows[name][groups.order], groups.number, len(groups)) for name in sets),
            )
            return found.select(rows.columns)

        if not sets:
            return joined(groups)
        is_alone = groups.sizes == 1
        alone: pl.DataFrame = rows[groups.first[is_alone]]
        return pl.concat([alone, joined(groups.only(~is_alone))], rechunk=True)

    return merge


def proven_rows(rollups: Mapping[str, pl.DataFrame | pl.LazyFrame], source: str) -> int:
    """How many rows of a source the rollups say there are; 0 where none of them tells."""
    for name, rows in rollups.items():
        if source in ROLLUPS[name].proofs:
            hits = rows.lazy().filter(ROLLUPS[name].proofs[source]).select(pl.col("hits").sum())
            return int(hits.collect().item())
    return 0


def _error_counts(errors: pl.LazyFrame) -> pl.DataFrame:
    level = pl.col("level").str.to_lowercase()
    lines = {**_NOTHING_ELSE, "hits": pl.lit(1, pl.Int64)}
    rows = pl.concat(
        [
            errors.select(
                "source_file",
                "event_date",
                "site",
                **_aspect("error", level, pl.col("module"), pl.col("template")),
                **{
                    **lines,
                    "first_seen": pl.col("timestamp"),
                    "last_seen": pl.col("timestamp"),
                },
            ),
            errors.select("source_file", "event_date", "site", **_aspect("line", pl.lit("parsed")), **lines),
            errors.filter(pl.col("line_count") > 1).select(
                "source_file",
                "event_date",
                "site",
                **_aspect("line", pl.lit("continuation")),
                **{**lines, "hits": pl.col("line_count") - 1},
            ),
        ]
    )
    return _adding_up_counts(coded(rows).collect(), list(_COUNTS_KEYS))


def _line_counts(lines: pl.LazyFrame) -> pl.DataFrame:
    rows = lines.select(
        "source_file",
        "event_date",
        "site",
        **_aspect("line", pl.col("fate"), pl.col("reason")),
        **{**_NOTHING_ELSE, "hits": pl.col("lines")},
    )
    return _adding_up_counts(coded(rows).collect(), list(_COUNTS_KEYS))


_NOTHING_ELSE: Final = {
    "bytes": pl.lit(0, pl.Int64),
    "failures": pl.lit(0, pl.Int64),
    "first_seen": pl.lit(None, GOLD_COUNTS.schema["first_seen"]),
    "last_seen": pl.lit(None, GOLD_COUNTS.schema["last_seen"]),
}


def _aspect(name: str, *keys: pl.Expr) -> dict[str, pl.Expr]:
    """The columns of `counts` that say what is counted."""
    return {"aspect": pl.lit(name), **_NO_KEYS, **dict(zip(_NO_KEYS, keys, strict=False))}


_NO_KEYS: Final = {
    **{name: pl.lit(None, pl.String) for name in ("key_1", "key_2", "key_3")},
    "bucket": pl.lit(None, pl.Int16),
}
_TRAFFIC_KEYS: Final = tuple(GOLD_TRAFFIC.column_names[:-2])
# Rows come by these, one after the other. In this order a day's state takes a third less than by hour, and is
# encoded in a fifth less time: what user agents are recurs then.
_VISITORS_KEYS: Final = (
    "source_file", "event_date", "site", "user_agent", "status_class", "remote_host", "is_bot", "hour",
)  # fmt: skip
_CLIENTS_KEYS: Final = ("source_file", "event_date", "hour", "site", "remote_host")
_COUNTS_KEYS: Final = ("source_file", "event_date", "site", "aspect", *_NO_KEYS)
_adding_up_counts: Final = _adding_up(("hits", "bytes", "failures"), ("first_seen",), ("last_seen",))

ROLLUPS: Final = {
    rollup.table.name: rollup
    for rollup in (
        Rollup(
            GOLD_TRAFFIC,
            {"requests": request_counts.traffic},
            _TRAFFIC_KEYS,
            _adding_up(("hits", "bytes")),
            {"requests": pl.lit(value=True)},
        ),
        Rollup(
            GOLD_VISITORS,
            {"requests": request_visitors.visitors},
            _VISITORS_KEYS,
            _adding_up(("hits", "bytes"), determined=AGENT),
        ),
        Rollup(
            GOLD_VISITS,
            {"requests": request_visitors.visits},
            ("source_file", "event_date", "site", "remote_host", "user_agent"),
            join_intervals,
        ),
        Rollup(
            GOLD_CLIENTS,
            {"requests": request_visitors.clients},
            _CLIENTS_KEYS,
            _adding_up(("hits", "writes", "odd_methods", "referred"), sets=("paths", "probes")),
        ),
        Rollup(
            GOLD_COUNTS,
            {"requests": request_counts.counts, "errors": _error_counts, "lines": _line_counts},
            _COUNTS_KEYS,
            _adding_up_counts,
            {"errors": pl.col("aspect") == "error"},
            recurs=True,
        ),
    )
}

# Sources whose rows can be counted again in gold.
PROVEN: Final = tuple(source for rollup in ROLLUPS.values() for source in rollup.proofs)


def prepared_rows(source: str, silver: pl.LazyFrame | pa.Table) -> Any:
    """Rows of one source as `roll_up_prepared` takes them.

    Those of requests are read here; they may be an Arrow table of `REQUEST_SCHEMA`, whose texts are
    dictionaries.
    """
    if source != "requests":
        return silver
    if isinstance(silver, pl.LazyFrame):
        silver = silver.select(list(REQUEST_SCHEMA)).collect()
    # It lets go of them as soon as it may, if nobody else has them: they are 20 to 30 MB.
    read = [silver]
    del silver
    return prepared(read.pop())


def roll_up_prepared(source: str, rows: Any) -> dict[str, pl.DataFrame | pa.Table]:
    """What prepared rows of one source give to each rollup that has it; texts may be dictionaries."""
    return {
        name: rollup.roll_up(source, rows) for name, rollup in ROLLUPS.items() if source in rollup.sources
    }
