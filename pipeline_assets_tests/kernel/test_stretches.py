"""Stretches of a file, read apart, give what the file gives when it is read through."""

from __future__ import annotations

import gzip
import io
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.kernel import detection, parse
from pipeline_assets.kernel.file_facts import joined
from pipeline_assets.kernel.lines import CHUNK_BYTES
from pipeline_assets.kernel.own_formats import compile_formats
from pipeline_assets.kernel.parse import ReadOptions
from pipeline_assets.kernel.stretches import FileScan, Stretch, read_beginning, scan_file
from pipeline_assets_tests.kernel.rebuild import ANY_TIME, Bronze, read
from pipeline_assets_tests.kernel.test_parse import _FILES

NAME = "logs/x/any.log"
REQUEST = b'192.0.2.1 - - [15/Jan/2024:10:00:00 +0000] "GET /%d HTTP/1.1" 200 100 "-" "Firefox"'
COMMON = b'192.0.2.1 - - [15/Jan/2024:10:00:00 +0000] "GET /%d HTTP/1.1" 200 12'
ERROR = b"2024/01/15 10:00:00 [error] 7#8: *%d upstream timed out"
# Each of these means something else by what stands before it, behind it, or first in its file.
LINES = st.sampled_from(
    [
        *(REQUEST % 1, COMMON % 2, ERROR % 3),
        *(b"  at frame", b"#0 {main}", b"nonsense", b"", b"# comment", b"\xef\xbb\xbf"),
        *(
            b"#Fields: date time c-ip cs-method cs-uri-stem sc-status",
            b"#Fields: sc-status date time c-ip cs-uri-stem",
        ),
        *(
            b"2024-01-15 10:00:00 GET /w 200",
            b"200 2024-01-15 10:00:00 /w",
            b"x" * 300,
            b"\0\0" + REQUEST % 4,
        ),
        b"own 2024-01-15T10:00:00Z 192.0.2.9",
    ]
)
COMPOSED = st.builds(
    lambda lines, end: b"\n".join(lines) + end, st.lists(LINES, max_size=30), st.sampled_from([b"", b"\n"])
)


@pytest.fixture(autouse=True)
def _small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "SAMPLE_LINES", 3)
    monkeypatch.setattr(parse, "SAMPLE_LINES", 3)


def scanned(content: bytes, options: ReadOptions, stretch_bytes: int) -> FileScan:
    beginning = read_beginning(io.BytesIO(content), NAME, options)
    scan = scan_file(io.BytesIO(content), beginning, options, stretch_bytes=stretch_bytes)
    assert scan is not None
    return scan


def read_apart(
    content: bytes, options: ReadOptions, stretch_bytes: int, chunk_bytes: int = CHUNK_BYTES
) -> Bronze:
    scan = scanned(content, options, stretch_bytes)
    found: dict[str, list[dict[str, Any]]] = {"requests": [], "errors": [], "rejected": []}
    facts = []
    formats: dict[str, tuple[int, int]] = {}
    for start, end in zip(scan.starts, scan.ends, strict=True):
        stream = io.BytesIO(content)
        stream.seek(start.offset)
        stretch: Any = Stretch(stream, end - start.offset)
        last = end == scan.bytes and not scan.is_terminated
        bronze = read(
            stretch,
            options,
            NAME,
            start=replace(start, formats=formats if last else {}),
            chunk_bytes=chunk_bytes,
        )
        for table, rows in found.items():
            rows += getattr(bronze, table)
        facts.append(bronze.facts)
        firsts: dict[str, int] = {}
        for row in (*bronze.requests, *bronze.errors):
            firsts[row["format"]] = min(row["line_number"], firsts.get(row["format"], row["line_number"]))
        for name, line in firsts.items():
            count, first = formats.get(name, (0, line))
            formats[name] = (count + bronze.facts.formats[name], min(first, line))
    # Of a chunk, rows that are read quickly may come before lines in front of them.
    for rows in found.values():
        rows.sort(key=lambda row: int(row["line_number"]))
    return Bronze(**found, facts=joined(facts, scan.digest))


@settings(deadline=None, max_examples=150)
@given(COMPOSED, st.integers(1, 400), st.sampled_from([7, 100, 1 << 20]))
def test_a_file_of_lines_that_lean_on_each_other(
    content: bytes, stretch_bytes: int, chunk_bytes: int
) -> None:
    options = replace(ANY_TIME, formats=compile_formats('{"own": "own %{%Y-%m-%dT%H:%M:%SZ}t %h"}'))
    assert read_apart(content, options, stretch_bytes, chunk_bytes=chunk_bytes) == read(
        content, options, NAME
    )


@settings(deadline=None, max_examples=50)
@given(_FILES, st.integers(1, 400))
def test_any_file(content: bytes, stretch_bytes: int) -> None:
    assert read_apart(content, ANY_TIME, stretch_bytes) == read(content, name=NAME)


def test_stretches_are_about_as_long_as_was_asked() -> None:
    content = b"".join(REQUEST % number + b"\n" for number in range(1000))
    scan = scanned(content, ANY_TIME, 10_000)
    lengths = [end - start.offset for start, end in zip(scan.starts, scan.ends, strict=True)]
    assert sum(lengths) == len(content) and len(lengths) == len(content) // 10_000 + 1
    assert all(10_000 <= length < 10_200 for length in lengths[:-1])


def test_an_entry_of_many_lines_is_not_cut() -> None:
    content = ERROR % 1 + b"\n" + b"  at frame\n" * 150 + (REQUEST % 1 + b"\n") * 100
    scan = scanned(content, ANY_TIME, 1000)
    assert [start.lines_before for start in scan.starts[:2]] == [0, 151]


def test_a_compressed_file_has_no_stretches() -> None:
    beginning = read_beginning(io.BytesIO(b""), NAME, ANY_TIME)
    assert scan_file(io.BytesIO(gzip.compress(b"x\n")), beginning, ANY_TIME, stretch_bytes=1) is None


def test_a_cut_last_line_is_judged_by_the_whole_file() -> None:
    content = (REQUEST % 1 + b"\n") * 20 + COMMON % 2
    bronze = read_apart(content, ANY_TIME, 100)
    assert Counter(bronze.reasons) == {"truncated": 1}
    assert bronze == read(content, name=NAME)


def test_a_stretch_knows_the_fields_that_were_named_before_it() -> None:
    rows = [b"2024-01-15 10:00:00 192.0.2.3 GET /%d 200" % number for number in range(50)]
    others = [b"200 2024-01-15 10:00:00 192.0.2.3 /%d" % number for number in range(50)]
    named = b"#Fields: date time c-ip cs-method cs-uri-stem sc-status"
    renamed = b"#Fields: sc-status date time c-ip cs-uri-stem"
    content = b"\n".join([named, *rows, renamed, *others, b""])
    bronze = read_apart(content, ANY_TIME, 500)
    assert bronze.facts.formats == {"w3c": 100}
    assert bronze == read(content, name=NAME)
