"""What is known of landed files, while a process lives and the storage changes under it.

What belongs here: the answers of the ledger. What does not: its rows (`compute`), and what asking costs
(`test_history`).
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from pipeline_assets.storage import ledger
from pipeline_assets_tests.world import World

LINE = b'192.0.2.1 - - [15/Jan/2024:01:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'


@pytest.mark.parametrize("since", [None, date(2024, 1, 1)])
@pytest.mark.parametrize("more", [0, 1], ids=["older", "as old"])
def test_a_storage_that_is_put_back_from_a_copy_knows_what_the_copy_knew(
    tmp_path: Path, since: date | None, more: int
) -> None:
    """Also where it has as many versions again as it had, with other content."""
    world = World(tmp_path / "storage")
    world.land("logs/2024-01-15/first.log", LINE)
    world.catch_up()
    shutil.copytree(world.root, tmp_path / "copy")
    world.land("logs/2024-01-15/second.log", LINE * 2)
    world.catch_up()
    store = world.context.store
    assert ledger.known_files(store, since=since).keys() == {
        "logs/2024-01-15/first.log",
        "logs/2024-01-15/second.log",
    }
    shutil.rmtree(world.root)
    (tmp_path / "copy").rename(world.root)
    for number in range(more):
        world.land(f"logs/2024-01-15/other{number}.log", LINE * 3)
        world.catch_up()
    assert "logs/2024-01-15/second.log" not in ledger.known_files(store, since=since)
