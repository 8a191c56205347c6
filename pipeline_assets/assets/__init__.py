"""The assets: thin wiring between Dagster and what `compute` does. What is built, never when."""
