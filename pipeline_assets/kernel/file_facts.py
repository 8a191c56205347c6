"""What is known of a landed file once it has been read.

What belongs here: the counts and what they mean. What does not: where the counts come from (`parse`), and how
they are kept (`storage.manifests`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, TypeVar

import polars as pl

from pipeline_assets.kernel.heads import content_head, has_first_line

Key = TypeVar("Key", date, str)

_COUNTS: Final = (
    *("bytes", "lines", "parsed", "requests", "errors"),
    *("continuation", "rejected", "blank", "comment"),
)


@dataclass
class FileFacts:
    """What is known of a file once it has been read.

    Always: lines = parsed + continuation + rejected + blank + comment, and parsed = requests + errors.
    `event_days` and `error_days` count request and error rows by UTC day. `head` is a digest of the first
    complete line that is neither blank nor a comment (`line-…`), or of everything where there is none
    (`content-…`). `formats` counts rows by format; `confidence` is the share of the sampled lines that are in
    a format we know, 0 to 1 (1 where there is none to sample); in an `unknown_format` file no line is.
    """

    bytes: int = 0
    digest: str = ""
    lines: int = 0
    parsed: int = 0
    requests: int = 0
    errors: int = 0
    continuation: int = 0
    rejected: int = 0
    blank: int = 0
    comment: int = 0
    first_event: datetime | None = None
    last_event: datetime | None = None
    event_days: dict[date, int] = field(default_factory=dict)
    error_days: dict[date, int] = field(default_factory=dict)
    head: str = ""
    damaged: bool = False
    formats: dict[str, int] = field(default_factory=dict)
    confidence: float = 1.0
    unknown_format: bool = False

    def note_times(self, moments: pl.Series, days: dict[date, int]) -> None:
        """Count the times of some rows by day, in `event_days` or `error_days`."""
        first, last = moments.min(), moments.max()
        assert isinstance(first, datetime) and isinstance(last, datetime)
        self.first_event = min(first, self.first_event or first)
        self.last_event = max(last, self.last_event or last)
        counted = Counter(days)
        if first.date() == last.date():
            counted[first.date()] += moments.len()
        else:
            counted.update(dict(moments.dt.date().value_counts().iter_rows()))
        days.clear()
        days.update(sorted(counted.items()))


def joined(stretches: Sequence[FileFacts], digest: str) -> FileFacts:
    """What is known of a file read in stretches, given in their order; `digest` is the whole file's."""
    first = stretches[0]
    moments = [facts for facts in stretches if facts.first_event is not None]
    return FileFacts(
        digest=digest,
        first_event=min((facts.first_event for facts in moments if facts.first_event), default=None),
        last_event=max((facts.last_event for facts in moments if facts.last_event), default=None),
        event_days=_added(facts.event_days for facts in stretches),
        error_days=_added(facts.error_days for facts in stretches),
        head=next((facts.head for facts in stretches if has_first_line(facts.head)), content_head(digest)),
        damaged=any(facts.damaged for facts in stretches),
        formats=_added(facts.formats for facts in stretches),
        confidence=first.confidence,
        unknown_format=all(facts.unknown_format for facts in stretches),
        **{name: sum(getattr(facts, name) for facts in stretches) for name in _COUNTS},
    )


def _added(counts: Iterable[dict[Key, int]]) -> dict[Key, int]:
    added: Counter[Key] = Counter()
    for each in counts:
        added.update(each)
    return {key: added[key] for key in sorted(added)}
