"""The message: many problems in few words.

What belongs here: title and body as plain text, bounded in length. What does not: what goes into a message
(`alerts.state`) and how it gets there (`alerts.sink`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline_assets.alerts.problems import ERRORS, KINDS, WORDS, Kind, Problem
from pipeline_assets.alerts.state import Message
from pipeline_assets.alerts.text import harmless

# Of each kind as many are named; the rest is counted. With these limits a message stays below the 4,096
# characters of the smallest of the usual targets.
_NAMED: Final = 5
_TEXT_LENGTH: Final = 220
_BODY_LENGTH: Final = 3800


def title(message: Message) -> str:
    """What the message is about, in a line of our own words."""
    parts = [_counted(kind, _count(message, kind)) for kind in KINDS if _count(message, kind)]
    if not parts:
        return "Web logs: still " + _listed_kinds(message.still) if message.still else "Web logs: over"
    return "Web logs: " + ", ".join(parts)


def body(message: Message, ui_url: str) -> str:
    """The problems by kind, each with a link to its run, then what is over."""
    lines: list[str] = []
    for kind in KINDS:
        fresh = [problem for problem in message.fresh if problem.kind == kind]
        if count := _count(message, kind):
            lines += [f"{_counted(kind, count).upper()}: {WORDS[kind].advice}", *_items(fresh, count, ui_url)]
    for heading, problems in (("STILL", message.still), ("OVER", message.over)):
        if problems:
            lines += [heading, *_items(problems, len(problems), ui_url if heading == "STILL" else "")]
    return _bounded(lines)


def severity(message: Message) -> str:
    """`failure`, `warning` or `success`: targets choose a colour by it."""
    open_kinds = {problem.kind for problem in (*message.fresh, *message.still)}
    if not open_kinds:
        return "success"
    return "failure" if open_kinds & ERRORS else "warning"


def run_link(ui_url: str, run_id: str) -> str:
    """The address of a run's page."""
    return f"{ui_url.rstrip('/')}/runs/{run_id}"


def _items(problems: Sequence[Problem], count: int, ui_url: str) -> list[str]:
    lines = []
    linked = ""
    for problem in problems[:_NAMED]:
        lines.append(f"- {_named(problem)}")
        # Problems of one run share its link.
        if ui_url and problem.run_id and problem.run_id != linked:
            linked = problem.run_id
            lines.append(f"  {run_link(ui_url, problem.run_id)}")
    if count > _NAMED:
        lines.append(f"  and {count - min(_NAMED, len(problems)):,} more")
    return lines


def _named(problem: Problem) -> str:
    return harmless(problem.text, _TEXT_LENGTH)


def _count(message: Message, kind: Kind) -> int:
    return sum(problem.kind == kind for problem in message.fresh) + message.more.get(kind, 0)


def _counted(kind: Kind, count: int) -> str:
    words = WORDS[kind]
    return f"{count:,} {words.one if count == 1 else words.several}"


def _listed_kinds(problems: Sequence[Problem]) -> str:
    counts = {kind: sum(problem.kind == kind for problem in problems) for kind in KINDS}
    return ", ".join(_counted(kind, count) for kind, count in counts.items() if count)


def _bounded(lines: list[str]) -> str:
    kept: list[str] = []
    length = 0
    for number, line in enumerate(lines):
        length += len(line) + 1
        if length > _BODY_LENGTH:
            return "\n".join([*kept, f"... and {len(lines) - number} more lines"])
        kept.append(line)
    return "\n".join(kept)
