"""What is worked on in shards is what it is in one piece, and each row is in one of them."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

from pipeline_assets.compute import sharding
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.projecting import Projecting
from pipeline_assets.compute.sharding import Pieces, Spill, in_shards
from pipeline_assets.kernel import projections
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.models import clients
from pipeline_assets.settings import Settings
from pipeline_assets_tests.kernel.rolling import merge, roll_up, silver_of

Tables = dict[str, list[tuple[Any, ...]]]
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "curl/8.5",
    "Googlebot/2.1",
    "-",
)


def access_log(seed: int, lines: int) -> bytes:
    """A log of two days: more paths, clients and pages than a table keeps, few of them often asked for."""
    draw = random.Random(seed)
    return b"".join(
        b'192.0.2.%d - - [%02d/Jan/2024:%02d:%02d:00 +0%d00] "GET /%d HTTP/1.1" %d %d "%s" "%s"\n'
        % (
            draw.randrange(40),
            draw.choice((15, 16)),
            draw.randrange(24),
            draw.randrange(60),
            draw.choice((0, 2)),
            min(draw.randrange(60), draw.randrange(60)),
            draw.choice((200, 200, 200, 301, 404, 503)),
            draw.randrange(10_000),
            draw.choice((b"-", b"https://www.example.org/%d" % draw.randrange(9))),
            draw.choice(AGENTS).encode(),
        )
        for _ in range(lines)
    )


def error_log(seed: int, lines: int) -> bytes:
    draw = random.Random(seed)
    return b"".join(
        b"2024/01/15 %02d:00:00 [%s] 7#7: *1 %s\n"
        % (
            draw.randrange(24),
            draw.choice((b"error", b"warn")),
            draw.choice((b"a b", b"c d", b"e f")) * draw.randrange(1, 6),
        )
        for _ in range(lines)
    )


def pieces_of(seed: int) -> list[tuple[str, pl.DataFrame]]:
    """Rollups of two sites, each of two deliveries that have days, clients and paths in common."""
    files = {
        f"logs/2024-01-{day}/{kind}.{site}.example.log": log(seed + number, lines)
        for number, (day, kind, site, log, lines) in enumerate(
            (day, kind, site, log, lines)
            for day in (15, 16)
            for site in "ab"
            for kind, log, lines in (("access", access_log, 150), ("error", error_log, 30))
        )
    }
    rolled = [roll_up(silver_of(path, content)) for path, content in files.items()]
    return [piece for rollups in rolled for piece in rollups.items()]


def shown(shards: list[Pieces]) -> Tables:
    """All tables that days say by themselves, and the series by hour."""
    with Projecting(Context.of(Settings())) as projecting:
        projecting.add_all(shards)
        found = {
            name: rows.rows()
            if isinstance(rows, pl.DataFrame)
            else [row for frame in rows for row in frame.rows()]
            for name, rows in projecting.tables()
        }
        found["by hour"] = sorted(projecting.hourly_values().rows(), key=repr)
    # Visits are written as they come.
    found["visits_daily"].sort(key=repr)
    return found


@pytest.fixture(params=[None, 3])
def few_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables with all rows, and with so few that most are left out."""
    if request.param:
        monkeypatch.setattr(projections, "ROW_LIMIT", request.param)
        monkeypatch.setattr(clients, "ROW_LIMIT", request.param)


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize(("seed", "texts"), [(0, 4 << 20), (1, 200), (2, 0)])
def test_tables_of_shards_are_those_of_the_whole(
    seed: int, texts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All texts are coded, or those of the first rows, or hardly any."""
    monkeypatch.setattr(sharding, "_TEXTS_BYTES", texts)
    pieces = pieces_of(seed)
    rows = sum(frame.height for _, frame in pieces)
    by_name = merge(
        *({**{name: ROLLUPS[name].no_day for name in ROLLUPS}, name: frame} for name, frame in pieces)
    )
    whole = shown([{name: [frame] for name, frame in by_name.items()}])
    monkeypatch.setattr(sharding, "ROWS_TOGETHER", rows // 5)
    with in_shards(iter(pieces), rows) as shards:
        cut = [
            {name: [ROLLUPS[name].merge_day(frames)] for name, frames in shard.pieces().items()}
            for shard in list(shards)
        ]
    assert len(cut) > 4
    assert sum(frame.height for shard in cut for (frame,) in shard.values()) == sum(
        frame.height for frame in by_name.values()
    )
    again = shown(cut)
    assert {name: again[name] for name in whole} == whole
    assert whole["client_profiles"]
    assert whole["errors_daily"]


def test_few_rows_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file() -> None:
        raise AssertionError("few rows need no disk")

    monkeypatch.setattr(sharding, "Spill", no_file)
    pieces = pieces_of(0)
    with in_shards(iter(pieces), 10**9) as shards:
        (only,) = shards
        assert only.of == 1
        assert {name: len(frames) for name, frames in only.pieces().items()} == dict.fromkeys(ROLLUPS, 8)


@pytest.mark.parametrize("texts", [4 << 20, 0])
def test_rows_of_one_piece_alone_are_known_as_such(texts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one are merged already, and those of several must not be taken for them."""
    monkeypatch.setattr(sharding, "_TEXTS_BYTES", texts)
    monkeypatch.setattr(sharding, "ROWS_TOGETHER", 3)
    hosts = [["a", "b", None], ["b", "c"], ["c"], [], ["d", "d"]]
    frames = [
        pl.DataFrame({"remote_host": some, "piece": number}, {"remote_host": pl.String, "piece": pl.Int64})
        for number, some in enumerate(hosts)
    ]
    with in_shards((("visits", frame) for frame in frames), 8) as shards:
        found = [shard.pieces()["visits"] for shard in shards]
    rows = [row for shard in found for frame in shard for row in frame.rows()]
    assert sorted(rows, key=repr) == sorted((row for frame in frames for row in frame.rows()), key=repr)
    for shard in found:
        assert 0 not in {frame.height for frame in shard}
        pieces = {piece for frame in shard for piece in frame["piece"]}
        assert min(2, len(pieces)) <= len(shard) <= len(pieces)


def test_frames_wait_in_their_order() -> None:
    frames = [pl.DataFrame({"text": [f"{number}"] * number}) for number in range(1, 4)]
    with Spill() as spill:
        for number, frame in enumerate(frames):
            spill.add(number % 2, frame)
        assert [frame.rows() for frame in spill.frames(0)] == [frames[0].rows(), frames[2].rows()]
        assert [frame.rows() for frame in spill.frames(1)] == [frames[1].rows()]
        assert list(spill.frames(2)) == []


def test_bytes_wait_behind_those_of_their_key() -> None:
    with Spill() as spill:
        spill.put_each("abc", memoryview(b"112333"), [2, 1, 3])
        spill.put_each("abc", memoryview(b"4455"), [2, 0, 2])
        assert [bytes(spill.joined(key)) for key in "abcd"] == [b"1144", b"2", b"33355", b""]
        assert [spill.sizes(key) for key in "abcd"] == [[2, 2], [1], [3, 2], []]
