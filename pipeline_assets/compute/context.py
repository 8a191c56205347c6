"""What every computation is given: the storage, and how lines are to be read.

What belongs here: the handful of values that stay the same through a run. What does not: where they come
from (`settings`), and what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets.kernel.user_agents import data_version
from pipeline_assets.models.bot_ranges import BotRanges
from pipeline_assets.settings import Settings
from pipeline_assets.storage.manifests import digest
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import Store


@dataclass(frozen=True)
class Context:
    """The storage, the options of the reader, and the digest of what else decides a row."""

    store: Store
    options: ReadOptions
    config: str
    anomaly_threshold: float
    known_bots: BotRanges | None = None
    known_bots_digest: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Context:
        """The context that the settings describe. Creates the storage where it is missing."""
        options = ReadOptions(
            timezone=settings.timezone,
            site=settings.site or None,
            earliest=settings.start_date,
            latest=settings.end_date,
            formats=settings.own_formats,
            accelerate=settings.accelerator,
        )
        # What a user agent is depends on the libraries' data as a time depends on the configured zone.
        config = digest([settings.config_digest, data_version()])
        ranges = digest([settings.bot_ranges]) if settings.bot_ranges else ""
        store = open_store(settings)
        return cls(store, options, config, settings.anomaly_threshold, settings.known_bots, ranges)
