"""The two reference pages that are made from the code: settings and tables. `make docs` writes them.

What belongs here: laying out what `settings` and `kernel.schemas` say as Markdown. What does not: anything
said only here. A test fails when a page is not what this would write.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from pipeline_assets.databricks_settings import DatabricksSettings
from pipeline_assets.kernel.schemas import KERNEL_VERSION, LAYERS, MODEL, RECORDS, SERVING, Table
from pipeline_assets.settings import Settings, project_root, variable_of

_GENERATED: Final = "<!-- Made from the code: change it there, then run `make docs`. -->"
_WORDS: Final = {
    str: "text",
    int: "whole number",
    float: "number",
    date: "day, such as 2024-01-15",
    bool: "yes or no",
}
_LIMITS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
# What the checks of a setting's own accept; the others say it by their type and limits.
_FORMS: Final = {
    "storage": "folder, or az://&lt;account&gt;",
    "timezone": "time zone, such as Europe/Berlin",
    "schedule_timezone": "time zone, such as Europe/Berlin",
    "owners": "addresses and team:names, separated by commas",
    "alert_urls": "URLs, secret",
    "expect_daily_by": "time of day, such as 06:00",
    "ui_url": "web address",
    "known_windows": "windows, separated by commas",
    "muted": "patterns, separated by commas",
    "bot_ranges": "ranges by bot, or a file of them",
    "log_formats": "definitions, or a file of them",
    "databricks_wheel": "path of a wheel",
    "databricks_spot_max_price": "-1, or more than 0",
    "databricks_environment": "NAME=value, separated by white space",
}
_DEFAULTS: Final = {"storage": "`data` in the checkout"}
_OUTSIDE: Final = (
    (
        "DAGSTER_HOME",
        "folder",
        "`.dagster` in the checkout",
        "where Dagster keeps the history of runs and its `dagster.yaml`",
    ),
    (
        "AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET and others",
        "text, partly secret",
        "",
        "read by Azure's `DefaultAzureCredential`, which is asked where no key, signature or connection"
        " string is set; a managed identity needs none of them",
    ),
    (
        "DATABRICKS_HOST, DATABRICKS_TOKEN, ARM_CLIENT_ID and others",
        "text, partly secret",
        "",
        "the workspace and how to get into it, as the Databricks SDK reads them",
    ),
    (
        "TMPDIR",
        "folder",
        "`/tmp`",
        "where `--logs` copies a log aside before it lands; needs room for the largest",
    ),
)
_MAKE: Final = (
    ("LOGS", "a file or folder of logs that `make run` copies in first"),
    ("PORT", "the port that `make ui` listens on, 3000 unless set"),
    ("PYTHON", "the Python that `.venv` is made with, `python3` unless set"),
)
_LAYER_NOTES: Final = {
    "bronze": "Parquet, by delivery: lines as the server wrote them.",
    "silver": "Parquet, by delivery: clean and enriched rows.",
    "gold": "Parquet, by delivery: rollups that can be merged.",
    "serving": "Delta Lake, by event day: what people query.",
    "model": "Delta Lake, by event day: what is computed from serving.",
    "records": "Delta Lake: what the pipeline knows of itself. Derived, and coordinates nothing.",
}


def pages() -> dict[str, str]:
    """Every generated page: its name below `docs/`, and its text."""
    return {"configuration.md": _configuration(), "tables.md": _tables()}


def write_pages(folder: Path) -> list[Path]:
    """Write the pages; those that were not there or have changed."""
    changed = []
    for name, text in pages().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(path)
    return changed


def _configuration() -> str:
    elsewhere = DatabricksSettings.model_fields
    here = {name: field for name, field in Settings.model_fields.items() if name not in elsewhere}
    lines = [
        "# Configuration",
        "",
        _GENERATED,
        "",
        "Every setting is an environment variable, or a line `NAME=value` of a file `.env` in the checkout;",
        "what both set must be the same. A wrong one ends the command with exit code 2, and the message",
        "names the variable and what to write instead. What is secret is never printed.",
        "",
        *_settings(here),
        "",
        "## Databricks",
        "",
        "What each does is told in [databricks.md](databricks.md).",
        "",
        *_settings(elsewhere),
        "",
        "## Read by others",
        "",
        *_table(
            ("variable", "value", "default", "meaning"),
            [(_code(name), form, default, _sentence(meaning)) for name, form, default, meaning in _OUTSIDE],
        ),
        "",
        "## Make",
        "",
        *_table(("variable", "meaning"), [(f"`{name}`", _sentence(meaning)) for name, meaning in _MAKE]),
    ]
    return "\n".join(lines) + "\n"


def _settings(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    rows = [
        (
            f"`{variable_of(name)}`",
            _form(name, field),
            _default(name, field),
            _sentence(field.description or ""),
        )
        for name, field in fields.items()
    ]
    yield from _table(("variable", "value", "default", "meaning"), rows)


def _tables() -> str:
    layers = {**LAYERS, "serving": SERVING, "model": MODEL, "records": RECORDS}
    lines = [
        "# Tables",
        "",
        _GENERATED,
        "",
        "Every table, by layer, with its columns in order. Times are UTC with microseconds, whole numbers",
        f"signed. This is kernel version {KERNEL_VERSION}: `pipeline-assets status` names what an older one",
        "has written.",
        "",
        *(
            f"- {layer}: " + ", ".join(f"[{name}](#{_anchor(table)})" for name, table in tables.items())
            for layer, tables in layers.items()
        ),
    ]
    for layer, tables in layers.items():
        lines += ["", f"## {layer.capitalize()}", "", _LAYER_NOTES[layer]]
        for table in tables.values():
            lines += ["", *_one_table(table)]
    return "\n".join(lines) + "\n"


def _one_table(table: Table) -> Iterator[str]:
    yield f"### {table.layer}/{table.name}"
    yield ""
    yield _escaped(table.description)
    yield ""
    rows = [
        (
            f"`{column.name}`",
            _type(column.dtype),
            "" if column.nullable else "never",
            _escaped(column.description),
        )
        for column in table.columns
    ]
    yield from _table(("column", "type", "null", "meaning"), rows)


def _anchor(table: Table) -> str:
    # What renderers make of the heading: no punctuation, lower case.
    return f"{table.layer}{table.name}".lower()


def _form(name: str, field: FieldInfo) -> str:
    if name in _FORMS:
        return _FORMS[name]
    if typing.get_origin(field.annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in typing.get_args(field.annotation))
    kinds = [one for one in _alternatives(field.annotation) if one is not type(None)]
    words = ["text, secret" if kind is SecretStr else _WORDS[kind] for kind in kinds]
    limits = [
        f"{text} {getattr(limit, key):g}"
        for limit in field.metadata
        for key, text in _LIMITS.items()
        if getattr(limit, key, None) is not None
    ]
    return ", ".join([*words, *limits])


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _default(name: str, field: FieldInfo) -> str:
    value = field.default
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "" if value in (None, "") else f"`{value}`"


def _type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        return f"list of {_type(inner if isinstance(inner, pl.DataType) else inner())}"
    if isinstance(dtype, pl.Struct):
        return "struct of " + ", ".join(
            f"{field.name} {_type(_instance(field.dtype))}" for field in dtype.fields
        )
    return "timestamp" if isinstance(dtype, pl.Datetime) else str(dtype)


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype if isinstance(dtype, pl.DataType) else dtype()
    return made


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _code(names: str) -> str:
    """Upper-case names in a text as code."""
    return " ".join(
        f"`{word.rstrip(',')}`{',' * word.endswith(',')}" if word.isupper() else word
        for word in names.split()
    )


def _sentence(text: str) -> str:
    return _escaped(text[:1].upper() + text[1:])


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    for changed_page in write_pages(project_root() / "docs"):
        print(f"written: {changed_page}")
