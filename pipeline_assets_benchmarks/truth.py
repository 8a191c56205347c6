"""What a contestant lost or got wrong, by comparing what it wrote with what the corpus says of each line.

What belongs here: the comparison. What does not: the truth itself (`corpus`), and words for it (`page`).

Where line numbers were kept, each row is compared with its own line. Otherwise rows are matched with lines
that say the same; what is left is matched by client, time, status and size alone, and such a row's text was
altered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from pipeline_assets_benchmarks.contestants import GOACCESS_REPORT, ROWS, Contestant
from pipeline_assets_benchmarks.corpus import (
    INVALID_DATE,
    MALFORMED_KINDS,
    Corpus,
    hash_of,
    hash_of_texts,
)
from pipeline_assets_benchmarks.whole_way import UNIT_DAY

_FACTS: Final = ["remote_host", "timestamp", "status", "bytes"]
_TEXT: Final = "text_hash"


@dataclass(frozen=True)
class Outcome:
    """What became of the lines of a corpus.

    Of `entries` lines that are log entries, so many became an `exact` row, a row with `altered` text, or
    were `lost`. `accepted` are rows made of lines that are none, `invalid_dates` those of them with a date
    that does not exist. `kept` counts the `malformed` lines that are kept with their number and exact bytes.
    What can't be told is None.
    """

    entries: int
    malformed: int
    rows: int
    exact: int | None = None
    altered: int | None = None
    lost: int | None = None
    accepted: int | None = None
    invalid_dates: int | None = None
    kept: int | None = None
    line_numbers: bool = False


def outcome_of(contestant: Contestant, folder: Path, corpus: Corpus) -> Outcome | None:
    """What a contestant's folder says of a corpus; None where its task keeps no rows to look at."""
    if contestant.task == "serving tables":
        return None
    truth = pl.scan_parquet(corpus.truth)
    malformed = truth.filter(_is_malformed()).select(pl.len()).collect().item()
    entries = corpus.lines - malformed
    if contestant.task == "its own report":
        report = json.loads((folder / GOACCESS_REPORT).read_bytes())
        return Outcome(entries, malformed, report["general"]["valid_requests"])
    if contestant.is_ours:
        return _by_line(truth, folder, entries, malformed)
    return _by_content(truth, pl.scan_parquet(folder / ROWS), entries, malformed)


def _by_line(truth: pl.LazyFrame, folder: Path, entries: int, malformed: int) -> Outcome:
    """Rows that know their line, as bronze has them."""
    parts = folder / "bronze" / "daily" / UNIT_DAY
    rows = pl.scan_parquet(parts / "requests-*.parquet")
    found = rows.select(
        "line_number",
        *_facts(),
        hash_of_texts().alias(_TEXT),
        # Where the columns can't hold all bytes of the line, the line itself is kept beside them.
        hash_of(pl.col("raw")).alias("raw_hash"),
        pl.col("raw").is_not_null().alias("has_raw"),
    )
    same_facts = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_true")) for name in _FACTS)
    same_line = pl.col("has_raw") & (pl.col("raw_hash") == pl.col("line_hash"))
    same_text = (pl.col(_TEXT) == pl.col(f"{_TEXT}_true")) | same_line
    joined = found.join(truth, on="line_number", how="left", suffix="_true")
    valid = ~_is_malformed()
    counts = joined.select(
        rows=pl.len(),
        exact=(valid & same_facts & same_text).sum(),
        altered=(valid & ~(same_facts & same_text)).sum(),
        accepted=_is_malformed().sum(),
        invalid_dates=(pl.col("kind") == INVALID_DATE).sum(),
    ).collect()
    said = counts.row(0, named=True)
    lost = entries - said["exact"] - said["altered"]
    return Outcome(entries, malformed, **said, lost=lost, kept=_kept(truth, parts), line_numbers=True)


def _kept(truth: pl.LazyFrame, parts: Path) -> int:
    """Malformed lines that bronze keeps with their number and their bytes."""
    rejected = pl.scan_parquet(parts / "rejected-*.parquet").select(
        "line_number", hash_of(pl.col("line")).alias("line_hash")
    )
    kept = truth.filter(_is_malformed()).join(rejected, on=["line_number", "line_hash"], how="semi")
    return int(kept.select(pl.len()).collect().item())


def _by_content(truth: pl.LazyFrame, rows: pl.LazyFrame, entries: int, malformed: int) -> Outcome:
    """Rows that are compared by what they say, since they don't know their line."""
    found = rows.select(*_facts(), hash_of_texts().alias(_TEXT)).collect()
    valid = truth.filter(~_is_malformed()).select(*_FACTS, _TEXT)
    exact, rest, missing = _matched(found, valid.collect(), [*_FACTS, _TEXT])
    altered, rest, missing = _matched(rest, missing, _FACTS)
    dates = truth.filter(pl.col("kind") == INVALID_DATE).collect()
    invalid, _, _ = _matched(rest, dates, ["remote_host", "status", "bytes"])
    return Outcome(
        entries,
        malformed,
        found.height,
        exact=exact,
        altered=altered,
        lost=missing.height,
        accepted=rest.height,
        invalid_dates=invalid,
    )


def _matched(
    rows: pl.DataFrame, lines: pl.DataFrame, keys: list[str]
) -> tuple[int, pl.DataFrame, pl.DataFrame]:
    """Rows and lines of equal keys paired, each once: how many pairs, and what is left of both."""
    key = pl.struct(keys).hash(seed=0)
    place = pl.int_range(pl.len()).over("key")
    mine, theirs = (frame.with_columns(key=key).with_columns(place=place) for frame in (rows, lines))
    on = ["key", "place"]
    left = mine.join(theirs, on=on, how="anti")
    missing = theirs.join(mine, on=on, how="anti")
    return rows.height - left.height, left.drop(on), missing.drop(on)


def _facts() -> Iterable[pl.Expr]:
    return (
        pl.col("remote_host").cast(pl.String),
        pl.col("timestamp").cast(pl.Datetime("us")),
        pl.col("status").cast(pl.Int16),
        pl.col("bytes").cast(pl.Int64),
    )


def _is_malformed() -> pl.Expr:
    return pl.col("kind").cast(pl.String).is_in(MALFORMED_KINDS)
