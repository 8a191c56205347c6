"""A Combined log of any size, the same for the same seed, and the truth about each of its lines.

What belongs here: making lines, and noting what each of them says. What does not: reading them, or comparing
what others have read (`truth`).

Everything is drawn and joined by column, some 200,000 lines a second and more. Clients come
for visits of some requests, and clients, pages and user agents are drawn unevenly, as on a real site: few of
them have most of the requests, and there is a long tail.
"""

from __future__ import annotations

import bz2
import gzip
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

# Lines that are no log entry, and those that are unusual but right, as shares of all lines.
MALFORMED: Final = 0.005
ESCAPED: Final = 0.004
GARBAGE_REQUESTS: Final = 0.002
NOT_UTF8: Final = 0.0005
# In this zone, so that reading it as UTC is seen.
ZONE_MINUTES: Final = 60
STARTS: Final = datetime(2024, 1, 14, 6, 25)
_SEED: Final = 20240114
_CHUNK: Final = 250_000
_LINE_BYTES: Final = 205
_REQUESTS_A_VISIT: Final = 8
_SECONDS_BETWEEN: Final = 15.0
# Stands for a byte that is no UTF-8 while lines are still text.
_STAND_IN: Final = "\u0091"
_NO_UTF8: Final = b"\xe9"

# Kinds of lines. All but the malformed ones must become rows.
KINDS: Final = ("plain", "escaped", "garbage_request", "not_utf8")
MALFORMED_KINDS: Final = ("invalid_date", "cut_off", "no_entry", "no_status", "open_quote")
INVALID_DATE: Final = "invalid_date"

TEXTS: Final = ["request", "referer", "user_agent"]

_BROWSERS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/{}.1 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/{}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (compatible; Googlebot/2.{}; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.{}; +http://www.bing.com/bingbot.htm)",
    "curl/8.{}.0",
    "-",
)
_QUERIES: Final = ("", "", "", "", "", "", "", "?page={}", "?utm_source=news&id={}", "?v={}")
_ESCAPES: Final = (
    r"Mozilla/5.0 \"compatible\" MSIE 6.0",
    r"\"><script>x</script>",
    r"Mozilla/5.0 (Windows; U) C:\\app\\x",
)
_GARBAGE: Final = (r"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "-", "", r"SSH-2.0-Go", r"\n")


@dataclass(frozen=True)
class Corpus:
    """A log, its compressed copy, and its truth: a row a line.

    Columns: `line_number, kind, line_hash, remote_host, timestamp (UTC), status, bytes, text_hash`.
    `text_hash` is of the texts of a line (`hash_of_texts`); of a malformed line it is null.
    """

    plain: Path
    gz: Path
    truth: Path
    lines: int
    bytes: int


def make_corpus(folder: Path, megabytes: int, *, days: float = 2.0) -> Corpus:
    """The corpus of about so many megabytes, whose events spread over so many days; made unless it is there.

    Two calls with the same arguments give the same bytes.
    """
    stem = _stem(folder, megabytes, days)
    plain, truth = stem.with_suffix(".log"), stem.with_suffix(".truth.parquet")
    if not (truth.exists() and Path(f"{plain}.gz").exists()):
        folder.mkdir(parents=True, exist_ok=True)
        chunks = _written(plain, megabytes * 1_000_000, days)
        pl.concat(_known(chunk, before) for before, chunk in chunks).write_parquet(truth)
    lines = pl.scan_parquet(truth).select(pl.len()).collect().item()
    made = Corpus(plain, Path(f"{plain}.gz"), truth, lines, plain.stat().st_size)
    packed(made, ".gz")
    return made


def make_log(folder: Path, megabytes: int) -> Path:
    """The log of such a corpus alone, without its truth and compressed copy; made unless it is there.

    A gigabyte takes some 25 CPU seconds, in memory that does not grow.
    """
    plain = _stem(folder, megabytes, 2.0).with_suffix(".log")
    if not plain.exists():
        folder.mkdir(parents=True, exist_ok=True)
        aside = plain.with_suffix(".part")
        for _ in _written(aside, megabytes * 1_000_000, 2.0):
            pass
        aside.replace(plain)
    return plain


def packed(corpus: Corpus, suffix: Literal[".gz", ".bz2", ".zst"]) -> Path:
    """The log as one of the programs that rotate logs compresses it; made unless it is there."""
    path = Path(f"{corpus.plain}{suffix}")
    if not path.exists():
        aside = path.with_suffix(".part")
        with corpus.plain.open("rb") as source, aside.open("wb") as target:
            if suffix == ".zst":
                import zstandard

                zstandard.ZstdCompressor().copy_stream(source, target)
            else:
                with bz2.open(target, "wb") if suffix == ".bz2" else gzip.open(target, "wb", 6) as stream:
                    shutil.copyfileobj(source, stream, 1 << 20)
        aside.replace(path)
    return path


def hash_of(parts: pl.Expr) -> pl.Expr:
    """The hash by which bytes are compared."""
    return parts.hash(seed=_SEED)


def hash_of_texts() -> pl.Expr:
    """One hash of the columns `TEXTS`, texts or bytes, for not all that is logged is UTF-8; null is `-`."""
    return pl.struct(hash_of(pl.col(name).cast(pl.Binary).fill_null(b"-")) for name in TEXTS).hash(_SEED)


def _stem(folder: Path, megabytes: int, days: float) -> Path:
    return folder / f"{megabytes}mb-{days:g}d"


def _written(plain: Path, size: int, days: float) -> Iterator[tuple[int, pl.DataFrame]]:
    """Write the log; each chunk of its lines with what they say, and the number of lines before it."""
    draw = np.random.default_rng(_SEED)
    pools = _Pools(draw)
    written, number = 0, 0
    # The length of a line settles after the first chunk; until then this is a guess that times depend on.
    lines_wanted = max(1, size // _LINE_BYTES)
    with plain.open("wb") as out:
        while written < size:
            rows = min(_CHUNK, max(1, (size - written) // _LINE_BYTES + 1))
            begin = min(number / lines_wanted, 1.0) * days
            end = min((number + rows) / lines_wanted, 1.0) * days
            chunk = _entries(draw, pools, rows, begin, end)
            block = _as_bytes(chunk["line"].str.join("\n").item() + "\n")
            written += out.write(block)
            yield number, chunk
            number += rows


class _Pools:
    """What requests are drawn from."""

    def __init__(self, draw: np.random.Generator) -> None:
        octets = draw.integers(1, 255, size=(60_000, 4))
        self.clients = pl.Series(
            [
                f"2001:db8:{a:x}:{b:x}::{c:x}{d:x}" if place % 20 == 0 else f"{a}.{b}.{c}.{d}"
                for place, (a, b, c, d) in enumerate(octets.tolist())
            ]
        )
        self.agents = pl.Series(
            [_BROWSERS[place % len(_BROWSERS)].format(70 + place // len(_BROWSERS)) for place in range(900)]
        )
        kinds = ("html", "html", "php", "css", "js", "png", "jpg", "woff2")
        self.paths = pl.Series(
            [
                f"/{('blog', 'shop', 'docs', 'static')[place % 4]}/{place % 97:x}/item-{place}"
                f"{'.' + kinds[place % 8] if place % 3 else '/'}"
                for place in range(8_000)
            ]
        )
        own = [f"https://www.example.com{path}" for path in self.paths[:1_500]]
        searches = [f"https://www.google.com/search?q=red+shoes+{place}" for place in range(300)]
        others = [f"https://site{place}.example.net/links/?from={place}" for place in range(700)]
        self.referers = pl.Series([*(["-"] * 2_500), *own, *own[:1_000], *searches, *others])


def _entries(draw: np.random.Generator, pools: _Pools, rows: int, begin: float, end: float) -> pl.DataFrame:
    """Lines with what they say; `begin` and `end` are days after the start of the log."""
    client, seconds = _visits(draw, len(pools.clients), rows, begin * 86_400, end * 86_400)
    path = _uneven(draw, len(pools.paths), rows)
    chance = draw.random(rows)
    unusual = draw.random(rows)
    frame = pl.DataFrame(
        {
            "remote_host": pools.clients.gather(client),
            "user": pl.Series(["-", "-", "-", "frank"]).gather(np.where(chance > 0.99, 3, 0)),
            "local": pl.Series(seconds).cast(pl.Int64),
            "method": pl.Series(["GET", "GET", "POST", "HEAD"]).gather(
                np.select([chance < 0.9, chance < 0.97], [0, 2], 3)
            ),
            "path": pools.paths.gather(path),
            "query": pl.Series(_QUERIES).gather(draw.integers(0, len(_QUERIES), rows)),
            "number": pl.Series(draw.integers(0, 99_999, rows)).cast(pl.String),
            "status": pl.Series([200, 200, 304, 301, 404, 403, 500], dtype=pl.Int16).gather(
                np.searchsorted([0.4, 0.8, 0.88, 0.92, 0.985, 0.995, 1.0], draw.random(rows))
            ),
            "bytes": pl.Series(draw.lognormal(8.5, 1.6, rows).astype(np.int64)),
            "referer": pools.referers.gather(draw.integers(0, len(pools.referers), rows)),
            "user_agent": pools.agents.gather((client * 7919) % len(pools.agents)),
            "kind": _kinds(unusual),
            "variant": draw.integers(0, 15, rows),
        }
    )
    kind, variant = pl.col("kind"), pl.col("variant").cast(pl.UInt32)
    strange = [
        ("escaped", "user_agent", _ESCAPES),
        ("garbage_request", "request", _GARBAGE),
    ]
    target = pl.concat_str("path", pl.col("query").str.replace("{}", pl.col("number"), literal=True))
    frame = frame.with_columns(
        local=pl.lit(STARTS) + pl.duration(seconds="local"),
        request=pl.concat_str("method", pl.lit(" "), target, pl.lit(" HTTP/1.1")),
        bytes=pl.when(pl.col("status") != 304).then("bytes"),
    ).with_columns(
        pl.when(kind == name)
        .then(pl.lit(pl.Series(texts)).gather(variant % len(texts)))
        .otherwise(column)
        .alias(column)
        for name, column, texts in strange
    )
    frame = frame.with_columns(
        pl.when(kind == "not_utf8")
        .then(pl.concat_str(pl.lit("Mozilla/5.0 (caf" + _STAND_IN + ") "), "user_agent"))
        .otherwise("user_agent")
        .alias("user_agent")
    )
    return frame.with_columns(line=_damaged(_line()))


def _visits(
    draw: np.random.Generator, clients: int, rows: int, begin: float, end: float
) -> tuple[np.ndarray, np.ndarray]:
    """Client and second of each request, in order of time: people come, look around for a while, and go."""
    lengths = draw.geometric(1 / _REQUESTS_A_VISIT, 2 * rows // _REQUESTS_A_VISIT + 10)
    lengths = lengths[: np.searchsorted(np.cumsum(lengths), rows) + 1]
    # Seconds since the visit's first request: a running sum that starts anew with each visit.
    total = np.cumsum(draw.exponential(_SECONDS_BETWEEN, lengths.sum()))
    first = np.cumsum(lengths) - lengths
    passed = total - np.repeat(total[first], lengths)
    longest = np.maximum.reduceat(passed, first)
    starts = begin + draw.random(len(lengths)) * np.maximum(end - begin - longest, 0)
    seconds = (np.repeat(starts, lengths) + passed)[:rows]
    client = np.repeat(_uneven(draw, clients, len(lengths)), lengths)[:rows]
    order = np.argsort(seconds, kind="stable")
    return client[order], seconds[order].astype(np.int64)


def _line() -> pl.Expr:
    zone = f"{'+' if ZONE_MINUTES >= 0 else '-'}{abs(ZONE_MINUTES) // 60:02}{abs(ZONE_MINUTES) % 60:02}"
    return pl.format(
        "{} - {} [{} " + zone + '] "{}" {} {} "{}" "{}"',
        "remote_host",
        "user",
        pl.col("local").dt.strftime("%d/%b/%Y:%H:%M:%S"),
        "request",
        "status",
        pl.col("bytes").cast(pl.String).fill_null("-"),
        "referer",
        "user_agent",
    )


def _damaged(line: pl.Expr) -> pl.Expr:
    """The line, or what is left of it where its kind is a malformed one."""
    kind = pl.col("kind")
    return (
        pl.when(kind == INVALID_DATE)
        .then(line.str.replace(r"\[\d\d/\w{3}/", "[31/Feb/"))
        .when(kind == "cut_off")
        .then(line.str.replace(r' \d+ [\d-]+ ".*$', ""))
        .when(kind == "no_entry")
        .then(pl.lit("    at com.example.Handler.run(Handler.java:42)"))
        .when(kind == "no_status")
        .then(line.str.replace(r'" \d+ ', '" OK '))
        .when(kind == "open_quote")
        .then(line.str.replace(r' HTTP/1\.1"', ""))
        .otherwise(line)
    )


def _kinds(unusual: np.ndarray) -> pl.Series:
    names = ["plain", *KINDS[1:], *MALFORMED_KINDS]
    shares = [
        ESCAPED,
        GARBAGE_REQUESTS,
        NOT_UTF8,
        *([MALFORMED / len(MALFORMED_KINDS)] * len(MALFORMED_KINDS)),
    ]
    # The unusual ones take the low numbers, and all that is above is plain.
    place = np.searchsorted(np.cumsum(shares), unusual, side="right")
    return pl.Series([*names[1:], "plain"]).gather(place)


def _uneven(draw: np.random.Generator, size: int, rows: int) -> np.ndarray:
    return (size * draw.random(rows) ** 3).astype(np.int64)


def _known(chunk: pl.DataFrame, before: int) -> pl.DataFrame:
    """The truth about a chunk, whose first line has `before` lines before it."""
    odd = pl.col("kind") == "not_utf8"
    known = chunk.select(
        pl.int_range(before + 1, before + 1 + pl.len(), dtype=pl.Int64).alias("line_number"),
        "kind",
        pl.col("line").cast(pl.Binary),
        "remote_host",
        (pl.col("local") - pl.duration(minutes=ZONE_MINUTES)).alias("timestamp"),
        "status",
        "bytes",
        pl.col(TEXTS).cast(pl.Binary),
    )
    rest = known.filter(odd)
    exact = (
        pl.Series(column, [_as_bytes(it.decode()) for it in rest[column]], dtype=pl.Binary)
        for column in ("line", "user_agent")
    )
    known = pl.concat([known.filter(~odd), rest.with_columns(exact)]).sort("line_number")
    is_entry = ~pl.col("kind").is_in(MALFORMED_KINDS)
    return known.select(
        "line_number",
        pl.col("kind").cast(pl.Categorical),
        hash_of(pl.col("line")).alias("line_hash"),
        "remote_host",
        "timestamp",
        "status",
        "bytes",
        pl.when(is_entry).then(hash_of_texts()).alias("text_hash"),
    )


def _as_bytes(text: str) -> bytes:
    return text.encode().replace(_STAND_IN.encode(), _NO_UTF8)
