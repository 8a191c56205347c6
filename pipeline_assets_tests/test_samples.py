"""The samples: the same every time, small, and holding what they promise to hold."""

from __future__ import annotations

import gzip
import ipaddress
import re
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from pipeline_assets import samples
from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets_tests import oracle

DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[samples.SampleSummary, Files]:
    root = tmp_path_factory.mktemp("storage")
    return samples.write_samples(FolderStore(root)), read(root)


@pytest.fixture
def files(written: tuple[samples.SampleSummary, Files]) -> Files:
    return written[1]


@pytest.fixture(scope="module")
def serving(written: tuple[samples.SampleSummary, Files]) -> oracle.Serving:
    return oracle.serving(written[1])


def read(root: Path) -> Files:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_same_every_time_and_nothing_left_behind(
    written: tuple[samples.SampleSummary, Files], tmp_path: Path
) -> None:
    summary, files = written
    for _ in range(2):
        assert samples.write_samples(FolderStore(tmp_path)) == summary
        assert read(tmp_path) == files
    assert not [path for path in files if "/." in path]


def test_summary(written: tuple[samples.SampleSummary, Files], serving: oracle.Serving) -> None:
    summary, files = written
    assert summary.files == len(files)
    assert summary.bytes == sum(map(len, files.values())) < 6_000_000
    assert summary.lines == sum(
        oracle.line_counts(oracle.decompressed(stored))[0] for stored in files.values()
    )
    assert 30_000 < summary.lines < 45_000
    days = sorted({row[0] for row in serving.status_daily})
    assert (days[0], days[-1], len(days)) == (summary.first_day, summary.last_day, 22)


def test_a_daily_file_spans_two_days(files: Files) -> None:
    content = files["logs/2024-01-11/access.shop.example.log"]
    days = Counter(re.findall(rb"\[(\d\d/Jan/2024):", content))
    assert set(days) == {b"10/Jan/2024", b"11/Jan/2024"}
    assert min(days.values()) > 50


def test_one_file_is_gzip(files: Files) -> None:
    packed = [path for path in files if path.endswith(".gz")]
    assert packed == ["logs/2024-01-13/access.blog.example.log.gz"]
    assert gzip.decompress(files[packed[0]]).count(b"\n") > 200


def test_late_lines_are_nowhere_else(files: Files) -> None:
    hours = rb"\[12/Jan/2024:1[45]:"
    late = files["logs/2024-01-15/late-2024-01-12.log"]
    assert len(re.findall(hours, late)) == late.count(b"\n") > 50
    assert not re.search(hours, files["logs/2024-01-13/access.shop.example.log"])


def test_incremental_deliveries(files: Files) -> None:
    news = files["logs/incremental/new_data.log"]
    assert set(re.findall(rb"\[(\d\d)/Jan/2024:", news)) == {b"16", b"17"}
    assert b" +0100] " in files["logs/incremental/blog/access.blog.example.log"]
    duplicates = [path for path, status in oracle.statuses(files).items() if status != "counted"]
    assert duplicates == ["logs/incremental/copy-of-blog-monday.log"]


def test_the_surge_stands_out(serving: oracle.Serving) -> None:
    hits: Counter[tuple[date, int]] = Counter()
    for day, hour, site, _status_class, _is_bot, count, _bytes, _visitors in serving.traffic_hourly:
        if site == "shop.example":
            hits[day, hour] += count
    for hour in (13, 14, 15):
        assert hits[date(2024, 1, 17), hour] > 3 * max(hits[date(2024, 1, day), hour] for day in range(1, 17))
    for hour in (12, 16):
        assert hits[date(2024, 1, 17), hour] < 2 * max(hits[date(2024, 1, day), hour] for day in range(1, 17))


def test_garbage_and_hostile_text(files: Files) -> None:
    spoiled = files["logs/2024-01-14/access.shop.example.log"]
    assert not spoiled.endswith(b"\n")
    assert all(line in oracle.lines(spoiled) for line in samples.GARBAGE)
    with pytest.raises(UnicodeDecodeError):
        spoiled.decode()
    assert files["logs/2024-01-14/access.blog.example.log"].count(b"\r\n") == 20

    hostile = files["logs/2024-01-13/access.shop.example.log"]
    for text in (rb'"\x16\x03\x01', rb"\x1b[31m", b"<script>", b"=cmd|'", b"](javascript:", b"A" * 8000):
        assert text in hostile
    assert b"\x1b" not in hostile


def test_only_addresses_and_domains_for_documentation(files: Files) -> None:
    networks = [ipaddress.ip_network(network) for network in DOCUMENTATION]
    text = b"\n".join(map(oracle.decompressed, files.values())).decode("utf-8", "replace")
    for found in set(re.findall(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", text)):
        assert any(ipaddress.ip_address(found) in network for network in networks), found
    for host in set(re.findall(r"https?://([^/:\"\s)]+)", text)):
        assert host.endswith(".example") or host == "192.0.2.250", host
