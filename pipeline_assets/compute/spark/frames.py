"""Spark's part: tasks as the rows of a frame, and their results brought together by key.

What belongs here: the two frames and their columns, and what a worker's process needs before it imports
anything of ours. What does not: what tasks and keys mean (`tasks`, `run`).

Only the DataFrame API is used, and no setting of executors, which Spark Connect may refuse: so it works
through Spark Connect too, as on serverless compute and on clusters that are shared.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

_SCHEMA: Final = "key string, payload binary"
# Groups that one task of the second stage works on, at most; each takes up to its share of a delivery.
_GROUPS_A_TASK: Final = 4
# A task is given one processor, and Polars would start a thread for each of the machine's. It asks when it is
# imported, so what is to be done travels as bytes, and is opened when the variable is set.
_ENVIRONMENT: Final = {"POLARS_MAX_THREADS": "1"}


@dataclass(frozen=True)
class Row:
    """What a task gives: bytes under a key. Rows of equal keys meet."""

    key: str
    payload: bytes


Work = Callable[[Any], Iterator[Row]]
Meet = Callable[[str, Sequence[bytes]], bytes]


def run_tasks(session: SparkSession, tasks: Sequence[Any], work: Work) -> list[bytes]:
    """What `work` gives for each of the tasks, in any order; every task is one of Spark's."""
    return _payloads(_worked(session, tasks, work))


def run_and_meet(
    session: SparkSession, tasks: Sequence[Any], work: Work, meet: Meet, keys: int
) -> list[bytes]:
    """As `run_tasks`, but rows of equal keys are made one by `meet`, where they meet.

    `keys` is about how many different ones there are. Rows of the key "" stay as they are.
    """
    stages = max(1, math.ceil(keys / _GROUPS_A_TASK))
    rows = _worked(session, tasks, work).repartition(stages, "key")
    packed = pickle.dumps(meet)
    # A function without hints: Spark 4.3 fails where it can't resolve the hints of a partial.
    return _payloads(rows.groupBy("key").applyInArrow(lambda group: _meet_group(packed, group), _SCHEMA))


def _worked(session: SparkSession, tasks: Sequence[Any], work: Work) -> Any:
    # The tasks travel with the function, which Spark sends to each executor once; a row only has a number.
    numbers = session.range(0, len(tasks), 1, numPartitions=max(1, len(tasks)))
    return numbers.mapInArrow(partial(_work_on, pickle.dumps((list(tasks), work))), _SCHEMA)


def _payloads(rows: Any) -> list[bytes]:
    return [bytes(row.payload) for row in rows.collect()]


def _work_on(packed: bytes, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    tasks, work = _unpacked(packed)
    for batch in batches:
        for number in batch.column(0).to_pylist():
            # One row a batch, so that no more than one payload is copied to Spark at a time.
            for row in work(tasks[number]):
                yield _batch([row])


def _meet_group(packed: bytes, group: pa.Table) -> pa.Table:
    import pyarrow as pa

    meet = _unpacked(packed)
    (key,) = set(group.column("key").to_pylist())
    payloads = group.column("payload").to_pylist()
    rows = [Row(key, payload) for payload in (payloads if key == "" else [meet(key, payloads)])]
    return pa.Table.from_batches([_batch(rows)])


def _unpacked(packed: bytes) -> Any:
    """What this very job has packed; only in a process of Spark's workers."""
    os.environ.update(_ENVIRONMENT)
    return pickle.loads(packed)  # noqa: S301 - ours


def _batch(rows: Sequence[Row]) -> pa.RecordBatch:
    import pyarrow as pa

    schema = pa.schema([("key", pa.string()), ("payload", pa.binary())])
    columns = [[row.key for row in rows], [row.payload for row in rows]]
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
