"""Published days: gold has every row of silver, serving every request of gold, and they make sense.

What belongs here: comparing what a layer holds with what the one before it holds, and judging a day's rows.
What does not: repairing a difference, which the next run does by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import dagster as dg
import polars as pl

from pipeline_assets.checks.results import Check
from pipeline_assets.escaping import code
from pipeline_assets.kernel.schemas import GOLD_TRAFFIC
from pipeline_assets.storage.manifests import Manifest, paths_by_attempt
from pipeline_assets.storage.parts import scan_live
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit

HITS_EQUAL_ROWS: Final = Check(
    "hits_equal_rows",
    "Gold counts as many requests as silver has rows.",
    "Materialise silver and gold of the deliveries again. If it stays, a rollup is wrong: report it.",
    dg.AssetCheckSeverity.ERROR,
)
COMPLETENESS: Final = Check(
    "completeness",
    "Serving shows every request of gold on the event days that were published, and no delivery is missing.",
    "Run again: days that disagree with their deliveries are repaired. A quarantined delivery needs the file"
    " that is named to be mended first.",
    dg.AssetCheckSeverity.ERROR,
)

MALFORMED: Final = Check(
    "malformed_requests",
    "At most PIPELINE_REJECT_RATE_LIMIT of an event day's parsed lines are garbage in place of a request.",
    "Look at the clients of those days in serving/clients_daily: scanners send TLS, or nothing, to a plain"
    " port. The requests count, as their client, time, status and size are facts.",
)


def hits_equal_rows_result(
    key: Sequence[str], store: Store, manifests: Mapping[Unit, Manifest]
) -> dg.AssetCheckResult:
    """Requests that bronze counted in these deliveries, as many as silver has rows, against gold's hits."""
    rows = 0
    held = [GOLD_TRAFFIC.empty().lazy()]
    for unit, manifest in manifests.items():
        # Of files on record maintenance may have deleted the rows, or an older kernel have made them.
        files = [
            file
            for file in manifest.files
            if file.attempt not in {*manifest.removed, *manifest.older} and file.status != "forgotten"
        ]
        rows += sum(sum(file.request_days.values()) for file in files)
        live = paths_by_attempt(files)
        held.append(scan_live(store, "gold", unit, manifest.parts_of("traffic"), live, GOLD_TRAFFIC))
    hits = int(pl.concat(held).select(pl.col("hits").sum()).collect().item())
    return HITS_EQUAL_ROWS.result(
        key,
        [] if hits == rows else [f"{rows:,} rows in silver, but {hits:,} hits in gold"],
        fine=f"{hits:,} hits in gold, as many as rows in silver",
        metadata={"silver_rows": rows, "gold_hits": hits},
    )


def completeness_result(
    key: Sequence[str],
    gold: Mapping[date, int],
    served: Mapping[date, int],
    *,
    incomplete: Sequence[Unit] = (),
    closed: Mapping[date, str] | None = None,
    quarantined: Mapping[Unit, str] | None = None,
) -> dg.AssetCheckResult:
    """Hits by event day in gold's states against those that serving shows, and deliveries left out."""
    differing = [day for day in sorted(gold) if gold[day] != served.get(day, 0)]
    problems = [f"{day}: {gold[day]:,} hits in gold, {served.get(day, 0):,} in serving" for day in differing]
    problems += [f"{unit}: gold is behind bronze" for unit in sorted(incomplete)]
    problems += [why for _, why in sorted((closed or {}).items())]
    problems += [
        f"{unit} is quarantined: {code(why, 400)}" for unit, why in sorted((quarantined or {}).items())
    ]
    return COMPLETENESS.result(
        key,
        problems,
        fine=f"{sum(gold.values()):,} hits on {len(gold)} event days, in gold as in serving",
        metadata={
            "event_days": len(gold),
            "gold_hits": sum(gold.values()),
            "served_hits": sum(served.get(day, 0) for day in gold),
            "days_that_differ": len(differing),
            "incomplete": len(incomplete),
            "closed_days": len(closed or {}),
            "quarantined": len(quarantined or {}),
        },
    )


def malformed_result(
    key: Sequence[str], parsed: Mapping[date, tuple[int, int]], limit: float
) -> dg.AssetCheckResult:
    """Event days with too large a share of garbage requests; `parsed` has (lines, garbage) by day."""
    rates = {day: garbage / lines for day, (lines, garbage) in sorted(parsed.items()) if lines}
    lines = sum(count for count, _ in parsed.values())
    garbage = sum(count for _, count in parsed.values())
    return MALFORMED.result(
        key,
        [f"{day}: {rate:.1%} of the parsed lines are garbage" for day, rate in rates.items() if rate > limit],
        fine=f"{garbage:,} of {lines:,} parsed lines are garbage in place of a request",
        metadata={
            "parsed": lines,
            "garbage": garbage,
            "highest_rate": max(rates.values(), default=0.0),
            "limit": limit,
        },
    )
