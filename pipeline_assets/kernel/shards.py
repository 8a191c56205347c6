"""Rollups cut into shards, so that days of any size are worked on in bounded memory, one shard after another.

What belongs here: which rows must stay together. What does not: when a state is cut, and where shards wait
(`compute.sharding`).

Rows of a client stay together, because visitors, visits and paths are counted by client; counts of what
clients choose stay together by what is counted. All other rows are few, and are in the first shard. The hash
holds for this process only: what was cut together may be stored so, but nobody can ask for a row's shard.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.coded_rows import CodedRows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BY_CLIENT: Final = ("visitors", "visits", "clients")
# Aspects of `counts` whose keys clients choose; the others are bounded by what there is to count.
_WIDE: Final = ("path", "not_found", "referrer", "error")
_KEYS: Final = ("key_1", "key_2", "key_3")


def shard_numbers(rollup: str, rows: CodedRows, shards: int) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The number of each row's shard, below `shards`, in as few bytes as it needs.

    Numbers of one byte or two are sorted in a tenth of the time.
    """
    import numpy as np

    few = np.min_scalar_type(shards)
    if rollup in _BY_CLIENT:
        return rows.told("remote_host", lambda hosts: hosts.hash() % shards).astype(few)
    if rollup != "counts":
        return np.zeros(rows.height, few)
    number = np.zeros(rows.height, np.uint64)
    for seed, key in enumerate(_KEYS):
        number ^= rows.told(key, partial(pl.Series.hash, seed=seed))
    is_wide = rows.told("aspect", lambda aspects: aspects.is_in(_WIDE).fill_null(value=False))
    return np.where(is_wide, number % np.uint64(shards), 0).astype(few)
