"""DAGSTER_HOME: where Dagster keeps its history, initialised once and safely.

What belongs here: choosing and creating the folder. What does not: anything kept in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from filelock import FileLock

from pipeline_assets.settings import project_root

# Written once; the file is the user's from then on.
DAGSTER_YAML: Final = """\
# Runs start at once: the deliveries of a tick come as one run, so there is no queue to keep.
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator

# A process waits for the next run, so that a run need not wait while Dagster is imported. It holds some
# 300 MB; without these three lines each run starts a process of its own.
run_launcher:
  module: pipeline_assets.warm_runs
  class: WarmRunLauncher

# Dagster's own event log in Dagster's own place, with many events in one transaction.
event_log_storage:
  module: pipeline_assets.event_log
  class: BatchingSqliteEventLogStorage
  config: {}

# The arrival sensor waits for files inside its tick; threads let others tick meanwhile.
sensors:
  use_threads: true
  num_workers: 4
schedules:
  use_threads: true
  num_workers: 4

# A run whose process has died is marked failed, so that the next one can be asked for.
run_monitoring:
  enabled: true
  poll_interval_seconds: 30

# Ticks that found nothing are kept for a day.
retention:
  sensor:
    purge_after_days:
      skipped: 1
      failure: 30
      success: 90

telemetry:
  enabled: false

# No dialog that asks for an address when the UI is first opened.
nux:
  enabled: false
"""


def home() -> Path:
    """DAGSTER_HOME as set, else `.dagster` in the checkout."""
    chosen = os.environ.get("DAGSTER_HOME")
    return Path(chosen).expanduser().absolute() if chosen else project_root() / ".dagster"


def prepare_home() -> Path:
    """Make DAGSTER_HOME ready to use, and set the variable for this process.

    Two processes that create its databases at once corrupt them, so the first to come does it under a lock
    and the others wait.
    """
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(folder)
    done = folder / ".initialised"
    if done.exists():
        return folder
    with FileLock(folder / ".initialise.lock"):
        if not done.exists():
            config = folder / "dagster.yaml"
            if not config.exists():
                config.write_text(DAGSTER_YAML)
            _create_databases()
            done.touch()
    return folder


def _create_databases() -> None:
    from dagster import DagsterInstance, RunsFilter

    with DagsterInstance.get() as instance:
        instance.get_runs_count(RunsFilter(run_ids=["none"]))
        instance.get_dynamic_partitions("none")
        instance.all_instigator_state()
