"""Web-server logs to complete days: one Dagster asset graph from landed files to tables people query."""

import os

from pipeline_assets.storage.memory import use_one_arena

# Before anything is imported that starts threads: those keep what they have.
use_one_arena()
# NumPy's library for matrices, of which there are none here, starts a thread for each processor as soon as it
# is imported, and they spin: some 50 ms of CPU time a process.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
