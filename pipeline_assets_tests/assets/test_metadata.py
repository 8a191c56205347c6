"""What materialisations say of themselves, through Dagster's own engine.

What belongs here: metadata of real runs against what landed. What does not: how the UI shows it (`end_to_end`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._serdes import serialize_value
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.assets.metadata import bars, column_lineage, column_schema
from pipeline_assets.automation.requests import range_tags
from pipeline_assets.definitions import build_defs
from pipeline_assets.kernel.lineage import column_sources, sources_of
from pipeline_assets.kernel.schemas import LAYERS, MODEL, SERVING, Table
from pipeline_assets_tests.world import World

TABLES = [*LAYERS["silver"].values(), *LAYERS["gold"].values(), *SERVING.values(), *MODEL.values()]
FIRST, SECOND, EMPTY = "2024-01-15", "2024-01-16", "2024-01-17"
HOSTILE = b"\xff<script>alert(1)</script> [x](https://evil.example) " + b"A" * 5_000


def line(host: int, day: int, hour: int = 1) -> bytes:
    return (
        f'192.0.2.{host} - - [{day:02}/Jan/2024:{hour:02}:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'
    ).encode()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dg.ExecuteInProcessResult]]:
    root: Path = tmp_path_factory.mktemp("metadata") / "storage"
    world = World(root)
    world.land(f"logs/{FIRST}/access.log", line(1, 14) + line(2, 15) * 2 + HOSTILE + b"\n\n# note\n")
    world.land(f"logs/{FIRST}/copy.log", line(1, 14) + line(2, 15) * 2 + HOSTILE + b"\n\n# note\n")
    world.land(f"logs/{SECOND}/access.log", line(3, 16, 5) * 3)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("PIPELINE_STORAGE", str(root))
        patch.setenv("PIPELINE_OWNERS", "team:web, ops@example.org")
        job = build_defs().resolve_job_def("daily_job")
        yield world, job.execute_in_process(instance=instance, tags=range_tags(FIRST, EMPTY))


def metadata(result: dg.ExecuteInProcessResult, key: str, partition: str) -> dict[str, Any]:
    events = [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization
    ]
    (found,) = [e for e in events if e.asset_key.to_user_string() == key and e.partition == partition]
    return {name: value.value for name, value in found.metadata.items()}


def test_each_partition_of_a_run_says_what_is_in_it(ran: tuple[World, dg.ExecuteInProcessResult]) -> None:
    world, result = ran
    assert result.success
    first = metadata(result, "bronze/daily/requests", FIRST)
    assert first["dagster/row_count"] == 3
    assert first["lines"] == "6 read = 3 parsed + 0 continuation + 1 rejected + 1 blank + 1 comment"
    assert [first[f"lines_{fate}"] for fate in ("parsed", "rejected", "blank", "comment")] == [3, 1, 1, 1]
    assert first["dagster/uri"] == world.context.store.uri(f"bronze/daily/{FIRST}")
    assert first["requests_by_day"] == (
        "```\n2024-01-14 1 ███████████\n2024-01-15 2 ██████████████████████\n```"
    )
    assert [record.data["status"] for record in first["landed_files"].records] == ["counted", "duplicate"]
    second = metadata(result, "silver/daily/requests", SECOND)
    assert (second["dagster/row_count"], second["requests"]) == (3, 3)
    assert metadata(result, "gold/daily/traffic", SECOND)["requests"] == 3
    assert "lines" not in metadata(result, "bronze/daily/requests", EMPTY)


def test_rejects_are_shown_by_reason_with_their_place_and_nothing_that_hides(
    ran: tuple[World, dg.ExecuteInProcessResult],
) -> None:
    shown = metadata(ran[1], "bronze/daily/rejected", FIRST)
    assert [record.data for record in shown["rejected_by_reason"].records] == [
        {"reason": "unrecognised", "lines": 1}
    ]
    (sample,) = [record.data for record in shown["rejected_samples"].records]
    assert (sample["file"], sample["line"]) == (f"logs/{FIRST}/access.log", 4)
    assert sample["text"].startswith("\\xff<script>alert(1)</script>")
    assert f"({len(HOSTILE):,} bytes)" in sample["text"] and sample["text"].isprintable()
    assert "rejected_samples" not in metadata(ran[1], "bronze/daily/rejected", SECOND)


def test_each_served_day_has_its_rows_hits_and_hours(ran: tuple[World, dg.ExecuteInProcessResult]) -> None:
    world, result = ran
    day = metadata(result, "serving/traffic_hourly", SECOND)
    rows = [row for row in world.table("traffic_hourly") if row[0].isoformat() == SECOND]
    assert (day["dagster/row_count"], day["hits"], day["bytes_sent"]) == (len(rows), 3, 15)
    assert day["hits_by_hour"].splitlines()[6] == "05 3 ██████████████████████"
    assert day["dagster/uri"] == world.context.store.uri("serving/traffic_hourly")
    for name, table in (SERVING | MODEL).items():
        rows = [row for row in world.table(name) if row[0].isoformat() == SECOND]
        assert metadata(result, f"{table.layer}/{name}", SECOND)["dagster/row_count"] == len(rows), name


def test_every_check_has_run_and_passed_but_for_the_one_with_a_reason(
    ran: tuple[World, dg.ExecuteInProcessResult],
) -> None:
    results = {check.check_name: check for check in ran[1].get_asset_check_evaluations()}
    failed = {name for name, check in results.items() if not check.passed}
    assert failed == {"reject_rate"}
    assert {"conservation", "copies", "event_times", "delivery_gaps", "hits_equal_rows"} < results.keys()
    assert results["completeness"].metadata["served_hits"].value == 6
    assert results["malformed_requests"].metadata["parsed"].value == 6
    for check in results.values():
        assert check.description and "what_to_do" in check.metadata


def test_the_newest_materialisation_of_a_run_alone_has_the_lineage(
    ran: tuple[World, dg.ExecuteInProcessResult],
) -> None:
    lineages: dict[dg.AssetKey, list[bool]] = {}
    for event in ran[1].all_events:
        if event.is_step_materialization:
            said = event.step_materialization_data.materialization
            lineages.setdefault(said.asset_key, []).append("dagster/column_lineage" in said.metadata)
    for table in TABLES:
        found = lineages[
            dg.AssetKey([table.layer, *(["daily"] if table.layer in LAYERS else []), table.name])
        ]
        assert found[-1] and not any(found[:-1]), table.name


def test_metadata_of_an_event_is_small(ran: tuple[World, dg.ExecuteInProcessResult]) -> None:
    sizes = [
        len(serialize_value(event.step_materialization_data.materialization))
        for event in ran[1].all_events
        if event.is_step_materialization
    ]
    assert max(sizes) < 12_000


def test_every_asset_is_described_owned_and_tagged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_OWNERS", "team:web, ops@example.org")
    repository = build_defs().get_repository_def()
    for node in repository.asset_graph.asset_nodes:
        assert node.description and node.group_name != "default" and node.kinds, node.key
        assert node.owners == ["team:web", "ops@example.org"], node.key
        assert node.tags["layer"] == node.key.path[0], node.key
    for key in repository.asset_graph.asset_check_keys:
        spec = repository.asset_graph.get_check_spec(key)
        assert spec.description and "Where it fails:" in spec.description, key
    for job in repository.get_all_jobs():
        assert job.name.startswith("__") or job.description, job.name
    automations: list[Any] = [*repository.schedule_defs, *repository.sensor_defs]
    for automation in automations:
        assert automation.description, automation.name
        assert automation.metadata["owners"].value == "team:web, ops@example.org", automation.name


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.layer}/{table.name}")
def test_the_columns_of_a_table_come_from_columns_that_there_are(table: Table) -> None:
    lineage = column_lineage(table).deps_by_column
    assert set(lineage) <= set(table.column_names)
    known = {source.name: source for source in sources_of(table)}
    for column, sources in column_sources(table).items():
        for source, name in sources:
            assert name in known[source.name].schema, column
    assert [column.name for column in column_schema(table).columns] == table.column_names


@pytest.mark.parametrize("table", [*LAYERS["silver"].values()], ids=lambda table: table.name)
def test_every_column_of_silver_comes_from_bronze(table: Table) -> None:
    assert all(column_sources(table).values())


@given(st.dictionaries(st.sampled_from([f"{hour:02}" for hour in range(24)]), st.integers(0, 10**9)))
def test_a_chart_shows_every_value_and_is_small_enough_to_be_shown_in_place(values: dict[str, int]) -> None:
    lines = bars(values).value.splitlines()
    assert len(bars(values).value) < 1_000
    assert [row.split()[:2] for row in lines[1:-1]] == [[label, f"{n:,}"] for label, n in values.items()] or (
        not values
    )
