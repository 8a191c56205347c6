"""Records: what became of every delivery and every run, derived and coordinating nothing.

What belongs here: tables about the pipeline's own work. What does not: anything about requests (`serving`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel.schemas.columns import EVENT_DATE, HITS
from pipeline_assets.kernel.schemas.table import STRING, TIMESTAMP, Column, Table

_UNIT = Column("unit", STRING, "delivery, such as daily/2024-01-15", False)
LEDGER: Final = Table(
    "ledger",
    "serving",
    "What became of every delivery and every landed file; derived from the manifests.",
    (
        _UNIT,
        Column("path", STRING, "landed file; null on the row of the unit itself"),
        Column("status", STRING, "counted, duplicate, superseded, forgotten, or quarantined", False),
        Column("etag", STRING, "version of the landed file that was read"),
        Column("digest", STRING, "digest of the decompressed content"),
        Column("bytes", pl.Int64(), "decompressed bytes", False),
        Column("lines", pl.Int64(), "lines read", False),
        Column("parsed", pl.Int64(), "lines that became a row", False),
        Column("continuation", pl.Int64(), "lines that belong to the row before them", False),
        Column("rejected", pl.Int64(), "lines rejected with a reason", False),
        Column("blank", pl.Int64(), "blank lines", False),
        Column("comment", pl.Int64(), "comment lines", False),
        Column("first_event", TIMESTAMP, "earliest event"),
        Column("last_event", TIMESTAMP, "latest event"),
        Column("event_days", pl.List(pl.Date()), "days of the events, UTC", False),
        Column("kernel_version", STRING, "kernel that wrote it", False),
        Column("config_digest", STRING, "configuration that it was read under", False),
        Column("generation", pl.Int64(), "generation of the unit's bronze manifest", False),
        Column("published_generation", pl.Int64(), "generation that serving shows; null where none"),
        Column("reason", STRING, "why a unit is quarantined"),
        Column("recorded_at", TIMESTAMP, "when this row was written", False),
    ),
)
UNIT_DAYS: Final = Table(
    "unit_days",
    "serving",
    "Which event days each delivery touches; derived from the manifests.",
    (EVENT_DATE, _UNIT, Column("generation", pl.Int64(), "generation of the unit", False), HITS),
)
_SECONDS_NULL = "null where it was not measured"
RUNS: Final = Table(
    "runs",
    "serving",
    "What each run, and each delivery in it, took: time, bytes, rows, requests and an estimate of money.",
    (
        Column("run_id", STRING, "Dagster's id of the run", False),
        Column("job", STRING, "Dagster's name of the job", False),
        Column("door", STRING, "what asked for the run: a sensor, a schedule, a command, a person", False),
        Column("lane", STRING, "daily or incremental; null where event days were rebuilt"),
        Column("unit", STRING, "delivery; null on the row of the run as a whole"),
        Column("status", STRING, "done, quarantined, or failed", False),
        Column("started", TIMESTAMP, "when the run began", False),
        Column("units", pl.Int64(), "deliveries of the run; null on the row of one"),
        Column("seconds", pl.Float64(), "by the clock, from the start of the run, or on the delivery", False),
        Column("bronze_seconds", pl.Float64(), f"of them reading; {_SECONDS_NULL}"),
        Column("silver_seconds", pl.Float64(), f"of them cleaning; {_SECONDS_NULL}"),
        Column("gold_seconds", pl.Float64(), f"of them rolling up; {_SECONDS_NULL}"),
        Column(
            "publish_seconds",
            pl.Float64(),
            f"of them publishing; of a delivery only where it was alone; {_SECONDS_NULL}",
        ),
        Column("cpu_seconds", pl.Float64(), "processor time of all threads", False),
        Column("peak_memory_bytes", pl.Int64(), "most memory that the process of the run ever held"),
        Column("landed_bytes", pl.Int64(), "size of the landed files that the run read", False),
        Column("lines", pl.Int64(), "lines of them", False),
        Column("rows", pl.Int64(), "rows that came of them", False),
        Column("bytes_written", pl.Int64(), "bytes written, those of Delta tables not counted", False),
        Column("storage_reads", pl.Int64(), "requests that read, at least", False),
        Column("storage_writes", pl.Int64(), "requests that write, those of Delta tables not counted", False),
        Column("storage_lists", pl.Int64(), "requests that list, at least", False),
        Column("storage_deletes", pl.Int64(), "requests that delete", False),
        Column("cost", pl.Float64(), "estimate by the configured prices; null where there are none"),
        Column("currency", STRING, "currency of the prices"),
        Column("recorded_at", TIMESTAMP, "when this row was written", False),
    ),
)
RECORDS: Final = {table.name: table for table in (LEDGER, UNIT_DAYS, RUNS)}
