"""A Delta table whose files are where they are said to be, also in a folder with a blank in its name.

What belongs here: how delta-rs writes paths. What does not: what is done with tables (`tables`).

It is imported where a table is opened, for it imports delta-rs.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from deltalake import DeltaTable

_LOCAL: Final = "file://"


class NamedDeltaTable(DeltaTable):
    """A `DeltaTable` that says paths of local files as the system knows them.

    delta-rs (1.6) writes the table's folder as in a URL, a blank as `%20`, and what is in it as it is. Polars
    (2.1) opens what is written.
    """

    @property
    def table_uri(self) -> str:
        """Where the table is."""
        said = super().table_uri
        return unquote(said) if said.startswith(_LOCAL) else said

    def file_uris(self, *given: Any, **named: Any) -> list[str]:
        """The files that make up the table."""
        files = super().file_uris(*given, **named)
        said = super().table_uri
        folder = said.removeprefix(_LOCAL)
        if folder == said or "%" not in folder:
            return files
        return [unquote(folder) + file.removeprefix(folder) for file in files]
