"""Settings: an unusable one is named, and the configuration's digest changes with what decides a row.

What belongs here: reading and checking the environment. What does not: what a setting does.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline_assets.settings import Settings, SettingsError, load_settings, variable_of
from pipeline_assets.settings_elsewhere import public_variables, settings_from, storage_secrets


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PIPELINE_", "AZURE_", "ALERT_"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("PIPELINE_STORAGE", "s3://bucket/logs", "use a path or az://<account>"),
        ("PIPELINE_START_DATE", "yesterday", "valid date"),
        ("PIPELINE_START_DATE", "2024-02-30", "valid date"),
        ("PIPELINE_END_DATE", "01/02/2024", "valid date"),
        ("PIPELINE_TIMEZONE", "CEST!", "use a name such as Europe/Berlin"),
        ("PIPELINE_TIMEZONE", "Europe", "use a name such as Europe/Berlin"),
        ("PIPELINE_SCHEDULE_TIMEZONE", "../../etc/passwd", "use a name such as Europe/Berlin"),
        ("PIPELINE_LOOK_BACK_DAYS", "0", "greater than or equal to 1"),
        ("PIPELINE_SETTLE_SECONDS", "-1", "greater than or equal to 0"),
        ("PIPELINE_SETTLE_SECONDS", "nan", "greater than or equal to 0"),
        ("PIPELINE_BATCH_MAX_FILES", "many", "valid integer"),
        ("PIPELINE_BATCH_MAX_BYTES", "0", "greater than or equal to 1"),
        ("PIPELINE_ANOMALY_THRESHOLD", "0", "greater than 0"),
        ("PIPELINE_REJECT_RATE_LIMIT", "5", "less than or equal to 1"),
        ("PIPELINE_OWNERS", "team:web, somebody", "write ops@example.org or team:web"),
        ("PIPELINE_PRICE_CPU_HOUR", "-1", "greater than or equal to 0"),
        ("PIPELINE_CURRENCY", "euro", "^[A-Z]{3}$"),
        ("ALERT_URLS", "ops@example.org", "one looks like slack://"),
        ("PIPELINE_ALERT_QUIET_MINUTES", "-1", "greater than or equal to 0"),
        ("PIPELINE_ALERT_STUCK_MINUTES", "0", "greater than 0"),
        ("PIPELINE_EXPECT_DAILY_BY", "6", "such as 06:00"),
        ("PIPELINE_EXPECT_DAILY_BY", "24:00", "such as 06:00"),
        ("PIPELINE_EXPECT_INCREMENTAL_HOURS", "often", "valid number"),
        ("PIPELINE_COMPUTE", "cloud", "'local' or 'databricks'"),
        ("PIPELINE_DATABRICKS_CLUSTER", "shared", "'new', 'existing' or 'serverless'"),
        ("PIPELINE_DATABRICKS_ENVIRONMENT", "AZURE_STORAGE_KEY=YQ==", "{{secrets/<scope>/<key>}}"),
        ("PIPELINE_DATABRICKS_WHEEL", "dist/a.whl", "such as /Volumes/"),
        ("PIPELINE_DATABRICKS_SPOT_MAX_PRICE", "0", "write -1, or a price"),
        ("PIPELINE_DATABRICKS_RETRIES", "-1", "greater than or equal to 0"),
        ("PIPELINE_DATABRICKS_TIMEOUT_SECONDS", "0", "greater than or equal to 1"),
        ("PIPELINE_UI_URL", "javascript:alert(1)", "write one such as https://"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_must_be(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, advice: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value).startswith(f"{name}: ")
    assert advice in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a[b]", "a|b", "a^b", "a\\b", "a%20b", "a\nb"])
def test_a_folder_that_can_hold_no_tables_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="set PIPELINE_STORAGE to another") as raised:
        settings_from({"PIPELINE_STORAGE": str(tmp_path / name)})
    assert "\n" not in str(raised.value)
    assert settings_from({"PIPELINE_STORAGE": str(tmp_path / "100% of my data")}).azure is None


def test_every_wrong_setting_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_LOOK_BACK_DAYS", "0")
    monkeypatch.setenv("PIPELINE_TIMEZONE", "nowhere")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    names = {line.split(":")[0] for line in str(raised.value).split("\n")}
    assert names == {"PIPELINE_LOOK_BACK_DAYS", "PIPELINE_TIMEZONE"}


def test_a_window_that_is_empty_names_both_of_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_START_DATE", "2024-01-02")
    monkeypatch.setenv("PIPELINE_END_DATE", "2024-01-02")
    with pytest.raises(SettingsError, match=r"PIPELINE_START_DATE must be before PIPELINE_END_DATE"):
        load_settings()


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(variable_of(name), "")
    assert load_settings() == Settings()


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIPELINE_STORAGE", str(tmp_path))
    monkeypatch.setenv("PIPELINE_START_DATE", "2024-01-02")
    settings = load_settings()
    assert (settings.root, settings.start_date) == (tmp_path, date(2024, 1, 2))


def test_a_home_folder_in_the_path_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(storage="~/logs").root == tmp_path / "logs"


OTHER_VALUES: dict[str, Any] = {
    "accelerator": False,
    "workers": 3,
    "storage": "elsewhere",
    "azure_connection_string": "UseDevelopmentStorage=true",
    "azure_key": "YQ==",
    "azure_sas_token": "sig=a",
    "azure_endpoint": "https://elsewhere.example",
    "start_date": date(2016, 1, 1),
    "end_date": date(2099, 1, 1),
    "timezone": "Europe/Berlin",
    "schedule_timezone": "Europe/Berlin",
    "site": "example.org",
    "log_formats": '{"mine": "%h %t"}',
    "look_back_days": 2,
    "settle_seconds": 3.0,
    "poll_seconds": 3.5,
    "event_queue": "events",
    "batch_max_files": 4,
    "batch_max_bytes": 5,
    "anomaly_threshold": 7.0,
    "bot_ranges": '{"b": {"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}]}}',
    "known_windows": "02:00/03:00",
    "muted": "*.test",
    "reject_rate_limit": 0.5,
    "owners": "team:web",
    "rebuild_units": 8,
    "retention_days_logs": 9,
    "retention_days_bronze": 10,
    "retention_days_silver": 11,
    "retention_days_gold": 12,
    "sweep_grace_hours": 13.0,
    "table_history_days": 14,
    "batch_key_weeks": 15,
    "price_cpu_hour": 0.1,
    "price_gb_month": 0.2,
    "price_writes_10k": 0.3,
    "price_reads_10k": 0.4,
    "currency": "EUR",
    "alert_urls": "json://127.0.0.1/",
    "alert_quiet_minutes": 1.0,
    "alert_remind_hours": 1.0,
    "alert_days": 7,
    "alert_stuck_minutes": 5.0,
    "expect_daily_by": "06:00",
    "expect_incremental_hours": 2.0,
    "ui_url": "https://dagster.example.org",
    "compute": "databricks",
    "databricks_min_bytes": 6,
    "databricks_cluster": "serverless",
    "databricks_cluster_id": "0123-456789-abc",
    "databricks_wheel": "/Volumes/a/b/c/pipeline_assets.whl",
    "databricks_spark_version": "16.4.x-scala2.12",
    "databricks_node_type": "Standard_E8ds_v5",
    "databricks_instance_pool_id": "pool-1",
    "databricks_policy_id": "policy-1",
    "databricks_min_workers": 2,
    "databricks_max_workers": 3,
    "databricks_spot": "never",
    "databricks_spot_max_price": 0.5,
    "databricks_single_user": "etl@example.org",
    "databricks_environment": "REGION=north",
    "databricks_timeout_seconds": 60,
    "databricks_retries": 0,
    "databricks_retry_seconds": 1.0,
    "databricks_poll_seconds": 1.0,
    "databricks_other_version": "warn",
}
NEEDED: dict[str, dict[str, Any]] = {
    "event_queue": {"storage": "az://account", "azure_key": "YQ=="},
    "compute": {"databricks_wheel": "/Volumes/a/b/c/pipeline_assets.whl"},
}
DECIDING = {"start_date", "end_date", "timezone", "site", "log_formats"}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_digest_changes_exactly_with_what_decides_a_row(name: str) -> None:
    changed = Settings(**{name: OTHER_VALUES[name]}, **NEEDED.get(name, {}))
    assert (changed.config_digest != Settings().config_digest) == (name in DECIDING)


def test_formats_may_stand_in_a_file_and_their_text_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '{"mine": "%h %t"}'
    (tmp_path / "formats.json").write_text(text + "\n")
    monkeypatch.setenv("PIPELINE_LOG_FORMATS", str(tmp_path / "formats.json"))
    loaded = load_settings()
    assert [definition.name for definition in loaded.own_formats] == ["mine"]
    assert loaded.config_digest == Settings(log_formats=text).config_digest
    monkeypatch.delenv("PIPELINE_LOG_FORMATS")
    assert Settings().own_formats == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"mine": "%h %t %Y"}', "PIPELINE_LOG_FORMATS: mine, at character 7: %Y is no directive"),
        ('{"mine": ', "PIPELINE_LOG_FORMATS: no JSON"),
        ("/no/such/file.json", "PIPELINE_LOG_FORMATS: /no/such/file.json: can't be read (No such file"),
    ],
)
def test_a_wrong_format_is_named_at_the_start(
    value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_LOG_FORMATS", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert message in str(caught.value)


def test_settings_are_the_same_where_their_variables_are_given(tmp_path: Path) -> None:
    formats = tmp_path / "formats.json"
    formats.write_text('{"own": "%h %t"}')
    settings = Settings(
        storage="az://myaccount",
        azure_key=SecretStr("c2VjcmV0"),
        alert_urls=SecretStr("slack://tokenA/tokenB/tokenC"),
        start_date=date(2023, 4, 5),
        timezone="Europe/Berlin",
        log_formats=str(formats),
        settle_seconds=0.0,
        retention_days_logs=9,
    )
    public = public_variables(settings)
    assert public["PIPELINE_LOG_FORMATS"] == '{"own": "%h %t"}'
    assert not {"c2VjcmV0", "slack://tokenA/tokenB/tokenC"} & set(public.values())
    assert storage_secrets(settings) == {"AZURE_STORAGE_KEY": "c2VjcmV0"}
    elsewhere = settings_from(public | storage_secrets(settings))
    assert elsewhere == settings.model_copy(update={"alert_urls": SecretStr("")})


def test_given_variables_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_TIMEZONE", "Europe/Paris")
    monkeypatch.setenv("PIPELINE_SITE", "shop.example")
    settings = settings_from({"PIPELINE_TIMEZONE": "Europe/Berlin", "NOT_OURS": "x"})
    assert (settings.timezone, settings.site) == ("Europe/Berlin", "shop.example")
    with pytest.raises(SettingsError, match=r"^PIPELINE_TIMEZONE: no such time zone"):
        settings_from({"PIPELINE_TIMEZONE": "nowhere"})


def test_what_opens_the_storage_is_told_by_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", "an-id")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "a-secret")
    assert storage_secrets(Settings(storage="az://myaccount")) == {
        "AZURE_CLIENT_ID": "an-id",
        "AZURE_CLIENT_SECRET": "a-secret",
    }
    assert storage_secrets(Settings(storage=str(tmp_path))) == {}
