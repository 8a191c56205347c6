"""Alerts through the daemon: what goes wrong by itself is told by itself.

What belongs here: the sensor in Dagster's own daemon, and a real HTTP server. What does not: what a look finds
(`automation/test_watch`) and who is told when (`alerts`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline_assets_tests.alerts.sinks import HttpSink, http_sink
from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.end_to_end.services import Service, wait_for

pytestmark = pytest.mark.slow

DAY = datetime.now(UTC).date() - timedelta(days=2)
# Linux lets nobody read it, root neither.
_UNREADABLE = Path("/proc/sys/vm/compact_memory")


@pytest.fixture(scope="module")
def sink() -> Iterator[HttpSink]:
    with http_sink() as listening:
        yield listening


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, sink: HttpSink) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"))
    service.env |= {"ALERT_URLS": sink.url, "PIPELINE_UI_URL": service.url}
    with service.running() as running:
        yield running


def test_a_file_that_cant_be_read_is_one_message_with_a_link_to_the_run_and_so_is_its_end(
    service: Service, sink: HttpSink
) -> None:
    path = service.world.root / f"logs/{DAY}/access.log"
    path.parent.mkdir(parents=True)
    if _UNREADABLE.exists():
        path.symlink_to(_UNREADABLE)
    elif os.geteuid() != 0:
        path.touch(mode=0o000)
    else:
        pytest.skip("root can read every file of this system")
    wait_for("an alert", lambda: sink.messages)
    (failed, *_) = [run for run in reversed(service.runs()) if run.status == "FAILURE"]
    (message,) = sink.messages
    assert message.startswith("Web logs: 1 failed run, 1 quarantined delivery\n")
    assert f"daily/{DAY}: logs/{DAY}/access.log: can't be read (Permission denied)" in message
    assert f"{service.url}/runs/" in message
    linked = message.partition(f"{service.url}/runs/")[2].split()[0]
    assert linked in {run.run_id for run in service.runs() if run.status == "FAILURE"}
    assert failed.partition == str(DAY)

    path.unlink()
    service.world.land(f"logs/{DAY}/access.log", access_lines([DAY], 100, seed="mended"))
    service.wait_for_the_truth()
    wait_for("the end of it", lambda: len(sink.messages) > 1)
    assert sink.messages[1].startswith("Web logs: over\n")
    assert len(sink.messages) == 2
