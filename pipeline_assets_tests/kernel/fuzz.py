"""Files made of every format and then damaged: never a crash, never an unaccounted byte.

What belongs here: the corpus, the damage, and what must hold of any file. `make fuzz` runs it over millions
of lines, the tests for a moment. What does not: properties that hypothesis shrinks (`test_parse`).

Usage: python -m pipeline_assets_tests.kernel.fuzz [LINES [SEED]]
"""

from __future__ import annotations

import io
import random
import sys
import time
from collections import Counter
from typing import Any, Final

from pipeline_assets.kernel.file_facts import FileFacts
from pipeline_assets.kernel.own_formats import compile_formats
from pipeline_assets.kernel.parse import FileReader, ParsedChunk, ReadOptions
from pipeline_assets_tests.kernel.rebuild import (
    ANY_TIME,
    access_line,
    composed_error,
    composed_request,
    is_uncounted,
    looks_compressed,
)

LINES_A_FILE: Final = 2_000
_OWN = compile_formats(
    '{"pipes": "%h|%t|%r|%>s|%b|%D", "split": "[%{%d/%b/%Y:%T}t.%{usec_frac}t %{%z}t] %a \\"%m %U%q %H\\" %s"}'
)
_OPTIONS = ReadOptions(earliest=ANY_TIME.earliest, latest=ANY_TIME.latest, formats=_OWN)
_JSON = (
    b'{"time_local":"17/Dec/2025:09:03:01 +0330","remote_addr":"203.0.113.7","request":"GET / HTTP/1.1",'
    b'"status":"200","body_bytes_sent":150,"request_time":0.049,"http_user_agent":"a \\"q\\" \\u00e9"}'
)
CORPUS: Final = [
    access_line(),
    access_line(tail=""),
    access_line(vhost="www.example.org:443 ", user="frank"),
    access_line(vhost="www.example.org "),
    access_line(host="203.0.113.7, 10.0.0.1", tail=' "-" "x" "198.51.100.9"'),
    access_line(user="$(id) [x]", request="\\x16\\x03\\x01", status="400"),
    access_line(request="-", bytes="-", tail=' "-" "-"'),
    access_line(tail=' "-" "x" 0.005 [a b] k="v w"'),
    access_line(tail=' "-" "x" 42 "web@docker" "http://10.0.0.1:80" 17ms'),
    access_line(tail=' "-" "x" 462 0.050 [svc] [] 10.0.5.8:9000 19437 0.049 200 ' + "a" * 32),
    access_line(tail=' "-" "Mozilla "quoted" x"', time="2025-12-17T09:03:01.123+01:00"),
    access_line(time=" 7/Dec/2025:09:03:01 +0000"),
    b"Dec 17 09:03:01 web1 nginx[12]: " + access_line(),
    b"<134>1 2025-12-17T09:03:01.123Z web1 nginx 12 - - " + access_line(),
    b"2025-12-17T09:03:01.123456789Z stdout F " + access_line(),
    b'2025/12/17 09:03:01 [error] 31#32: *5 open() "/a" failed (2: No such file or directory), client: 203.0.113.7,'
    b' server: example.org, request: "GET /a HTTP/1.1", upstream: "http://10.0.0.1:80/", host: "www.example.org"',
    b"2025/12/17 09:03:01 [notice] 31#31: signal process started",
    b"[Wed Dec 17 09:03:01.000123 2025] [core:error] [pid 7:tid 8] (13)Permission denied: [client 203.0.113.7:5000]"
    b" AH00035: access to / denied, referer: https://example.org/",
    b"[Wed Dec 17 09:03:01 2025] [error] [client 203.0.113.7] File does not exist: /var/www/x",
    b"PHP Stack trace:",
    b"#0 {main}",
    b"  thrown in /var/www/x.php on line 7",
    _JSON,
    b'{"level":"info","ts":1646861401.52,"logger":"http.log.access","msg":"handled request","request":'
    b'{"remote_ip":"203.0.113.7","proto":"HTTP/2.0","method":"GET","uri":"/","headers":{"User-Agent":["x"]}},'
    b'"duration":0.0009,"size":10900,"status":200}',
    b'{"ClientHost":"203.0.113.7","DownstreamStatus":404,"Duration":104400,"RequestMethod":"GET","RequestPath":"/",'
    b'"StartUTC":"2025-12-17T09:03:01.123456789Z"}',
    b'{"level":"error","time":"2025-12-17T09:03:01Z","msg":"dial tcp"}',
    b"#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query c-ip cs(User-Agent) sc-status time-taken",
    b"#Fields: date time c-ip cs-method cs-uri-stem sc-status",
    b"2025-12-17 09:03:01 10.0.0.5 GET /a.aspx x=1 203.0.113.7 Mozilla/5.0+(Win) 200 46",
    b"2025-12-17 09:03:01 203.0.113.7 GET /b 404",
    b"https 2025-12-17T09:03:01.186641Z app/lb/50dc 203.0.113.7:2817 10.0.0.1:80 0.001 0.002 0.000 200 200 34 366"
    b' "GET https://example.org:443/ HTTP/1.1" "curl/7.46.0" - TLSv1.2 arn "Root=1-5" "example.org" "-" 0',
    b"2025-12-17T09:03:01.945958Z lb 203.0.113.7:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29"
    b' "GET http://example.org:80/ HTTP/1.1" "curl/7.38.0" - -',
    b"203.0.113.7|[17/Dec/2025:09:03:01 +0000]|GET / HTTP/1.1|200|5|1234",
    b'[17/Dec/2025:10:03:01.000250 +0100] 203.0.113.7 "GET /a?b=c HTTP/2.0" 301',
    b"",
    b" \t",
    b"# a comment",
    b"\xef\xbb\xbf# a comment",
    "Größe €".encode(),
]
_TOKENS: Final = [
    b"", b'"', b"\\", b'\\"', b" ", b"  ", b"-", b"[", b"]", b"{", b"}", b":", b",", b"|", b"\r", b"\0", b"\t", b"\xe9",
    b"\xff\xfe", b"\xef\xbb\xbf", "\u2028".encode(), b"\x1b[31m", b"0", b"9" * 30, b'" 200 12', b' "-" "-"', b"\\x22", b"\\u0000",
    b", client: 6.6.6.6", b"[17/Dec/2025:09:03:01 +0000]", b"31/Feb/2025", b"2025-02-30", b"+9999", b"HTTP/1.1", b"#", b"NaN",
]  # fmt: skip


def some_file(generator: random.Random, lines: int) -> bytes:
    """A file of about so many lines, most of them damaged in some places."""
    # Files of few formats beside files of all.
    corpus = generator.sample(CORPUS, generator.choice([2, 5, len(CORPUS)]))
    separator = generator.choice([b"\n", b"\n", b"\n", b"\r\n"])
    content = separator.join(_damaged(generator.choice(corpus), generator) for _ in range(lines))
    content += generator.choice([b"", b"\n", b"\r"])
    if generator.random() < 0.05:
        content = content.replace(b"\n", b"")
    if generator.random() < 0.02:
        content = content.decode("latin-1").encode("utf-16-le")
    return b"x" + content if looks_compressed(content) else content


def _damaged(line: bytes, generator: random.Random) -> bytes:
    for _ in range(generator.choice([0, 0, 1, 1, 2, 5])):
        begin = generator.randint(0, len(line))
        roll = generator.random()
        if roll < 0.5:
            line = line[:begin] + generator.choice(_TOKENS) + line[begin + generator.randint(0, 3) :]
        elif roll < 0.6:
            line = line[:begin]
        elif roll < 0.7:
            line = line[begin:]
        elif roll < 0.8:
            other = generator.choice(CORPUS)
            line = line[:begin] + other[generator.randint(0, len(other)) :]
        elif roll < 0.9:
            line = line[:begin] + generator.randbytes(generator.randint(1, 4)) + line[begin:]
        else:
            line = line[:begin] + line[begin : begin + 9] * generator.randint(2, 40) + line[begin:]
    return line


def check(content: bytes, chunk_bytes: int) -> FileFacts:
    """Read the file, and put it together again from what it became: every byte of it, each once."""
    chunks, facts = _read(content, chunk_bytes)
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    counted = facts.parsed + facts.continuation + facts.rejected + facts.blank + facts.comment
    assert facts.lines == len(lines) == counted, facts
    assert facts.bytes == len(content)
    placed = bytearray(len(lines))
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    for chunk in chunks:
        for row in chunk.requests.iter_rows(named=True):
            _place(row, composed_request(row) if row["raw"] is None else row["raw"], 1, lines, starts, placed)
        for row in chunk.errors.iter_rows(named=True):
            line = composed_error(row) if row["raw"] is None else row["raw"]
            _place(row, line, row["line_count"], lines, starts, placed)
        for row in chunk.rejected.iter_rows(named=True):
            _place(row, row["line"], 1, lines, starts, placed)
    left = [number for number, is_placed in enumerate(placed) if not is_placed]
    assert len(left) == facts.blank + facts.comment
    assert all(is_uncounted(lines[number], is_first=number == 0) for number in left)
    return facts


def check_ways(content: bytes) -> None:
    """Neither the quick expressions nor where chunks are cut may show in the rows."""
    whole, facts = _read(content, 1 << 24)
    for chunk_bytes, quick in ((1 << 24, False), (1_000, True)):
        other, other_facts = _read(content, chunk_bytes, quick=quick)
        assert other_facts == facts
        for table in ("requests", "errors", "rejected"):
            # Quick rows of a stretch come before the others, so the order of the rows tells the ways apart.
            rows, others = (
                sorted(
                    (row for chunk in chunks for row in getattr(chunk, table).iter_rows(named=True)),
                    key=_place_of,
                )
                for chunks in (whole, other)
            )
            assert rows == others, table


def _place_of(row: dict[str, Any]) -> int:
    return int(row["line_number"])


def _read(content: bytes, chunk_bytes: int, *, quick: bool = True) -> tuple[list[ParsedChunk], FileFacts]:
    reader = FileReader(io.BytesIO(content), "x.log", _OPTIONS, chunk_bytes=chunk_bytes, quick=quick)
    return list(reader), reader.facts


def _place(
    row: dict[str, object], line: bytes, count: int, lines: list[bytes], starts: list[int], placed: bytearray
) -> None:
    first = row["line_number"]
    assert isinstance(first, int)
    assert row["byte_offset"] == starts[first - 1], row
    assert not any(placed[first - 1 : first - 1 + count]), row
    assert line == b"\n".join(lines[first - 1 : first - 1 + count]), row
    placed[first - 1 : first - 1 + count] = b"\1" * count


def run(lines: int, seed: int) -> Counter[str]:
    """Check files of so many lines together; how many lines ended where. The seed repeats a failure."""
    total: Counter[str] = Counter()
    number = 0
    while total["lines"] < lines:
        number += 1
        generator = random.Random(f"{seed}/{number}")
        content = some_file(generator, LINES_A_FILE)
        try:
            facts = check(content, generator.choice([5_000, 100_000, 1 << 24]))
            if number % 10 == 1:
                check_ways(content[:100_000])
        except Exception as error:
            raise AssertionError(f"seed {seed}, file {number}: {error}") from error
        for fate in ("lines", "bytes", "parsed", "continuation", "rejected", "blank", "comment"):
            total[fate] += getattr(facts, fate)
        total["files"] += 1
    return total


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    print(f"seed {seed}", flush=True)
    print(dict(run(lines, seed)))


if __name__ == "__main__":
    main()
