"""The file-arrival sensor: seconds after a file lands, a run is asked for.

What belongs here: a tick, with its time budget, its settling of files and its cursor, by listing or by events
in a queue. What does not: the plan (`planning`) and the claims (`arrivals`).
"""

import json
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

import dagster as dg

from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.automation.arrivals import look, look_at, open_batches, pending, put_on_record
from pipeline_assets.automation.jobs import owned
from pipeline_assets.automation.requests import run_requests, units_in_flight
from pipeline_assets.compute.context import Context
from pipeline_assets.escaping import plain
from pipeline_assets.partitions import INCREMENTAL_PARTITIONS_NAME
from pipeline_assets.planning import Plan, settled
from pipeline_assets.settings import Settings
from pipeline_assets.storage.event_queue import EventQueue, Message, QueueUnavailableError, open_queue
from pipeline_assets.storage.store import StorageUnavailableError
from pipeline_assets.storage.units import Unit

# A tick waits for files itself instead of ending at once: the daemon looks only every 5 s whether to start
# the next one. A tick that ends shortly before such a look is followed at once, one that ends shortly after
# it leaves 5 s in which nobody waits. It has 60 s in all; 24 leave room for a slow listing and the claims.
WAIT_S: Final = 24.0
_PAUSE_S: Final = 0.5
_DOOR: Final = "file_arrival_sensor"

# How often a tick asks again for a unit that is still pending though nothing about it has changed, as after
# a killed run. More is left to the schedule: a run that fails each time must not be asked for each second.
MAX_RETRIES: Final = 3


@dataclass(frozen=True)
class Cursor:
    """What a tick remembers for the next; bounded by what is unfinished, never by what has landed.

    `waiting` maps a path to the etag it had and when it was first seen with it; `asked` maps a unit to the
    version it was last asked for in, and how often.
    """

    waiting: dict[str, tuple[str, float]] = field(default_factory=dict)
    asked: dict[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> Self:
        """The cursor as stored. One that can't be read starts over: it costs a second of settling."""
        try:
            fields = json.loads(text or "{}")
            return cls(
                {
                    path: (str(etag), float(since))
                    for path, (etag, since) in fields.get("waiting", {}).items()
                },
                {
                    unit: (str(version), int(count))
                    for unit, (version, count) in fields.get("asked", {}).items()
                },
            )
        except (ValueError, TypeError, AttributeError):
            return cls()

    def write(self) -> str:
        """The cursor as text."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Arrival:
    """What a look found ready: units to run, each with the version seen, and files to batch."""

    plan: Plan
    versions: dict[Unit, str]
    cursor: Cursor

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be asked for."""
        return not self.versions and not self.plan.new_files


def arrival(plan: Plan, cursor: Cursor, in_flight: Collection[Unit], now: float, settle_s: float) -> Arrival:
    """What of a plan is to be asked for now. Pure.

    Units in flight are left to their runs, files that still change to a later tick, and a unit that was asked
    for `MAX_RETRIES` times in the same version to the schedule.
    """
    ready, waiting = settled(plan.news, cursor.waiting, now, settle_s)
    settled_paths = {entry.path for entry in ready}
    versions: dict[Unit, str] = {}
    asked: dict[str, tuple[str, int]] = {}
    for unit, entries in plan.units.items():
        version = plan.version(unit)
        before, count = cursor.asked.get(str(unit), (version, 0))
        if before != version:
            count = 0
        asked[str(unit)] = (version, count)
        if unit in in_flight or count >= MAX_RETRIES or any(e.path not in settled_paths for e in entries):
            continue
        versions[unit] = f"{version}#{count}"
        asked[str(unit)] = (version, count + 1)
    files = tuple(entry for entry in plan.new_files if entry.path in settled_paths)
    return Arrival(replace(plan, new_files=files), versions, Cursor(waiting, asked))


def file_arrival_sensor(
    settings: Settings, jobs: list[Any], *, wait_s: float = WAIT_S
) -> dg.SensorDefinition:
    """New incremental files become a batch; changed daily folders and pending units run again."""

    @dg.sensor(
        name=_DOOR,
        jobs=jobs,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        metadata=owned(settings.owner_list),
        description="Asks for a run seconds after log files land, change or grow.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, pipeline: PipelineResource
    ) -> dg.SensorResult | dg.SkipReason:
        deadline = time.monotonic() + wait_s
        work = pipeline.context
        queue = open_queue(settings)
        try:
            found, messages = _wait(work, queue, settings, context, deadline)
        except StorageUnavailableError as error:
            return dg.SkipReason(f"nothing is assumed about what has landed: {error}")
        versions = dict(found.versions)
        # One batch a tick: what is over its limits follows in the next. Events are not seen again.
        at_most = None if messages else 1
        for unit in open_batches(work, settings, found.plan.new_files, at_most=at_most):
            versions.setdefault(unit, "new")
        if queue is not None and messages:
            put_on_record(work, found.plan)
            _delete(queue, messages, context)
        if not versions:
            context.update_cursor(found.cursor.write())
            return dg.SkipReason("nothing new has landed")
        keys = sorted(unit.key for unit in versions if unit.lane == "incremental")
        partitions = dg.DynamicPartitionsDefinition(name=INCREMENTAL_PARTITIONS_NAME)
        return dg.SensorResult(
            run_requests=run_requests(versions, _DOOR),
            dynamic_partitions_requests=[partitions.build_add_request(keys)] if keys else [],
            cursor=found.cursor.write(),
        )

    return sensor


def _wait(
    work: Context,
    queue: EventQueue | None,
    settings: Settings,
    context: dg.SensorEvaluationContext,
    deadline: float,
) -> tuple[Arrival, list[Message]]:
    """What has arrived, and the messages that told of it: to be deleted once it is on record."""
    if queue is not None:
        try:
            return _wait_for_events(work, queue, settings, context, deadline)
        except QueueUnavailableError as error:
            context.log.warning("%s; until then, what has landed is listed", plain(str(error)))
    return _wait_for_files(work, settings, context, deadline), []


def _wait_for_events(
    work: Context,
    queue: EventQueue,
    settings: Settings,
    context: dg.SensorEvaluationContext,
    deadline: float,
) -> tuple[Arrival, list[Message]]:
    cursor = Cursor.read(context.cursor)

    def seen(paths: Collection[str]) -> Arrival:
        # In this order: a run that ends in between is still in flight, and its unit not asked for again.
        in_flight = units_in_flight(context.instance)
        plan = look_at(work, settings, paths, pending(work)).plan
        # A blob appears whole, and an event comes after it.
        return arrival(plan, cursor, in_flight, time.time(), settle_s=0.0)

    # First: while the storage is away no message is taken, for each may be taken a few times only.
    found = seen(())
    while True:
        received = queue.receive(settings.batch_max_files)
        for message in received:
            if message.problem:
                context.log.warning(
                    "a message was left out: %s: %s", message.problem, plain(message.body, 300)
                )
        queue.delete([message for message in received if not message.paths])
        messages = [message for message in received if message.paths]
        if messages:
            return seen({path for message in messages for path in message.paths}), messages
        if not found.is_empty or time.monotonic() + settings.queue_poll_s > deadline:
            return found, []
        time.sleep(settings.queue_poll_s)


def _delete(queue: EventQueue, messages: list[Message], context: dg.SensorEvaluationContext) -> None:
    try:
        queue.delete(messages)
    except QueueUnavailableError as error:
        # They come again, and what they tell of is on record already.
        context.log.warning("%s", plain(str(error)))


def _wait_for_files(
    work: Context, settings: Settings, context: dg.SensorEvaluationContext, deadline: float
) -> Arrival:
    cursor = Cursor.read(context.cursor)
    while True:
        in_flight = units_in_flight(context.instance)
        plan = look(work, settings, everything=False).plan
        found = arrival(plan, cursor, in_flight, time.time(), settings.settle_seconds)
        # What has been seen once is looked at again as soon as it may have settled.
        pause = min(settings.poll_s, settings.settle_seconds) if found.cursor.waiting else settings.poll_s
        pause = max(pause, _PAUSE_S)
        if not found.is_empty or time.monotonic() + pause > deadline:
            return found
        cursor = found.cursor
        time.sleep(pause)
