"""Manifests: what is written is what is read, generations follow each other, and contributions are exact.

What belongs here: the manifest's content and JSON. What does not: how its parts come about.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.manifests import (
    MANIFEST_NAME,
    DayState,
    FileRecord,
    Manifest,
    Part,
    contribution,
    digest,
    layer_folder,
    new_attempt,
    read_day,
    read_manifest,
    swap_day,
    swap_manifest,
)
from pipeline_assets.storage.store import SwapConflictError
from pipeline_assets.storage.units import Unit

UNIT = Unit("daily", "2024-01-15")
DAY = date(2024, 1, 15)


def record(path: str = "logs/2024-01-15/a.log", **changes: object) -> FileRecord:
    made = FileRecord(
        path=path,
        etag="e1",
        size=10,
        digest="ab" * 32,
        head="line-1",
        attempt="first",
        kernel="1",
        config="c",
        bytes=10,
        lines=2,
        parsed=1,
        continuation=0,
        rejected=0,
        blank=1,
        comment=0,
        first_event="2024-01-15T00:00:00+00:00",
        last_event=None,
        request_days={"2024-01-15": 1},
        error_days={},
        begins_with={"cd" * 32: True},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


PATHS = [f"logs/2024-01-15/{name}.log" for name in "abc"]


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    texts = st.text(max_size=8)
    files = [
        record(
            path,
            digest=draw(texts),
            attempt=draw(texts),
            status=draw(st.sampled_from(("counted", "duplicate", "superseded", "forgotten"))),
            damaged=draw(st.booleans()),
            last_event=draw(st.none() | texts),
        )
        for path in draw(st.sets(st.sampled_from(PATHS)))
    ]
    parts = draw(st.lists(st.builds(Part, texts, texts, texts, st.integers(0), st.integers(0)), max_size=3))
    days = draw(st.lists(st.dates().map(date.isoformat), max_size=3))
    removed = draw(st.lists(texts, max_size=2))
    lists = (tuple(days), tuple(removed), tuple(removed))
    made = Manifest(str(UNIT), "bronze", 0, "1", "c", "in", (), tuple(parts), *lists)
    return made.with_files(files)


@given(manifests())
def test_a_manifest_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, manifest: Manifest
) -> None:
    store = FolderStore(tmp_path_factory.mktemp("storage"))
    written = swap_manifest(store, UNIT, manifest, None)
    assert read_manifest(store, "bronze", UNIT).value == written == replace(manifest, generation=1)


def test_a_manifest_of_before_names_the_digest_by_its_kind(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    known = record(begins_with={"cd" * 32: True})
    written = swap_manifest(store, UNIT, Manifest(str(UNIT), "bronze").with_files([known]), None)
    path = f"{layer_folder('bronze', UNIT)}/{MANIFEST_NAME}"
    found = store.read(path)
    assert found is not None
    store.swap(path, found.data.replace(b'"digest"', b'"sha256"'), found.etag)
    named = replace(known, digest=f"sha256:{'ab' * 32}", begins_with={f"sha256:{'cd' * 32}": True})
    assert read_manifest(store, "bronze", UNIT).value == replace(written, files=(named,))


def test_where_nothing_was_written_there_is_an_empty_manifest_of_no_version(tmp_path: Path) -> None:
    stored = read_manifest(FolderStore(tmp_path), "gold", UNIT)
    assert (stored.value, stored.etag) == (Manifest(str(UNIT), "gold"), None)


def test_generations_follow_each_other_and_an_older_view_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    swap_manifest(store, UNIT, Manifest(str(UNIT), "bronze"), None)
    old = read_manifest(store, "bronze", UNIT)
    swap_manifest(store, UNIT, old.value.with_files([record()]), old.etag)
    with pytest.raises(SwapConflictError):
        swap_manifest(store, UNIT, old.value, old.etag)
    assert read_manifest(store, "bronze", UNIT).value.generation == 2


def test_a_day_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    parts = (Part("traffic", "t.parquet", "a", 3, 4),)
    state = DayState(
        "2024-01-15", "1", {str(UNIT): "x"}, parts, 7, {str(UNIT): {"a": ["logs/2024-01-15/a.log"]}}, parts
    )
    swap_day(store, state, None)
    stored = read_day(store, "2024-01-15", "another kernel")
    assert stored.value == state
    assert stored.value.digest == state.digest
    with pytest.raises(SwapConflictError):
        swap_day(store, state, None)


def test_the_digest_of_a_day_is_that_of_what_is_folded_in() -> None:
    state = DayState("2024-01-15", "1", {"daily/a": "x", "daily/b": "y"})
    assert state.digest == DayState("2024-01-15", "1", {"daily/b": "y", "daily/a": "x"}, hits=3).digest
    assert state.digest != replace(state, units={"daily/a": "x"}).digest
    assert state.digest != replace(state, units={"daily/a": "y", "daily/b": "x"}).digest
    assert state.digest != replace(state, kernel="2").digest


@given(st.lists(st.text(max_size=4)), st.lists(st.text(max_size=4)))
def test_digests_tell_lists_apart(one: list[str], other: list[str]) -> None:
    if "\x1f" not in "".join(one + other) and {"\x1f".join(one), "\x1f".join(other)} != {""}:
        assert (digest(one) == digest(other)) == (one == other)


def test_attempts_never_share_a_name() -> None:
    assert len({new_attempt() for _ in range(2000)}) == 2000


@pytest.mark.parametrize("fate", ["lines", "parsed", "continuation", "rejected", "blank", "comment"])
def test_a_line_too_many_or_too_few_anywhere_is_seen(fate: str) -> None:
    assert record().conserved
    assert not replace(record(), **{fate: getattr(record(), fate) + 1}).conserved


def gold_and_bronze(status_in_bronze: str, attempt_in_bronze: str) -> tuple[Manifest, Manifest]:
    gold = Manifest(str(UNIT), "gold").with_files([record()])
    bronze = Manifest(str(UNIT), "bronze").with_files(
        [record(status=status_in_bronze, attempt=attempt_in_bronze)]
    )
    return gold, bronze


def test_bronze_says_whether_a_file_counts() -> None:
    key, live = contribution(*gold_and_bronze("counted", "first"), DAY)
    assert key is not None
    assert live == {"first": {record().path}}
    assert contribution(*gold_and_bronze("duplicate", "first"), DAY) == (None, {})
    assert contribution(*gold_and_bronze("forgotten", "first"), DAY) == (None, {})


def test_where_bronze_is_ahead_golds_own_view_holds() -> None:
    assert contribution(*gold_and_bronze("duplicate", "second"), DAY) == contribution(
        *gold_and_bronze("counted", "first"), DAY
    )


def test_a_unit_gives_nothing_to_a_day_it_has_no_request_on() -> None:
    assert contribution(*gold_and_bronze("counted", "first"), date(2024, 1, 16)) == (None, {})


def test_a_contribution_changes_with_the_files_that_count_and_with_their_attempts() -> None:
    def key(*files: FileRecord) -> str | None:
        manifest = Manifest(str(UNIT), "gold").with_files(files)
        return contribution(manifest, replace(manifest, layer="bronze"), DAY)[0]

    a, b = record(PATHS[0]), record(PATHS[1])
    keys = [
        key(a),
        key(b),
        key(a, b),
        key(replace(a, attempt="second")),
        key(a, replace(b, attempt="second")),
    ]
    assert len(set(keys)) == len(keys)
    assert key(a, replace(b, status="duplicate")) == key(a)
