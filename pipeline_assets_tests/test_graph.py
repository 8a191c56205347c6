"""The shape of the graph: a change to it is a diff of `graph.json`, to be reviewed.

What belongs here: every asset key with its dependencies, partitions, group and checks, and every job, schedule
and sensor. What does not: what the assets do. `python -m pipeline_assets_tests.test_graph` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline_assets.definitions import build_defs
from pipeline_assets.settings import Settings

SNAPSHOT = Path(__file__).with_name("graph.json")


def graph() -> dict[str, Any]:
    defs = build_defs(settings=Settings())
    repository = defs.get_repository_def()
    assets = {}
    for node in repository.asset_graph.asset_nodes:
        partitions = node.partitions_def
        assets[node.key.to_user_string()] = {
            "depends_on": sorted(key.to_user_string() for key in node.parent_keys),
            "partitions": None if partitions is None else type(partitions).__name__ + f" {partitions}",
            "group": node.group_name,
            "checks": sorted(check.name for check in node.check_keys),
            "is_external": not node.is_materializable,
        }
    return {
        "assets": dict(sorted(assets.items())),
        "jobs": {
            job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
            for job in sorted(repository.get_all_jobs(), key=lambda job: job.name)
            if not job.name.startswith("__")
        },
        "schedules": {
            schedule.name: [schedule.cron_schedule, schedule.job_name, schedule.default_status.value]
            for schedule in repository.schedule_defs
        },
        "sensors": {
            sensor.name: [sensor.minimum_interval_seconds, sensor.default_status.value]
            for sensor in repository.sensor_defs
        },
    }


def test_the_graph_is_the_reviewed_one() -> None:
    assert graph() == json.loads(SNAPSHOT.read_text())


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(graph(), indent=1) + "\n")
