"""The watch: a look at runs, deliveries, checks and scores for what somebody should be told of.

What belongs here: finding problems, and finding out that they are over. What does not: who is told when
(`alerts`), and what ticks (`automation.alert_sensor`).

A look costs a few small reads, whatever the history: runs since the last look, the quarantine notes, the rows
of the last days of two tables, and those only when the tables have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
from dagster._core.definitions.freshness import CronFreshnessPolicy
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES, RunRecord

from pipeline_assets.alerts.problems import Kind, Problem
from pipeline_assets.automation.failures import why_failed
from pipeline_assets.automation.jobs import JOB_NAMES
from pipeline_assets.automation.requests import run_range, units_in_flight
from pipeline_assets.checks.completeness import COMPLETENESS
from pipeline_assets.checks.conservation import CONSERVATION
from pipeline_assets.checks.deliveries import DELIVERY_GAPS, REJECT_RATE
from pipeline_assets.escaping import shortened
from pipeline_assets.models.incidents import whole
from pipeline_assets.models.series import SERIES
from pipeline_assets.settings import Settings
from pipeline_assets.storage import control
from pipeline_assets.storage.landing import daily_files
from pipeline_assets.storage.manifests import read_manifest
from pipeline_assets.storage.store import StorageUnavailableError, Store
from pipeline_assets.storage.tables import TableMark, mark, open_table, read_table
from pipeline_assets.storage.units import Unit, is_date

# Runs are looked for again this far back: an event may be stored some seconds after its time.
_OVERLAP_S: Final = 300.0
_MOST_RUNS: Final = 500
# The cause of a failure takes a query of the run's own events.
_EXPLAINED: Final = 20
_USUAL_RUNS: Final = 20
_FORGET_RUN_S: Final = 3 * 86_400.0
_LATE_DAYS: Final = 3
_FORGET_LATE: Final = timedelta(days=14)
# A handful of bad lines in a small file is no news.
_FEWEST_REJECTS: Final = 10

_Ask = Callable[[pl.LazyFrame], list[Problem]]
_Describe = Callable[[pl.LazyFrame, Settings], list[Problem]]


@dataclass(frozen=True)
class Sight:
    """What a look is given: the instance, the storage, the graph, what is open, and the time."""

    instance: dg.DagsterInstance
    store: Store
    settings: Settings
    graph: Any
    open: Mapping[str, Problem]
    looked: float
    now: float

    def of_kind(self, kind: Kind) -> list[Problem]:
        """The problems of a kind that are open."""
        return [problem for problem in self.open.values() if problem.kind == kind]

    @property
    def moment(self) -> datetime:
        """Now, UTC."""
        return datetime.fromtimestamp(self.now, UTC)


@dataclass
class Found:
    """What a look has found: problems, keys that are old news, and parts of the look that failed."""

    problems: list[Problem] = field(default_factory=list)
    expired: set[str] = field(default_factory=set)
    blind: list[str] = field(default_factory=list)


def look_around(sight: Sight) -> Found:
    """Every problem there is now.

    A part of the look that fails is named, and what it had found before stays. Raises
    `StorageUnavailableError` where the storage can't be reached.
    """
    found = Found()
    in_flight = units_in_flight(sight.instance)
    parts: dict[Kind, Callable[[], Iterable[Problem]]] = {
        "run": lambda: failed_runs(sight, found.expired),
        "stuck": lambda: stuck_runs(sight),
        "quarantined": lambda: quarantined_units(sight, in_flight, found.problems),
        "late": lambda: late_deliveries(sight, found.expired),
        "check": lambda: failed_checks(sight, found.problems),
        "rejects": lambda: many_rejects(sight),
        "model": lambda: incidents(sight),
    }
    for kind, part in parts.items():
        try:
            found.problems += part()
        except StorageUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the watch must not be blind to all because of one
            found.blind.append(f"{kind}: {type(error).__name__}")
            found.problems += sight.of_kind(kind)
    return found


def failed_runs(sight: Sight, expired: set[str]) -> list[Problem]:
    """Runs that failed since the last look, however they ended, and those before that nobody has made good.

    A failure is over when a later run of its job over one of its partitions has succeeded and no delivery of
    it is left pending. One that nobody repeats is forgotten after three days (`expired`).
    """
    since = datetime.fromtimestamp(sight.looked - _OVERLAP_S, UTC)
    known = {problem.key: problem for problem in sight.of_kind("run")}
    records = _records(sight, dg.DagsterRunStatus.FAILURE, since)
    problems = dict(known)
    explained = 0
    for record in reversed(records):  # the oldest first: of one key the last failure stands
        run = record.dagster_run
        job, first, last = _run_about(run)
        key = f"run/{job}/{first}/{last}"
        if key in problems and problems[key].run_id == run.run_id:
            continue
        why = "its page says why"
        if explained < _EXPLAINED:
            explained += 1
            why = " ".join(_why(sight.instance, run.run_id).split())
        failed_at = str(record.end_time or record.update_timestamp.timestamp())
        problems[key] = Problem(
            key, "run", f"{_run_name(job, first, last)}: {why}", run.run_id, (job, first, last, failed_at)
        )
    if not problems:
        return []
    oldest = min(float(problem.about[3]) for problem in problems.values())
    since = datetime.fromtimestamp(max(oldest, sight.now - _FORGET_RUN_S) - _OVERLAP_S, UTC)
    made_good = [
        (*_run_about(record.dagster_run), record.end_time or 0.0)
        for record in _records(sight, dg.DagsterRunStatus.SUCCESS, since)
    ]
    pending = set(control.pending_markers(sight.store))
    left = []
    for problem in problems.values():
        job, first, last, failed_at = problem.about
        if sight.now - float(failed_at) > _FORGET_RUN_S:
            expired.add(problem.key)
        elif not _is_made_good(job, first, last, float(failed_at), made_good, pending):
            left.append(problem)
    return left


def stuck_runs(sight: Sight) -> list[Problem]:
    """Runs that wait or run longer than the setting, and thrice as long as the longest of the last twenty."""
    limit = sight.settings.alert_stuck_minutes * 60
    problems = []
    filters = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)
    usual: dict[str, float] = {}
    for record in sight.instance.get_run_records(filters, limit=_MOST_RUNS):
        run = record.dagster_run
        since = record.start_time or record.create_timestamp.timestamp()
        elapsed = sight.now - since
        if elapsed < limit:
            continue
        if record.start_time and run.job_name not in usual:
            usual[run.job_name] = _longest(sight.instance, run.job_name)
        if record.start_time and elapsed < 3 * usual[run.job_name]:
            continue
        doing = "has been running" if record.start_time else "has not started, and waits"
        moment = datetime.fromtimestamp(since, UTC)
        text = f"{_run_name(*_run_about(run))} {doing} since {moment:%Y-%m-%d %H:%M} UTC"
        problems.append(Problem(f"stuck/{run.run_id}", "stuck", text, run.run_id))
    return problems


def quarantined_units(sight: Sight, in_flight: Iterable[Unit], found: Iterable[Problem]) -> list[Problem]:
    """Deliveries with a note that says why they can't be read, and the failed run that found it out.

    Those that a run is at are left to it, so that both are told together.
    """
    runs = [problem for problem in found if problem.kind == "run"]
    busy = set(in_flight)
    open_keys = {problem.key for problem in sight.of_kind("quarantined")}
    problems = []
    for unit, reason in control.all_quarantined(sight.store).items():
        key = f"quarantined/{unit}"
        run_id = next((run.run_id for run in runs if _covers(run, unit)), None)
        if unit not in busy or run_id or key in open_keys:
            problems.append(Problem(key, "quarantined", f"{unit}: {reason}", run_id))
    return problems


def late_deliveries(sight: Sight, expired: set[str]) -> list[Problem]:
    """Daily deliveries that are late, and whatever has a freshness policy that fails."""
    late = late_days(sight, expired)
    return [*late, *stale_assets(sight, told_by_day=bool(late))]


def late_days(sight: Sight, expired: set[str]) -> list[Problem]:
    """Daily deliveries of the last days that are not published though their time has passed.

    One that never comes is forgotten after two weeks (`expired`).
    """
    deadline = sight.settings.daily_deadline
    if deadline is None:
        return []
    local = sight.moment.astimezone(ZoneInfo(sight.settings.schedule_timezone))
    newest = local.date() - timedelta(days=1 if local.time() >= deadline else 2)
    expected = {newest - timedelta(days=back) for back in range(_LATE_DAYS)}
    for problem in sight.of_kind("late"):
        if problem.about and is_date(problem.about[0]):
            day = date.fromisoformat(problem.about[0])
            if newest - day > _FORGET_LATE:
                expired.add(problem.key)
            else:
                expected.add(day)
    by = f"{sight.settings.expect_daily_by} {sight.settings.schedule_timezone}"
    problems = []
    for day in sorted(day for day in expected if day >= sight.settings.start_date):
        unit = Unit("daily", day.isoformat())
        if read_manifest(sight.store, "bronze", unit).value.files:
            continue
        landed = bool(daily_files(sight.store, unit))
        what = "has landed, but is not read" if landed else "nothing has landed"
        text = f"{unit}: {what}; it was expected by {by} on the day after"
        problems.append(Problem(f"late/{unit}", "late", text, about=(unit.key,)))
    return problems


def stale_assets(sight: Sight, *, told_by_day: bool) -> list[Problem]:
    """Assets whose freshness policy fails, as Dagster's daemon has found; one problem for all.

    `told_by_day` leaves out those with a daily deadline: the late days are named already.
    """
    policies = {
        node.key: node.freshness_policy
        for node in sight.graph.asset_nodes
        if node.freshness_policy is not None
        and not (told_by_day and isinstance(node.freshness_policy, CronFreshnessPolicy))
    }
    if not policies:
        return []
    records = sight.instance.get_freshness_state_records(list(policies))
    stale = sorted(
        key.to_user_string() for key, record in records.items() if record.freshness_state.value == "FAIL"
    )
    if not stale:
        return []
    named = ", ".join(stale[:3]) + (f" and {len(stale) - 3} more" if len(stale) > 3 else "")
    text = f"{named}: not made in time (the freshness policy fails)"
    return [Problem("late/freshness", "late", text)]


def failed_checks(sight: Sight, found: Iterable[Problem]) -> list[Problem]:
    """Checks whose last answer was no, but for what quarantined deliveries and rejected lines say already."""
    told = {REJECT_RATE.name}
    if any(problem.kind == "quarantined" for problem in found):
        # A quarantined delivery looks like a missing one, too.
        told |= {CONSERVATION.name, COMPLETENESS.name, DELIVERY_GAPS.name}
    keys = [key for key in sight.graph.asset_check_keys if key.name not in told]
    problems = []
    for key, summary in sight.instance.event_log_storage.get_asset_check_summary_records(keys).items():
        record = summary.last_completed_check_execution_record
        event = record.event.dagster_event if record and record.event else None
        if record is None or event is None:
            continue
        evaluation = event.asset_check_evaluation_data
        if evaluation.passed:
            continue
        name = f"{key.asset_key.to_user_string()} {key.name}"
        grade = "error" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warning"
        text = f"{name} ({grade}): {evaluation.description or 'no description'}"
        problems.append(Problem(f"check/{name}", "check", text, record.run_id))
    return problems


def many_rejects(sight: Sight) -> list[Problem]:
    """Deliveries read in the last days of whose lines more than the setting allows were rejected.

    Small batches of one day are also summed: many small files can be bad together.
    """
    since = sight.moment - timedelta(days=sight.settings.alert_days)
    return _when_changed(
        sight,
        "ledger",
        (since.date(), sight.settings.reject_rate_limit),
        lambda rows: _rejects(rows, since, sight.settings.reject_rate_limit),
    )


def incidents(sight: Sight) -> list[Problem]:
    """What the models say of the last days: one problem for each incident that is not muted."""
    settings = sight.settings
    first = sight.moment.date() - timedelta(days=settings.alert_days)
    problems = []
    for table, describe in MODEL_ALERTS.items():
        about = (first, settings.known_windows, settings.muted)
        problems += _when_changed(sight, table, about, _of_days_since(first, describe, settings))
    return problems


def incident_alerts(rows: pl.LazyFrame, settings: Settings) -> list[Problem]:
    """One problem for each incident that is neither muted nor within a known window."""
    problems = []
    found = whole(rows).collect().sort("started_at", "site", nulls_last=True)
    for row in found.iter_rows(named=True):
        site, start, end = row["site"], row["started_at"], row["ended_at"]
        if settings.expects(site, row["series"], start, end):
            continue
        start_text = f"{start:%Y-%m-%d %H:%M}"
        key = f"model/incidents/{start_text.replace(' ', 'T')}/{(site or 'all sites')[:200]}"
        problems.append(Problem(key, "model", f"{start_text} {site or 'all sites'}: {_incident_text(row)}"))
    return problems


def _incident_text(row: Mapping[str, Any]) -> str:
    series = SERIES[row["series"]]
    usual = f"{series.shown(row['lower'])} to {series.shown(row['upper'])}"
    also = f"; also {', '.join(SERIES[name].what for name in row['also'])}" if row["also"] else ""
    # The first of each kind carries most.
    most = {change["kind"]: change for change in reversed(row["changes"])}
    judged = {client["remote_host"]: client for client in row["clients"] or ()}
    changes = [
        f"{change['kind']} {shortened(change['what'], 80)}: {change['observed']:,.0f},"
        f" usually {change['expected']:,.0f}" + _judgement(judged.get(change["what"]), change["kind"])
        for change in reversed(most.values())
    ]
    inside = f" ({'; '.join(changes)})" if changes else ""
    return (
        f"{row['severity']}, {row['minutes']:,} minutes: {series.what} {series.shown(row['observed'])}"
        f" in the {row['lane']}"
        f" of {row['peak_at']:%H:%M} UTC, usually {usual}{also}{inside}"
    )


def _judgement(client: Mapping[str, Any] | None, kind: str) -> str:
    """What a client is, by its profile, and why."""
    if client is None or kind != "client":
        return ""
    name = f" {shortened(client['name'], 40)}" if client["name"] else ""
    return f", {client['kind']}{name} ({', '.join(client['reasons'])})"


# A table of the models whose rows are worth an alert: what turns its rows of the last days into problems.
MODEL_ALERTS: Final[dict[str, _Describe]] = {"incidents": incident_alerts}

# The last answer for each table, with the version of the table and the arguments that it holds for.
_answers: dict[str, tuple[tuple[TableMark, object], list[Problem]]] = {}


def _when_changed(sight: Sight, table: str, about: object, ask: _Ask) -> list[Problem]:
    handle = open_table(sight.store, table)
    version = (mark(sight.store, table, handle), about)
    if table not in _answers or _answers[table][0] != version:
        _answers[table] = (version, ask(read_table(sight.store, table, handle)))
    return _answers[table][1]


def _of_days_since(first: date, describe: _Describe, settings: Settings) -> _Ask:
    return lambda rows: describe(rows.filter(pl.col("event_date") >= first), settings)


def _rejects(ledger: pl.LazyFrame, since: datetime, limit: float) -> list[Problem]:
    units = (
        ledger.filter(pl.col("path").is_null(), pl.col("recorded_at") >= since)
        .select("unit", "lines", "rejected", "generation", "recorded_at")
        .collect()
        .sort("generation", "recorded_at")
        .unique("unit", keep="last", maintain_order=True)
        .with_columns(day=pl.col("unit").str.extract(r"/(\d{4}-\d{2}-\d{2})"))
    )
    bad = (pl.col("rejected") >= _FEWEST_REJECTS) & (pl.col("rejected") > limit * pl.col("lines"))
    named = units.filter(bad).sort("unit")
    rest = units.join(named, on="unit", how="anti").filter(pl.col("unit").str.starts_with("incremental/"))
    days = rest.group_by("day").agg(pl.col("lines", "rejected").sum(), pl.len().alias("units"))
    problems = [
        Problem(f"rejects/{unit}", "rejects", f"{unit}: {_share(rejected, lines)}")
        for unit, lines, rejected in named.select("unit", "lines", "rejected").iter_rows()
    ]
    for day, lines, rejected, count in days.filter(bad, pl.col("units") > 1).sort("day").iter_rows():
        text = f"{count} batches of {day} together: {_share(rejected, lines)}"
        problems.append(Problem(f"rejects/day/{day}", "rejects", text))
    return problems


def _share(rejected: int, lines: int) -> str:
    return f"{rejected:,} of {lines:,} lines rejected ({rejected / lines:.0%})"


def _records(sight: Sight, status: dg.DagsterRunStatus, since: datetime) -> list[RunRecord]:
    """Runs that came to this status since then, the newest first."""
    filters = dg.RunsFilter(statuses=[status], updated_after=since)
    return list(sight.instance.get_run_records(filters, limit=_MOST_RUNS))


def _run_about(run: dg.DagsterRun) -> tuple[str, str, str]:
    job = "assets by hand" if run.job_name.startswith("__") else run.job_name
    return (job, *run_range(run))


def _run_name(job: str, first: str, last: str) -> str:
    return " ".join([job, f"{first} to {last}" if first != last else first]).strip()


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    entries = instance.all_logs(run_id, of_type=kinds)
    return why_failed(entry.dagster_event for entry in entries if entry.dagster_event)


def _is_made_good(
    job: str,
    first: str,
    last: str,
    failed_at: float,
    successes: Iterable[tuple[str, str, str, float]],
    pending: Iterable[Unit],
) -> bool:
    for by, start, end, ended_at in successes:
        if by == job and ended_at > failed_at and start <= last and first <= end:
            lanes = [lane for lane, name in JOB_NAMES.items() if name == job]
            return not any(unit.lane in lanes and first <= unit.key <= last for unit in pending)
    return False


def _longest(instance: dg.DagsterInstance, job: str) -> float:
    """The longest of the last successful runs of a job, in seconds; 0 without any."""
    filters = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
    records = instance.get_run_records(filters, limit=_USUAL_RUNS)
    return max((r.end_time - r.start_time for r in records if r.end_time and r.start_time), default=0.0)


def _covers(run: Problem, unit: Unit) -> bool:
    job, first, last, _ = run.about
    return job == JOB_NAMES[unit.lane] and first <= unit.key <= last
