"""Why a run failed, in one line, and whether somebody ended it.

What belongs here: finding the cause among a run's events. What does not: what is done about it.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from dagster._core.events import JobFailureData


def was_interrupted(events: Iterable[dg.DagsterEvent]) -> bool:
    """Whether somebody ended the run's process, from the keyboard or by a signal."""
    return any(_error_of(event) == dg.DagsterExecutionInterruptedError.__name__ for event in events)


def _error_of(event: dg.DagsterEvent) -> str | None:
    """The class of the error that ended a step or a run."""
    if event.is_step_failure:
        error = event.step_failure_data.error
    else:
        ended = event.event_specific_data
        error = ended.error if isinstance(ended, JobFailureData) else None
    return error.cls_name if error is not None else None


def why_failed(events: Iterable[dg.DagsterEvent]) -> str:
    """The innermost error of the first step that failed, or of the run."""
    for event in events:
        error = None
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error
        elif event.is_job_event and event.is_failure:
            ended = event.event_specific_data
            error = ended.error if isinstance(ended, JobFailureData) else None
            if error is None and event.message:  # as of a run whose process is gone
                return event.message
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return error.message.strip()
    return "no step failed; its log in the UI says more"
