"""The alert sensor and the same for the command line: look around, then tell.

What belongs here: putting watch, memory and sink together. What does not: what a problem is
(`automation.watch`), and who is told when (`alerts`).
"""

import time
from typing import Any, Final

import dagster as dg

from pipeline_assets.alerts.delivery import Delivery, deliver
from pipeline_assets.alerts.keeping import Keeper, StoredKeeper, TextKeeper
from pipeline_assets.alerts.problems import Problem
from pipeline_assets.alerts.sink import Target, open_targets
from pipeline_assets.alerts.state import Pace
from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.automation.jobs import owned
from pipeline_assets.automation.watch import Found, Sight, look_around
from pipeline_assets.settings import Settings, SettingsError, alert_urls
from pipeline_assets.storage.store import StorageUnavailableError, Store

ALERT_SENSOR_NAME: Final = "alert_sensor"
_EVERY_S: Final = 30
# Who looks for the first time looks back this far: what is older was no secret when alerts were set up.
_FIRST_LOOK_S: Final = 900.0


def watch_once(
    instance: dg.DagsterInstance,
    store: Store,
    settings: Settings,
    graph: Any,
    targets: list[Target],
    *,
    since: float | None = None,
) -> tuple[Delivery, list[str]]:
    """Look around once and tell the targets; what became of it, and parts of the look that failed.

    A first look looks back to `since` (seconds since the epoch), or a quarter of an hour. Raises
    `StorageUnavailableError`.
    """
    now = time.time()
    keeper = StoredKeeper(store)
    state, _ = keeper.load()
    looked = state.looked or min(since or now, now - _FIRST_LOOK_S)
    found = look_around(Sight(instance, store, settings, graph, state.open, looked, now))
    return _tell(keeper, found, settings, targets, now), found.blind


def alert_sensor(settings: Settings) -> dg.SensorDefinition:
    """Tells `ALERT_URLS` what is wrong; it runs by itself only where they are set."""

    @dg.sensor(
        name=ALERT_SENSOR_NAME,
        minimum_interval_seconds=_EVERY_S,
        metadata=owned(settings.owner_list),
        default_status=(
            dg.DefaultSensorStatus.RUNNING if alert_urls(settings) else dg.DefaultSensorStatus.STOPPED
        ),
        description=(
            "Tells the targets in ALERT_URLS of failed and stuck runs, late and quarantined deliveries,"
            " failed checks, many rejected lines and incidents in the traffic; each once, with a link to its"
            " run."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext, pipeline: PipelineResource) -> dg.SkipReason:
        if not alert_urls(settings):
            return dg.SkipReason("ALERT_URLS is not set: nobody is told of anything")
        try:
            targets = open_targets(settings)
        except SettingsError as error:
            return dg.SkipReason(str(error))
        assert context.repository_def is not None, "a sensor of this code location has its repository"
        graph = context.repository_def.asset_graph
        try:
            store = pipeline.context.store
            told, blind = watch_once(context.instance, store, settings, graph, targets)
        except (StorageUnavailableError, OSError) as error:
            return dg.SkipReason(_tell_without_storage(context, settings, targets, error))
        reasons = [str(told), *(f"could not look at {part}" for part in blind)]
        if context.cursor:
            # The memory of the time without storage: what was told of then is over.
            reasons.append(str(_keep_in_cursor(context, Found(), settings, targets)))
        return dg.SkipReason("; ".join(reasons))

    return sensor


def _tell_without_storage(
    context: dg.SensorEvaluationContext, settings: Settings, targets: list[Target], error: Exception
) -> str:
    """The storage is away, and the memory with it: the sensor's cursor keeps one for the meantime."""
    found = Found([Problem("storage", "storage", f"the storage can't be reached: {error}")])
    return f"{error}; {_keep_in_cursor(context, found, settings, targets)}"


def _keep_in_cursor(
    context: dg.SensorEvaluationContext, found: Found, settings: Settings, targets: list[Target]
) -> Delivery:
    keeper = TextKeeper(context.cursor)
    told = _tell(keeper, found, settings, targets, time.time())
    left, _ = keeper.load()
    context.update_cursor(keeper.text if left.problems and keeper.text else "")
    return told


def _tell(keeper: Keeper, found: Found, settings: Settings, targets: list[Target], now: float) -> Delivery:
    return deliver(
        keeper,
        found.problems,
        targets,
        pace=Pace(settings.alert_quiet_minutes * 60, settings.alert_remind_hours * 3600),
        ui_url=settings.ui_url,
        now=now,
        expired=found.expired,
    )
