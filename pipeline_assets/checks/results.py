"""How a check says what it found: in one sentence, what to do about it, and the numbers behind it.

What belongs here: the shape that all results have. What does not: any check.

The UI renders descriptions as Markdown, so whatever comes from a log or a file's name goes through
`escaping.code` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

_LISTED: Final = 5


@dataclass(frozen=True)
class Check:
    """A check of an asset: what it looks at, and what to do where it does not pass."""

    name: str
    description: str
    advice: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
    blocking: bool = False

    def spec(self, key: Sequence[str]) -> dg.AssetCheckSpec:
        """The check as Dagster lists it, on this asset."""
        return dg.AssetCheckSpec(
            self.name,
            asset=list(key),
            description=f"{self.description} Where it fails: {self.advice}",
            blocking=self.blocking,
        )

    def result(
        self,
        key: Sequence[str],
        problems: Sequence[str],
        *,
        fine: str,
        metadata: Mapping[str, Any],
        severity: dg.AssetCheckSeverity | None = None,
    ) -> dg.AssetCheckResult:
        """The result: passed where there are no problems (Markdown, one for each), else what to do."""
        if problems:
            more = f" and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
            said = "; ".join(problems[:_LISTED]) + more + f". {self.advice}"
        else:
            said = fine
        return dg.AssetCheckResult(
            asset_key=list(key),
            check_name=self.name,
            passed=not problems,
            severity=severity or self.severity,
            description=said,
            metadata={**metadata, "what_to_do": self.advice if problems else "nothing"},
        )
