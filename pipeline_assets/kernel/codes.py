"""Texts as numbers while rows are asked about, grouped, joined and sorted.

What belongs here: taking texts for numbers and back, and one number for all that a row has, by which rows
are sorted. What does not: what is asked of rows with the same number (`groups`), and what else is done with
them meanwhile.

Logs say the same thing many times: there are far fewer different texts than rows. Hashing and comparing a
number for each takes a third of the time that texts take, and what a text says need be worked out once.
Values are taken by their places as `column[places]`: `gather` asks the engine, and takes two to three times
as long at any size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl
from polars import selectors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]

# Of fewer rows it costs more to code their texts for whoever takes them than it saves there.
MANY_ROWS: Final = 20_000
# So many texts that no row has may be in a dictionary.
_MANY_TEXTS: Final = 2_000
# Beyond this, numbers of rows would not fit into 64 bits.
NUMBERS: Final = 1 << 64
# Numbers nearer to one another leave bits for 16 million rows; a day has a tenth as many microseconds.
_FAR_APART: Final = 1 << 40


def coded(rows: pl.LazyFrame, names: Collection[str] = ()) -> pl.LazyFrame:
    """The rows with these text columns, or all, as categories: equal texts are equal, and sort as texts do.

    Columns that are coded already stay as they are.
    Each column has categories of its own, which go when the rows do. If they had them in common, threads that
    code several columns at once would wait for each other.
    """
    schema = rows.collect_schema()
    texts = names or [name for name, dtype in schema.items() if dtype == pl.String]
    return rows.with_columns(
        pl.col(name).cast(pl.Categorical(pl.Categories.random()))
        for name in texts
        if schema[name] == pl.String
    )


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their categories as texts again, each of which is for itself."""
    return rows.with_columns(selectors.categorical().cast(pl.String))


def spellings(texts: pl.Series) -> pl.Series:
    """What the numbers of a coded column stand for, from 0 to the highest; some may be no row's."""
    return _every(texts.to_physical()).cat.to(texts.dtype).cast(pl.String)


def _every(numbers: pl.Series) -> pl.Series:
    """The numbers of texts from 0 to the highest of a column."""
    highest = numbers.max()
    return pl.int_range(highest + 1 if isinstance(highest, int) else 0, dtype=pl.UInt32, eager=True)


def of_few(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """The rows with numbers from 0 on for coded texts, and what they stand for: hardly a text of no row.

    All columns at once: to ask the engine for each of twenty takes half of the time that encoding them takes.
    """
    import numpy as np

    numbers, schema = rows.with_columns(selectors.categorical().to_physical()), rows.schema
    known = {}
    for place, (name, dtype) in enumerate(schema.items()):
        if isinstance(dtype, pl.Categorical):
            column = numbers[name]
            known[name] = _every(column)
            if known[name].len() > _MANY_TEXTS:
                found = np.zeros(known[name].len(), np.bool_)
                found[without_null(column, 0).to_numpy()] = True
                some = known[name].filter(pl.Series(found))
                if some.len() < known[name].len() // 2:
                    places = pl.Series(name, np.cumsum(found, dtype=np.uint32) - np.uint32(1))
                    numbers.replace_column(place, places[column])
                    known[name] = some
    said = pl.select(
        pl.lit(texts).cat.to(schema[name]).cast(pl.String).implode().alias(name)
        for name, texts in known.items()
    )
    return numbers, {name: said[name][0] for name in known}


def together(parts: Sequence[pl.DataFrame], columns: Sequence[str]) -> pl.DataFrame:
    """These columns of the frames' rows; texts that are coded differently are texts."""
    try:
        # As a rule they are coded alike. To ask forty frames for their types takes longer.
        return pl.concat(parts).select(columns).rechunk()
    except (pl.exceptions.SchemaError, pl.exceptions.ShapeError):
        schemas = [part.schema for part in parts]
        differ = [name for name in columns if len({schema[name] for schema in schemas}) > 1]
        return pl.concat(
            [part.select(columns).with_columns(pl.col(differ).cast(pl.String)) for part in parts],
            rechunk=True,
        )


def answers(texts: pl.Series, ask: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
    """What `ask` says of each text, in the rows' order; it is given each one once, and never a null.

    The texts may be coded. `ask` returns a row for each text that it is given, in their order. A null has
    nulls for answers.
    """
    is_coded = isinstance(texts.dtype, pl.Categorical)
    rows = texts if is_coded else texts.cast(pl.Categorical(pl.Categories.random()))
    distinct = rows.unique().drop_nulls()
    return ask(distinct.cast(pl.String)).select(pl.all().gather(_places(rows, distinct)))


def _places(rows: pl.Series, distinct: pl.Series) -> pl.Series:
    """Where each row's text stands among the distinct ones; both are coded alike, and a null stays one."""
    numbers = distinct.to_physical()
    highest = numbers.max()
    # By number, of which some may be no row's.
    places = pl.zeros(highest + 1 if isinstance(highest, int) else 0, pl.UInt32, eager=True)
    places = places.scatter(numbers, pl.int_range(numbers.len(), dtype=pl.UInt32, eager=True))
    return places[rows.to_physical()]


def in_order(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The rows sorted by these columns, nulls last: coded texts, integers, dates, times or booleans.

    As `sort` does it, but that each column is taken for numbers first, of which a row's are one: it takes a
    third of the time.
    """
    return rows[sorting(numbered([ranks(rows[key]) for key in keys]))] if rows.height else rows


def ranks(column: pl.Series) -> pl.Series:
    """Numbers from 0 on that sort as the values do; of a coded text, its place among the different ones."""
    if not isinstance(column.dtype, pl.Categorical):
        return numbers_of(column)
    distinct = column.unique().drop_nulls()
    return _places(column, distinct[distinct.cast(pl.String).arg_sort()])


def without_null(numbers: pl.Series, instead: int) -> pl.Series:
    """The numbers with another for each null. To ask the engine takes a tenth of a millisecond."""
    return numbers.fill_null(instead) if numbers.null_count() else numbers


def numbers_of(column: pl.Series) -> pl.Series:
    """Numbers from 0 on, the same for the same; those of what is no text sort as the values do."""
    if isinstance(column.dtype, pl.Categorical):
        return column.to_physical()
    numbers = column.cast(pl.Int64)
    least, most = numbers.min(), numbers.max()
    if isinstance(least, int) and isinstance(most, int) and most - least < _FAR_APART:
        return numbers - least
    return numbers.rank("dense") - 1


def numbered(columns: Sequence[pl.Series]) -> Words:
    """A number for each row, the same where the rows have the same in all of these coded columns."""
    import numpy as np

    numbers = np.zeros(len(columns[0]), np.uint64)
    highest = 0
    for column in columns:
        # To ask the engine for what is numbers already takes some 25 us.
        codes = column.to_physical() if isinstance(column.dtype, pl.Categorical) else column
        most = codes.max()
        different = int(most) + 2 if isinstance(most, int) else 1
        if different <= 2 and not codes.null_count():  # one text in all rows
            continue
        these = without_null(codes.cast(pl.UInt64), different - 1).to_numpy()
        if not highest:
            numbers, highest = these, different - 1
            continue
        if (highest + 1) * different > NUMBERS:
            numbers = np.unique(numbers, return_inverse=True)[1].astype(np.uint64)
            highest = int(numbers.max())
        numbers = numbers * np.uint64(different)
        numbers += these
        highest = (highest + 1) * different - 1
    return numbers


def sorting(numbers: Words) -> npt.NDArray[np.int64]:
    """The places of some numbers in their order; those of equal numbers as they come.

    Where a number and its place fit into 64 bits they are sorted as one, which takes a third of the time.
    """
    import numpy as np

    bits = np.uint64(max(len(numbers) - 1, 1).bit_length())
    if len(numbers) and int(numbers.max()) >> (64 - int(bits)):
        return np.argsort(numbers, kind="stable")
    both = ascending((numbers << bits) | np.arange(len(numbers), dtype=np.uint64))
    return (both & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)


def ascending(numbers: Words) -> Words:
    """The numbers in their order. More threads take twice the CPU time, and there is other work for them."""
    return pl.Series(numbers).sort(multithreaded=False).to_numpy()
