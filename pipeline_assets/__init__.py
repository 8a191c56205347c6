"""Web-server logs to complete days: one Dagster asset graph from landed files to tables people query."""

from pipeline_assets.storage.memory import use_one_arena

# Before anything is imported that starts threads: those keep what they have.
use_one_arena()
