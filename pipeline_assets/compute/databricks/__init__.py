"""Layers made by a job on Databricks, through Dagster Pipes: which deliveries go, and what their job does."""
