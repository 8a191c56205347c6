"""What a run costs, estimated from what it used and from configured prices.

What belongs here: the sum. What does not: measuring (`compute.metering`), and prices: those of your provider,
region and contract are in no program, so without settings nothing is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline_assets.compute.metering import Usage
from pipeline_assets.settings import Settings

_GIGABYTE: Final = 1e9
_HOUR_S: Final = 3600.0
_PRICED_REQUESTS: Final = 10_000.0


@dataclass(frozen=True)
class Prices:
    """Prices in one currency.

    Of an hour of one processor, of a gigabyte (10^9 bytes) for a month, and of ten thousand requests.
    """

    cpu_hour: float = 0.0
    gb_month: float = 0.0
    writes_10k: float = 0.0
    reads_10k: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Prices:
        """The prices of the settings."""
        return cls(
            settings.price_cpu_hour,
            settings.price_gb_month,
            settings.price_writes_10k,
            settings.price_reads_10k,
        )

    @property
    def known(self) -> bool:
        """Whether anything has a price."""
        return any((self.cpu_hour, self.gb_month, self.writes_10k, self.reads_10k))


def estimate(usage: Usage, prices: Prices) -> float | None:
    """What the usage costs; None where no price is known.

    Processor time, what was written kept for one month, and requests: lists are charged as writes, as Azure
    and Amazon do, and deletes are free.
    """
    if not prices.known:
        return None
    requests = usage.requests
    return (
        usage.cpu_seconds / _HOUR_S * prices.cpu_hour
        + requests.bytes_written / _GIGABYTE * prices.gb_month
        + (requests.writes + requests.lists) / _PRICED_REQUESTS * prices.writes_10k
        + requests.reads / _PRICED_REQUESTS * prices.reads_10k
    )
