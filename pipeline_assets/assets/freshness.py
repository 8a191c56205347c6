"""Freshness: by when deliveries are expected, as policies that Dagster's daemon evaluates and the UI shows.

What belongs here: policies from settings. What does not: telling somebody (`automation.watch`). Without the
settings there is no policy: nobody knows when somebody else's logs should come.
"""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from pipeline_assets.settings import Settings

_A_DAY = timedelta(days=1)


def with_freshness(spec: dg.AssetSpec, settings: Settings) -> dg.AssetSpec:
    """The asset, with a policy where the settings expect something of it.

    `publish/daily` and the serving tables: something was published in the 24 hours before each deadline.
    `publish/incremental`: something was published within the hours of the setting.
    """
    path = tuple(spec.key.path)
    policy: dg.FreshnessPolicy | None = None
    deadline = settings.daily_deadline
    if deadline is not None and (path == ("publish", "daily") or path[0] == "serving"):
        policy = dg.FreshnessPolicy.cron(
            deadline_cron=f"{deadline.minute} {deadline.hour} * * *",
            lower_bound_delta=_A_DAY,
            timezone=settings.schedule_timezone,
        )
    if settings.expect_incremental_hours and path == ("publish", "incremental"):
        window = max(timedelta(hours=settings.expect_incremental_hours), timedelta(minutes=1))
        policy = dg.FreshnessPolicy.time_window(fail_window=window)
    return spec.replace_attributes(freshness_policy=policy) if policy else spec
