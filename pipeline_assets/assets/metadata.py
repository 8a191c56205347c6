"""What a materialisation says of itself in the UI: where the rows are, how many, of what lines, and a chart.

What belongs here: from manifests and a day's few numbers to Dagster's metadata, and the columns and lineage
of the catalogue. What does not: the facts themselves.

An event is written to Dagster's history for each table and partition, so its metadata is a few KB at most.
Texts from logs and names of files go into tables, which the UI shows as they are (`escaping`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
import polars as pl

from pipeline_assets.escaping import shortened, shown_bytes
from pipeline_assets.kernel.lineage import column_sources
from pipeline_assets.kernel.schemas import LAYERS, Table
from pipeline_assets.storage.manifests import (
    FileRecord,
    Layer,
    Manifest,
    counted_files,
    layer_folder,
    paths_by_attempt,
)
from pipeline_assets.storage.parts import scan_live
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import LANES, Lane, Unit

FATES: Final = ("parsed", "continuation", "rejected", "blank", "comment")

_LISTED_FILES: Final = 10
_LISTED_DAYS: Final = 20
_SAMPLES_OF_A_REASON: Final = 3
# Samples are looked for among so many rejects: a file of another format has millions of them, all alike.
_LOOKED_AT: Final = 5_000
# The UI shows Markdown in place up to 1,000 characters, and behind a button beyond.
_BAR_WIDTH: Final = 22
_EIGHTHS: Final = "▏▎▍▌▋▊▉█"


def column_schema(table: Table) -> dg.TableSchema:
    """A table's columns from the catalogue, each with what it comes from, as the UI shows them."""
    sources = column_sources(table)
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                str(column.dtype),
                _with_sources(column.description, sources[column.name]),
                dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ]
    )


def column_lineage(table: Table, lane: Lane | None = None) -> dg.TableColumnLineage:
    """Which columns each column comes from: of the same lane, or (without one) of both lanes."""
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(key, name) for source, name in sources for key in _keys_of(source, lane)
            ]
            for column, sources in column_sources(table).items()
            if sources
        }
    )


def lineage_metadata(layer: Layer, table: str, lane: Lane) -> dict[str, Any]:
    """Which columns a layer's table is made from, to be shown with the last materialisation of a run.

    The UI reads the columns from the definition, but their lineage from an asset's newest materialisation
    alone, and it is the same for every delivery: with each of a year's events it took half of their time.
    """
    if layer == "bronze":
        return {}
    return {"dagster/column_lineage": column_lineage(LAYERS[layer][table], lane)}


def delivery_metadata(
    store: Store, layer: Layer, table: str, unit: Unit, manifest: Manifest, reasons: Mapping[str, int]
) -> dict[str, Any]:
    """What a layer's table holds of one delivery; `reasons` counts its rejects."""
    counted = [file for file in counted_files(manifest, manifest) if file.attempt not in manifest.removed]
    parts = manifest.parts_of(table)
    requests = _sum_by_day(file.request_days for file in counted)
    shown: dict[str, Any] = {
        "dagster/row_count": _rows_of(layer, table, counted, parts_rows=sum(part.rows for part in parts)),
        "dagster/uri": store.uri(layer_folder(layer, unit)),
        "bytes_stored": sum(part.size for part in parts),
        "lines": fates_text(counted),
        "files": len(manifest.files),
    }
    if layer == "bronze":
        shown |= {f"lines_{fate}": sum(getattr(file, fate) for file in counted) for fate in FATES}
        if table == "requests" and manifest.files:
            shown["landed_files"] = _file_table(manifest.files)
    if table == "rejected" and reasons:
        shown["rejected_by_reason"] = dg.MetadataValue.table(
            [dg.TableRecord({"reason": reason, "lines": lines}) for reason, lines in reasons.items()]
        )
        shown["rejected_samples"] = rejected_samples(store, unit, manifest)
    if table in ("requests", "traffic") and requests:
        shown["requests"] = sum(requests.values())
        shown["requests_by_day"] = bars(requests)
        shown["first_day"], shown["last_day"] = min(requests), max(requests)
    return shown


def fates_text(files: Sequence[FileRecord]) -> str:
    """Where the lines of these files went: what was read is the sum of the rest."""
    total = sum(file.lines for file in files)
    counts = ((fate, sum(getattr(file, fate) for file in files)) for fate in FATES)
    return f"{total:,} read = " + " + ".join(f"{count:,} {fate}" for fate, count in counts)


def reject_reasons(manifest: Manifest) -> dict[str, int]:
    """A delivery's rejected lines by reason, the most frequent first."""
    counts: Counter[str] = Counter()
    for file in counted_files(manifest, manifest):
        counts.update(file.rejects)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def rejected_samples(store: Store, unit: Unit, manifest: Manifest) -> dg.TableMetadataValue:
    """A few rejected lines of each reason, with where they stand."""
    # One part is some tens of MB in memory at most.
    parts = manifest.parts_of("rejected")[:1]
    rows = (
        _rejected(store, unit, manifest, parts)
        .head(_LOOKED_AT)
        .collect()
        .group_by("reason", maintain_order=True)
        .head(_SAMPLES_OF_A_REASON)
    )
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "reason": reason,
                    "file": shortened(path, 120),
                    "line": number,
                    "text": shown_bytes(line),
                }
            )
            for reason, path, number, line in rows.select(
                "reason", "source_file", "line_number", "line"
            ).iter_rows()
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn("reason", "string"),
                dg.TableColumn("file", "string"),
                dg.TableColumn("line", "int"),
                dg.TableColumn("text", "string"),
            ]
        ),
    )


def bars(values: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """A bar for each value, as text: it takes the colours of the theme, light or dark."""
    shown = list(values.items())[-_LISTED_DAYS - 4 :]
    most = max((value for _, value in shown), default=0) or 1
    width = max((len(f"{value:,}") for _, value in shown), default=0)
    lines = []
    for label, value in shown:
        full, rest = divmod(round(value / most * _BAR_WIDTH * 8), 8)
        bar = "█" * full + (_EIGHTHS[rest - 1] if rest else "")
        lines.append(f"{label} {value:>{width},} {bar}".rstrip())
    return dg.MetadataValue.md("```\n" + "\n".join(lines) + "\n```")


def bands(hours: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """A line for each hour: what was logged (●) and what is usual (░), on one scale, and `!` outside of it.

    `hours` are rows of one series of `model/traffic_scores` of a day.
    """
    most = max((row[name] or 0 for row in hours for name in ("observed", "upper")), default=0) or 1
    width = max((len(f"{row['observed'] or 0:,.0f}") for row in hours), default=0)

    def place(value: float) -> int:
        return round(value / most * (_BAR_WIDTH - 1))

    lines = []
    for row in hours:
        cells = [" "] * _BAR_WIDTH
        if row["lower"] is not None and row["upper"] is not None:
            first, last = place(row["lower"]), place(row["upper"])
            cells[first : last + 1] = "░" * (last + 1 - first)
        cells[place(row["observed"] or 0)] = "●"
        unusual = " !" if row["is_anomaly"] else ""
        label = f"{row['hour']:02} {row['observed'] or 0:>{width},.0f}"
        lines.append(f"{label} {''.join(cells)}".rstrip() + unusual)
    return dg.MetadataValue.md("```\n" + "\n".join(lines) + "\n```")


def _with_sources(description: str, sources: Sequence[tuple[Table, str]]) -> str:
    # The UI would make a link of it.
    description = description.replace("www.", "`www.`")
    named = dict.fromkeys(f"`{source.name}.{name}`" for source, name in sources)
    return f"{description} — from {sources[0][0].layer} {', '.join(named)}" if named else description


def _keys_of(source: Table, lane: Lane | None) -> list[dg.AssetKey]:
    if source.layer not in LAYERS:
        return [dg.AssetKey([source.layer, source.name])]
    return [dg.AssetKey([source.layer, one, source.name]) for one in ([lane] if lane else LANES)]


def _rows_of(layer: Layer, table: str, counted: Sequence[FileRecord], *, parts_rows: int) -> int:
    """Rows of the files that count. Parts also hold rows of files that don't; a rollup has only its parts."""
    if layer == "gold":
        return parts_rows
    if table == "rejected":
        return sum(file.rejected for file in counted)
    days = (file.request_days if table == "requests" else file.error_days for file in counted)
    return sum(sum(by_day.values()) for by_day in days)


def _sum_by_day(days: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for by_day in days:
        for day, rows in by_day.items():
            total[day] = total.get(day, 0) + rows
    return dict(sorted(total.items()))


def _rejected(store: Store, unit: Unit, manifest: Manifest, parts: Any) -> pl.LazyFrame:
    live = paths_by_attempt(counted_files(manifest, manifest))
    return scan_live(store, "bronze", unit, parts, live, LAYERS["bronze"]["rejected"])


def _file_table(files: Sequence[FileRecord]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "file": shortened(file.path, 120),
                    "status": file.status + (", damaged" if file.damaged else ""),
                    "lines": file.lines,
                    "rejected": file.rejected,
                    "bytes": file.bytes,
                }
            )
            for file in files[:_LISTED_FILES]
        ]
    )
