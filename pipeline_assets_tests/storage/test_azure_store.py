"""The store in Azure: what only an account does, or gets wrong, and what its failures say.

What belongs here: names that no path may have, missing containers, permissions, and secrets in messages. What
does not: what every kind of storage promises (`test_store`), and failures on the way to it (`test_faults`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.assets.resources import azure_blob_storage
from pipeline_assets.automation.arrivals import look
from pipeline_assets.azure_access import AzureAccess, resolve_access
from pipeline_assets.definitions import build_defs
from pipeline_assets.settings import Settings
from pipeline_assets.storage.azure_credentials import blob_storage_resource
from pipeline_assets.storage.azure_store import CONTAINERS, AzureStore
from pipeline_assets.storage.landing import daily_files, list_landing
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import Entry, StorageUnavailableError
from pipeline_assets.storage.tables import open_table
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.azurite import Account, Azurite
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.test_promises import check_serving
from pipeline_assets_tests.unreliable import between
from pipeline_assets_tests.world import World

pytestmark = pytest.mark.slow

LINE = b'192.0.2.1 - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'


@pytest.fixture
def account(azurite: Azurite) -> Account:
    return azurite.new_account()


@contextmanager
def sdk(account: Account) -> Iterator[Any]:
    """The Azure SDK's client of the account, as another program would use it."""
    settings = Settings(**account.settings)
    assert settings.azure is not None
    with blob_storage_resource(settings.azure).get_client() as client:
        yield client


def sas(account: Account, permissions: str) -> str:
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    return generate_account_sas(
        account.name,
        account.key,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions.from_string(permissions),  # type: ignore[no-untyped-call]
        datetime.now(UTC) + timedelta(hours=1),
        protocol="https,http",
    )


def with_sas(account: Account, permissions: str) -> Storage:
    token = sas(account, permissions)
    settings = {"storage": account.storage, "azure_sas_token": token, "azure_endpoint": account.endpoint}
    return Storage(settings, {}, account)


def test_containers_are_created_where_they_are_missing(account: Account) -> None:
    store = open_store(Settings(**account.settings))
    assert store.children("") == sorted(CONTAINERS)
    with sdk(account) as client:
        assert {container.name for container in client.list_containers()} == set(CONTAINERS)
        client.delete_container("gold")
    store.create("logs/2024-01-15/a.log", b"")
    for asked in (store.list, store.children):
        with pytest.raises(
            StorageUnavailableError, match="no such container; create it by `pipeline-assets init`"
        ):
            asked("gold")
    with pytest.raises(StorageUnavailableError, match="no such container"):
        store.create("gold/a", b"")
    reopened = open_store(Settings(**account.settings))
    assert reopened.list("gold") == []
    assert len(reopened.list("logs")) == 1


@pytest.mark.parametrize("name", ["a//b.log", "tab\tin.log", "/first.log", "line\nbreak.log"])
def test_a_name_that_is_no_path_is_told_and_hides_no_other(account: Account, name: str) -> None:
    store = open_store(Settings(**account.settings))
    with sdk(account) as client:
        for path in (f"2024-01-15/{name}", "2024-01-15/fine.log", "2024-01-15/.hidden.log"):
            client.get_container_client("logs").upload_blob(path, LINE)
    landed = list_landing(store)
    assert [entry.path for entry in landed.entries] == ["logs/2024-01-15/fine.log"]
    assert landed.ignored == {f"logs/2024-01-15/{name}": "its name is no path; rename it"}
    assert [entry.path for entry in daily_files(store, Unit("daily", "2024-01-15"))] == [
        "logs/2024-01-15/fine.log"
    ]
    assert "2024-01-15" in store.children("logs")
    assert store.stat(f"logs/2024-01-15/{name}") is None
    world = World(Storage.in_account(account), look_back_days=100_000)
    world.landed["logs/2024-01-15/fine.log"] = LINE
    world.catch_up()
    check_serving(world)


def test_an_empty_blob_in_place_of_a_folder_is_no_file(account: Account) -> None:
    storage = Storage.in_account(account)
    store = storage.open()
    for path in ("logs/2024-01-15", "logs/2024-01-15/a.log", "logs/2024-01-15/empty.log"):
        storage.put_blob(path, LINE if path.endswith("a.log") else b"")
    assert [entry.path for entry in store.list("logs")] == [
        "logs/2024-01-15/a.log",
        "logs/2024-01-15/empty.log",
    ]


def test_a_blob_that_is_replaced_while_it_is_read_is_not_read_as_a_mixture(account: Account) -> None:
    storage = Storage.in_account(account)
    store = storage.open()
    storage.put_blob("logs/a.log", b"1" * 20_000_000)
    with store.open("logs/a.log") as stream:
        assert stream.read(10) == b"1" * 10
        storage.put_blob("logs/a.log", b"2" * 20_000_000)
        with pytest.raises(OSError, match="replaced while it was read"):
            stream.read()
    with store.open("logs/a.log") as stream:
        assert stream.read() == b"2" * 20_000_000


def test_everything_works_by_a_shared_access_signature(account: Account) -> None:
    open_store(Settings(**account.settings))
    world = World(with_sas(account, "rwdlac"), look_back_days=100_000)
    world.land("logs/2024-01-15/access.log", LINE)
    world.land("logs/incremental/more.log", LINE.replace(b".1 ", b".2 "))
    world.catch_up()
    check_serving(world)
    assert world.catch_up() == 0


def wrong_key(account: Account) -> dict[str, Any]:
    return replace(account, key="bm90IHRoZSBrZXkgb2YgdGVzdHM=").settings


def read_only(account: Account) -> dict[str, Any]:
    return with_sas(account, "rl").settings


@pytest.mark.parametrize("access", [wrong_key, read_only])
def test_what_we_may_not_do_is_said_in_a_line(
    account: Account, access: Callable[[Account], dict[str, Any]]
) -> None:
    if access is read_only:
        open_store(Settings(**account.settings))
    with pytest.raises(StorageUnavailableError) as raised:
        open_store(Settings(**access(account))).create("gold/a", b"")
    message = str(raised.value)
    assert message.startswith(f"az://{account.name}: can't ")
    assert "Authorization" in message
    assert "\n" not in message


def test_a_storage_that_is_away_is_told_within_a_minute(account: Account) -> None:
    away = replace(account, endpoint=f"http://127.0.0.1:9/{account.name}")
    started = time.monotonic()
    with pytest.raises(StorageUnavailableError, match=f"az://{account.name}: can't list"):
        open_store(Settings(**away.settings))
    assert time.monotonic() - started < 60


def test_no_secret_is_in_what_a_failure_says(
    account: Account, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    open_store(Settings(**account.settings))
    token = sas(account, "rl")
    signature = token.partition("sig=")[2]
    frame = pl.DataFrame({"x": [1]})
    told: list[str] = []
    for settings in (with_sas(account, "rl").settings, wrong_key(account), read_only(account)):
        access = Settings(**settings).azure
        assert access is not None
        store = AzureStore(access)
        attempts: list[Callable[[], Any]] = [
            partial(store.create, "gold/a", b""),
            partial(store.swap, "gold/a", b"", "0x1"),
            partial(store.delete, "gold/a"),
            partial(store.read_range, Entry("logs/none", 1, "0x1", 0.0), 0, 1),
            partial(store.write_parquet, "gold/a.parquet", frame),
            store.scan_parquet(["gold/none.parquet"]).collect,
            partial(open_table, store, "status_daily"),
        ]
        told += [repr(store), repr(store.__dict__), repr(access)]
        for attempt in attempts:
            with pytest.raises(Exception) as raised:
                attempt()
            told.append("".join(traceback.format_exception(raised.value)))
    written = capfd.readouterr()
    told += [caplog.text, written.out, written.err]
    for secret in (account.key, signature, token, wrong_key(account)["azure_connection_string"]):
        assert all(secret not in text for text in told)


def test_dagster_has_the_account_as_a_resource_and_its_history_no_secret(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)

    @dg.asset(required_resource_keys={"azure_blob_storage", "pipeline"})
    def containers(context) -> None:  # type: ignore[no-untyped-def] # Dagster can't read an annotation here
        account = context.resources.azure_blob_storage
        context.log.info("the account is %r, %s, %r", account, account, account.get_client)
        store = context.resources.pipeline.context.store
        with context.resources.azure_blob_storage.get_client() as client:
            names = sorted(container.name for container in client.list_containers())
        assert names == store.children("")
        context.add_output_metadata({"names": names, "where": store.uri("logs")})
        context.log.info("the store is %r", store)

    resources = build_defs().resources
    assert resources is not None
    assert resources["azure_blob_storage"] is azure_blob_storage
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([containers], resources=resources, instance=instance)
        assert result.success
        history = [repr(record) for record in instance.all_logs(result.run_id)]
        history.append(repr(instance.get_run_by_id(result.run_id)))
    assert history
    assert all(account.key not in text for text in history)


def test_a_look_of_the_sensor_costs_four_requests_however_much_there_is(azurite: Azurite) -> None:
    with between(azurite.url) as network:
        world = World(network.storage(azurite.new_account()), look_back_days=100_000)
        costs = []
        for number in range(1, 6):
            day = date(2024, 1, 1) + timedelta(days=number)
            for path in (f"logs/{day}/a.log", f"logs/{day}/b.log", f"logs/incremental/{number}.log"):
                world.land(path, LINE.replace(b".1 ", f".{len(world.landed) + 10} ".encode()))
            world.catch_up()
            look(world.context, world.settings, everything=False)
            before = len(network.requests)
            assert look(world.context, world.settings, everything=False).plan.is_empty
            costs.append(len(network.requests) - before)
    assert costs == [4] * 5


@contextmanager
def identity_service() -> Iterator[tuple[str, list[str]]]:
    """What Azure has beside an app that has a managed identity; its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = {"access_token": f"token-{len(asked)}", "token_type": "Bearer", "resource": "storage"}
            body = json.dumps(answer | {"expires_on": str(int(time.time()) + 86_400)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_managed_identity_is_asked_once_and_every_client_sends_its_token(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure's own code, from the identity's service to the header; only the service is not Azure's."""
    with identity_service() as (address, asked), between(azurite.url) as network:
        monkeypatch.setenv("IDENTITY_ENDPOINT", address)
        monkeypatch.setenv("IDENTITY_HEADER", "of the app")
        account = network.storage(azurite.new_account()).account
        assert account is not None
        with blob_storage_resource(resolve_access(account.storage)).get_client() as client:
            credential = client.credential
        store = AzureStore(AzureAccess(account.name, account.endpoint, "identity"))
        # The Azure SDK itself would send no token without TLS, which Azurite has not here.
        monkeypatch.setattr(store._credentials, "_credential", credential)
        attempts: list[Callable[[], Any]] = [
            lambda: store.list("logs"),
            lambda: store.scan_parquet(["gold/none.parquet"]).collect(),
            lambda: store.write_parquet("gold/a.parquet", pl.DataFrame({"x": [1]})),
            lambda: open_table(store, "status_daily"),
        ]
        for attempt in attempts:
            network.requests.clear()
            with pytest.raises(Exception):  # noqa: B017 (this Azurite takes no tokens)
                attempt()
            assert {request.authorization for request in network.requests} == {"Bearer token-1"}
    assert len(asked) == 1, "it was asked again though the token was good for a day"
