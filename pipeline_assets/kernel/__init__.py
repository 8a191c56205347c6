"""The kernel: pure Polars functions from bytes to rows to rollups. No Dagster, no storage."""
