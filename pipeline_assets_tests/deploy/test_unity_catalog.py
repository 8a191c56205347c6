"""Statements that Spark understands, views that say what the tables say, and a client that hands them over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner
from databricks.sdk import WorkspaceClient

from pipeline_assets import cli
from pipeline_assets.azure_access import AzureAccess
from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets.settings import project_root
from pipeline_assets.storage.tables import TABLES, open_table, read_table
from pipeline_assets.unity_catalog import (
    OPS,
    VIEWS,
    WHEELS,
    CatalogError,
    _text,
    hierarchical_host,
    run_statements,
    statements,
)
from pipeline_assets_tests.azurite import Azurite
from pipeline_assets_tests.deploy.statements_api import StatementsApi, serving
from pipeline_assets_tests.spark_here import spark_environment
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import World

HOST = "myaccount.dfs.core.windows.net"
# What only Unity Catalog has.
BEYOND_SPARK = ("CREATE CATALOG", "CREATE EXTERNAL LOCATION", "CREATE VOLUME", "GRANT", "MSCK REPAIR TABLE")
HOSTILE = ["it's", "a\\'b", "`c`", "\\", "line\nfeed", "\\u0041 %s {0}", "ä\u202e"]


def line(
    host: int, day: int, status: int = 200, path: str = "/", agent: str = "Mozilla/5.0", site: str = "a"
) -> bytes:
    return (
        f"{site}.example:443 192.0.2.{host} - - [{day}/Jan/2024:{host % 24:02}:00:00 +0000]"
        f' "GET {path} HTTP/1.1" {status} 5 "-" "{agent}"\n'
    ).encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("unity") / "storage")
    days = {
        day: b"".join(line(host, day, (200, 404, 500)[host % 3], f"/{host % 7}") for host in range(40))
        for day in (15, 16)
    }
    for day, content in days.items():
        made.land(f"logs/2024-01-{day}/access.log", content + b"no line of a log\n")
    many = b"".join(line(1, 16, path=f"/page/{number:03}", site="b") for number in range(120))
    made.land("logs/incremental/b.log", many + line(2, 16, agent="Googlebot/2.1", site="b"))
    made.catch_up()
    return made


@pytest.fixture(scope="module")
def frames(world: World) -> dict[str, pl.DataFrame]:
    """The tables as they are, with two incidents: four days of traffic have none."""
    found = {name: read_table(world.context.store, name).collect() for name in (*SERVING, *MODEL)}
    began = datetime(2024, 1, 16, 3, tzinfo=UTC)
    row: dict[str, Any] = {
        name: {"String": "x", "Int64": 1, "Float64": 1.0}.get(str(dtype))
        for name, dtype in MODEL["incidents"].schema.items()
    }
    rows = [
        row | {"event_date": day, "site": site, "started_at": began, "ended_at": began}
        for day, site in ((date(2024, 1, 16), None), (date(2024, 1, 16) - timedelta(days=28), "old"))
    ]
    found["incidents"] = pl.DataFrame(rows, schema=MODEL["incidents"].schema)
    return found


@pytest.fixture(scope="module")
def told(
    frames: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """What Spark says of the statements, and the rows of the views."""
    folder = tmp_path_factory.mktemp("spark")
    for name, frame in frames.items():
        (folder / "tables" / name).mkdir(parents=True)
        frame.write_parquet(folder / "tables" / name / "part.parquet")
    listed = [one for one in statements(HOST, "spark_catalog") if not one.startswith(BEYOND_SPARK)]
    run = [
        one.replace("USING DELTA", "USING PARQUET").replace(
            f"abfss://{layer}@{HOST}", f"file://{folder}/tables"
        )
        for one in listed
        for layer in ["model" if "abfss://model@" in one else "serving"]
        if not any(f"@{HOST}/{name}'" in one for name in ("ledger", "unit_days", "runs"))
    ]
    asked = {
        "parsed": listed,
        "run": run,
        "views": [f"spark_catalog.bi.{view.name}" for view in VIEWS],
        "literals": [_text(text) for text in HOSTILE],
    }
    (folder / "asked.json").write_text(json.dumps(asked))
    command = [sys.executable, "-m", "pipeline_assets_tests.deploy.spark_sql", str(folder)]
    subprocess.run(
        command, check=True, timeout=180, cwd=project_root(), env={**os.environ, **spark_environment()}
    )
    answer = json.loads((folder / "told.json").read_text())
    return answer, {view.name: pl.read_parquet(folder / f"{view.name}.parquet") for view in VIEWS}


@pytest.mark.slow
def test_spark_takes_the_statements_twice_and_the_views_say_what_the_tables_say(
    told: tuple[dict[str, Any], dict[str, pl.DataFrame]], frames: dict[str, pl.DataFrame], world: World
) -> None:
    answer, views = told
    assert answer["refused"] == []
    assert answer["texts"] == HOSTILE
    for view in VIEWS:
        assert answer["described"][f"spark_catalog.bi.{view.name}"] == dict(view.columns)
    truth = world.truth()
    totals = views["daily_totals"]
    assert dict(totals.group_by("event_date").agg(pl.col("hits").sum()).rows()) == {
        date(2024, 1, 15): 40,
        date(2024, 1, 16): 161,
    }
    assert totals["visits"].sum() == frames["visits_daily"].height == len(truth.visits_daily)
    assert totals["bot_visitors"].sum() == 1
    newest = totals.filter(event_date=date(2024, 1, 16))
    assert views["latest_day"].sort("site").equals(newest.sort("site"))
    hours = views["hourly_traffic"]
    assert hours.height == frames["traffic_hourly"].select("event_date", "hour", "site").unique().height
    assert (hours["hits"].sum(), hours["bot_hits"].sum()) == (201, 1)
    errors = views["error_rates"].filter(event_date=date(2024, 1, 15)).rows()
    assert errors == [(date(2024, 1, 15), "a.example", 40, 13, 13, 13 / 40, 13 / 40)]
    pages = views["top_pages"].filter(site="b.example").sort("place")
    assert pages["place"].to_list() == list(range(1, 101))
    assert pages.row(0)[3:] == ("/", 1, 0)
    incidents = views["recent_incidents"]
    assert incidents["site"].to_list() == [None]
    assert incidents["started_at"].dt.convert_time_zone("UTC").to_list() == [
        datetime(2024, 1, 16, 3, tzinfo=UTC)
    ]
    quality = views["data_quality"]
    assert quality["lines"].sum() == frames["quality_daily"]["lines"].sum() == 203
    assert quality["rejected"].sum() == 2
    for view in VIEWS:
        assert views[view.name].columns == [name for name, _ in view.columns]
        assert views[view.name].height > 0


def test_every_table_is_there_once_and_where_it_lies() -> None:
    listed = statements(HOST, "web`logs", credential="my cred", readers=["data team"])
    made = [one for one in listed if one.startswith("CREATE TABLE")]
    assert len(made) == len(set(made)) == len(TABLES)
    assert (
        "CREATE TABLE IF NOT EXISTS `web``logs`.`model`.`incidents` USING DELTA"
        f" LOCATION 'abfss://model@{HOST}/incidents'"
    ) in made
    assert all(
        " IF NOT EXISTS " in one for one in listed if one.startswith("CREATE ") and " VIEW " not in one
    )
    assert all(one.startswith("CREATE OR REPLACE VIEW ") for one in listed if " VIEW " in one)
    granted = [one for one in listed if one.startswith("GRANT")]
    assert granted == [
        "GRANT USE CATALOG ON CATALOG `web``logs` TO `data team`",
        "GRANT USE SCHEMA, SELECT ON SCHEMA `web``logs`.`bi` TO `data team`",
    ]
    assert sum("WITH (STORAGE CREDENTIAL `my cred`)" in one for one in listed) == 2


def test_the_wheel_goes_into_the_volume_that_is_made() -> None:
    bundle = yaml.safe_load((project_root() / "deploy/databricks/databricks.yml").read_text())
    said = {name: bundle["variables"][name]["default"] for name in ("catalog", "schema", "volume")}
    assert said == {"catalog": "pipeline_assets", "schema": OPS, "volume": WHEELS}
    assert cli.catalog.params[0].default == said["catalog"]


def test_comments_are_in_the_tables_own_logs(world: World) -> None:
    for name, table in TABLES.items():
        handle = open_table(world.context.store, name)
        assert handle.metadata().description == table.description
        said = {field.name: field.metadata["comment"] for field in handle.schema().fields}
        assert said == {column.name: column.description for column in table.columns}


def test_the_address_is_that_of_the_accounts_files() -> None:
    assert (
        hierarchical_host(AzureAccess("myaccount", "https://myaccount.blob.core.windows.net", "key")) == HOST
    )
    for endpoint in (
        "http://127.0.0.1:10000/myaccount",
        "https://other.blob.core.windows.net",
        "https://myaccount.x",
    ):
        with pytest.raises(CatalogError, match="not the address"):
            hierarchical_host(AzureAccess("myaccount", endpoint, "key"))


@pytest.fixture
def api() -> StatementsApi:
    return StatementsApi()


def test_a_warehouse_gets_the_statements_in_their_order_and_gets_them_again(api: StatementsApi) -> None:
    listed = statements(HOST, "logs")[:4]
    api.throttled = 1
    with serving(api) as address:
        client = WorkspaceClient(host=address, token="a-token")
        run_statements(client, "abc", listed)
        run_statements(client, "abc", listed)
    assert api.statements == [*listed, *listed]
    assert api.warehouses == {"abc"}


def test_the_first_that_fails_ends_it_and_is_named(api: StatementsApi) -> None:
    listed = statements(HOST, "logs")
    api.failing = "CREATE SCHEMA"
    with serving(api) as address, pytest.raises(CatalogError, match=r"PERMISSION_DENIED.*CREATE SCHEMA"):
        run_statements(WorkspaceClient(host=address, token="a-token"), "abc", listed)
    assert api.statements == listed[:2]


def test_a_wrong_token_is_told(api: StatementsApi) -> None:
    with serving(api) as address, pytest.raises(CatalogError, match="Invalid access token"):
        run_statements(WorkspaceClient(host=address, token="another"), "abc", ["SELECT 1"])


@pytest.mark.slow
def test_the_command_prints_them_where_the_account_is_one_of_azures(azurite: Azurite, tmp_path: Path) -> None:
    storage = Storage.in_account(azurite.new_account())
    done = CliRunner().invoke(cli.main, ["catalog"], env=storage.environment)
    assert (done.exit_code, "not the address of an Azure account" in done.output) == (cli.FAILED, True)
    done = CliRunner().invoke(cli.main, ["catalog"], env=Storage.in_folder(tmp_path).environment)
    assert (done.exit_code, "az://<account>" in done.output) == (cli.WRONG_USE, True)
