"""Bronze: lines as the server wrote them.

What belongs here: the columns that reading gives. What does not: anything decoded or worked out (`silver`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel.schemas.columns import ERROR_FIELDS, LINEAGE, REQUEST_FIELDS
from pipeline_assets.kernel.schemas.table import STRING, Column, Table

_BYTE_OFFSET = Column("byte_offset", pl.Int64(), "first byte of the line in the decompressed file", False)
_RAW = Column("raw", pl.Binary(), "the line's bytes, only where the columns can't rebuild them exactly")
BRONZE_REQUESTS: Final = Table(
    "requests",
    "bronze",
    "One row for each access-log line, as the server wrote it.",
    (*REQUEST_FIELDS, _BYTE_OFFSET, _RAW),
)
BRONZE_ERRORS: Final = Table(
    "errors",
    "bronze",
    "One row for each error-log entry, as the server wrote it.",
    (*ERROR_FIELDS, _BYTE_OFFSET, _RAW),
)
BRONZE_REJECTED: Final = Table(
    "rejected",
    "bronze",
    "Lines that are no log entry we can read, with the reason and their exact bytes.",
    (
        *LINEAGE,
        _BYTE_OFFSET,
        Column("line", pl.Binary(), "the line's bytes without the line feed", False),
        Column("reason", STRING, "why it was rejected, from a closed list", False),
    ),
)
BRONZE: Final = {table.name: table for table in (BRONZE_REQUESTS, BRONZE_ERRORS, BRONZE_REJECTED)}
