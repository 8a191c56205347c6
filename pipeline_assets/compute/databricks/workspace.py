"""The workspace: the SDK's client, with patience for its bad moments and an eye on the one job it has sent.

What belongs here: talking to the Jobs API so that no job is left to itself. What does not: what is sent
(`task`), and what an ended job means (`verdict`).

The SDK repeats what was throttled (429) or turned away (503) for five minutes, as the service asks. A service
that answers with an error of its own while a job runs has not ended the job: it is asked again here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.core import ApiClient
from databricks.sdk.errors import (
    DeadlineExceeded,
    InternalError,
    TemporarilyUnavailable,
    TooManyRequests,
)
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.mixins.jobs import JobsExt
from databricks.sdk.service import jobs

Answer = TypeVar("Answer")

# So many requests may fail one after the other, and so many looks show a cancelled job that has not ended.
_LOOKS: Final = 60


class LostContactError(Exception):
    """The workspace did not answer for long; the job was cancelled as far as that could be said."""


class WatchedJobs(JobsExt):
    """The Jobs API for one job: it remembers what it sent, and gives up only after having cancelled it."""

    def __init__(self, api: ApiClient, pause_s: float) -> None:
        super().__init__(api)  # type: ignore[no-untyped-call]
        self._pause_s = pause_s
        self._asked: dict[str, Any] | None = None
        self._looks_after_cancel = 0
        self.run_id: int | None = None
        self.cancelled = False

    def submit(self, **asked: Any) -> Any:
        """Send a job, once: the request carries a token, so that repeating it starts no second one."""
        self._asked = asked
        send = super().submit
        waiter = self._patiently(lambda: send(**asked))
        self.run_id = waiter.bind()["run_id"]
        return waiter

    def get_run(self, run_id: int, **more: Any) -> jobs.Run:
        """A look at the job, repeated while the service fails.

        Raises `LostContactError` where it fails for too long, or where a cancelled job does not end.
        """
        look = super().get_run
        try:
            run = self._patiently(lambda: look(run_id, **more))
        except Exception as error:
            # Whatever it was, nobody looks at the job any more, so it must not go on.
            self.end()
            raise LostContactError(f"the workspace does not answer for job run {run_id}: {error}") from error
        if self.cancelled and not has_ended(run):
            self._looks_after_cancel += 1
            if self._looks_after_cancel > _LOOKS:
                raise LostContactError(f"job run {run_id} was cancelled and has not ended; look at it there")
        return run

    def cancel_run(self, run_id: int) -> Any:
        """Cancel the job, and remember it: the client that asks for it does not tell that it did."""
        self.cancelled = True
        cancel = super().cancel_run
        return self._patiently(lambda: cancel(run_id))

    def end(self) -> None:
        """See to it that nothing goes on of what was sent, as far as the workspace can be told."""
        try:
            if self.run_id is None and self._asked is not None:
                # The answer never came, so whether there is a job can be learned only by asking again.
                self.run_id = super().submit(**self._asked).bind()["run_id"]
            if self.run_id is not None:
                self.cancelled = True
                super().cancel_run(self.run_id)
        except OSError:
            # Its own time limit ends it; why we are here is raised by who called.
            return

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        for left in range(_LOOKS, -1, -1):
            try:
                return ask()
            except Exception as error:
                if not (left and is_passing(error)):
                    raise
            time.sleep(self._pause_s * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)
        raise AssertionError("the last try returns or raises")


class Workspace(WorkspaceClient):
    """The SDK's client of a workspace, for one job."""

    def __init__(self, config: Config, pause_s: float) -> None:
        super().__init__(config=config)
        self._watched = WatchedJobs(self.api_client, pause_s)

    @property
    def jobs(self) -> WatchedJobs:
        """The Jobs API, watched."""
        return self._watched


def is_passing(error: Exception) -> bool:
    """Whether an error is of the service or of the way there, so that asking again may do."""
    if isinstance(error, DatabricksError):
        # What the SDK has no name for is an answer that none of its rules knows, such as a proxy's.
        return type(error) is DatabricksError or isinstance(
            error, InternalError | TooManyRequests | TemporarilyUnavailable | DeadlineExceeded
        )
    return isinstance(error, OSError)


def has_ended(run: jobs.Run) -> bool:
    """Whether nothing of the job runs any more."""
    return run.state is not None and run.state.life_cycle_state in (
        jobs.RunLifeCycleState.TERMINATING,
        jobs.RunLifeCycleState.TERMINATED,
        jobs.RunLifeCycleState.SKIPPED,
        jobs.RunLifeCycleState.INTERNAL_ERROR,
    )
