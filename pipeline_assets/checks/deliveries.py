"""Checks of what was delivered: rejects, copies, times and gaps.

What belongs here: judging deliveries by what their manifests say of them. What does not: whether their rows
are right (`conservation`, `completeness`). Nothing here holds a delivery back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg

from pipeline_assets.checks.results import Check
from pipeline_assets.escaping import code
from pipeline_assets.kernel.formats import RejectReason
from pipeline_assets.storage.manifests import MANIFEST_NAME, FileRecord, Manifest, layer_folder
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit

# Clocks of servers and zones differ: what is less than a day ahead is not from the future.
_AHEAD: Final = timedelta(days=1)
# A gap is a day without a delivery after one with: so far back is looked for that one.
_LOOK_BACK_DAYS: Final = 7

Manifests = Mapping[Unit, Manifest]
Reasons = Mapping[Unit, Mapping[str, int]]

REJECT_RATE: Final = Check(
    "reject_rate",
    "At most PIPELINE_REJECT_RATE_LIMIT of a delivery's lines are rejected.",
    "Look at `rejected_samples` on the materialisation: a format that is not read yet, or a file that is no"
    " log. The lines are kept with their bytes, so a later version can read them.",
)
COPIES: Final = Check(
    "copies",
    "Each delivery brings something new: content that has landed under another path counts once.",
    "The same content was delivered before: look for a job that copies logs twice. Nothing is counted twice.",
)
EVENT_TIMES: Final = Check(
    "event_times",
    "Events happened between PIPELINE_START_DATE and now, and files are whole.",
    "Check the clock and the zone of the server that wrote the log (PIPELINE_TIMEZONE where the log names"
    " none), and copy damaged files again.",
)
DELIVERY_GAPS: Final = Check(
    "delivery_gaps",
    "Every day has a delivery once the days before it had one.",
    "Look at the job that copies logs. A delivery that comes late is published all the same.",
)
_WRONG_TIMES: Final = (RejectReason.INVALID_TIME, RejectReason.OUTSIDE_WINDOW)


def reject_rate_result(
    key: Sequence[str], manifests: Manifests, reasons: Reasons, limit: float
) -> dg.AssetCheckResult:
    """Deliveries whose share of rejected lines is over the limit (0 to 1)."""
    rates = {unit: _rate(manifest) for unit, manifest in manifests.items()}
    total: dict[str, int] = {}
    for by_reason in reasons.values():
        for reason, lines in by_reason.items():
            total[reason] = total.get(reason, 0) + lines
    lines = sum(file.lines for manifest in manifests.values() for file in _counted(manifest))
    rejected = sum(file.rejected for manifest in manifests.values() for file in _counted(manifest))
    return REJECT_RATE.result(
        key,
        [f"{unit}: {rate:.1%} of the lines were rejected" for unit, rate in rates.items() if rate > limit],
        fine=f"{rejected:,} of {lines:,} lines were rejected",
        metadata={
            "lines": lines,
            "rejected": rejected,
            "highest_rate": max(rates.values(), default=0.0),
            "limit": limit,
            **{f"rejected_{reason}": count for reason, count in sorted(total.items())},
        },
    )


def copies_result(key: Sequence[str], manifests: Manifests) -> dg.AssetCheckResult:
    """Deliveries of which no file counts because all of them have landed before."""
    statuses: dict[str, int] = {"counted": 0, "duplicate": 0, "superseded": 0, "forgotten": 0}
    for manifest in manifests.values():
        for file in manifest.files:
            statuses[file.status] += 1
    stale = [
        unit
        for unit, manifest in manifests.items()
        if manifest.files and all(file.status in ("duplicate", "superseded") for file in manifest.files)
    ]
    copies = statuses["duplicate"] + statuses["superseded"]
    return COPIES.result(
        key,
        [f"{unit}: all of it has landed before" for unit in stale],
        fine=f"{statuses['counted']:,} files count, {copies:,} are copies of others",
        metadata=statuses,
    )


def event_times_result(
    key: Sequence[str], manifests: Manifests, reasons: Reasons, now: datetime
) -> dg.AssetCheckResult:
    """Events from the future, lines whose time is none or out of the window, and files that broke off."""
    future = [
        file
        for manifest in manifests.values()
        for file in _counted(manifest)
        if file.last_event and datetime.fromisoformat(file.last_event) > now + _AHEAD
    ]
    damaged = [file for manifest in manifests.values() for file in _counted(manifest) if file.damaged]
    wrong = {
        unit: sum(by_reason.get(reason.value, 0) for reason in _WRONG_TIMES)
        for unit, by_reason in reasons.items()
    }
    problems = [f"{code(file.path)} has events up to {file.last_event}" for file in future]
    problems += [f"{code(file.path)} is damaged: it breaks off" for file in damaged]
    problems += [
        f"{unit}: {lines:,} lines have a time that is none, or out of the window"
        for unit, lines in wrong.items()
        if lines
    ]
    return EVENT_TIMES.result(
        key,
        problems,
        fine="no event is from the future, and no file breaks off",
        metadata={
            "files_from_the_future": len(future),
            "damaged_files": len(damaged),
            "lines_with_wrong_times": sum(wrong.values()),
        },
    )


def delivery_gaps_result(key: Sequence[str], store: Store, manifests: Manifests) -> dg.AssetCheckResult:
    """Days just before the run's deliveries that have none, though a day before them has one."""
    days = sorted(date.fromisoformat(unit.key) for unit in manifests)
    here = set(days)
    missing: set[date] = set()
    for day in days:
        if day - timedelta(days=1) not in here:
            missing.update(_missing_before(store, day))
    return DELIVERY_GAPS.result(
        key,
        [f"no delivery for {day}" for day in sorted(missing)],
        fine="no day is missing before these deliveries",
        metadata={"missing_days": len(missing), "looked_back_days": _LOOK_BACK_DAYS},
    )


def _missing_before(store: Store, day: date) -> list[date]:
    missing: list[date] = []
    for back in range(1, _LOOK_BACK_DAYS + 1):
        earlier = day - timedelta(days=back)
        folder = layer_folder("bronze", Unit("daily", earlier.isoformat()))
        if store.stat(f"{folder}/{MANIFEST_NAME}") is not None:
            return missing
        missing.append(earlier)
    return []


def _counted(manifest: Manifest) -> list[FileRecord]:
    return [file for file in manifest.files if file.status == "counted"]


def _rate(manifest: Manifest) -> float:
    files = _counted(manifest)
    lines = sum(file.lines for file in files)
    return sum(file.rejected for file in files) / lines if lines else 0.0
