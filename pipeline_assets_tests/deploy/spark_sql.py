"""A process with a real Spark that parses and runs the statements of Unity Catalog, as far as Spark itself has them.

What belongs here: what Spark says. What does not: what it should say (`test_unity_catalog`).

Spark has no catalogs, volumes, grants and external locations of Unity Catalog's kind, and its package from PyPI no
Delta Lake. So those are left out, and tables are Parquet files of the same rows; names are those of its own catalog.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl


def main(folder: Path) -> None:
    """Do what `asked.json` in the folder says; views become Parquet files, and `told.json` says the rest."""
    from pyspark.sql import SparkSession

    asked = json.loads((folder / "asked.json").read_text())
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        # A day is a day of UTC, whatever zone the session of a BI tool has.
        .config("spark.sql.session.timeZone", "America/New_York")
        .getOrCreate()
    )
    parser: Any = spark._jsparkSession.sessionState().sqlParser()
    refused = []
    for statement in asked["parsed"]:
        try:
            parser.parsePlan(statement)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            refused.append(f"{statement}: {str(error)[:300]}")
    for _ in range(2):
        for statement in asked["run"]:
            spark.sql(statement)
    for view in asked["views"]:
        rows = spark.table(view)
        pl.DataFrame(pl.from_arrow(rows.toArrow())).write_parquet(
            folder / f"{view.rpartition('.')[2]}.parquet"
        )
    described = {
        view: {row.col_name: row.comment for row in spark.sql(f"DESCRIBE TABLE {view}").collect()}
        for view in asked["views"]
    }
    texts = [spark.sql(f"SELECT {literal} AS text").collect()[0].text for literal in asked["literals"]]
    told = {"refused": refused, "described": described, "texts": texts}
    (folder / "told.json").write_text(json.dumps(told))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
