"""Addresses of bots: which claims hold, and a file of ranges that is none.

What belongs here: reading ranges and asking them, and what a profile makes of it. What does not: what a user agent
says of itself (`kernel.test_user_agents`).
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.models.bot_ranges import BotRanges, read_ranges
from pipeline_assets.settings import Settings
from pipeline_assets.storage.tables import read_table
from pipeline_assets_tests.models.test_clients import FIREFOX, GOOGLEBOT, profiles, requests
from pipeline_assets_tests.world import World

RANGES = """{"Googlebot": {"creationTime": "2024-01-01", "prefixes": [
  {"ipv4Prefix": "192.0.2.0/25"}, {"ipv4Prefix": "192.0.2.64/26"}, {"ipv6Prefix": "2001:db8::/48"}]}}"""


def verified(ranges: BotRanges, *asked: tuple[str | None, str]) -> list[bool | None]:
    bots, addresses = zip(*asked, strict=True)
    return ranges.verified(pl.Series(bots, dtype=pl.String), pl.Series(addresses)).to_list()


def test_an_address_is_one_of_the_bot_or_not_and_of_other_bots_nobody_knows() -> None:
    found = verified(
        read_ranges(RANGES),
        ("Googlebot", "192.0.2.127"),
        ("Googlebot", "192.0.2.128"),
        ("Googlebot", "2001:db8::1"),
        ("Googlebot", "2001:db9::1"),
        ("Googlebot", "crawl.example"),
        ("bingbot", "192.0.2.1"),
        (None, "192.0.2.1"),
    )
    assert found == [True, False, True, False, False, None, None]


networks = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(20, 32)), min_size=1, max_size=20)


@given(networks, st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_ranges_answer_as_a_look_at_each_of_them_does(found: list[tuple[int, int]], asked: list[int]) -> None:
    some = [ip_network((address, length), strict=False) for address, length in found]
    text = ", ".join(f'{{"ipv4Prefix": "{network}"}}' for network in some)
    ranges = read_ranges(f'{{"b": {{"prefixes": [{text}]}}}}')
    addresses = [ip_address(number) for number in [*asked, *(address for address, _ in found)]]
    wanted = [any(address in network for network in some) for address in addresses]
    assert verified(ranges, *(("b", str(address)) for address in addresses)) == wanted


def test_who_claims_a_name_from_elsewhere_is_no_such_bot() -> None:
    ranges = read_ranges(RANGES)
    clients = [requests(host, ["/"], GOOGLEBOT) for host in ("192.0.2.1", "198.51.100.1")]
    rows = profiles(*clients, requests("192.0.2.2", ["/"], FIREFOX), known_bots=ranges)
    assert {host: (row["kind"], row["verified"]) for host, row in rows.items()} == {
        "192.0.2.1": ("bot", True),
        "198.51.100.1": ("tool", False),
        "192.0.2.2": ("human", None),
    }
    assert "it claims to be a bot that has other addresses" in rows["198.51.100.1"]["reasons"]
    assert profiles(*clients)["198.51.100.1"]["verified"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ('{"b": []}', "'b' has no list of prefixes"),
        ('{"b": {"prefixes": []}}', "'b' has no list of prefixes"),
        ('{"b": {"prefixes": [1]}}', "'b', prefix 1"),
        ('{"b": {"prefixes": [{"ipv4Prefix": 7}]}}', "'b', prefix 1"),
        ('{"b": {"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}, {"ipv4Prefix": "no"}]}}', "'b', prefix 2"),
    ],
)
def test_what_is_no_file_of_ranges_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")) as error:
        read_ranges(text)
    assert len(str(error.value)) < 300


def test_the_setting_takes_a_file_or_its_text(tmp_path: Path) -> None:
    path = tmp_path / "bots.json"
    path.write_text(RANGES)
    assert Settings(bot_ranges=str(path)).known_bots == Settings(bot_ranges=RANGES).known_bots
    assert Settings().known_bots is None
    with pytest.raises(ValueError, match="can't be read"):
        Settings(bot_ranges=str(tmp_path / "none.json"))


def test_published_days_are_written_anew_once_when_the_ranges_change(tmp_path: Path) -> None:
    line = f'198.51.100.1 - - [15/Jan/2024:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "{GOOGLEBOT}"\n'

    def kinds(**settings: Any) -> list[tuple[str, bool | None]]:
        world = World(tmp_path / "storage", look_back_days=100_000, **settings)
        if not settings:
            world.land("logs/2024-01-15/access.log", line.encode())
        assert world.catch_up() == 1
        assert world.catch_up() == 0
        columns = read_table(world.context.store, "client_profiles").select("kind", "verified")
        return columns.collect().rows()

    assert kinds() == [("bot", None)]
    assert kinds(bot_ranges=RANGES) == [("tool", False)]
