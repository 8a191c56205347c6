"""Compiled code reads large logs, and nobody notices but for the time.

What belongs here: when it is used, what happens where it can't be, and its memory. What does not: the rows
of lines of all kinds (`test_combined_lines`).
"""

from __future__ import annotations

import importlib.util
import io
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Never

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.compute.bronze import refresh_bronze
from pipeline_assets.compute.context import Context
from pipeline_assets.kernel import (
    accelerator,
    byte_scan,
    log_times,
    machine_code,
    parse,
    scan_layout,
    scanned_lines,
)
from pipeline_assets.kernel.combined_lines import CombinedReader, Given
from pipeline_assets.kernel.decompress import open_decompressed
from pipeline_assets.kernel.lines import CHUNK_BYTES, DIRECTIVE, FRAME_LINES, PADDING_BYTES, LineReader, Scan
from pipeline_assets.kernel.machine_code import address
from pipeline_assets.kernel.parse import FileReader
from pipeline_assets.kernel.scan_layout import METHODS, PROTOCOLS
from pipeline_assets.kernel.scanned_lines import ScannedReader
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS
from pipeline_assets.settings import Settings
from pipeline_assets.storage.encoding import Encoder
from pipeline_assets.storage.units import Unit
from pipeline_assets_tests.kernel.rebuild import ANY_TIME, access_line, joined
from pipeline_assets_tests.kernel.test_combined_lines import CLOCKS, ZONES, assert_same, taken

ANYTHING = Given(datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), "default", "x")
LARGE = accelerator.COMPILES_FROM_BYTES
SMALL = accelerator.PAYS_FROM_BYTES - 1


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    accelerator.is_ready.cache_clear()
    yield
    accelerator.is_ready.cache_clear()


def kind_for(content: bytes, **options: Any) -> type:
    """What reads the lines behind the first ones."""
    reader = FileReader(io.BytesIO(content), "logs/x/a.log", ANY_TIME, **options)
    list(reader)
    return type(reader._quick)


def test_a_large_log_is_read_by_compiled_code_and_a_small_one_is_not() -> None:
    combined = joined([access_line()] * 5)
    assert kind_for(combined, to_read=LARGE) is ScannedReader
    assert kind_for(combined, to_read=SMALL + 1) is ScannedReader  # which is compiled by now
    assert kind_for(combined, to_read=SMALL) is CombinedReader
    assert kind_for(combined) is CombinedReader
    assert kind_for(joined([access_line(tail=' "-" "b" "c"')] * 5), to_read=LARGE) is ScannedReader
    # It would have nothing to read there.
    assert kind_for(joined([b"{}"] * 5), to_read=LARGE) is CombinedReader


def test_a_compressed_log_is_larger_than_its_file() -> None:
    import gzip

    packed = gzip.compress(joined([access_line()] * 5))
    assert open_decompressed(io.BytesIO(packed)).is_compressed
    assert kind_for(packed, to_read=LARGE // 8) is ScannedReader
    assert kind_for(packed, to_read=SMALL // 8) is CombinedReader


def test_a_setting_turns_it_off(tmp_path: Path) -> None:
    assert Context.of(Settings(storage=str(tmp_path))).options.accelerate
    context = Context.of(Settings(storage=str(tmp_path), accelerator=False))
    reader = FileReader(io.BytesIO(joined([access_line()])), "logs/x/a.log", context.options, to_read=LARGE)
    list(reader)
    assert type(reader._quick) is CombinedReader
    assert context.config == Context.of(Settings(storage=str(tmp_path))).config


def test_what_nginx_calls_main_is_read_too() -> None:
    tails = ['"-"', '""', '"203.0.113.9, 192.0.2.1"', '"\\x22"', '"é"', '"a" "b"', '"a" ']
    lines = joined(access_line(tail=f' "-" "b" {tail}') for tail in tails)
    assert taken(ScannedReader, lines) == [1, 2, 3]


def test_small_logs_do_not_even_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Never:
        raise AssertionError

    monkeypatch.setattr(accelerator, "is_ready", never)
    monkeypatch.setattr(accelerator, "_is_compiled", never)
    assert accelerator.quick_reader(ANYTHING, SMALL) is None


def test_only_a_large_log_is_worth_compiling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine_code.loaded()
    data = machine_code._kept()
    assert data is not None
    # It has been compiled for the other tests.
    monkeypatch.setattr(machine_code, "_compiled", lambda: data)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    forget_code()
    assert accelerator.quick_reader(ANYTHING, LARGE - 1) is None
    assert not list(tmp_path.iterdir())
    assert type(accelerator.quick_reader(ANYTHING, LARGE)) is ScannedReader
    (kept,) = tmp_path.iterdir()
    forget_code()
    assert type(accelerator.quick_reader(ANYTHING, LARGE - 1)) is ScannedReader
    kept.write_bytes(kept.read_bytes()[:-1])
    forget_code()
    assert accelerator.quick_reader(ANYTHING, LARGE - 1) is None
    monkeypatch.undo()
    forget_code()


def test_what_the_compiler_said_is_told_where_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine_code, "_COMPILING", "raise SystemExit('no compiler today')")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    forget_code()
    assert accelerator.quick_reader(ANYTHING, LARGE) is None
    assert "no compiler today" in caplog.text
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    forget_code()


def forget_code() -> None:
    """As in a new process."""
    accelerator.is_ready.cache_clear()
    machine_code.loaded.cache_clear()
    machine_code._paths.cache_clear()


def test_without_numba_rows_are_read_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert accelerator.quick_reader(ANYTHING, LARGE) is None


def test_what_fails_or_reads_otherwise_is_not_used_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(given: Given) -> Never:
        raise RuntimeError("cannot cache function\nmore")

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(accelerator, "_compiled", failing)
    assert [accelerator.quick_reader(ANYTHING, LARGE) for _ in range(3)] == [None] * 3
    (said,) = caplog.messages
    assert said.endswith("RuntimeError: cannot cache function")
    accelerator.is_ready.cache_clear()
    rows_of = scanned_lines._rows_of

    def off_by_one(memory: Any, *rest: Any) -> Any:
        memory.wide[1] += 1
        return rows_of(memory, *rest)

    monkeypatch.undo()
    monkeypatch.setattr(scanned_lines, "_rows_of", off_by_one)
    assert accelerator.quick_reader(ANYTHING, LARGE) is None
    assert "another way" in caplog.messages[-1]


def test_tables_that_are_full_go_on_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    content = joined(access_line(host=f"10.0.0.{number}", bytes=str(number)) for number in range(50))
    monkeypatch.setattr(scanned_lines, "_TABLE_ROWS", 7)
    assert len(assert_same(ScannedReader, content).requests) == 50
    monkeypatch.setattr(scanned_lines, "_TABLE_ROWS", 100)
    monkeypatch.setattr(scanned_lines, "_TABLE_BYTES", 1_000)
    monkeypatch.setattr(scanned_lines, "_WIDTH", 1_000 + scan_layout.SLACK)
    assert len(assert_same(ScannedReader, content).requests) == 50


class Colliding(ScannedReader):
    """To which all texts have the same hash."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._secrets = np.zeros(scan_layout.SECRETS, np.uint64)


@pytest.mark.parametrize("kind", [ScannedReader, Colliding])
def test_texts_are_numbered(kind: type[ScannedReader]) -> None:
    """Of every length, alike but for one byte, with all methods, and more than the first hash table takes;
    and garbage in place of requests."""
    texts = [f"{'x' * size}{last}" for size in (*range(70), *range(125, 131)) for last in ("", "y", "z", "é")]
    lines = [access_line(host=f"h{text}", tail=f' "{text}" "{text[::-1]}"') for text in texts]
    ways = [f"{method} /{way} {protocol}" for method in METHODS for protocol in PROTOCOLS for way in "ab"]
    lines += [access_line(request=way, user=f"u{number % 3}") for number, way in enumerate(ways * 2)]
    many = scan_layout.SMALLEST_AREA
    for method in ("GET", "PUT"):
        requests = [f"{method} /{number % many} HTTP/1.1" for number in range(2 * many)]
        lines += [access_line(request=request, tail="") for request in requests]
    lines += [access_line(request=f"\\{number % many}" if number % 3 else "-") for number in range(3 * many)]
    assert len(assert_same(kind, joined(lines + lines[:500])).requests) == len(lines) + 500


def test_targets_that_hardly_recur_are_not_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanned_lines, "_TELLING_ROWS", 100)
    reader = ScannedReader(ANYTHING)
    kinds = []
    # Of the first table, which is too small, nothing follows for the next.
    for begin, end in ((0, 99), (100, 200), (200, 300)):
        lines = joined(access_line(request=f"GET /{number} HTTP/1.1") for number in range(begin, end))
        for block in LineReader(io.BytesIO(lines)).blocks():
            reader.take(block)
        found = reader.rows()
        assert found is not None
        assert found.frame("target")["target"].to_list() == [f"/{number}" for number in range(begin, end)]
        kinds.append({name: str(found.table.schema.field(name).type) for name in ("request", "referer")})
    assert len({kind["referer"] for kind in kinds}) == 1
    assert kinds[0] == kinds[1]
    assert kinds[2]["request"] != kinds[1]["request"] == kinds[1]["referer"]


def test_memory_of_a_table_is_used_again_only_when_nobody_looks_at_it() -> None:
    reader = ScannedReader(ANYTHING)

    def rows(host: str) -> pl.DataFrame:
        for block in LineReader(io.BytesIO(joined([access_line(host=host)] * 3))).blocks():
            reader.take(block)
        found = reader.rows()
        assert found is not None
        return found.frame("remote_host", "line_number")

    first, second = rows("first"), rows("second")
    assert not reader._free
    assert first["remote_host"].to_list() == ["first"] * 3
    del first
    assert len(reader._free) == 1
    third = rows("third")
    assert not reader._free
    assert (second["remote_host"][0], third["remote_host"][0]) == ("second", "third")


@pytest.mark.parametrize(
    "line",
    [
        access_line(bytes="9" * 17),
        access_line(bytes="9" * 18),
        access_line(bytes="1" + "0" * 18),
        access_line(request='GET /\\" HTTP/1.1'),
        access_line(request='GET /\\\\\\" HTTP/1.1'),
        access_line(request='GET /\\\\" HTTP/1.1'),
        access_line(tail=' "\\"" "\\\\"'),
        access_line(tail=' "\\\\\\" \\"" "\\\\\\\\\\""'),
        access_line(tail=' "a" "\\"'),
        access_line(request=f"GET /{'x' * scan_layout.LONGEST} HTTP/1.1"),
        access_line(tail=f' "-" "{"x y" * 5_000}"'),
    ],
)
def test_more_that_is_unusual(line: bytes) -> None:
    assert_same(ScannedReader, joined([access_line(), line, access_line()]))


@settings(deadline=None, max_examples=60)
@given(
    st.builds("{} {}".format, CLOCKS, ZONES),
    st.lists(st.sampled_from(["00", "07", "59", "60", "0a", "99", ": "]), max_size=3),
    st.integers(0, 9),
)
def test_times(text: str, seconds: list[str], before: int) -> None:
    """Each is read with what is known of the minute of the one before."""
    last, last_minute = np.zeros(4, np.uint64), np.zeros(3, np.int64)
    for some in (text, *(text[:18] + second + text[20:] for second in seconds)):
        data = np.frombuffer(b"#" * before + some.encode() + bytes(PADDING_BYTES), np.uint8)
        check_time(some, *byte_scan._time(address(data), before, last, last_minute))


def check_time(text: str, second: int, east: int, good: bool) -> None:
    offset = log_times.access_offset_minutes(pl.col("time"))
    expected = (
        pl.DataFrame({"time": [text]})
        .with_columns(offset=offset)
        .with_columns(moment=log_times.access_timestamp(pl.col("time"), pl.col("offset")))
    )
    exact = r"/(Feb|Apr|Dec|Jan|Mar|May|Jun|Jul|Aug|Sep|Oct|Nov)/.*:[0-5][0-9] [+-]"
    known = expected["moment"].is_not_null() & expected["time"].str.contains(exact)
    assert good == (known.item() and not text.endswith("-0000"))
    if good:
        assert (second, east) == (expected["moment"][0].timestamp(), expected["offset"][0])


@settings(deadline=None, max_examples=100)
@given(st.text("0123456789", max_size=18), st.text('/:a -"\xb0\xb9', max_size=9))
def test_numbers(digits: str, behind: str) -> None:
    data = np.frombuffer((digits + behind).encode("latin-1") + bytes(PADDING_BYTES), np.uint8)
    assert byte_scan._number(address(data), 0) == (int(digits or 0), len(digits))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.sampled_from(
            [b"\n", b"\n\n", b"\x0b", b"\x09", b"\x8a", b"\x00", b"a", b"\xff" * 7, b"#\n", b"\n#Fields: x\n"]
        ),
        max_size=40,
    ),
    st.sampled_from([b"", b"b\n"]),
)
def test_lines_that_are_left_over(pieces: list[bytes], behind: bytes) -> None:
    data = b"".join([*pieces, b"\n"])
    codes = np.frombuffer(data + behind + bytes(PADDING_BYTES), np.uint8)
    found = ScannedReader(ANYTHING).scan(codes, 1, len(data), 7, 0, 1 << 20)
    lines = data[1:].split(b"\n")[:-1]
    are_over = next((number for number, line in enumerate(lines) if line.startswith(b"#Fields:")), len(lines))
    assert (found.is_over, found.lines) == (are_over < len(lines), are_over)
    assert found.numbers.tolist() == list(range(7, 7 + are_over))
    bounds = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    assert [data[start:end] for start, end in bounds] == lines[:are_over]
    assert found.end == 1 + sum(len(line) + 1 for line in lines[:are_over])


def test_as_many_lines_are_left_over_at_once_as_a_frame_may_have() -> None:
    lines = scan_layout.MOST_LEFT + 5
    codes = np.frombuffer(b"a\n" * lines + bytes(PADDING_BYTES), np.uint8)
    reader = ScannedReader(ANYTHING)
    first = reader.scan(codes, 0, 2 * lines, 1, 0, 9)
    assert scan_layout.MOST_LEFT - scan_layout.BATCH < first.lines <= scan_layout.MOST_LEFT < FRAME_LINES
    rest = reader.scan(codes, first.end, 2 * lines, 1 + first.lines, 0, 9)
    numbers = [*first.numbers.tolist(), *rest.numbers.tolist()]
    assert numbers == list(range(1, lines + 1)) and rest.end == 2 * lines


SEQUENCES = [
    b"a", b"\x7e", b"\x7f", b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2\x80", b"\xdf\xbf", b"\xc2", b"\xe0\x9f\xbf",
    b"\xe0\xa0\x80", b"\xed\x9f\xbf", b"\xed\xa0\x80", b"\xef\xbf\xbf", b"\xef\xbf", b"\xf0\x8f\xbf\xbf", b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xe2\x28\xa1",
]  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(SEQUENCES), max_size=12), st.sampled_from(SEQUENCES))
def test_what_is_text(sequences: list[bytes], behind: bytes) -> None:
    data = b"".join(sequences)
    codes = np.frombuffer(data + behind + bytes(PADDING_BYTES), np.uint8)
    words = address(codes)
    try:
        wanted = "\x7f" not in data.decode()
    except UnicodeDecodeError:
        wanted = False
    assert byte_scan._is_text(words, 0, len(data)) == wanted
    ascii_only = all(code < 0x7F for code in data)
    if byte_scan._is_ascii(words, 0, len(data)):
        assert ascii_only
    elif ascii_only:
        assert not all(code < 0x7F for code in behind)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4))
def test_numbers_of_requests_stay_different(secrets: list[int]) -> None:
    scrambled = {int(byte_scan._scrambled(number, np.array(secrets, np.uint64))) for number in range(3_000)}
    assert len(scrambled) == 3_000 and max(scrambled) < 2**32


def test_what_is_said_twice_is_the_same() -> None:
    assert scan_layout.LARGEST_OFFSET_MINUTES == log_times.LARGEST_OFFSET_MINUTES
    assert scan_layout.DIRECTIVE.encode() == DIRECTIVE


def some_rows() -> bytes:
    """Lines with and without all that may be null, and others that are left to the expressions."""
    return joined(
        access_line(
            host=f"10.0.0.{number % 40}",
            user="frank" if number % 3 else "-",
            request=("-", "", "\\n", f"\\{number}")[number % 4]
            if number % 13 == 0
            else f"GET /{number % 99} HTTP/1.1",
            bytes="-" if number % 7 == 0 else str(number),
            tail=""
            if number % 5 == 0
            else f' "{"-" if number % 2 else "https://example.org/"}" "a{number}"'
            + ("" if number % 11 else f' "{"-" if number % 3 else number}"'),
            status="bad" if number % 50 == 0 else "200",
        )
        for number in range(3_000)
    )


@pytest.mark.parametrize(("chunk_bytes", "unlike"), [(CHUNK_BYTES, 0.75), (40_000, 0.75), (40_000, 0.0)])
def test_every_engine_reads_what_it_wrote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunk_bytes: int, unlike: float
) -> None:
    """Also where a row group is of several tables, and where targets are numbered in some of them alone."""
    monkeypatch.setattr(parse, "CombinedReader", ScannedReader)
    monkeypatch.setattr(scanned_lines, "_UNLIKE_SHARE", unlike)
    monkeypatch.setattr(scanned_lines, "_TELLING_ROWS", 0)
    content = some_rows()
    encoder = Encoder(BRONZE_REQUESTS)
    wanted = []
    for chunk in FileReader(io.BytesIO(content), "logs/x/a.log", ANY_TIME, chunk_bytes=chunk_bytes):
        wanted.append(chunk.requests)
        for table, rows, size in chunk.tables():
            if table == "requests":
                encoder.add(rows, size)
    part = tmp_path / "part.parquet"
    part.write_bytes(encoder.close())
    rows = pl.concat(wanted).sort("line_number")
    assert rows.height > 2_900
    assert pl.read_parquet(part).sort("line_number").equals(rows, null_equal=True)
    told = rows.to_arrow(compat_level=pl.CompatLevel.oldest()).to_pylist()
    assert pq.read_table(part).sort_by("line_number").to_pylist() == told
    connection = duckdb.connect()
    connection.execute("SET timezone = 'UTC'")
    found = pl.DataFrame(connection.sql(f"FROM '{part}' ORDER BY line_number").to_arrow_table())
    assert found.cast(rows.schema).equals(rows, null_equal=True)


def test_bronze_is_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = some_rows()
    # Small blocks, for the first ones are read before it is chosen.
    monkeypatch.setattr(parse, "_BLOCKS_IN_CHUNK", CHUNK_BYTES // 20_000)
    taken: Counter[str] = Counter()
    scan = ScannedReader.scan

    def counted(reader: ScannedReader, *given: Any) -> Scan:
        found = scan(reader, *given)
        taken[name] += found.lines - len(found.starts)
        return found

    monkeypatch.setattr(ScannedReader, "scan", counted)
    found = []
    for name, accelerated in (("with", True), ("without", False)):
        folder = tmp_path / name
        (folder / "logs/2025-12-17").mkdir(parents=True)
        (folder / "logs/2025-12-17/access.log").write_bytes(content)
        context = Context.of(Settings(storage=str(folder), accelerator=accelerated))
        monkeypatch.setattr(accelerator, "PAYS_FROM_BYTES", len(content))
        result = refresh_bronze(context, Unit("daily", "2025-12-17"), reuse=True)
        assert result.manifest is not None
        (record,) = result.manifest.files
        parts = sorted(folder.glob("bronze/daily/2025-12-17/requests-*.parquet"))
        rows = pl.concat(pl.read_parquet(part) for part in parts).sort("line_number")
        found.append((rows, record.digest, record.lines, record.parsed, record.rejects, record.written_days))
    assert taken["with"] > 1_000 and not taken["without"]
    assert found[0][0].equals(found[1][0], null_equal=True)
    assert found[0][1:] == found[1][1:]


@pytest.mark.parametrize(
    "tail",
    [
        access_line(),
        b"\n" * 5_000 + access_line() + b"\n#x\n" + access_line(tail="") + b"\n",
        access_line()[:60],
        (access_line() + b"\r\n") * 100,
        b"x" * 9_000 + b"\n" + access_line() + b"\n",
        b"a\n" * 3_000 + access_line() + b"\n",
        b" \t\n" * 9_000 + b" x\n\n" + access_line() + b"\n \n#1 \n",
        (access_line() + b"\n") * 200 + b"#Fields: date time\n" + (access_line() + b"\n") * 300,
    ],
)
def test_what_is_cut_into_lines_is_the_same(tail: bytes) -> None:
    found = []
    for to_read in (LARGE, 0):
        reader = FileReader(
            io.BytesIO(some_rows() + tail),
            "x",
            ANY_TIME,
            chunk_bytes=80_000,
            max_line_bytes=8_000,
            to_read=to_read,
        )
        chunks = list(reader)
        rows = (pl.concat(getattr(chunk, table) for chunk in chunks) for table in ("requests", "rejected"))
        found.append(([frame.sort("line_number").to_dicts() for frame in rows], reader.facts))
        assert type(reader._quick) is (ScannedReader if to_read else CombinedReader)
    assert found[0] == found[1]


@pytest.mark.slow
def test_small_logs_are_read_without_pandas_and_numba(tmp_path: Path) -> None:
    """Both are installed, pandas for Spark, and each takes half a second to import."""
    (tmp_path / "logs/2025-12-17").mkdir(parents=True)
    (tmp_path / "logs/2025-12-17/access.log").write_bytes(some_rows())
    code = (
        "import sys; from pipeline_assets.compute.bronze import refresh_bronze;"
        " from pipeline_assets.compute.context import Context; from pipeline_assets.settings import Settings;"
        " from pipeline_assets.storage.units import Unit;"
        f" context = Context.of(Settings(storage={str(tmp_path)!r}));"
        " assert refresh_bronze(context, Unit('daily', '2025-12-17'), reuse=True).read_files == 1;"
        " assert not {'pandas', 'numba', 'llvmlite'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
