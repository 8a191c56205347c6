"""Conservation: every landed line ends in exactly one place, for every unit.

What belongs here: the check's result as Dagster shows it. What does not: the proof itself, which stands in
the way of the commit (`compute.bronze`): a unit that fails it is quarantined and never becomes visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg

from pipeline_assets.checks.results import Check
from pipeline_assets.escaping import code, shortened
from pipeline_assets.storage.manifests import Manifest
from pipeline_assets.storage.units import Unit

CONSERVATION: Final = Check(
    "conservation",
    "Every line of every landed file is a row, part of one, a reject with its reason, or a blank or comment.",
    "A delivery that can't be read or doesn't add up is quarantined and changes nothing: mend or replace the"
    " file that is named and run again.",
    dg.AssetCheckSeverity.ERROR,
    blocking=True,
)
_FATES: Final = ("parsed", "continuation", "rejected", "blank", "comment")
_LISTED: Final = 20


def conservation_result(
    key: Sequence[str], manifests: Mapping[Unit, Manifest], quarantined: Mapping[Unit, str]
) -> dg.AssetCheckResult:
    """The lines of a run's units by fate, counted again from the committed manifests.

    It fails where a unit was quarantined or the sums differ. It blocks what follows only where nothing in
    the run is sound, because the sound units of a run are published all the same.
    """
    fates = dict.fromkeys(("lines", *_FATES), 0)
    broken = dict(quarantined)
    for unit, manifest in manifests.items():
        for file in manifest.files:
            for fate in fates:
                fates[fate] += getattr(file, fate)
            if not file.conserved:
                broken[unit] = f"{file.path}: its lines don't add up"
    sound = [unit for unit in manifests if unit not in broken]
    blocks = bool(broken) and not sound
    listed = sorted(broken.items())[:_LISTED]
    return CONSERVATION.result(
        key,
        [f"{unit} is quarantined: {code(reason, 400)}" for unit, reason in sorted(broken.items())],
        fine="every line is accounted for",
        metadata={
            **fates,
            "deliveries": len(manifests),
            "quarantined": len(broken),
            **({"quarantined_why": _table(listed)} if listed else {}),
        },
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
    )


def _table(broken: Sequence[tuple[Unit, str]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({"delivery": str(unit), "why": shortened(reason, 400)}) for unit, reason in broken]
    )
