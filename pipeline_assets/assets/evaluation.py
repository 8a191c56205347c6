"""What the models have said of the data at hand, as an asset whose metadata are the tables to judge them by.

What belongs here: the asset. What does not: what is added up (`models.evaluation`). It is made when somebody
asks.
"""

from typing import Any

import dagster as dg
import polars as pl

from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.escaping import shortened
from pipeline_assets.kernel.schemas import MODEL
from pipeline_assets.models.evaluation import evaluated
from pipeline_assets.storage.tables import read_table

_NAME_CHARACTERS = 80


def evaluation_asset() -> dg.AssetsDefinition:
    """Tables of scores, incidents and clients over all days."""

    @dg.asset(
        key=["evaluation", "model"],
        deps=[dg.AssetKey([table.layer, table.name]) for table in MODEL.values()],
        group_name="evaluation",
        kinds={"table"},
        description=(
            "How often each series was unusual, incidents by series and severity, clients by kind, and bots"
            " by name, over all days: what the models say of your own data."
        ),
    )
    def evaluation(
        context: dg.AssetExecutionContext, pipeline: PipelineResource
    ) -> dg.MaterializeResult[None]:
        store = pipeline.context.store
        names = ("traffic_scores", "incidents", "client_profiles")
        tables = evaluated(*(read_table(store, name) for name in names))
        for name, rows in tables.items():
            context.log.info("%s: %d rows", name, rows.height)
        return dg.MaterializeResult(
            metadata={name: _shown(rows) for name, rows in tables.items() if rows.height}
        )

    return evaluation


def _shown(rows: pl.DataFrame) -> dg.TableMetadataValue:
    """A table as metadata, which shows texts as they are."""
    return dg.MetadataValue.table(
        [dg.TableRecord({name: _value(value) for name, value in row.items()}) for row in rows.to_dicts()]
    )


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return shortened(value, _NAME_CHARACTERS)
    return "" if value is None else value
