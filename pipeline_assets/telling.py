"""Alerts from the command line: what a command found is told as the daemon's sensor would tell it.

What belongs here: looking around at the end of a command, the test message, and the list of what is open.
What does not: decisions (`alerts`), and what is printed (`cli`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline_assets.alerts.delivery import deliver
from pipeline_assets.alerts.keeping import StoredKeeper, TextKeeper
from pipeline_assets.alerts.problems import Problem
from pipeline_assets.alerts.sink import Target, open_targets
from pipeline_assets.alerts.state import Pace
from pipeline_assets.home import home, prepare_home
from pipeline_assets.settings import Settings
from pipeline_assets.storage.store import Store

if TYPE_CHECKING:
    from pipeline_assets.compute.context import Context

_TEST_TIMEOUT_S: Final = 30.0
# Where the memory is kept while the storage, and the memory in it, is away.
_AWAY_NAME: Final = "alerts-without-storage.json"


@dataclass(frozen=True)
class OpenProblem:
    """A problem that is open: what, since when (UTC), and which targets were told."""

    problem: Problem
    since: datetime
    told: tuple[str, ...]


def tell(context: Context, settings: Settings, *, since: float) -> list[str]:
    """Look around and tell the targets; a line for each thing that went wrong with that.

    Does nothing where `ALERT_URLS` is not set. `since` is when the command began, in seconds since the epoch.
    """
    targets = open_targets(settings)
    if not targets:
        return []
    import dagster as dg

    from pipeline_assets.automation.alert_sensor import watch_once
    from pipeline_assets.definitions import build_defs

    prepare_home()
    _tell_away([], settings, targets)
    graph = build_defs().get_repository_def().asset_graph
    with dg.DagsterInstance.get() as instance:
        told, blind = watch_once(instance, context.store, settings, graph, targets, since=since)
    failed = [f"alerts: {label} failed: {why}; it will be told later" for label, why in told.failed]
    return [*failed, *(f"alerts: could not look at {part}" for part in blind)]


def tell_storage_away(settings: Settings, error: Exception) -> None:
    """Tell the targets that the storage can't be reached: once, and again only after it was back."""
    targets = open_targets(settings)
    if targets:
        problem = Problem("storage", "storage", f"the storage can't be reached: {error}")
        _tell_away([problem], settings, targets)


def send_test(settings: Settings) -> list[tuple[str, str | None]]:
    """Send a test message to each target: its label, and why it was not taken, if it was not."""
    text = (
        "A test by hand: alerts of the web-log pipeline reach you here.\n"
        f"Links to runs will begin with {settings.ui_url}"
    )
    return [
        (target.label, target.send("Web logs: test", text, "info", _TEST_TIMEOUT_S))
        for target in open_targets(settings)
    ]


def open_problems(store: Store, settings: Settings) -> list[OpenProblem]:
    """What was open at the last look, the oldest first."""
    state, _ = StoredKeeper(store).load()
    labels = {target.key: target.label for target in open_targets(settings)}
    found = [
        OpenProblem(
            one.problem,
            datetime.fromtimestamp(one.since, UTC),
            tuple(label for key, label in labels.items() if key in one.told),
        )
        for one in state.problems.values()
        if one.over is None
    ]
    return sorted(found, key=lambda one: (one.since, one.problem.key))


def _tell_away(problems: list[Problem], settings: Settings, targets: list[Target]) -> None:
    path = home() / _AWAY_NAME
    text = _text_of(path)
    if not problems and text is None:
        return
    keeper = TextKeeper(text)
    deliver(
        keeper,
        problems,
        targets,
        pace=Pace(settings.alert_quiet_minutes * 60, settings.alert_remind_hours * 3600),
        ui_url=settings.ui_url,
        now=time.time(),
    )
    left, _ = keeper.load()
    if left.problems and keeper.text is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(keeper.text)
    else:
        path.unlink(missing_ok=True)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
