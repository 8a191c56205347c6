"""The catalogue: every table's name, columns, types and meaning, in one place.

What belongs here: what a table *is*. Checks, Parquet schemas, Delta schemas, the column metadata in
the UI and the documents are all made from these definitions.

What does not: how a table is computed (`parse`, `clean`, `rollups`, `projections`) or stored.

Integers are signed because Delta Lake has no unsigned types, and timestamps are UTC with microseconds
because that is what Delta Lake, Spark and Parquet agree on.
"""

from __future__ import annotations

from typing import Final

from pipeline_assets.kernel.schemas.bronze import BRONZE, BRONZE_ERRORS, BRONZE_REJECTED, BRONZE_REQUESTS
from pipeline_assets.kernel.schemas.gold import (
    GOLD,
    GOLD_CLIENTS,
    GOLD_COUNTS,
    GOLD_TRAFFIC,
    GOLD_VISITORS,
    GOLD_VISITS,
)
from pipeline_assets.kernel.schemas.model import (
    MODEL,
    MODEL_CLIENT_PROFILES,
    MODEL_INCIDENTS,
    MODEL_TRAFFIC_SCORES,
)
from pipeline_assets.kernel.schemas.records import LEDGER, RECORDS, RUNS, UNIT_DAYS
from pipeline_assets.kernel.schemas.serving import (
    SERVING,
    SERVING_AGENTS_DAILY,
    SERVING_CLIENTS_DAILY,
    SERVING_ERRORS_DAILY,
    SERVING_METHODS_DAILY,
    SERVING_NOT_FOUND_DAILY,
    SERVING_PATHS_DAILY,
    SERVING_QUALITY_DAILY,
    SERVING_REFERRERS_DAILY,
    SERVING_SIZES_AND_TIMES_DAILY,
    SERVING_STATUS_DAILY,
    SERVING_TRAFFIC_HOURLY,
    SERVING_TRAFFIC_MINUTELY,
    SERVING_VISITORS_DAILY,
    SERVING_VISITS_DAILY,
)
from pipeline_assets.kernel.schemas.silver import SILVER, SILVER_ERRORS, SILVER_REQUESTS
from pipeline_assets.kernel.schemas.table import KERNEL_VERSION, STRING, TIMESTAMP, Column, Table

__all__ = [
    "BRONZE",
    "BRONZE_ERRORS",
    "BRONZE_REJECTED",
    "BRONZE_REQUESTS",
    "GOLD",
    "GOLD_CLIENTS",
    "GOLD_COUNTS",
    "GOLD_TRAFFIC",
    "GOLD_VISITORS",
    "GOLD_VISITS",
    "KERNEL_VERSION",
    "LAYERS",
    "LEDGER",
    "MODEL",
    "MODEL_CLIENT_PROFILES",
    "MODEL_INCIDENTS",
    "MODEL_TRAFFIC_SCORES",
    "RECORDS",
    "RUNS",
    "SERVING",
    "SERVING_AGENTS_DAILY",
    "SERVING_CLIENTS_DAILY",
    "SERVING_ERRORS_DAILY",
    "SERVING_METHODS_DAILY",
    "SERVING_NOT_FOUND_DAILY",
    "SERVING_PATHS_DAILY",
    "SERVING_QUALITY_DAILY",
    "SERVING_REFERRERS_DAILY",
    "SERVING_SIZES_AND_TIMES_DAILY",
    "SERVING_STATUS_DAILY",
    "SERVING_TRAFFIC_HOURLY",
    "SERVING_TRAFFIC_MINUTELY",
    "SERVING_VISITORS_DAILY",
    "SERVING_VISITS_DAILY",
    "SILVER",
    "SILVER_ERRORS",
    "SILVER_REQUESTS",
    "STRING",
    "TIMESTAMP",
    "UNIT_DAYS",
    "Column",
    "Table",
]

LAYERS: Final[dict[str, dict[str, Table]]] = {"bronze": BRONZE, "silver": SILVER, "gold": GOLD}
