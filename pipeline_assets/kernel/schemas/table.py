"""What a table and a column are.

What belongs here: the two classes, the types that all tables share, and the kernel's version. What does not:
any table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

# Raised whenever the same landed bytes would give different rows: readers compare it with what a unit
# was written by, and `pipeline-assets status` names the units that an older kernel wrote.
KERNEL_VERSION: Final = "6"
TIMESTAMP: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Column:
    """One column: its name, its Polars type, what it holds, and whether a null is allowed."""

    name: str
    dtype: pl.DataType
    description: str
    nullable: bool = True


@dataclass(frozen=True)
class Table:
    """One table of one layer, and its columns in order."""

    name: str
    layer: str
    description: str
    columns: tuple[Column, ...]

    @cached_property
    def schema(self) -> pl.Schema:
        """Column names and Polars types, in order; not to be changed.

        A small delivery asks some two hundred times, and making it took a twentieth of its time.
        """
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def column_names(self) -> list[str]:
        """Column names, in order."""
        return [column.name for column in self.columns]

    def empty(self) -> pl.DataFrame:
        """A frame of this table's columns with no rows."""
        return self._empty.clone()

    @cached_property
    def _empty(self) -> pl.DataFrame:
        # To make one takes 4 ms, and a large day asks some two hundred times.
        return pl.DataFrame(schema=self.schema)


STRING: Final = pl.String()
