"""Deliveries so large that their layers come in several parts, played small."""

from __future__ import annotations

import random
import threading
from functools import partial
from pathlib import Path

import pytest

from pipeline_assets.compute import gold, reading, silver
from pipeline_assets.kernel import codes
from pipeline_assets.kernel.parse import FileReader
from pipeline_assets.storage.encoding import Encoder
from pipeline_assets.storage.manifests import read_manifest
from pipeline_assets_tests.compute.three_deliveries import FIRST
from pipeline_assets_tests.test_promises import check_serving, some_lines
from pipeline_assets_tests.world import World


@pytest.mark.parametrize("files", [1, 2])
def test_a_delivery_in_many_parts_is_served_as_in_one(
    files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "FileReader", partial(FileReader, chunk_bytes=1_000))
    monkeypatch.setattr(Encoder, "is_full", property(lambda self: True))
    monkeypatch.setattr(gold, "_GATHERED_BYTES", 0)
    if files > 1:
        monkeypatch.setattr(codes, "MANY_ROWS", 1)
        monkeypatch.setattr(silver, "_PIECE_ROWS", 2)
    world = World(tmp_path / "storage", look_back_days=100_000)
    generator = random.Random(11)
    for file in range(files):
        world.land(f"logs/2024-01-15/{file}.log", some_lines(120, generator))
    world.catch_up()
    parts = read_manifest(world.context.store, "gold", FIRST).value.parts_of("visits")
    assert len(parts) > files
    check_serving(world)


@pytest.mark.parametrize("gathered", [0, 16 << 20])
def test_an_error_in_writing_gold_comes_back_whichever_part_it_is(
    gathered: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "FileReader", partial(FileReader, chunk_bytes=1_000))
    monkeypatch.setattr(Encoder, "is_full", property(lambda self: True))
    monkeypatch.setattr(gold, "_GATHERED_BYTES", gathered)
    world = World(tmp_path / "storage", look_back_days=100_000)
    world.land("logs/2024-01-15/a.log", some_lines(60, random.Random(11)))
    world.catch_up()
    parts = read_manifest(world.context.store, "silver", FIRST).value.parts
    assert len(parts) > 2
    written: list[str] = []
    gold.roll_up_parts(world.context, FIRST, parts, lambda name, rows: written.append(name))
    threads = threading.active_count()

    for broken in (0, len(written) // 2, len(written) - 1):
        again: list[str] = []

        def write(name: str, rows: object, broken: int = broken, again: list[str] = again) -> None:
            if len(again) == broken:
                raise OSError("full")
            again.append(name)

        with pytest.raises(OSError, match="full"):
            gold.roll_up_parts(world.context, FIRST, parts, write)
        assert again == written[:broken]
        assert threading.active_count() == threads
