"""The report of a run: a record of the run as a whole and one of each of its units.

What belongs here: putting measurements, manifests and prices together. What does not: measuring
(`compute.metering`), and storing (`storage.run_records`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pipeline_assets.compute.costs import Prices, estimate
from pipeline_assets.compute.metering import Meter, Usage, peak_memory_bytes
from pipeline_assets.storage.manifests import FileRecord, attempt_stamp, read_manifest
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit

_LAYERS: Final = ("bronze", "silver", "gold", "publish")
# Shown on the materialisation, where numbers become a plot over runs.
_SHOWN: Final = (
    "seconds",
    *(f"{layer}_seconds" for layer in _LAYERS),
    "cpu_seconds",
    "landed_bytes",
    "lines",
    "rows",
    "bytes_written",
    "storage_reads",
    "storage_writes",
    "storage_lists",
    "storage_deletes",
    "peak_memory_bytes",
    "cost",
)


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run beside its measurements; `cpu_seconds` are of its own process, if it has one."""

    run_id: str
    job: str
    door: str
    lane: str | None
    started: datetime
    cpu_seconds: float | None = None


def run_rows(
    store: Store,
    meter: Meter,
    facts: RunFacts,
    units: Iterable[Unit],
    quarantined: Mapping[Unit, str],
    prices: Prices,
    currency: str,
    *,
    failed: bool,
) -> list[dict[str, Any]]:
    """Records of a run (first) and of its units (columns: `schemas.RUNS`).

    Landed bytes, lines and rows are of the files that this run has read. A unit's seconds of publishing are
    known only where it was alone; the others' are the run's.
    """
    listed = list(units)
    now = datetime.now(UTC)
    # Before the manifests are read for the records: that is no part of the run's work.
    total = meter.total
    common: dict[str, Any] = {
        "run_id": facts.run_id,
        "job": facts.job,
        "door": facts.door,
        "lane": facts.lane,
        "started": facts.started,
        "currency": currency if prices.known else None,
        "recorded_at": now,
    }
    rows = []
    for unit in listed:
        read = _files_read(store, unit, meter)
        usage = meter.of_unit(unit)
        alone = len(listed) == 1
        seconds = {f"{layer}_seconds": meter.seconds(layer, unit) for layer in _LAYERS}
        if alone:
            seconds["publish_seconds"] = meter.seconds("publish")
        rows.append(
            common
            | _of_files(read)
            | _of_usage(usage, prices)
            | seconds
            | {
                "unit": str(unit),
                "status": _status(failed=failed, quarantined=unit in quarantined),
                "seconds": usage.seconds + ((seconds["publish_seconds"] or 0.0) if alone else 0.0),
            }
        )
    whole = Usage(
        (now - facts.started).total_seconds(),
        meter.elsewhere.cpu_seconds + (total.cpu_seconds if facts.cpu_seconds is None else facts.cpu_seconds),
        meter.elsewhere.requests + total.requests,
    )
    run = (
        common
        | {name: sum(row[name] for row in rows) for name in ("landed_bytes", "lines", "rows")}
        | _of_usage(whole, prices)
        | {f"{layer}_seconds": meter.seconds(layer) for layer in _LAYERS}
        | {
            "status": _status(failed=failed, quarantined=bool(quarantined)),
            "seconds": whole.seconds,
            "units": len(listed),
            "peak_memory_bytes": peak_memory_bytes(),
        }
    )
    return [run, *rows]


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a record that a materialisation shows; cost with its currency as the name."""
    found = {name: row[name] for name in _SHOWN if row.get(name) is not None}
    if "cost" in found:
        found[f"estimated_cost_{row['currency']}"] = found.pop("cost")
    return found


def _files_read(store: Store, unit: Unit, meter: Meter) -> list[FileRecord]:
    since = datetime.fromtimestamp(meter.started, UTC)
    files = read_manifest(store, "bronze", unit).value.files
    return [file for file in files if attempt_stamp(file.attempt) >= since.replace(microsecond=0)]


def _of_files(files: list[FileRecord]) -> dict[str, Any]:
    return {
        "landed_bytes": sum(file.size for file in files),
        "lines": sum(file.lines for file in files),
        "rows": sum(file.parsed for file in files),
    }


def _of_usage(usage: Usage, prices: Prices) -> dict[str, Any]:
    return {
        "cpu_seconds": usage.cpu_seconds,
        "bytes_written": usage.requests.bytes_written,
        "storage_reads": usage.requests.reads,
        "storage_writes": usage.requests.writes,
        "storage_lists": usage.requests.lists,
        "storage_deletes": usage.requests.deletes,
        "cost": estimate(usage, prices),
    }


def _status(*, failed: bool, quarantined: bool) -> str:
    if failed:
        return "failed"
    return "quarantined" if quarantined else "done"
