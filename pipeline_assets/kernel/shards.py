"""Rollups cut into shards, so that days of any size are worked on in bounded memory, one shard after another.

What belongs here: which rows must stay together. What does not: when a state is cut, and where shards wait
(`compute.sharding`).

Rows of a client stay together, because visitors, visits and paths are counted by client; counts of what
clients choose stay together by what is counted. All other rows are few, and are in the first shard. The hash
holds for this process only: what was cut together may be stored so, but nobody can ask for a row's shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

_BY_CLIENT: Final = ("visitors", "visits", "clients")
# Aspects of `counts` whose keys clients choose; the others are bounded by what there is to count.
_WIDE: Final = ("path", "not_found", "referrer", "error")
_KEYS: Final = ("key_1", "key_2", "key_3")


def cut(
    rollup: str,
    rows: pl.DataFrame,
    shards: int,
    as_kept: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows of a rollup by the number of their shard, below `shards`; none has no row.

    `as_kept` says how they are kept; where they belong is told by their texts.
    """
    if rollup in _BY_CLIENT:
        number = pl.col("remote_host").hash()
    elif rollup == "counts":
        keys = [pl.col(key).hash(seed) for seed, key in enumerate(_KEYS)]
        number = pl.when(pl.col("aspect").is_in(_WIDE)).then(keys[0] ^ keys[1] ^ keys[2]).otherwise(0)
    else:
        yield 0, as_kept(rows)
        return
    by_number = (
        as_kept(rows)
        .with_columns(rows.select(shard=number % shards))
        .partition_by("shard", as_dict=True, include_key=False)
    )
    yield from ((shard, some) for (shard,), some in by_number.items())
