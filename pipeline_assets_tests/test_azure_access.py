"""How a person says how to get into an Azure account: every way, and every mistake, named without the secret.

What belongs here: settings as they are read at start. What does not: whether Azure takes them (`storage`).
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import pytest

from pipeline_assets import settings as settings_module
from pipeline_assets.azure_access import AzureAccess
from pipeline_assets.settings import SettingsError, load_settings

SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0"
STRING = f"DefaultEndpointsProtocol=https;AccountName=myaccount;AccountKey={SECRET}=;EndpointSuffix=core.windows.net"
SAS = f"sv=2024-11-04&ss=b&srt=co&sp=rwdlac&se=2999-01-01T00:00:00Z&sig={SECRET}%3D"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith(("PIPELINE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIPELINE_STORAGE", "az://myaccount")
    return monkeypatch


def access(**variables: str) -> AzureAccess:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        found = load_settings().azure
    assert found is not None
    return found


def secret_of(found: AzureAccess) -> str | None:
    return found.secret.get_secret_value() if found.secret else None


@pytest.mark.parametrize(
    ("variables", "kind", "secret", "endpoint"),
    [
        ({}, "identity", None, "https://myaccount.blob.core.windows.net"),
        ({"PIPELINE_STORAGE": "az://myaccount/"}, "identity", None, "https://myaccount.blob.core.windows.net"),
        ({"AZURE_STORAGE_KEY": f"{SECRET}="}, "key", f"{SECRET}=", "https://myaccount.blob.core.windows.net"),
        ({"AZURE_STORAGE_SAS_TOKEN": f"?{SAS}"}, "sas", SAS, "https://myaccount.blob.core.windows.net"),
        ({"AZURE_STORAGE_CONNECTION_STRING": STRING}, "key", f"{SECRET}=", "https://myaccount.blob.core.windows.net"),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": STRING.replace("core.windows.net", "core.chinacloudapi.cn")},
            "key", f"{SECRET}=", "https://myaccount.blob.core.chinacloudapi.cn",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint=https://blobs.example/;SharedAccessSignature={SAS}"},
            "sas", SAS, "https://blobs.example",
        ),
        (
            {"AZURE_STORAGE_SERVICE_ENDPOINT": "https://private.example:8443"},
            "identity", None, "https://private.example:8443",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": STRING, "AZURE_STORAGE_SERVICE_ENDPOINT": "http://localhost:1"},
            "key", f"{SECRET}=", "http://localhost:1",
        ),
    ],
)  # fmt: skip
def test_each_way_to_get_in_is_understood(
    variables: dict[str, str], kind: str, secret: str | None, endpoint: str
) -> None:
    found = access(**variables)
    assert (found.account, found.kind, found.endpoint) == ("myaccount", kind, endpoint)
    assert secret_of(found) == secret


@pytest.mark.parametrize(
    ("queue", "variables", "address"),
    [
        ("landed", {}, "https://myaccount.queue.core.windows.net/landed"),
        ("landed", {"AZURE_STORAGE_CONNECTION_STRING": f"{STRING};QueueEndpoint=https://q.example/"},
         "https://q.example/landed"),
        ("landed", {"AZURE_STORAGE_CONNECTION_STRING":
                    STRING.replace("core.windows.net", "core.chinacloudapi.cn")},
         "https://myaccount.queue.core.chinacloudapi.cn/landed"),
        ("https://q.example/landed/", {"AZURE_STORAGE_SERVICE_ENDPOINT": "https://private.example"},
         "https://q.example/landed"),
    ],
)  # fmt: skip
def test_a_queue_is_given_by_its_name_or_its_address(
    queue: str, variables: dict[str, str], address: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("PIPELINE_EVENT_QUEUE", queue)
    for name, value in variables.items():
        environment.setenv(name, value)
    assert load_settings().event_queue_address == address


@pytest.mark.parametrize(
    ("queue", "variables", "advice"),
    [
        ("landed", {"PIPELINE_STORAGE": "/srv/logs"}, "unset it, or set PIPELINE_STORAGE=az://"),
        ("landed", {"AZURE_STORAGE_SERVICE_ENDPOINT": "https://private.example"}, "write the whole address"),
        ("Landed", {}, "names no queue"),
        ("a--b", {}, "names no queue"),
        ("http://q.example/landed", {}, "not on this machine"),
        ("http://127.0.0.1:1/landed", {}, "a token is not sent over http://"),
        (f"https://q.example/landed?sig={SECRET}", {}, "more than an address"),
    ],
)
def test_a_queue_that_can_not_be_used_is_named(
    queue: str, variables: dict[str, str], advice: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("PIPELINE_EVENT_QUEUE", queue)
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsError, match="PIPELINE_EVENT_QUEUE") as raised:
        load_settings()
    assert advice in str(raised.value) and SECRET not in str(raised.value)


def test_the_emulators_own_connection_string_is_understood() -> None:
    found = access(
        PIPELINE_STORAGE="az://devstoreaccount1", AZURE_STORAGE_CONNECTION_STRING="UseDevelopmentStorage=true"
    )
    assert found.endpoint == "http://127.0.0.1:10000/devstoreaccount1"
    assert found.is_plain_http


@pytest.mark.parametrize(
    ("variables", "name", "advice"),
    [
        ({"PIPELINE_STORAGE": "az://"}, "PIPELINE_STORAGE", "az://myaccount"),
        ({"PIPELINE_STORAGE": "az://my-account"}, "PIPELINE_STORAGE", "small letters"),
        ({"PIPELINE_STORAGE": "az://myaccount/container"}, "PIPELINE_STORAGE", "nothing else"),
        ({"PIPELINE_STORAGE": "abfss://c@myaccount.dfs.core.windows.net"}, "PIPELINE_STORAGE", "az://<account>"),
        (
            {"AZURE_STORAGE_KEY": SECRET, "AZURE_STORAGE_SAS_TOKEN": SAS},
            "AZURE_STORAGE_KEY and AZURE_STORAGE_SAS_TOKEN", "unset the other",
        ),
        (
            {"AZURE_STORAGE_KEY": SECRET, "AZURE_STORAGE_CONNECTION_STRING": STRING},
            "AZURE_STORAGE_CONNECTION_STRING and AZURE_STORAGE_KEY", "unset the other",
        ),
        ({"AZURE_STORAGE_KEY": f"{SECRET}!"}, "AZURE_STORAGE_KEY", "not base64"),
        ({"AZURE_STORAGE_SAS_TOKEN": SECRET}, "AZURE_STORAGE_SAS_TOKEN", "no SAS token"),
        ({"AZURE_STORAGE_SAS_TOKEN": SAS.replace("2999", "2020")}, "AZURE_STORAGE_SAS_TOKEN", "expired at 2020"),
        ({"AZURE_STORAGE_CONNECTION_STRING": f"x{SECRET}"}, "AZURE_STORAGE_CONNECTION_STRING", "no connection string"),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName=myaccount;Key={SECRET}"},
            "AZURE_STORAGE_CONNECTION_STRING", "no connection string",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": STRING.replace("myaccount", "other")},
            "AZURE_STORAGE_CONNECTION_STRING", "another account than PIPELINE_STORAGE",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": STRING.replace("https", "http")},
            "AZURE_STORAGE_CONNECTION_STRING", "write https://",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"{STRING};BlobEndpoint=http://10.0.0.1:10000"},
            "AZURE_STORAGE_CONNECTION_STRING", "write https://",
        ),
        ({"AZURE_STORAGE_SERVICE_ENDPOINT": "http://blobs.example"}, "AZURE_STORAGE_SERVICE_ENDPOINT", "write https://"),
        ({"AZURE_STORAGE_SERVICE_ENDPOINT": "http://localhost:1"}, "AZURE_STORAGE_SERVICE_ENDPOINT", "set AZURE_STORAGE_KEY"),
        ({"AZURE_STORAGE_SERVICE_ENDPOINT": "blobs.example"}, "AZURE_STORAGE_SERVICE_ENDPOINT", "no address"),
        ({"AZURE_STORAGE_SERVICE_ENDPOINT": "https://h:port"}, "AZURE_STORAGE_SERVICE_ENDPOINT", "no address"),
        (
            {"AZURE_STORAGE_SERVICE_ENDPOINT": f"https://blobs.example?{SAS}"},
            "AZURE_STORAGE_SERVICE_ENDPOINT", "AZURE_STORAGE_SAS_TOKEN",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_fix_and_without_the_secret(
    variables: dict[str, str], name: str, advice: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        access(**variables)
    message = str(raised.value)
    assert name in message and advice in message
    assert "\n" not in message
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_a_secret_is_not_in_what_settings_print() -> None:
    for variables in (
        {"AZURE_STORAGE_KEY": SECRET},
        {"AZURE_STORAGE_SAS_TOKEN": SAS},
        {"AZURE_STORAGE_CONNECTION_STRING": STRING},
    ):
        with pytest.MonkeyPatch.context() as environment:
            for name, value in variables.items():
                environment.setenv(name, value)
            found = load_settings()
        shown: list[Any] = [found, found.azure, found.model_dump(), found.model_dump_json()]
        assert all(SECRET not in text for one in shown for text in (str(one), repr(one)))


def test_azure_variables_mean_nothing_where_the_storage_is_a_folder(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PIPELINE_STORAGE", "some/folder")
    environment.setenv("AZURE_STORAGE_KEY", "not base64!")
    environment.setenv("AZURE_STORAGE_SAS_TOKEN", "neither")
    assert load_settings().azure is None


def test_a_file_in_the_checkout_is_read_and_may_not_contradict_the_environment(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setattr(os, "environ", os.environ.copy())
    environment.setattr(settings_module, "project_root", lambda: tmp_path)
    del os.environ["PIPELINE_STORAGE"]
    (tmp_path / ".env").write_text(
        f"PIPELINE_STORAGE=az://fromfile\nAZURE_STORAGE_KEY='{SECRET}'\nPIPELINE_SITE=a.example\nOTHER=1\n"
    )
    found = load_settings()
    assert found.azure is not None
    assert (found.azure.account, found.azure.kind, found.site) == ("fromfile", "key", "a.example")
    assert load_settings() == found
    os.environ["AZURE_STORAGE_KEY"] = f"other{SECRET}"
    with pytest.raises(SettingsError, match=r"^AZURE_STORAGE_KEY: the environment and .env") as raised:
        load_settings()
    assert SECRET not in str(raised.value)
    os.environ["OTHER"] = "2"
    os.environ["AZURE_STORAGE_KEY"] = ""
    assert load_settings() == found
