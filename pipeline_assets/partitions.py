"""The two partitions definitions: daily deliveries (and event days), and incremental batches.

What belongs here: the definitions and the mapping of a partition key to a unit. What does not: which
partitions run (`planning`).
"""

from __future__ import annotations

from typing import Final

import dagster as dg

from pipeline_assets.settings import Settings

INCREMENTAL_PARTITIONS_NAME: Final = "incremental_batches"


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """One partition a day from the configured start to today: a folder may receive files all day."""
    return dg.DailyPartitionsDefinition(start_date=settings.start_date.isoformat(), end_offset=1)


def incremental_partitions() -> dg.DynamicPartitionsDefinition:
    """One partition a batch, registered when the batch is created."""
    return dg.DynamicPartitionsDefinition(name=INCREMENTAL_PARTITIONS_NAME)
