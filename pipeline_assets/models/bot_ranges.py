"""Addresses of bots that say who they are: whether one that claims a name comes from where its operator says.

What belongs here: reading the ranges that a user puts in place, and asking them. What does not: what is made
of the answer (`clients`). Nothing is fetched: operators publish their ranges, and people decide whom they
believe.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final

import polars as pl

_MOST: Final = 1_000_000
_FORM: Final = '{"Googlebot": {"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}]}}'

# First and last address of each range, in order, by version of the protocol; none overlaps another.
_Ranges = dict[int, tuple[list[int], list[int]]]


@dataclass(frozen=True)
class BotRanges:
    """The ranges of some bots, by the name that `kernel.user_agents` gives them."""

    by_bot: Mapping[str, _Ranges]

    def verified(self, bots: pl.Series, addresses: pl.Series) -> pl.Series:
        """Whether each address is one of the bot beside it; null where no ranges of it are known."""
        asked = pl.DataFrame({"bot": bots, "address": addresses})
        distinct = asked.filter(pl.col("bot").is_in(list(self.by_bot))).unique()
        answers = distinct.with_columns(
            pl.Series("verified", [self._has(*row) for row in distinct.iter_rows()], dtype=pl.Boolean)
        )
        joined = asked.join(answers, on=["bot", "address"], how="left", maintain_order="left")
        return joined["verified"]

    def _has(self, bot: str, address: str) -> bool:
        try:
            asked = ip_address(address)
        except ValueError:
            return False  # a name, or garbage: nobody can tell
        starts, ends = self.by_bot[bot].get(asked.version, ([], []))
        place = bisect_right(starts, int(asked)) - 1
        return place >= 0 and int(asked) <= ends[place]


def read_ranges(text: str) -> BotRanges:
    """The ranges of a JSON object of bots, each with what its operator publishes: `prefixes` in a list.

    Raises `ValueError` that says what is wrong, and where.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({type(error).__name__}); write {_FORM}") from None
    if not isinstance(found, dict):
        raise ValueError(f"not a JSON object; write {_FORM}")
    return BotRanges({bot: _ranges(bot, published) for bot, published in found.items()})


def _ranges(bot: str, published: Any) -> _Ranges:
    prefixes = published.get("prefixes") if isinstance(published, dict) else None
    if not isinstance(prefixes, list) or not 0 < len(prefixes) <= _MOST:
        raise ValueError(f"{bot[:60]!r} has no list of prefixes, of 1 to {_MOST:,}; write {_FORM}")
    spans: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for number, prefix in enumerate(prefixes, 1):
        written = (
            [prefix.get(name) for name in ("ipv4Prefix", "ipv6Prefix")] if isinstance(prefix, dict) else []
        )
        texts = [text for text in written if text is not None]
        try:
            if len(texts) != 1 or not isinstance(texts[0], str):
                raise ValueError
            network = ip_network(texts[0])
        except ValueError:
            raise ValueError(
                f"{bot[:60]!r}, prefix {number}: {str(prefix)[:80]!r} has no range as ipv4Prefix or"
                " ipv6Prefix, such as 192.0.2.0/24"
            ) from None
        spans[network.version].append((int(network.network_address), int(network.broadcast_address)))
    return {version: _joined(found) for version, found in spans.items()}


def _joined(spans: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
