"""Every setting: its environment variable, its default, its check and its help.

What belongs here: reading and checking the environment, once, with errors that name the variable. What does
not: what the settings are used for. No other module reads one of these variables.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from pipeline_assets import azure_access, muting
from pipeline_assets.azure_access import AzureAccess
from pipeline_assets.databricks_settings import DatabricksSettings
from pipeline_assets.env_file import read_env_file

if TYPE_CHECKING:
    from pipeline_assets.kernel.definitions import Definition
    from pipeline_assets.models.bot_ranges import BotRanges

# What Dagster takes for an owner.
_OWNER: Final = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+|team:[A-Za-z0-9_-]+")
# A URL of a list ends at white space, or at a comma that another URL follows: a comma inside one is its own.
_BETWEEN_URLS: Final = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)|\s+")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
# What delta-rs (1.6) takes for something else in the path of a folder, or for no path at all.
_NO_DELTA_TABLES: Final = re.compile(r"[][^|\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")


class SettingsError(Exception):
    """A setting is unusable; the message names the variable, what is wrong, and what to write instead."""


def project_root() -> Path:
    """The checkout this package runs from, or the working directory where it is installed elsewhere."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


class Settings(DatabricksSettings):
    """All settings of the pipeline, from `PIPELINE_*` environment variables.

    What Azure's own tools have a variable for is read from that variable, and alerts have `ALERT_URLS`.
    """

    model_config = SettingsConfigDict(
        env_prefix="PIPELINE_",
        env_ignore_empty=True,
        frozen=True,
        populate_by_name=True,
        extra="ignore",
        hide_input_in_errors=True,  # it may be a secret
    )

    storage: str = Field(
        default="",
        description=(
            "folder that holds logs, bronze, silver, gold, serving and model, or an Azure storage account,"
            " az://<account>, where each of them is a container"
        ),
    )
    azure_connection_string: SecretStr | None = Field(
        default=None,
        validation_alias=azure_access.CONNECTION_STRING,
        description="how to get into the Azure account: its connection string",
    )
    azure_key: SecretStr | None = Field(
        default=None,
        validation_alias=azure_access.KEY,
        description="how to get into the Azure account: one of its two keys",
    )
    azure_sas_token: SecretStr | None = Field(
        default=None,
        validation_alias=azure_access.SAS_TOKEN,
        description="how to get into the Azure account: a shared access signature",
    )
    azure_endpoint: str = Field(
        default="",
        validation_alias=azure_access.ENDPOINT,
        description="address of the account's blob service, where it is not https://<account>.blob.core.windows.net",
    )
    start_date: date = Field(
        default=date(2015, 1, 1),
        description="first day of the pipeline: partitions begin here, and events before it are rejected",
    )
    end_date: date = Field(
        default=date(2100, 1, 1), description="events on or after this day are rejected (a clock gone mad)"
    )
    timezone: str = Field(default="UTC", description="zone of logs that name none, such as error logs")
    schedule_timezone: str = Field(default="UTC", description="zone in which the daily schedule's 02:00 is")
    site: str = Field(default="", description="site of logs that name none; else taken from the file's name")
    log_formats: str = Field(
        default="",
        description="formats of your own: a JSON object of names and LogFormat or log_format strings, or a"
        " file that holds one",
    )
    accelerator: bool = Field(
        default=True,
        description=(
            "read large Combined and Common logs by compiled code, where the extra `fast` is installed;"
            " the rows are the same"
        ),
    )
    workers: int = Field(
        default=0,
        ge=0,
        description=(
            "processes that make the layers of many small deliveries beside each other: 0 for as many as"
            " there are processors, at most 8; 1 for none"
        ),
    )
    look_back_days: int = Field(
        default=35, ge=1, description="daily folders the arrival sensor looks at; the schedule looks at all"
    )
    settle_seconds: float = Field(
        default=1.0, ge=0, description="how long a file must stay unchanged before the sensor takes it"
    )
    poll_seconds: float | None = Field(
        default=None,
        ge=0.5,
        description=(
            "pause between two looks of the sensor: 0.5 on a folder, 5 in Azure, where each look is four"
            " requests that cost money, and 1 where it asks a queue"
        ),
    )
    event_queue: str = Field(
        default="",
        description=(
            "a queue of the Azure account in which Event Grid puts what has landed, by its name or its whole"
            " address: the sensor then asks the queue and lists nothing"
        ),
    )
    batch_max_files: int = Field(default=1000, ge=1, description="files in one incremental batch, at most")
    batch_max_bytes: int = Field(
        default=4 * 2**30, ge=1, description="landed bytes in one incremental batch, at most"
    )
    rebuild_units: int = Field(
        default=100,
        ge=0,
        description="deliveries of an older kernel that a run or a night rebuilds; 0 leaves them to full",
    )
    retention_days_logs: int | None = Field(
        default=None, ge=1, description="days after which landed files are deleted once read; unset: never"
    )
    retention_days_bronze: int | None = Field(
        default=None, ge=1, description="days after which a delivery's bronze rows are deleted; unset: never"
    )
    retention_days_silver: int | None = Field(
        default=None, ge=1, description="days after which a delivery's silver rows are deleted; unset: never"
    )
    retention_days_gold: int | None = Field(
        default=None, ge=1, description="days after which a delivery's gold rows are deleted; unset: never"
    )
    sweep_grace_hours: float = Field(
        default=24.0,
        ge=0,
        description="maintenance leaves alone what is younger, as a run may still be writing or reading it",
    )
    table_history_days: int = Field(
        default=7, ge=1, description="days for which a reader may go on with an older version of a table"
    )
    batch_key_weeks: int = Field(
        default=8, ge=1, description="weeks for which the UI lists a batch; its data stays"
    )
    anomaly_threshold: float = Field(
        default=5.5, gt=0, description="spreads from the expected traffic that make an anomaly"
    )
    bot_ranges: str = Field(
        default="",
        description=(
            "addresses of bots, as a JSON object or a file with one:"
            ' `{"Googlebot": {"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}]}}`, for each what its operator'
            " publishes; who claims such a name from elsewhere is no such bot"
        ),
    )
    known_windows: str = Field(
        default="",
        description=(
            "times (UTC) in which unusual traffic is no news, such as a deploy:"
            " `2024-01-15T10:00/2024-01-15T10:30 shop.example, 02:00/03:00`; a site may follow, and"
            " a time without a day is every day's"
        ),
    )
    muted: str = Field(
        default="",
        description=(
            "what no alert is sent of: sites, or site and series, with `*` for any text, such as"
            " `*.test.example, shop.example:bytes, *:bot_share`; `all` is all sites together"
        ),
    )
    price_cpu_hour: float = Field(
        default=0.0, ge=0, description="price of an hour of one processor, for estimates of what runs cost"
    )
    price_gb_month: float = Field(
        default=0.0, ge=0, description="price of keeping 10^9 bytes for a month, for the same"
    )
    price_writes_10k: float = Field(
        default=0.0, ge=0, description="price of 10,000 requests that write or list, for the same"
    )
    price_reads_10k: float = Field(
        default=0.0, ge=0, description="price of 10,000 requests that read, for the same"
    )
    currency: str = Field(
        default="USD", pattern="^[A-Z]{3}$", description="currency of the prices, such as EUR"
    )
    alert_urls: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="ALERT_URLS",
        description="where alerts go: Apprise URLs, separated by white space or commas; empty: nowhere",
    )
    alert_quiet_minutes: float = Field(
        default=10.0, ge=0, description="after a message, further problems of its kind are gathered this long"
    )
    alert_remind_hours: float = Field(
        default=24.0, ge=0, description="a problem that stays is told again after this long; 0: never"
    )
    alert_days: int = Field(
        default=2,
        ge=1,
        description="incidents and rejected lines are told of days that are this old at most",
    )
    alert_stuck_minutes: float = Field(
        default=60.0, gt=0, description="a run of more minutes, and thrice as long as usual, is stuck"
    )
    expect_daily_by: str = Field(
        default="",
        description="when the delivery of the day before must have landed and be read, such as 06:00, in the"
        " zone of the schedule; empty: none is expected",
    )
    expect_incremental_hours: float = Field(
        default=0.0, ge=0, description="a batch is expected at least this often; 0: none is expected"
    )
    ui_url: str = Field(
        default="http://127.0.0.1:3000", description="address of the UI, for links in alerts to runs"
    )
    reject_rate_limit: float = Field(
        default=0.05, ge=0, le=1, description="share of rejected lines in a delivery that makes a warning"
    )
    owners: str = Field(
        default="",
        description="who owns the assets and jobs in the UI: addresses and team:names, separated by commas",
    )

    @field_validator("owners")
    @classmethod
    def _owners(cls, value: str) -> str:
        for owner in _listed(value):
            if not _OWNER.fullmatch(owner):
                raise ValueError(f"{owner!r} is no owner; write ops@example.org or team:web")
        return value

    @field_validator("timezone", "schedule_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {value!r}; use a name such as Europe/Berlin") from error
        return value

    @field_validator("storage")
    @classmethod
    def _folder_or_account(cls, value: str) -> str:
        if "://" in value and not azure_access.is_azure(value):
            raise ValueError(
                f"neither a folder nor an Azure account but {value.split('://')[0]}://; use a path or az://<account>"
            )
        return value

    @field_validator("alert_urls")
    @classmethod
    def _urls(cls, value: SecretStr) -> SecretStr:
        for number, url in enumerate(_split_urls(value.get_secret_value()), 1):
            # What is wrong is named by its place: it may hold a password.
            if not _URL.fullmatch(url):
                raise ValueError(
                    f"item number {number} is no Apprise URL; one looks like slack://tokenA/tokenB/tokenC"
                )
        return value

    @field_validator("bot_ranges")
    @classmethod
    def _bot_ranges(cls, value: str) -> str:
        text = _text_or_file(value)
        if text:
            _read_ranges(text)
        return text

    @field_validator("known_windows")
    @classmethod
    def _windows(cls, value: str) -> str:
        muting.windows_of(value)
        return value

    @field_validator("expect_daily_by")
    @classmethod
    def _time_of_day(cls, value: str) -> str:
        if value and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError(f"not a time of day: {value!r}; write hours and minutes, such as 06:00")
        return value

    @field_validator("ui_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s<>\"'`]+", value):
            raise ValueError("not a web address; write one such as https://dagster.example.org")
        return value

    @model_validator(mode="after")
    def _window(self) -> Settings:
        if self.start_date >= self.end_date:
            raise ValueError("PIPELINE_START_DATE must be before PIPELINE_END_DATE")
        return self

    @field_validator("log_formats")
    @classmethod
    def _formats(cls, value: str) -> str:
        """The definitions' text, wherever it stands: what decides a row is the text and not its place."""
        text = _text_or_file(value)
        if text:
            _compiled(text)
        return text

    @model_validator(mode="after")
    def _access(self) -> Settings:
        _ = self.event_queue_address  # checks both
        return self

    @model_validator(mode="after")
    def _folder_for_tables(self) -> Settings:
        if self.azure is None and (found := _NO_DELTA_TABLES.search(self.root.as_posix())):
            raise ValueError(
                f"the storage folder {str(self.root)!r} can't hold Delta tables, for its path has"
                f" {found.group()!r} in it; set PIPELINE_STORAGE to another"
            )
        return self

    @cached_property
    def azure(self) -> AzureAccess | None:
        """How to get into the Azure account that is the storage; None where it is a folder."""
        if not azure_access.is_azure(self.storage):
            return None
        return azure_access.resolve_access(
            self.storage,
            connection_string=self.azure_connection_string,
            key=self.azure_key,
            sas_token=self.azure_sas_token,
            endpoint=self.azure_endpoint,
        )

    @cached_property
    def event_queue_address(self) -> str:
        """The whole address of the queue of events; empty where there is none."""
        access = self.azure
        if not self.event_queue:
            return ""
        if access is None:
            raise ValueError(
                f"{azure_access.EVENT_QUEUE} is set, and of a folder there are no events; unset it, or set"
                " PIPELINE_STORAGE=az://<account>"
            )
        return azure_access.queue_address(access, self.event_queue)

    @property
    def queue_poll_s(self) -> float:
        """Seconds between two questions to the queue: they cost a twelfth of a listing."""
        return self.poll_seconds if self.poll_seconds is not None else 1.0

    @property
    def poll_s(self) -> float:
        """Seconds between two looks of the sensor: as set, else what suits the storage."""
        if self.poll_seconds is not None:
            return self.poll_seconds
        return 0.5 if self.azure is None else 5.0

    @property
    def root(self) -> Path:
        """The storage folder: as set, else `data` in the checkout. There is none where `azure` is set."""
        return Path(self.storage).expanduser().absolute() if self.storage else project_root() / "data"

    @property
    def owner_list(self) -> list[str]:
        """The owners, one by one."""
        return _listed(self.owners)

    @property
    def daily_deadline(self) -> time | None:
        """When the delivery of the day before is expected; None if it is not."""
        return datetime.strptime(self.expect_daily_by, "%H:%M").time() if self.expect_daily_by else None

    def expects(self, site: str | None, series: str, start: datetime, end: datetime) -> bool:
        """Whether an incident of this series from start to end is muted, or in a window that is known."""
        if muting.is_muted(muting.muted_of(self.muted), site, series):
            return True
        windows = muting.windows_of(self.known_windows)
        return any(window.covers(site, start, end) for window in windows)

    @cached_property
    def own_formats(self) -> tuple[Definition, ...]:
        """The user's own formats, in their order."""
        return _compiled(self.log_formats) if self.log_formats else ()

    @cached_property
    def known_bots(self) -> BotRanges | None:
        """The addresses of bots; None where none are set."""
        return _read_ranges(self.bot_ranges) if self.bot_ranges else None

    @cached_property
    def config_digest(self) -> str:
        """Digest of the settings that decide what a landed line becomes; 12 hex digits."""
        parts: tuple[object, ...] = (self.start_date, self.end_date, self.timezone, self.site)
        if self.log_formats:
            parts = (*parts, self.log_formats)
        return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:12]


def _text_or_file(value: str) -> str:
    """A JSON object, or what stands in the file that is named instead."""
    text = value.strip()
    if text and not text.startswith("{"):
        try:
            text = Path(text).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ValueError(
                f"{value}: can't be read ({reason}); write a JSON object, or the path of a file with one"
            ) from None
    return text


def _read_ranges(text: str) -> BotRanges:
    # Only who has ranges pays for what reads them.
    from pipeline_assets.models.bot_ranges import read_ranges

    return read_ranges(text)


def _compiled(text: str) -> tuple[Definition, ...]:
    # Only who has formats of their own pays for what reads them.
    from pipeline_assets.kernel.own_formats import compile_formats

    return compile_formats(text)


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def load_settings() -> Settings:
    """Settings from the environment and from `.env` in the checkout.

    Raises `SettingsError` with one line for each variable that is wrong.
    """
    differing = read_env_file(project_root() / ".env")
    if differing:
        raise SettingsError(
            "\n".join(
                f"{name}: the environment and .env say different things, and not every command would follow"
                " the same one; keep it in one of them"
                for name in differing
            )
        )
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(problems_of(error)) from None


def problems_of(error: ValidationError) -> str:
    """A line for each variable that is wrong."""
    lines = []
    for problem in error.errors():
        name = "_".join(str(part) for part in problem["loc"])
        prefix = f"{variable_of(name)}: " if name else ""
        lines.append(prefix + problem["msg"].removeprefix("Value error, "))
    return "\n".join(lines)


def variable_of(name: str) -> str:
    """The environment variable of a setting, by the setting's name or by the variable's own."""
    field = Settings.model_fields.get(name)
    alias = field.validation_alias if field else None
    if isinstance(alias, str):
        return alias
    known = {one.validation_alias for one in Settings.model_fields.values()}
    return name if name in known else f"PIPELINE_{name.upper()}"


def alert_urls(settings: Settings) -> list[str]:
    """The Apprise URLs of `ALERT_URLS`, in order. They hold secrets: never print one."""
    return _split_urls(settings.alert_urls.get_secret_value())


def _split_urls(text: str) -> list[str]:
    return [url for part in _BETWEEN_URLS.split(text) if (url := part.strip(","))]
