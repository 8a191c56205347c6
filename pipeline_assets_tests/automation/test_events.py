"""Arrivals by events in a queue: what a message may be, and what a tick makes of it.

What belongs here: bodies of messages, and real ticks over Azurite's blobs and queues. What does not: what follows
from a path that has landed, which is the same by listing (`test_sensors`). Event Grid itself has no emulator: its
messages are written here as its documents describe them.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast
from unittest import mock

import dagster as dg
import pytest
from azure.storage.queue import QueueClient
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.assets.resources import PipelineResource
from pipeline_assets.definitions import build_defs
from pipeline_assets.storage import control, event_queue
from pipeline_assets.storage.counting import CountingStore, Requests
from pipeline_assets.storage.event_queue import EventQueue, open_queue
from pipeline_assets.storage.landing_events import NoEventError, landed_paths
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests import azurite as azurite_service
from pipeline_assets_tests.azurite import Azurite
from pipeline_assets_tests.storages import Storage
from pipeline_assets_tests.world import Killed, World

LINE = b'192.0.2.1 - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'
NEW = "logs/incremental/new.log"


def event(path: str, kind: str = "BlobCreated", container: str = "logs", **data: Any) -> dict[str, Any]:
    name = path.removeprefix("logs/")
    return {
        "topic": "/subscriptions/x/resourceGroups/y/providers/Microsoft.Storage/storageAccounts/myaccount",
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "eventType": f"Microsoft.Storage.{kind}",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {"api": "PutBlob", "url": f"https://myaccount.blob.core.windows.net/{path}", **data},
        "dataVersion": "",
        "metadataVersion": "1",
    }


def in_base64(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (in_base64(event(NEW)), [NEW]),
        (json.dumps(event(NEW)), [NEW]),
        (json.dumps([event(NEW), event("logs/2024-01-15/a b%41.log")]), [NEW, "logs/2024-01-15/a b%41.log"]),
        (in_base64(event(NEW, container="bronze")), []),
        (in_base64(event(NEW, container="logs-of-another")), []),
        (in_base64(event(NEW, kind="BlobDeleted")), []),
        (in_base64(event(NEW, api="CreateFile")), []),
        (in_base64(event(NEW, api="FlushWithClose")), [NEW]),
        (in_base64(event(f"{NEW}.part")), []),
        (in_base64(event("logs/elsewhere/a.log")), []),
        (in_base64(event("logs/2024-01-15/")), []),
        (in_base64(event("logs/2024-01-15/.hidden")), []),
        (in_base64(event("logs/2024-01-15/\ud800")), []),
        (in_base64([]), []),
    ],
)  # fmt: skip
def test_a_message_tells_of_the_landing_paths_in_it(body: str, paths: list[str]) -> None:
    assert landed_paths(body) == paths


def test_cloud_events_and_renamed_files_are_understood() -> None:
    cloud = event(NEW)
    cloud["type"] = cloud.pop("eventType")
    assert landed_paths(json.dumps(cloud)) == [NEW]
    renamed = event(
        f"{NEW}.part", kind="BlobRenamed", destinationUrl=f"https://myaccount.dfs.core.windows.net/{NEW}%20x"
    )
    assert landed_paths(in_base64(renamed)) == [f"{NEW} x"]


HOSTILE = [
    "",
    "not JSON",
    "[" * 50_000,
    in_base64("text"),
    in_base64(None),
    in_base64([[]]),
    in_base64({"subject": 1, "eventType": "Microsoft.Storage.BlobCreated", "data": {}}),
    in_base64({"subject": "x", "eventType": "Microsoft.Storage.BlobRenamed", "data": {"destinationUrl": "http://["}}),
    base64.b64encode(b"\xff\xfe").decode(),
    '{"a": ' + "1" * 5_000 + "}",
    "https://evil.example/\u202e<script>",
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE)
def test_what_is_no_event_is_told_from_one(body: str) -> None:
    with pytest.raises(NoEventError):
        landed_paths(body)


@given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_any_text_is_an_event_or_none(body: str) -> None:
    with suppress(NoEventError):
        assert isinstance(landed_paths(body), list)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(event(NEW))), inner),
    max_leaves=8,
)


@given(
    JSON, st.sampled_from([*event(NEW), *event(NEW)["data"]]), st.sampled_from(["BlobCreated", "BlobRenamed"])
)
def test_an_event_with_any_value_in_any_place_is_an_event_or_none(value: Any, name: str, kind: str) -> None:
    spoiled = event(NEW, kind=kind, destinationUrl=f"https://myaccount.dfs.core.windows.net/{NEW}")
    (spoiled if name in spoiled else spoiled["data"])[name] = value
    with suppress(NoEventError):
        assert all(path.startswith("logs/") for path in landed_paths(json.dumps(spoiled)))


class Events:
    """An account with a queue of events, and the ticks of the sensor over it."""

    def __init__(self, service: Azurite, queues: str, patch: pytest.MonkeyPatch) -> None:
        account = service.new_account()
        storage = Storage.in_account(account)
        connection = f"{account.connection_string};QueueEndpoint={queues}/{account.name}"
        storage.settings["azure_connection_string"] = connection
        self.world = World(storage, event_queue="events", look_back_days=100_000)
        for name, value in {**storage.environment, "AZURE_STORAGE_CONNECTION_STRING": connection}.items():
            patch.setenv(name, value)
        patch.setenv("PIPELINE_EVENT_QUEUE", "events")
        self.queue = QueueClient.from_connection_string(
            f"{connection};DefaultEndpointsProtocol=http", "events", message_encode_policy=None
        )
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None
        self.requests = Requests()

    def land(self, path: str, content: bytes = LINE) -> None:
        """Put a blob in place, and the message that Event Grid would put into the queue."""
        self.world.land(path, content)
        self.queue.send_message(in_base64(event(path)))

    def tick(self) -> Any:
        defs = build_defs(settings=self.world.settings, sensor_wait_s=0)
        counted = []

        def watched(store: Store) -> tuple[Store, CountingStore]:
            counted.append(CountingStore(store))
            return cast(Store, counted[-1]), counted[-1]

        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"pipeline": PipelineResource()},
            repository_def=defs.get_repository_def(),
        )
        with context, mock.patch("pipeline_assets.assets.resources.counting", watched):
            result: Any = defs.resolve_sensor_def("file_arrival_sensor")(context)
        self.cursor = context.cursor if isinstance(result, dg.SkipReason) else result.cursor
        (store,) = counted
        self.requests = store.done
        return result

    def wait_for_messages(self) -> None:
        """Until one can be received; the service hides what was received for whole seconds."""
        while not self.queue.peek_messages():
            time.sleep(0.1)

    @property
    def left(self) -> int:
        """Messages that are in the queue, hidden ones included."""
        return int(self.queue.get_queue_properties().approximate_message_count or 0)


@pytest.fixture(scope="module")
def queues() -> Iterator[str]:
    with azurite_service.running(service="queue") as service:
        yield service.url


@pytest.fixture
def events(azurite: Azurite, queues: str, monkeypatch: pytest.MonkeyPatch) -> Events:
    made = Events(azurite, queues, monkeypatch)
    made.queue.create_queue()
    return made


@pytest.mark.slow
def test_an_event_becomes_a_batch_and_its_message_is_deleted(events: Events) -> None:
    events.land(NEW)
    events.land("logs/2024-01-15/access.log")
    result = events.tick()
    assert {request.job_name for request in result.run_requests} == {"daily_job", "incremental_job"}
    assert events.left == 0
    batch = control.claimed_by(events.world.context.store, NEW)
    assert batch is not None and result.dynamic_partitions_requests[0].partition_keys == [batch.key]
    # What the message told of is pending now, whatever becomes of these runs.
    assert set(control.pending_markers(events.world.context.store)) == {batch, Unit("daily", "2024-01-15")}
    events.world.process([batch, Unit("daily", "2024-01-15")], reuse=True)
    assert isinstance(events.tick(), dg.SkipReason)
    assert events.world.catch_up() == 0


@pytest.mark.slow
def test_a_message_comes_again_when_a_tick_dies_and_its_file_is_claimed_once(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "HIDDEN_S", 1)
    events.land(NEW)
    delete = EventQueue.delete

    def die_with_messages(self: EventQueue, messages: list[Any]) -> None:
        if messages:
            raise Killed
        delete(self, messages)

    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(EventQueue, "delete", die_with_messages)
        events.tick()
    assert events.left == 1
    owner = control.claimed_by(events.world.context.store, NEW)
    assert owner is not None
    events.wait_for_messages()
    result = events.tick()
    assert [request.partition_key for request in result.run_requests] == [owner.key]
    assert control.batches(events.world.context.store) == [owner] and events.left == 0
    # Once more, by a service that delivers at least once: after the run, it is no news.
    events.world.process([owner], reuse=True)
    events.queue.send_message(in_base64(event(NEW)))
    assert isinstance(events.tick(), dg.SkipReason)
    assert control.batches(events.world.context.store) == [owner] and events.left == 0


@pytest.mark.slow
def test_a_run_that_died_is_asked_for_again_though_its_message_is_gone(events: Events) -> None:
    events.land("logs/2024-01-15/access.log")
    keys = [request.run_key for _ in range(3) for request in events.tick().run_requests]
    assert len(set(keys)) == 3
    events.world.process([Unit("daily", "2024-01-15")], reuse=True)
    assert isinstance(events.tick(), dg.SkipReason)
    # It is behind another time, which is asked for by another key.
    events.land("logs/2024-01-15/more.log")
    for _ in range(3):
        (request,) = events.tick().run_requests
        assert request.run_key not in keys
        keys.append(request.run_key)


@pytest.mark.slow
def test_hostile_messages_are_deleted_and_told_once(events: Events, caplog: pytest.LogCaptureFixture) -> None:
    bodies = [body for body in HOSTILE if body] + ["x" * 60_000]
    for body in bodies:
        events.queue.send_message(body)
    events.queue.send_message(in_base64(event("bronze/a", container="bronze")))
    events.queue.send_message(in_base64(event("logs/incremental/never-there.log")))
    events.world.context.store.create("logs/incremental/folder", b"")
    events.queue.send_message(in_base64(event("logs/incremental/folder")))
    events.land(NEW)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dg.SensorEvaluationContext, "log", property(lambda self: _Log(said.append)))
        first = events.tick()
        assert len(first.run_requests) == 1 and events.left == 0
        assert len(said) == len(bodies)
        events.tick()
    assert len(said) == len(bodies)
    assert not any("\u202e" in line or "://" in line for line in said)


class _Log:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def warning(self, text: str, *values: object) -> None:
        self._say(text % values)


@pytest.mark.slow
def test_a_message_that_was_never_put_on_record_is_given_up(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "HIDDEN_S", 1)
    events.land(NEW)
    queue = open_queue(events.world.settings)
    assert queue is not None
    for _ in range(event_queue.MAX_DELIVERIES):
        events.wait_for_messages()
        assert [message.paths for message in queue.receive(1)] == [(NEW,)]
    events.wait_for_messages()
    assert isinstance(events.tick(), dg.SkipReason)
    assert events.left == 0
    # The nightly look lists everything, and so finds it.
    assert events.world.catch_up(everything=True) > 0


@pytest.mark.slow
def test_a_tick_costs_the_same_whatever_has_landed(events: Events) -> None:
    day = Unit("daily", "2024-01-15")

    def costs(name: str) -> tuple[Requests, Requests]:
        assert isinstance(events.tick(), dg.SkipReason)
        idle = events.requests
        events.land(f"logs/{day.key}/{name}.log")
        assert len(events.tick().run_requests) == 1
        busy = events.requests
        events.world.process([day], reuse=True)
        return idle, busy

    costs("first")
    few = costs("a")
    for number in range(300):
        events.world.land(f"logs/2024-02-{number % 28 + 1:02}/{number}.log", LINE)
        events.world.land(f"logs/incremental/{number}.log", LINE)
    many = costs("b")
    for idle, busy in (few, many):
        assert idle == Requests(lists=1)
        # What is pending, now and at the beginning; the file; and of the ledger what was recorded lately, which
        # takes a read more or less.
        assert (busy.lists, busy.writes) == (3, 1) and busy.reads <= 5


@pytest.mark.slow
def test_where_there_is_no_queue_the_landing_area_is_listed(
    azurite: Azurite, queues: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = Events(azurite, queues, monkeypatch)
    monkeypatch.setenv("PIPELINE_SETTLE_SECONDS", "0")
    events.world.settings = events.world.settings.model_copy(update={"settle_seconds": 0.0})
    events.world.land(NEW, LINE)
    assert [request.job_name for request in events.tick().run_requests] == ["incremental_job"]
