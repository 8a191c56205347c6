"""Delivery: from what a look has found to messages that were taken.

What belongs here: the order of remembering and sending. What does not: the decisions (`alerts.state`).

What is found is remembered before anything is sent, and who was told after it: a process that is killed in
between, or a target that is down, costs a second message at worst and never an alert. Nothing here raises
because of a target.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pipeline_assets.alerts.keeping import Keeper
from pipeline_assets.alerts.problems import Problem
from pipeline_assets.alerts.render import body, severity, title
from pipeline_assets.alerts.sink import Target
from pipeline_assets.alerts.state import Message, Pace, State, due, mark_failed, mark_told, observe
from pipeline_assets.storage.store import SwapConflictError

# A sensor's tick has 60 s; a target that keeps silent must leave time for the others.
_BUDGET_S: Final = 40.0
_TARGET_S: Final = 15.0
# Nobody sends for longer than this, so whoever said so and is silent has died.
_SENDING_S: Final = _BUDGET_S + _TARGET_S
# Clocks of machines differ. A mark further ahead than this comes from a clock that has been put back since.
_AHEAD_S: Final = 2 * _SENDING_S
_TRIES: Final = 10
# Looking alone is not worth a write, but for once in a while: the time of the last look is kept, and failed
# runs since then are looked for.
_LOOKED_EVERY_S: Final = 300.0


@dataclass(frozen=True)
class Delivery:
    """What became of a look: how many problems are open, which targets were told, which failed and why."""

    open: int
    told: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    waiting: bool = False

    def __str__(self) -> str:
        parts = [f"{self.open} open" if self.open else "nothing is wrong"]
        if self.told:
            parts.append(f"told {', '.join(self.told)}")
        parts += [f"{label} failed: {why}" for label, why in self.failed]
        if self.waiting:
            parts.append("somebody else is sending")
        return "; ".join(parts)


def deliver(
    keeper: Keeper,
    problems: Iterable[Problem],
    targets: Sequence[Target],
    *,
    pace: Pace,
    ui_url: str,
    now: float,
    expired: Collection[str] = (),
) -> Delivery:
    """Remember these problems as all there are, and tell each target what it should know now.

    Raises `StorageUnavailableError` where the memory can't be kept.
    """
    found = list(problems)
    keys = [target.key for target in targets]
    for attempt in range(_TRIES):
        before, version = keeper.load()
        state = observe(before, found, now, targets=keys, expired=expired)
        messages = {target: due(state, target.key, now, pace) for target in targets}
        pending = {target: message for target, message in messages.items() if message}
        idle = not pending and replace(state, looked=before.looked) == before
        if idle and 0 <= now - before.looked < _LOOKED_EVERY_S:
            return _outcome(state, targets)
        waiting = bool(pending) and now < before.busy_until < now + _AHEAD_S
        if pending and not waiting:
            state = replace(state, busy_until=now + _SENDING_S)
        try:
            keeper.save(state, version)
        except SwapConflictError:
            _pause(attempt)
            continue
        if waiting or not pending:
            return replace(_outcome(state, targets), waiting=waiting)
        return _send(keeper, pending, ui_url, now)
    return Delivery(len(found), waiting=True)


def _send(keeper: Keeper, pending: dict[Target, Message], ui_url: str, now: float) -> Delivery:
    began = time.monotonic()
    results: dict[Target, str | None] = {}
    for target, message in pending.items():
        left = _BUDGET_S - (time.monotonic() - began)
        if left <= 0:
            break
        text = body(message, ui_url)
        results[target] = target.send(title(message), text, severity(message), min(left, _TARGET_S))
    for attempt in range(_TRIES):
        state, version = keeper.load()
        for target, error in results.items():
            if error is None:
                state = mark_told(state, target.key, pending[target], now)
            else:
                state = mark_failed(state, target.key, error, now)
        try:
            keeper.save(replace(state, busy_until=0.0), version)
        except SwapConflictError:
            _pause(attempt)
            continue
        break
    told = tuple(target.label for target, error in results.items() if error is None)
    failed = tuple((target.label, error) for target, error in results.items() if error is not None)
    return Delivery(len(state.open), told, failed)


def _outcome(state: State, targets: Sequence[Target]) -> Delivery:
    """Nothing was sent now; targets that are being waited for are still named."""
    failed = [
        (target.label, f"{of.error} ({of.failures} times, tried again later)")
        for target in targets
        if (of := state.targets.get(target.key)) and of.failures
    ]
    return Delivery(len(state.open), failed=tuple(failed))


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))  # noqa: S311
