"""Unity Catalog: serving and model as tables that Databricks knows by name, and views of them for BI.

What belongs here: the statements, and handing them to a SQL warehouse. What does not: the tables, which
delta-rs keeps and nobody else writes, and their columns' comments, which are in their Delta logs.

Every statement may be run again and then changes nothing. The syntax is that of
https://docs.databricks.com/sql/language-manual/.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pipeline_assets.azure_access import AzureAccess
from pipeline_assets.kernel.schemas import MODEL, RECORDS, SERVING, Table

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

BI: Final = "bi"
# The volume of the deployed wheel; deploy/databricks/databricks.yml names the same.
OPS: Final = "ops"
WHEELS: Final = "wheels"
# A warehouse that sleeps takes minutes to start.
_LONGEST_WAIT_S: Final = 1200.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0


class CatalogError(Exception):
    """Unity Catalog can't be brought up to date; the message says which statement, and why."""


@dataclass(frozen=True)
class View:
    """A view: its name, what it says, its columns with what they hold, and the query.

    Every expression of the query has the name of its column, without which Spark makes no lasting view of it.
    In the query `{serving}` and `{model}` stand for the schemas of the tables, `{bi}` for that of the views.
    """

    name: str
    description: str
    columns: tuple[tuple[str, str], ...]
    query: str


_DAY: Final = ("event_date", "day of the event, UTC")
_SITE: Final = ("site", "virtual host, else the configured name, else from the file's name")
_TOTALS: Final = (
    _DAY,
    _SITE,
    ("hits", "requests"),
    ("bytes", "bytes sent"),
    ("visitors", "distinct pairs of client address and user agent"),
    ("bot_visitors", "those of them that are bots"),
    ("visits", "visits: requests of one visitor, each no more than 30 minutes after the one before"),
)
# Each is made after those that it reads.
VIEWS: Final = (
    View(
        "daily_totals",
        "Requests, bytes, visitors and visits of each day and site.",
        _TOTALS,
        "SELECT t.event_date, t.site, t.hits, t.bytes, t.visitors, t.bot_visitors,"
        " COALESCE(v.visits, 0) AS visits FROM {serving}.`visitors_daily` AS t"
        " LEFT JOIN (SELECT event_date, site, COUNT(*) AS visits"
        " FROM {serving}.`visits_daily` GROUP BY event_date, site) AS v"
        " ON v.event_date = t.event_date AND v.site = t.site WHERE t.hits > 0",
    ),
    View(
        "latest_day",
        "The newest day that has requests, by site.",
        _TOTALS,
        "SELECT * FROM {bi}.`daily_totals`"
        " WHERE event_date = (SELECT MAX(event_date) FROM {bi}.`daily_totals`)",
    ),
    View(
        "hourly_traffic",
        "Requests and bytes of each hour and site, of people and of bots.",
        (
            _DAY,
            ("hour", "hour of the event, UTC, 0 to 23"),
            _SITE,
            ("hits", "requests"),
            ("bot_hits", "those of them by bots"),
            ("bytes", "bytes sent"),
        ),
        "SELECT event_date, hour, site, SUM(hits) AS hits,"
        " SUM(CASE WHEN is_bot THEN hits ELSE 0 END) AS bot_hits, SUM(bytes) AS bytes"
        " FROM {serving}.`traffic_hourly` GROUP BY event_date, hour, site",
    ),
    View(
        "error_rates",
        "Shares of the requests of each day and site that were answered with an error (RFC 9110, 15).",
        (
            _DAY,
            _SITE,
            ("hits", "requests"),
            ("client_errors", "those of them answered with 4xx"),
            ("server_errors", "those of them answered with 5xx"),
            ("client_error_rate", "client_errors of hits, 0 to 1"),
            ("server_error_rate", "server_errors of hits, 0 to 1"),
        ),
        "SELECT event_date, site, hits, client_errors, server_errors,"
        " CAST(client_errors AS DOUBLE) / hits AS client_error_rate,"
        " CAST(server_errors AS DOUBLE) / hits AS server_error_rate FROM ("
        "SELECT event_date, site, SUM(hits) AS hits,"
        " SUM(CASE WHEN status BETWEEN 400 AND 499 THEN hits ELSE 0 END) AS client_errors,"
        " SUM(CASE WHEN status BETWEEN 500 AND 599 THEN hits ELSE 0 END) AS server_errors"
        " FROM {serving}.`status_daily` GROUP BY event_date, site) AS t WHERE hits > 0",
    ),
    View(
        "top_pages",
        "The 100 pages of each day and site that were asked for most.",
        (
            _DAY,
            _SITE,
            ("place", "1 is the page with most requests"),
            ("path", "path as requested, without query"),
            ("hits", "requests"),
            ("failures", "those of them answered with a status of 400 or more"),
        ),
        "SELECT event_date, site, place, path, hits, failures FROM (SELECT *, ROW_NUMBER() OVER"
        " (PARTITION BY event_date, site ORDER BY hits DESC, path) AS place FROM {serving}.`paths_daily`"
        " WHERE kind = 'page' AND path IS NOT NULL) AS t WHERE place <= 100",
    ),
    View(
        "recent_incidents",
        "Incidents of the last 28 days that there are, the newest day included.",
        (
            _DAY,
            ("site", "virtual host; null for all sites together"),
            ("started_at", "its first unusual minute, or hour"),
            ("ended_at", "end of its last unusual minute, or hour"),
            ("series", "the series that is farthest from what is usual"),
            ("direction", "high or low"),
            ("severity", "low, medium or high, by distance and length"),
            ("observed", "what was logged where it is farthest"),
            ("expected", "what the days before lead one to expect"),
        ),
        "SELECT event_date, site, started_at, ended_at, series, direction, severity, observed, expected"
        " FROM {model}.`incidents` WHERE event_date >"
        " (SELECT DATE_SUB(MAX(event_date), 28) FROM {serving}.`traffic_hourly`)",
    ),
    View(
        "data_quality",
        "Lines of landed files of each day and site by what became of them.",
        (
            _DAY,
            _SITE,
            ("lines", "lines"),
            ("rejected", "those of them that could not be read"),
            ("malformed", "those of them whose request is garbage"),
            ("reject_rate", "rejected of lines, 0 to 1"),
        ),
        "SELECT event_date, site, lines, rejected, malformed,"
        " CAST(rejected AS DOUBLE) / lines AS reject_rate FROM ("
        "SELECT event_date, site, SUM(lines) AS lines,"
        " SUM(CASE WHEN fate = 'rejected' THEN lines ELSE 0 END) AS rejected,"
        " SUM(CASE WHEN reason = 'malformed_request' THEN lines ELSE 0 END) AS malformed"
        " FROM {serving}.`quality_daily` GROUP BY event_date, site) AS t WHERE lines > 0",
    ),
)


def hierarchical_host(access: AzureAccess) -> str:
    """The address by which Databricks reads the account, such as myaccount.dfs.core.windows.net.

    Raises `CatalogError` where the account's address is not one of Azure's.
    """
    host = urlsplit(access.endpoint).hostname or ""
    first, _, rest = host.partition(".blob.")
    if first != access.account or not rest:
        raise CatalogError(
            f"{host or access.endpoint} is not the address of an Azure account; Unity Catalog reads no other"
        )
    return f"{first}.dfs.{rest}"


def statements(host: str, catalog: str, *, credential: str = "", readers: Iterable[str] = ()) -> list[str]:
    """All statements, in their order, for the account at `host`.

    With the name of a storage credential they also declare the external locations of both containers.
    `readers` are users and groups that may read the views. These read the tables by the rights of whoever
    made them, so readers see no client addresses.
    """
    made = [f"CREATE CATALOG IF NOT EXISTS {_name(catalog)} COMMENT {_text('Web-server logs, by event day')}"]
    for container in ("serving", "model"):
        if credential:
            made.append(
                f"CREATE EXTERNAL LOCATION IF NOT EXISTS {_name(f'{catalog}_{container}')}"
                f" URL {_text(_location(host, container))} WITH (STORAGE CREDENTIAL {_name(credential)})"
            )
    schemas = {
        "serving": "Complete days: what was read of the logs",
        "model": "What was worked out from complete days",
        BI: "Views of serving and model",
        OPS: "What the pipeline itself needs",
    }
    made += [
        f"CREATE SCHEMA IF NOT EXISTS {_name(catalog, schema)} COMMENT {_text(comment)}"
        for schema, comment in schemas.items()
    ]
    made.append(
        f"CREATE VOLUME IF NOT EXISTS {_name(catalog, OPS, WHEELS)} COMMENT {_text('The deployed wheels')}"
    )
    for table in (*SERVING.values(), *RECORDS.values(), *MODEL.values()):
        made += _table_statements(host, catalog, table)
    made += [_view_statement(catalog, view) for view in VIEWS]
    for reader in readers:
        made.append(f"GRANT USE CATALOG ON CATALOG {_name(catalog)} TO {_name(reader)}")
        made.append(f"GRANT USE SCHEMA, SELECT ON SCHEMA {_name(catalog, BI)} TO {_name(reader)}")
    return made


def open_workspace() -> WorkspaceClient:
    """The workspace that the SDK's own variables or profile name. Raises `CatalogError` where none do."""
    from databricks.sdk import WorkspaceClient

    try:
        return WorkspaceClient()
    except ValueError as error:
        raise CatalogError(f"no workspace: {error}") from None


def run_statements(
    client: WorkspaceClient,
    warehouse: str,
    listed: Sequence[str],
    *,
    progress: Callable[[str], None] = lambda message: None,
) -> None:
    """Run them one after the other in a SQL warehouse.

    Raises `CatalogError` at the first that fails. What was done stays, and the next time goes on from there.
    """
    from databricks.sdk.errors.base import DatabricksError
    from databricks.sdk.service.sql import StatementState

    waiting = {StatementState.PENDING, StatementState.RUNNING}
    for number, statement in enumerate(listed, 1):
        progress(f"{number} of {len(listed)}: {statement.partition(' AS SELECT')[0][:80]}")
        deadline, pause = time.monotonic() + _LONGEST_WAIT_S, _FIRST_PAUSE_S
        try:
            answer = client.statement_execution.execute_statement(statement, warehouse, wait_timeout="30s")
            while answer.status and answer.status.state in waiting:
                if time.monotonic() > deadline:
                    raise CatalogError(f"not done after {_LONGEST_WAIT_S:.0f} s: {statement}")
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                answer = client.statement_execution.get_statement(answer.statement_id or "")
        except DatabricksError as error:
            raise CatalogError(f"{error}: {statement}") from error
        if answer.status is None or answer.status.state is not StatementState.SUCCEEDED:
            said = answer.status.error.message if answer.status and answer.status.error else "no reason given"
            raise CatalogError(f"{said}: {statement}")


def _table_statements(host: str, catalog: str, table: Table) -> list[str]:
    name = _name(catalog, table.layer, table.name)
    location = _text(f"{_location(host, table.layer)}{table.name}")
    return [
        f"CREATE TABLE IF NOT EXISTS {name} USING DELTA LOCATION {location}",
        # Columns that came since, and comments, are in the Delta log, and the catalog learns of them so.
        f"MSCK REPAIR TABLE {name} SYNC METADATA",
    ]


def _view_statement(catalog: str, view: View) -> str:
    columns = ", ".join(f"{_name(name)} COMMENT {_text(comment)}" for name, comment in view.columns)
    query = view.query.format(**{schema: _name(catalog, schema) for schema in ("serving", "model", BI)})
    return (
        f"CREATE OR REPLACE VIEW {_name(catalog, BI, view.name)} ({columns})"
        f" COMMENT {_text(view.description)} AS {query}"
    )


def _location(host: str, container: str) -> str:
    return f"abfss://{container}@{host}/"


def _name(*parts: str) -> str:
    """An identifier, quoted: https://docs.databricks.com/sql/language-manual/sql-ref-identifiers.html."""
    return ".".join(f"`{part.replace('`', '``')}`" for part in parts)


def _text(text: str) -> str:
    """A string literal: a backslash in one begins an escape."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
