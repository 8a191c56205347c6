"""Rows as records of some bytes each, one behind the other, as they wait outside of memory.

What belongs here: records, and frames of them again. What does not: which rows wait together, and where
(`compute.sharding`).

Records are put in order by moving each as a whole, and those of many frames are one frame again once their
bytes stand one behind the other. What may be of any length, as texts and sets, is a stream of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from pipeline_assets.kernel.words import Places

    Numbers = npt.NDArray[np.unsignedinteger[Any]]


class Field(NamedTuple):
    """A column of records: its values, or, of those in a stream, how long each is.

    `is_coded` are numbers that stand for texts; the highest that there may be stands for null.
    """

    name: str
    dtype: pl.DataType
    kind: str
    has_null: bool = False
    is_coded: bool = False


Layout = tuple[Field, ...]


@dataclass(frozen=True)
class Records:
    """Rows in some order, and the streams of those columns whose values are of any length."""

    layout: Layout
    rows: npt.NDArray[np.void]
    streams: Mapping[str, npt.NDArray[Any]]

    @classmethod
    def of(cls, numbers: Mapping[str, Numbers], others: pl.DataFrame, order: Places) -> Records:
        """Columns as records, in this order of the rows; of texts there are numbers that stand for them.

        Lists are of numbers, none of them null.
        """
        import numpy as np

        coded = [Field(name, pl.String(), of.dtype.str, is_coded=True) for name, of in numbers.items()]
        nulls = dict(zip(others.columns, others.null_count().row(0), strict=True))
        fixed = others.select(
            expression
            for name, dtype in others.schema.items()
            for expression in _fixed(name, dtype, has_null=nulls[name] > 0)
        )
        values = {**numbers, **{column.name: column.to_numpy() for column in fixed}}
        fields = (
            Field(name, dtype, values[name].dtype.str, nulls[name] > 0)
            for name, dtype in others.schema.items()
        )
        layout = (*coded, *fields)
        rows = np.empty(len(order), _record(layout))
        for name, column in values.items():
            rows[name] = column
        streams = {
            name: _stream(others[name], order) for name, dtype in others.schema.items() if _is_long(dtype)
        }
        return cls(layout, rows.take(order), streams)

    def cut(self, rows: Places) -> Iterator[tuple[str, memoryview, list[int]]]:
        """The bytes of the records, and those of each stream by its name.

        With each come their sizes for so many rows, and so many more.
        """
        import numpy as np

        yield "", _bytes(self.rows), (rows * self.rows.itemsize).tolist()
        ends = np.append(0, np.cumsum(rows))
        for name, stream in self.streams.items():
            until = np.append(0, np.cumsum(self.rows[name], dtype=np.int64))
            yield name, _bytes(stream), (np.diff(until[ends]) * stream.itemsize).tolist()


def as_frame(layout: Layout, stream: Callable[[str], bytearray]) -> pl.DataFrame:
    """Records that were cut as a frame again, with bare numbers for texts that are coded."""
    import numpy as np
    import pyarrow as pa

    rows = np.frombuffer(stream(""), _record(layout))
    empty = pl.DataFrame(schema={field.name: field.dtype for field in layout})
    types = empty.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    columns = {}
    for field in layout:
        values = np.ascontiguousarray(rows[field.name])
        there: npt.NDArray[np.bool_] | None = None
        if field.is_coded:
            null = np.iinfo(values.dtype).max
            there = values != null if values.max(initial=0) == null else None
        elif field.has_null:
            there = rows[_there(field.name)]
        long = stream(field.name) if _is_long(field.dtype) and not field.is_coded else None
        kind = pa.from_numpy_dtype(values.dtype) if field.is_coded else types.field(field.name).type
        columns[field.name] = _arrow(kind, values, there, long)
    found = pl.from_arrow(pa.table(columns))
    assert isinstance(found, pl.DataFrame)
    return found


def _is_long(dtype: pl.DataType) -> bool:
    """Whether values are of any length."""
    return dtype == pl.String or isinstance(dtype, pl.List)


def _there(name: str) -> str:
    """The field that says whether a value is there."""
    return f"{name} is there"


def _fixed(name: str, dtype: pl.DataType, *, has_null: bool) -> Iterator[pl.Expr]:
    column = pl.col(name)
    if dtype == pl.String:
        value = column.str.len_bytes()
    elif isinstance(dtype, pl.List):
        value = column.list.len()
    else:
        value = column.to_physical()
    if has_null:
        yield column.is_not_null().alias(_there(name))
        value = value.fill_null(value=False if dtype == pl.Boolean else 0)
    yield value


def _record(layout: Layout) -> np.dtype[np.void]:
    import numpy as np

    fields: list[tuple[str, str]] = []
    for field in layout:
        fields.append((field.name, field.kind))
        if field.has_null:
            fields.append((_there(field.name), "?"))
    return np.dtype(fields)


def _stream(column: pl.Series, order: Places) -> npt.NDArray[Any]:
    """All values of a column one behind the other, in this order."""
    import numpy as np

    column = column[order]
    if column.dtype == pl.String:
        arrow = column.fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())
        ends, texts = (
            np.frombuffer(buffer, kind)
            for buffer, kind in zip(arrow.buffers()[1:], ("i8", "u1"), strict=True)
        )
        return texts[ends[arrow.offset] : ends[arrow.offset + len(arrow)]]
    return column.list.explode(keep_nulls=False, empty_as_null=False).to_numpy()


def _arrow(
    kind: pa.DataType, values: npt.NDArray[Any], there: npt.NDArray[np.bool_] | None, long: bytearray | None
) -> pa.Array:
    """A column as Arrow has it: Polars views it as it is."""
    import numpy as np
    import pyarrow as pa

    valid = None if there is None else _bits(there)
    if long is None:
        data = _bits(values) if kind == pa.bool_() else _buffer(values)
        return pa.Array.from_buffers(kind, len(values), [valid, data])
    bounds = _buffer(np.append(0, np.cumsum(values, dtype=np.int64)))
    if kind == pa.large_string():
        return pa.Array.from_buffers(kind, len(values), [valid, bounds, _buffer(long)])
    inner = kind.value_type
    members = pa.Array.from_buffers(inner, len(long) * 8 // inner.bit_width, [None, _buffer(long)])
    return pa.Array.from_buffers(kind, len(values), [valid, bounds], children=[members])


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    import numpy as np

    return _buffer(np.packbits(values, bitorder="little"))


def _buffer(values: Any) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(values)


def _bytes(values: npt.NDArray[Any]) -> memoryview:
    import numpy as np

    return memoryview(np.ascontiguousarray(values).view(np.uint8).data)
