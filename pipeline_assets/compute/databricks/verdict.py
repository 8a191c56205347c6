"""What an ended job means: done, to be sent again, or failed, and why.

What belongs here: judging, as a pure function. What does not: waiting for the end (`workspace`), and sending
again (`engine`).

States and codes are those of https://docs.databricks.com/api/azure/workspace/jobs/getrun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from databricks.sdk.service import jobs

from pipeline_assets.compute.job_spec import JobFailure

_Code = jobs.TerminationCodeCode
# What happened to the job and not in it: the next one may have better luck.
_LOST: Final = frozenset(
    {
        _Code.CLOUD_FAILURE,
        _Code.CLUSTER_ERROR,
        _Code.CLUSTER_REQUEST_LIMIT_EXCEEDED,
        _Code.DRIVER_ERROR,
        _Code.INTERNAL_ERROR,
        _Code.MAX_CONCURRENT_RUNS_EXCEEDED,
        _Code.MAX_SPARK_CONTEXTS_EXCEEDED,
        _Code.WORKSPACE_RUN_LIMIT_EXCEEDED,
    }
)
_LOST_TYPES: Final = (jobs.TerminationTypeType.CLOUD_FAILURE, jobs.TerminationTypeType.INTERNAL_ERROR)


@dataclass(frozen=True)
class Verdict:
    """`lost`: the machines went away, so the same request may do now. `reason` is empty where it is done."""

    fate: Literal["done", "lost", "failed"]
    reason: str = ""


def judge(run: jobs.Run, failure: JobFailure | None, *, opened: bool, closed: bool) -> Verdict:
    """What the end of a job means.

    `failure` is what the job said of it, if it did; `opened` and `closed` whether it said that it begins and
    that it ends.
    """
    state = run.state or jobs.RunState()
    details = (run.status.termination_details if run.status else None) or jobs.TerminationDetails()
    said = state.state_message or details.message or "no reason is given"
    if state.result_state == jobs.RunResultState.SUCCESS:
        return Verdict("done")
    if failure is not None:
        return Verdict("lost" if failure.lost else "failed", failure.reason)
    if state.result_state == jobs.RunResultState.TIMEDOUT:
        return Verdict("failed", f"it ran longer than PIPELINE_DATABRICKS_TIMEOUT_SECONDS allows: {said}")
    if state.result_state == jobs.RunResultState.CANCELED:
        return Verdict("failed", f"it was cancelled in the workspace: {said}")
    if _went_away(state, details):
        return Verdict("lost", said)
    if opened and not closed and details.code in (None, _Code.RUN_EXECUTION_ERROR):
        # A Python that fails says so before it ends. This one was ended: killed, out of memory, or cut off.
        return Verdict("lost", f"its process ended without a word: {said}")
    if not opened:
        return Verdict(
            "failed", f"it never began to speak; is the wheel there, and may it read the storage? {said}"
        )
    return Verdict("failed", said)


def _went_away(state: jobs.RunState, details: jobs.TerminationDetails) -> bool:
    if details.code is None and details.type is None:
        return state.life_cycle_state == jobs.RunLifeCycleState.INTERNAL_ERROR or (
            state.result_state == jobs.RunResultState.MAXIMUM_CONCURRENT_RUNS_REACHED
        )
    return details.code in _LOST or details.type in _LOST_TYPES
