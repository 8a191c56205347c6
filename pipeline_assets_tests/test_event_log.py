"""The event log that writes in batches: Dagster can't tell it from its own.

What belongs here: what both answer of the same run. What does not: how long they take.
"""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipeline_assets.assets.served import batching
from pipeline_assets.event_log import BatchingSqliteEventLogStorage

OURS = {
    "event_log_storage": {"module": "pipeline_assets.event_log", "class": "BatchingSqliteEventLogStorage"}
}
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01")
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-03",
    "dagster/asset_partition_range_end": "2024-02-20",
}
MANY = 520


@dg.multi_asset(
    specs=[dg.AssetSpec(name, partitions_def=DAYS) for name in ("one", "two")],
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def made(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    with batching(context.instance):
        for number in range(MANY):
            context.log_event(
                dg.AssetMaterialization("three", partition=f"p{number}", tags={"number": str(number)})
            )
        context.log.info("in between")
    yield dg.MaterializeResult("one", metadata={"rows": 3})
    yield dg.MaterializeResult("two")


@dg.asset_check(asset="one")
def check() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False)


def instance(folder: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any]) -> dg.DagsterInstance:
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return dg.DagsterInstance.local_temp(str(folder), overrides=overrides)


def log_of(on: dg.DagsterInstance) -> BatchingSqliteEventLogStorage:
    assert isinstance(on.event_log_storage, BatchingSqliteEventLogStorage)
    return on.event_log_storage


def run(on: dg.DagsterInstance) -> str:
    defs = dg.Definitions(assets=[made], asset_checks=[check], jobs=[dg.define_asset_job("job")])
    return defs.resolve_job_def("job").execute_in_process(instance=on, tags=RANGE).run_id


def answers(on: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """Everything the UI and the assets ask of a run, without times and ids."""
    keys = [dg.AssetKey(name) for name in ("one", "two", "three")]
    logs = on.all_logs(run_id)
    kinds = [event.dagster_event_type for event in logs]
    records = on.get_asset_records(keys)
    fetched = on.fetch_materializations(dg.AssetKey("three"), limit=2000).records
    return {
        "kinds": sorted(str(kind) for kind in kinds),
        "partitions": {str(key): on.get_materialized_partitions(key) for key in keys},
        "newest": {str(key): _partition(on.get_latest_materialization_event(key)) for key in keys},
        "records": sorted(
            (str(record.asset_entry.asset_key), _partition(record.asset_entry.last_materialization))
            for record in records
        ),
        "fetched": [record.partition_key for record in fetched],
        "tags": {
            record.partition_key: (record.asset_materialization.tags or {})["number"]
            for record in fetched
            if record.asset_materialization
        },
        "numbers": len({record.storage_id for record in fetched}),
        "checks": [
            str(found)
            for found in on.event_log_storage.get_latest_asset_check_execution_by_key(
                [dg.AssetCheckKey(dg.AssetKey("one"), "check")]
            )
        ],
        "status": str(run_status(on, run_id)),
    }


def run_status(on: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    found = on.get_run_by_id(run_id)
    assert found is not None
    return found.status


def _partition(event: Any) -> str | None:
    return event.dagster_event.partition if event else None


def test_it_answers_as_dagsters_own_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    with instance(tmp_path / "stock", monkeypatch, {}) as stock:
        expected = answers(stock, run(stock))
    assert len(expected["partitions"]["AssetKey(['one'])"]) == 49
    assert len(expected["fetched"]) == MANY == expected["numbers"]
    with instance(tmp_path / "ours", monkeypatch, OURS) as ours:
        assert log_of(ours)
        run_id = run(ours)
        assert answers(ours, run_id) == expected
    # Either class reads what the other has written.
    with instance(tmp_path / "ours", monkeypatch, {}) as stock:
        assert answers(stock, run_id) == expected
    with instance(tmp_path / "stock", monkeypatch, OURS) as ours:
        again = answers(ours, run(ours))
    # There are two runs now, and what is known of partitions and assets is what it was.
    for name in ("kinds", "partitions", "newest", "records", "status"):
        assert again[name] == expected[name]


def test_what_was_logged_before_an_error_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dg.asset
    def broken(context: dg.AssetExecutionContext) -> None:
        with batching(context.instance):
            context.log_event(dg.AssetMaterialization("three", partition="a"))
            raise ValueError("broken")

    with instance(tmp_path, monkeypatch, OURS) as ours:
        result = dg.materialize([broken], instance=ours, raise_on_error=False)
        assert not result.success
        assert ours.get_materialized_partitions(dg.AssetKey("three")) == {"a"}
        assert "STEP_FAILURE" in {event.event_type_value for event in result.all_events}


def test_a_log_that_is_wiped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its databases are deleted, so nothing of them may be kept open."""
    with instance(tmp_path, monkeypatch, OURS) as ours:
        before = answers(ours, run(ours))
        ours.wipe()
        assert not ours.get_materialized_partitions(dg.AssetKey("three"))
        assert answers(ours, run(ours)) == before


def test_the_ui_is_told_of_events_though_the_database_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Dagster's own watch in another process, which looks when the run's file changes."""
    with instance(tmp_path, monkeypatch, OURS) as ours:
        run_id = run(ours)
        seen: list[str] = []
        with instance(tmp_path, monkeypatch, {}) as stock:
            stock.watch_event_logs(run_id, None, lambda event, _: seen.append(event.message))
            for number in range(3):
                ours.report_engine_event(f"told {number}", run_id=run_id, job_name="job")
                deadline = time.monotonic() + 20
                while f"told {number}" not in seen and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert f"told {number}" in seen
            assert list((tmp_path / "history").rglob(f"{run_id}.db-wal"))


def test_a_kill_loses_no_event_that_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance(tmp_path, monkeypatch, OURS) as ours:
        run_id = run(ours)
        before = len(ours.all_logs(run_id))
        code = (
            "import sys, time, dagster as dg\n"
            "from pipeline_assets_tests.test_event_log import OURS\n"
            "home, run_id = sys.argv[1:]\n"
            "on = dg.DagsterInstance.local_temp(home, overrides=OURS)\n"
            "for number in range(50):\n"
            "    on.report_engine_event(str(number), run_id=run_id, job_name='job')\n"
            "print('stored', flush=True)\n"
            "time.sleep(60)\n"
        )
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), run_id], stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"stored\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert len(ours.all_logs(run_id)) == before + 50


def test_a_database_that_another_process_is_making_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance(tmp_path, monkeypatch, OURS) as ours:
        log = log_of(ours)
        other = sqlite3.connect(log.path_for_shard("new"), isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE something (name)")
        later = threading.Timer(0.5, lambda: other.execute("COMMIT"))
        later.start()
        with log.run_connection("new") as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM event_logs").scalar_one() == 0
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        later.join()
        other.close()


def test_a_log_that_another_process_has_wiped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance(tmp_path, monkeypatch, OURS) as ours, instance(tmp_path, monkeypatch, {}) as other:
        run_id = run(ours)
        other.event_log_storage.wipe()
        assert not ours.all_logs(run_id)
        ours.report_engine_event("again", run_id=run_id, job_name="job")
        assert [event.message for event in other.all_logs(run_id)] == ["again"]


def test_events_are_stored_without_waiting_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance(tmp_path, monkeypatch, OURS) as ours:
        log = log_of(ours)
        run_id = run(ours)
        for connect in (log.index_connection, lambda: log.run_connection(run_id)):
            with connect() as connection:
                # NORMAL, which loses nothing but at a power failure, and never the whole.
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 1
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert Path(f"{log.path_for_shard(run_id)}-wal").exists()
    # Whoever is the last to let go of a database leaves it whole.
    assert not list((tmp_path / "history").rglob("*-wal"))
