"""Text columns of many frames coded alike: equal texts have the same number in all of them.

What belongs here: such columns, and bare numbers for them while they wait. What does not: one frame's texts
as numbers (`codes`, `texts_by_number`).

Frames that are merged need not be coded again then, and to write and read numbers takes a tenth of the time
that texts take.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline_assets.kernel.coded_rows import CodedRows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.unsignedinteger[Any]]

# What is kept of a text beside its bytes, about.
_TEXT_BYTES: Final = 32
# So many texts are coded before the new ones are counted. Clients choose what a rollup's part says, up to a
# kilobyte in each of its 100,000 rows or so.
_AT_ONCE: Final = 1 << 14


class CodedAlike:
    """Codes text columns alike by their names, as long as the different texts of a column are few.

    `most_bytes` is what those of a column may come to, or hardly more; rows that have more, and all that
    come after them, keep theirs. Threads may use it at the same time.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes: Counter[str] = Counter()
        self._different: Counter[str] = Counter()
        # Categories go when no column has them any more.
        self._empty: dict[str, pl.Series] = {}
        # The dictionary that came last is that of the next rows, as a rule: three rollups of a part have the
        # same clients. To compare 20,000 texts takes a tenth of the time of looking each of them up.
        self._last: dict[str, tuple[pl.Series, Numbers]] = {}
        # Threads that code the same column would wait for each other at every row.
        self._locks: dict[str, threading.Lock] = {}

    def numbers(self, rows: CodedRows) -> tuple[dict[str, Numbers], pl.DataFrame]:
        """The rows' texts as bare numbers of as few bytes as they need, by column; and all other columns.

        The highest number of so many bytes stands for null. Texts that are too many are among the others.
        """
        import numpy as np

        numbers: dict[str, Numbers] = {}
        texts: list[pl.Series] = []
        for name, column in rows.texts.items():
            known = self._of_column(name, column.known[:-1], is_dictionary=True)
            if known is None:
                texts.append(column.plain().alias(name))
            else:
                numbers[name] = np.append(known, ~known.dtype.type(0)).take(column.numbers)
        others = rows.others.get_columns()
        for plain in others:
            if plain.dtype == pl.String:
                known = self._of_column(plain.name, plain, is_dictionary=False)
                if known is not None:
                    numbers[plain.name] = known
        # Not by `drop`, which asks the engine.
        return numbers, pl.DataFrame([*(each for each in others if each.name not in numbers), *texts])

    def coded(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of bare numbers, null where there is no text, with coded texts for them.

        Columns of texts that were too many stay as they are.
        """
        schema = rows.schema
        return rows.with_columns(
            pl.col(name).cat.to(empty.dtype)
            for name, empty in self._empty.items()
            if schema.get(name, pl.String) != pl.String
        )

    def _of_column(self, name: str, texts: pl.Series, *, is_dictionary: bool) -> Numbers | None:
        """Numbers of texts; None where there are too many."""
        import numpy as np

        # In one step: of two threads that come first, both have the same lock.
        with self._locks.setdefault(name, threading.Lock()):
            last, numbers = self._last.get(name, (None, None))
            if last is None or not last.equals(texts):
                numbers = self._numbers(name, texts)
            if is_dictionary and numbers is not None:
                self._last[name] = texts, numbers
            kind = np.min_scalar_type(self._different[name])
        # What stands for null is the highest number of any size.
        return None if numbers is None else numbers.astype(kind)

    def _numbers(self, name: str, texts: pl.Series) -> Numbers | None:
        """The same in four bytes each. The column's lock is held."""
        import numpy as np

        if name not in self._empty:
            self._empty[name] = pl.Series(name, [], pl.Categorical(pl.Categories.random()))
        found = []
        for begin in range(0, max(1, texts.len()), _AT_ONCE):
            if self._bytes[name] > self._most_bytes:
                return None
            found.append(self._some_numbers(name, texts[begin : begin + _AT_ONCE]))
        return np.concatenate(found)

    def _some_numbers(self, name: str, texts: pl.Series) -> Numbers:
        """Numbers of some texts, of which those that are new are counted."""
        import numpy as np

        dtype = self._empty[name].dtype
        numbers = texts.cast(dtype).to_physical()
        highest = numbers.max()
        if isinstance(highest, int) and highest >= self._different[name]:
            new = pl.int_range(self._different[name], highest + 1, dtype=pl.UInt32, eager=True)
            said = new.cat.to(dtype).cast(pl.String).str.len_bytes().sum()
            self._bytes[name] += int(said) + _TEXT_BYTES * new.len()
            self._different[name] = highest + 1
        if numbers.null_count():
            numbers = numbers.fill_null(np.iinfo(np.uint32).max)
        return numbers.to_numpy()
