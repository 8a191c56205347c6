"""A column of texts as numbers, and the different texts they stand for, as Parquet parts keep them.

What belongs here: such columns, and numbers for rows that have the same in several of them. What does not:
what is done with the rows.

It is what `codes` does with Polars' categories, for rows that are taken from a part as it has them: no row's
text is looked at, and rows are grouped and sorted as numbers of which no two columns know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.codes import NUMBERS, spellings
from pipeline_assets.kernel.words import plain, series, validity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from pipeline_assets.kernel.words import Places, Words

    Numbers = npt.NDArray[np.int32]
    # A column of numbers from 0 on, and how many there may be.
    Column = tuple[npt.NDArray[np.integer | np.bool_], int]

# Of fewer rows it costs more to ask Polars, a tenth of a millisecond each time, than to look at each.
_FEW_ROWS: Final = 2_000
# So many texts that no row has may be in a dictionary.
_FEW_TEXTS: Final = 500


@dataclass(frozen=True)
class Texts:
    """For each row the place of its text among the `known` ones, which differ; the last of them is null."""

    numbers: Numbers
    known: pl.Series

    @classmethod
    def of(cls, texts: pl.Series) -> Texts:
        """Texts, or coded texts."""
        if texts.len() < _FEW_ROWS:
            return cls._of_few_rows(texts.cast(pl.String).to_list())
        if not isinstance(texts.dtype, pl.Categorical):
            # Categories that nobody has used are numbered as they come.
            rows = texts.cast(pl.Categorical(pl.Categories.random()))
            known = spellings(rows)
            return cls(_numbers(rows.to_physical(), known.len()), _with_null(known))
        distinct = texts.unique(maintain_order=True).drop_nulls()
        places = distinct.to_physical()
        highest = places.max()
        here = pl.zeros(highest + 1 if isinstance(highest, int) else 0, pl.Int32, eager=True)
        here = here.scatter(places, pl.int_range(places.len(), dtype=pl.Int32, eager=True))
        return cls(_numbers(here[texts.to_physical()], places.len()), _with_null(distinct.cast(pl.String)))

    @classmethod
    def _of_few_rows(cls, texts: list[str | None]) -> Texts:
        import numpy as np

        known = [text for text in dict.fromkeys(texts) if text is not None]
        place: dict[str | None, int] = {text: number for number, text in enumerate(known)}
        place[None] = len(known)
        numbers = np.fromiter(map(place.__getitem__, texts), np.int32, len(texts))
        return cls(numbers, pl.Series([*known, None], dtype=pl.String))

    @classmethod
    def of_column(cls, column: pa.ChunkedArray) -> Texts:
        """One column of Arrow's, which may be dictionaries."""
        import pyarrow as pa

        is_dictionary = pa.types.is_dictionary(column.type)
        return cls.of_dictionary(column) if is_dictionary else cls.of(series("", column))

    @classmethod
    def of_dictionary(cls, column: pa.ChunkedArray) -> Texts:
        """Arrow's dictionaries, as they are; those of several chunks are united."""
        import numpy as np

        column = column.unify_dictionaries()
        if not column.num_chunks:
            return cls.of(pl.Series([], dtype=pl.String))
        known = series("", column.chunk(0).dictionary)
        numbers = [_indices(chunk.indices, known.len()) for chunk in column.chunks]
        return cls(numbers[0] if len(numbers) == 1 else np.concatenate(numbers), _with_null(known))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def size(self) -> int:
        """One more than the highest number there may be."""
        return self.known.len()

    def plain(self) -> pl.Series:
        """The rows' texts."""
        return self.known[self.numbers]

    def coded(self) -> pl.Series:
        """The rows' texts, coded."""
        return self.known.cast(pl.Categorical(pl.Categories.random()))[self.numbers]

    def is_null(self) -> npt.NDArray[np.bool_]:
        """Whether a row has no text."""
        found: npt.NDArray[np.bool_] = self.numbers == self.size - 1
        return found

    def asked(self, ask: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
        """What `ask` says of the known texts, by number; of null it says nothing, and that is null."""
        said = ask(self.known[:-1])
        return said.vstack(pl.DataFrame({name: [None] for name in said.columns}, schema=said.schema))

    def told(self, said: pl.Series) -> Texts:
        """The rows by what is said of their texts, by number, which may be the same of several."""
        other = Texts.of(said)
        return Texts(other.numbers.take(self.numbers), other.known)

    def replaced(self, places: pl.Series, texts: pl.Series) -> Texts:
        """The rows with other texts for those known at these places, which are few."""
        known = self.known.clone().scatter(places, texts)
        if texts.n_unique() == texts.len() and not self.known.is_in(texts.implode()).any():
            return Texts(self.numbers, known)
        return self.told(known)

    def dictionary(self) -> pa.DictionaryArray:
        """The rows as Arrow has them."""
        import pyarrow as pa

        known = plain(self.known[:-1])
        null = self.is_null()
        numbers = pa.Array.from_buffers(
            pa.int32(),
            len(self),
            [validity(null) if null.any() else None, pa.py_buffer(self.numbers.astype("int32", copy=False))],
        )
        return pa.DictionaryArray.from_arrays(numbers, known)

    def at(self, rows: Places | slice) -> Texts:
        """Some of the rows, in any order."""
        # `take` needs three quarters of the time of an index, or two thirds if that is of 32 bits.
        return Texts(self.numbers[rows] if isinstance(rows, slice) else self.numbers.take(rows), self.known)

    def looked_up(self, said: pl.Series) -> npt.NDArray[Any]:
        """For each row what is said of its text, by number, with no null."""
        return said.to_numpy().take(self.numbers)

    def where(self, which: npt.NDArray[np.bool_]) -> Texts:
        """The rows, null where this is not true."""
        import numpy as np

        return Texts(np.where(which, self.numbers, self.size - 1).astype(np.int32), self.known)

    def of_few(self) -> Texts:
        """The rows, with hardly a text known but those that one of them has."""
        import numpy as np

        if self.size <= _FEW_TEXTS:
            return self
        found = np.bincount(self.numbers, minlength=self.size) > 0
        found[-1] = True
        places = np.cumsum(found, dtype=np.int32) - np.int32(1)
        return Texts(places.take(self.numbers), self.known.filter(pl.Series(found)))


def _numbers(numbers: pl.Series, of_null: int) -> Numbers:
    if numbers.dtype != pl.Int32:
        numbers = numbers.cast(pl.Int32)
    if numbers.null_count():
        numbers = numbers.fill_null(of_null)
    return numbers.rechunk().to_numpy()


def _indices(indices: pa.Array, of_null: int) -> Numbers:
    """A dictionary's indices. To ask Polars where there are nulls takes twice as long."""
    import numpy as np
    import pyarrow as pa

    there, values = indices.buffers()
    begin, end = indices.offset, indices.offset + len(indices)
    if indices.type != pa.int32() or values is None:
        return _numbers(series("", indices), of_null)
    numbers: Numbers = np.frombuffer(values, np.int32)[begin:end]
    if not indices.null_count:
        return numbers
    are_there = np.unpackbits(np.frombuffer(there, np.uint8), count=end, bitorder="little")[begin:]
    # As `where` would choose, but that nulls which come at random cost it a missed branch each.
    return (numbers - np.int32(of_null)) * are_there + np.int32(of_null)


def _with_null(known: pl.Series) -> pl.Series:
    return pl.concat([known, pl.Series(known.name, [None], pl.String)]).rechunk()


def plain_rows(table: pa.Table) -> pl.DataFrame:
    """The table's rows, those of dictionaries as the texts that they are."""
    return _rows(table, Texts.plain)


def coded_rows(table: pa.Table) -> pl.DataFrame:
    """The table's rows, those of dictionaries as coded texts: no row's text is looked at."""
    return _rows(table, Texts.coded)


def _rows(table: pa.Table, as_texts: Callable[[Texts], pl.Series]) -> pl.DataFrame:
    import pyarrow as pa

    known = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    others = pl.from_arrow(table.drop_columns(known))
    assert isinstance(others, pl.DataFrame)
    texts = [as_texts(Texts.of_dictionary(table.column(name))).alias(name) for name in known]
    return others.with_columns(texts).select(table.column_names)


def joined(columns: Iterable[Texts | Column], rows: int) -> Words:
    """A number for each row, the same where rows have the same in all of these columns.

    A column that has one value in all rows has no share in it.
    """
    import numpy as np

    numbers = np.zeros(rows, np.uint64)
    different = 1
    for column in columns:
        these, size = (column.numbers, column.size) if isinstance(column, Texts) else column
        if _are_one(these):
            continue
        if different * size > NUMBERS:
            numbers = np.unique(numbers, return_inverse=True)[1].astype(np.uint64)
            different = int(numbers.max(initial=0)) + 1
        if different == 1:
            numbers = these.astype(np.uint64)
        else:
            numbers *= np.uint64(size)
            numbers += these.astype(np.uint64)
        different *= size
    return numbers


def _are_one(numbers: npt.NDArray[np.integer | np.bool_]) -> bool:
    """Whether all of the numbers are the same; most that are not differ at their ends."""
    return not len(numbers) or bool(numbers[0] == numbers[-1] and (numbers == numbers[0]).all())
