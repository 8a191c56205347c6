"""Rows whose texts are numbers of their own columns, as a part keeps them: no row's text is looked at.

What belongs here: such rows, some of them, and the same as a frame. What does not: one column of texts
(`texts_by_number`), and the same numbers for the texts of several parts (`coded_alike`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline_assets.kernel.texts_by_number import Texts

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from pipeline_assets.kernel.words import Places


@dataclass(frozen=True)
class CodedRows:
    """Columns of texts that are numbers, and the others, among which may be texts as they are."""

    texts: Mapping[str, Texts]
    others: pl.DataFrame

    @classmethod
    def of(cls, rows: pl.DataFrame | CodedRows) -> CodedRows:
        """Rows as they are."""
        return rows if isinstance(rows, CodedRows) else cls({}, rows)

    @classmethod
    def of_table(cls, table: pa.Table) -> CodedRows:
        """Arrow's rows, with numbers for the texts of dictionaries. One column at least is no dictionary."""
        import pyarrow as pa

        known = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
        others = pl.from_arrow(table.drop_columns(known))
        assert isinstance(others, pl.DataFrame)
        return cls({name: Texts.of_dictionary(table.column(name)) for name in known}, others)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self.others.height

    def told(self, name: str, tell: Callable[[pl.Series], pl.Series]) -> npt.NDArray[Any]:
        """For each row what is told of its value in a column, never null. Coded texts are asked once each."""
        texts = self.texts.get(name)
        if texts is not None:
            return texts.looked_up(tell(texts.known))
        found: npt.NDArray[Any] = tell(self.others[name]).to_numpy()
        return found

    def at(self, rows: Places) -> CodedRows:
        """Some of the rows, in any order."""
        return CodedRows({name: texts.at(rows) for name, texts in self.texts.items()}, self.others[rows])

    def frame(self, names: Iterable[str] | None = None) -> pl.DataFrame:
        """These columns of the rows, or all, with texts as such."""
        wanted = [*self.texts, *self.others.columns] if names is None else list(names)
        texts = [self.texts[name].plain().alias(name) for name in wanted if name in self.texts]
        return self.others.with_columns(texts).select(wanted)
