"""Who has been told of what: the memory that keeps a hundred problems from being a hundred messages.

What belongs here: pure decisions over problems, targets and time. What does not: where the memory is kept
(`alerts.keeping`), words (`alerts.render`) and sending (`alerts.sink`).

Each problem is remembered by its key until its end has been told too. A target that could not be reached is
simply a target that has not been told: when it is back, it gets one message with everything it missed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from pipeline_assets.alerts.problems import KINDS, REMINDED, WITH_AN_END, Kind, Problem

# Bounds of the memory, and so of the object it is kept in: problems beyond are counted and not named.
MOST_PROBLEMS: Final = 500
_LONGEST_TEXT: Final = 400
# How long something that is over waits for a target that can't be reached.
KEEP_S: Final = 3 * 86_400.0
_FIRST_RETRY_S: Final = 30.0
_LAST_RETRY_S: Final = 3600.0
_THE_END: Final = "end"


@dataclass(frozen=True)
class Remembered:
    """A problem, since when it is there, when its end was seen, and who was told of the one and the other."""

    problem: Problem
    since: float
    over: float | None = None
    told: Mapping[str, float] = field(default_factory=dict)
    told_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetState:
    """Of a target: failures in a row, when to try again, the last error, when it last got which kind."""

    failures: int = 0
    not_before: float = 0.0
    error: str = ""
    last: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pace:
    """How often a target is written to: `quiet_s` between two messages of a kind, `remind_s` (0: never)."""

    quiet_s: float
    remind_s: float


@dataclass(frozen=True)
class Message:
    """What one target is told at one time; `more` counts problems that were too many to remember."""

    fresh: tuple[Problem, ...] = ()
    still: tuple[Problem, ...] = ()
    over: tuple[Problem, ...] = ()
    more: Mapping[Kind, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fresh or self.still or self.over)


@dataclass(frozen=True)
class State:
    """The whole memory. `looked` is when somebody last looked, `busy_until` until when somebody sends."""

    looked: float = 0.0
    busy_until: float = 0.0
    problems: Mapping[str, Remembered] = field(default_factory=dict)
    targets: Mapping[str, TargetState] = field(default_factory=dict)
    more: Mapping[Kind, int] = field(default_factory=dict)

    @property
    def open(self) -> dict[str, Problem]:
        """The problems that are not over, by key."""
        return {key: one.problem for key, one in self.problems.items() if one.over is None}

    @classmethod
    def read(cls, text: str | bytes | None) -> Self:
        """The memory as stored. One that can't be read starts over: the worst is a message sent twice."""
        try:
            fields = json.loads(text or "{}")
            return cls(
                float(fields.get("looked", 0)),
                float(fields.get("busy_until", 0)),
                {one["key"]: _remembered(one) for one in fields.get("problems", [])},
                {key: TargetState(**one) for key, one in fields.get("targets", {}).items()},
                {kind: int(count) for kind, count in fields.get("more", {}).items() if kind in KINDS},
            )
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls()

    def write(self) -> str:
        """The memory as text."""
        problems = [
            {
                "key": key,
                "kind": one.problem.kind,
                "text": one.problem.text,
                "run_id": one.problem.run_id,
                "about": one.problem.about,
                "since": one.since,
                "over": one.over,
                "told": dict(one.told),
                "told_over": one.told_over,
            }
            for key, one in self.problems.items()
        ]
        targets = {key: vars(one) | {"last": dict(one.last)} for key, one in self.targets.items()}
        fields = {"looked": self.looked, "busy_until": self.busy_until, "more": dict(self.more)}
        return json.dumps({**fields, "problems": problems, "targets": targets})


def observe(
    state: State,
    problems: Iterable[Problem],
    now: float,
    *,
    targets: Collection[str],
    expired: Collection[str] = (),
) -> State:
    """The memory after a look that found exactly these problems.

    What was open and is not among them is over. `expired` are keys that are forgotten without a word.
    """
    found = {problem.key: problem for problem in sorted(problems, key=lambda one: one.key)}
    kept: dict[str, Remembered] = {}
    for key, one in state.problems.items():
        if key in found:
            kept[key] = _seen_again(one, found[key])
        elif key not in expired:
            ended = one if one.over is not None else replace(one, over=now)
            if not _is_finished(ended, targets) and now - (ended.over or now) < KEEP_S:
                kept[key] = ended
    more: dict[Kind, int] = {}
    for key, problem in found.items():
        if key in kept:
            continue
        if len(kept) < MOST_PROBLEMS:
            kept[key] = Remembered(_short(problem), now)
        else:
            more[problem.kind] = more.get(problem.kind, 0) + 1
    known = {key: one for key, one in state.targets.items() if key in targets}
    return replace(state, looked=now, problems=kept, targets=known, more=more)


def due(state: State, target: str, now: float, pace: Pace) -> Message:
    """What a target should be told now; an empty message if nothing.

    The first problem of a kind is told at once. What follows within the quiet period is told together at its
    end.
    """
    of_target = state.targets.get(target, TargetState())
    if now < of_target.not_before:
        return Message()
    rested = {kind for kind in (*KINDS, _THE_END) if _rested(of_target, kind, now, pace)}
    fresh, still, over = [], [], []
    for one in state.problems.values():
        told = one.told.get(target)
        if one.over is not None:
            if one.problem.kind in WITH_AN_END and target not in one.told_over:
                over.append(one.problem)
        elif told is None:
            if one.problem.kind in rested:
                fresh.append(one.problem)
        elif one.problem.kind in REMINDED and 0 < pace.remind_s <= now - told:
            still.append(one.problem)
    if not (fresh or still) and _THE_END not in rested:
        over = []
    kinds = {problem.kind for problem in fresh}
    more = {kind: count for kind, count in state.more.items() if kind in kinds}
    return Message(tuple(fresh), tuple(still), tuple(over), more)


def mark_told(state: State, target: str, message: Message, now: float) -> State:
    """The memory after a target has taken a message."""
    problems = dict(state.problems)
    for problem in (*message.fresh, *message.still):
        if one := problems.get(problem.key):
            problems[problem.key] = replace(one, told={**one.told, target: now})
    for problem in message.over:
        if (one := problems.get(problem.key)) and one.over is not None:
            problems[problem.key] = replace(one, told_over=(*one.told_over, target))
    names: list[str] = [problem.kind for problem in message.fresh]
    last = {**state.targets.get(target, TargetState()).last, **dict.fromkeys(names, now)}
    if message.over:
        last[_THE_END] = now
    return replace(state, problems=problems, targets={**state.targets, target: TargetState(last=last)})


def mark_failed(state: State, target: str, error: str, now: float) -> State:
    """The memory after a target could not be reached: it is tried again, ever more rarely, up to an hour."""
    before = state.targets.get(target, TargetState())
    wait = min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(before.failures, 10))
    after = TargetState(before.failures + 1, now + wait, error, before.last)
    return replace(state, targets={**state.targets, target: after})


def _seen_again(one: Remembered, problem: Problem) -> Remembered:
    if one.over is None:
        return replace(one, problem=_short(problem))
    # Whoever has been told of the end must be told that it was none.
    told = {target: moment for target, moment in one.told.items() if target not in one.told_over}
    return replace(one, problem=_short(problem), over=None, told=told, told_over=())


def _is_finished(one: Remembered, targets: Collection[str]) -> bool:
    """Whether nothing is left to say of a problem that is over.

    One whose end is no news is kept if anybody was told of it: it is not told again when it comes back.
    """
    if one.problem.kind in WITH_AN_END:
        return all(target in one.told_over for target in targets)
    return not one.told


def _rested(of_target: TargetState, kind: str, now: float, pace: Pace) -> bool:
    last = of_target.last.get(kind)
    # A moment in the future is of a clock that was set back.
    return last is None or not 0 <= now - last < pace.quiet_s


def _short(problem: Problem) -> Problem:
    return replace(problem, text=problem.text[:_LONGEST_TEXT])


def _remembered(fields: dict[str, Any]) -> Remembered:
    if fields["kind"] not in KINDS:
        raise ValueError(fields["kind"])
    run_id = fields["run_id"]
    return Remembered(
        Problem(
            str(fields["key"]),
            fields["kind"],
            str(fields["text"]),
            None if run_id is None else str(run_id),
            tuple(map(str, fields["about"])),
        ),
        float(fields["since"]),
        None if fields["over"] is None else float(fields["over"]),
        {str(target): float(moment) for target, moment in fields["told"].items()},
        tuple(map(str, fields["told_over"])),
    )
