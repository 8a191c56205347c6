"""Pure models: from serving rows to scores. No Dagster, no storage."""
