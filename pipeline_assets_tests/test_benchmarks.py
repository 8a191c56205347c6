"""The benchmark's own parts on a small log: what it says of the truth must be the truth."""

from __future__ import annotations

import dataclasses
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.storage.folder_store import FolderStore
from pipeline_assets.storage.tables import read_table
from pipeline_assets_benchmarks import page
from pipeline_assets_benchmarks.contestants import CONTESTANTS
from pipeline_assets_benchmarks.corpus import MALFORMED_KINDS, Corpus, make_corpus, make_log
from pipeline_assets_benchmarks.measuring import ContestantError, Run, measure_code, median
from pipeline_assets_benchmarks.picture import speed_picture
from pipeline_assets_benchmarks.scaling import Section
from pipeline_assets_benchmarks.truth import Outcome, outcome_of
from pipeline_assets_tests.kernel.rebuild import access_line, joined

LINES = 4_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), 1)


def ran(name: str, corpus: Corpus, folder: Path) -> Outcome | None:
    it = CONTESTANTS[name]
    it.run(corpus.gz if it.compressed else corpus.plain, folder)
    return outcome_of(it, folder, corpus)


def test_a_corpus_is_the_same_each_time_and_its_truth_has_every_line(corpus: Corpus, tmp_path: Path) -> None:
    again = make_corpus(tmp_path, 1)
    assert again.plain.read_bytes() == corpus.plain.read_bytes()
    assert make_log(tmp_path / "log", 1).read_bytes() == corpus.plain.read_bytes()
    truth = pl.read_parquet(corpus.truth)
    assert truth["line_number"].to_list() == list(range(1, corpus.lines + 1))
    assert corpus.plain.read_bytes().count(b"\n") == corpus.lines > LINES
    assert set(truth["kind"].cast(pl.String)) >= {*MALFORMED_KINDS, "escaped", "garbage_request", "not_utf8"}
    with pytest.raises(UnicodeDecodeError):
        corpus.plain.read_bytes().decode()


@pytest.mark.parametrize("name", ["ours, bronze", "ours, bronze from gzip"])
def test_bronze_is_found_exact(corpus: Corpus, tmp_path: Path, name: str) -> None:
    found = ran(name, corpus, tmp_path)
    assert found is not None
    assert found.lost == found.altered == found.accepted == 0
    assert found.exact == found.rows == found.entries
    assert found.kept == found.malformed > 0


def test_a_row_that_says_something_else_is_found(corpus: Corpus, tmp_path: Path) -> None:
    ran("ours, bronze", corpus, tmp_path)
    (part,) = tmp_path.glob("bronze/daily/*/requests-*.parquet")
    rows = pl.read_parquet(part)
    changed = pl.int_range(pl.len())
    rows.with_columns(
        user_agent=pl.when(changed < 3).then(pl.lit("x")).otherwise("user_agent"), raw=None
    ).slice(0, rows.height - 2).cast(rows.schema).write_parquet(part)
    found = outcome_of(CONTESTANTS["ours, bronze"], tmp_path, corpus)
    assert found is not None
    assert found.lost == 2
    # Without the bytes beside them, rows of lines that are no UTF-8 don't say what the line said, either.
    assert found.altered is not None
    assert found.altered >= 3


def test_rows_without_a_line_number_are_compared_by_what_they_say(corpus: Corpus, tmp_path: Path) -> None:
    ran("ours, bronze", corpus, tmp_path)
    (part,) = tmp_path.glob("bronze/daily/*/requests-*.parquet")
    it = dataclasses.replace(CONTESTANTS["DuckDB, regex"], package="peer")
    rows = pl.read_parquet(part).filter(pl.col("raw").is_null())
    rows = rows.with_columns(timestamp=pl.col("timestamp").dt.replace_time_zone(None))
    twice = pl.concat([rows, rows.head(1).with_columns(status=pl.lit(999, pl.Int16))])
    twice.with_columns(
        request=pl.when(pl.int_range(pl.len()) < 4).then(pl.lit("y")).otherwise("request")
    ).write_parquet(tmp_path / "rows.parquet")
    found = outcome_of(it, tmp_path, corpus)
    assert found is not None
    assert (found.altered, found.accepted) == (4, 1)
    assert found.lost == found.entries - rows.height


@pytest.mark.parametrize("name", ["DuckDB, regex", "chdb, regex"])
def test_peers_that_are_installed_read_the_corpus(corpus: Corpus, tmp_path: Path, name: str) -> None:
    if CONTESTANTS[name].version is None:
        pytest.skip(f"{CONTESTANTS[name].package} is not installed")
    found = ran(name, corpus, tmp_path)
    assert found is not None
    assert found.altered == found.accepted == found.invalid_dates == 0
    assert found.exact is not None
    assert found.exact > 0.99 * found.entries


def some_visits(folder: Path) -> Path:
    """A Combined log of which SQL must say what serving says, with an hour's zone and visits of some days."""
    draw = random.Random(7)
    agents = ["Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "curl/8.5.0", "-"]
    agents.append("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    targets = ["/", "/a", "/a?q=1", "/a#b", "/b.CSS?x", "/c.png", "/d/e.html?f=g.png", "/nothing/here"]
    moment = datetime(2025, 12, 16, 20, tzinfo=timezone(timedelta(hours=1)))
    lines = []
    for _ in range(3_000):
        # No two at one moment, for SQL can't tell which of them came first.
        moment += timedelta(seconds=draw.choice([1, 2, 3, 20, 60]) if draw.random() < 0.995 else 2_000)
        status = draw.choice(["200", "200", "301", "404", "500"])
        referer = draw.choice(["-", "https://example.org/x?y=z", "https://www.example.net/"])
        lines.append(
            access_line(
                host=f"192.0.2.{draw.randint(1, 9)}",
                time=f"{moment:%d/%b/%Y:%H:%M:%S %z}",
                request=f"{draw.choice(['GET', 'POST'])} {draw.choice(targets)} HTTP/1.1",
                status=status,
                bytes=draw.choice(["-", "0", "15", "16", "1234", "99999"]),
                tail=f' "{referer}" "{draw.choice(agents)}"',
            )
        )
    path = folder / "access.log"
    path.write_bytes(joined(lines))
    return path


def test_sql_says_what_serving_says(tmp_path: Path) -> None:
    log = some_visits(tmp_path)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for name, folder in (("ours, the whole way", ours), ("DuckDB, serving", theirs)):
        folder.mkdir()
        CONTESTANTS[name].run(log, folder)
    compared = {part.stem for part in theirs.iterdir()} - {"sizes_daily"}  # whose buckets are its own
    assert len(compared) == 10
    for table in compared:
        said = pl.read_parquet(theirs / f"{table}.parquet")
        wanted = read_table(FolderStore(ours), table).select(said.columns).collect()
        if table == "visits_daily":
            assert wanted.height > 100
        # A day that only GoAccess counts has none of our counts, and a Referer that is none has no host.
        said = said.with_columns(pl.selectors.numeric().fill_null(0), pl.selectors.string().fill_null(""))
        wanted = wanted.with_columns(pl.selectors.string().fill_null(""))
        wanted = wanted.with_columns(pl.selectors.datetime().dt.replace_time_zone(None))
        assert_frame_equal(said.cast(wanted.schema), wanted, check_row_order=False)


def test_a_process_is_measured_by_itself() -> None:
    holding = bytearray(200_000_000)
    run = measure_code("x = bytearray(30_000_000)")
    assert len(holding) > run.peak_bytes > 30_000_000
    with pytest.raises(ContestantError, match="wrong"):
        measure_code("raise SystemExit('wrong')")


def test_the_page_has_every_table() -> None:
    runs = [Run(4.0, 2.0, 10**8), Run(2.0, 1.0, 10**8), Run(9.0, 8.0, 10**8)]
    assert median(runs) == Run(4.0, 2.0, 10**8)
    results = [
        page.Result(
            CONTESTANTS[name], Run(1.0, cpu, 10**8), 10**9, 5 * 10**6, Outcome(10, 2, 9, 8, 1, 1, 0, 0)
        )
        for name, cpu in (("ours, bronze", 2.0), ("ours, accelerated", 1.2), ("DuckDB, read_csv", 3.0))
    ]
    section = Section("Growth", "It grows.", ("n", "CPU s"), lambda scale: [("1", "2")])
    made = page.Page("make bench", 1, 3, ("0.1", "0.2"), [("cores", "2")], [("polars", "2")])
    made.tables += [
        page.speed_table(results),
        page.outcome_table(results),
        page.shares_table({"reading": 1.0, "writing": 3.0}, 10),
        page.import_table(Run(1, 2.0, 10**8), Run(1, 2.5, 10**8)),
        page.Table(section.title, section.says, section.headings, [("1", "2")]),
    ]
    text = made.markdown()
    assert "| DuckDB, read_csv | typed Parquet | 1,000 | 5,000 | 333 | 3.0 | 100 | 1.50 | 2.50 |" in text
    assert "| writing | 3.00 | 75 % |" in text
    assert "1.25" in text
    assert "## Growth" in text
    assert f"({page.PICTURE})" in text


def test_the_picture_has_a_bar_for_each_and_says_what_became_of_the_lines() -> None:
    outcomes = {
        "ours, bronze": Outcome(10, 2, 10, 10, 0, 0, 0, 0, 2, line_numbers=True),
        "DuckDB, read_csv": Outcome(10, 2, 9, 8, 1_234, 1, 0, 0),
        "GoAccess": Outcome(10, 2, 9),
        "DuckDB, serving": None,
    }
    results = [
        page.Result(CONTESTANTS[name], Run(1.0, 4.0, 10**8), 10**9, 5 * 10**6, outcome)
        for name, outcome in outcomes.items()
    ]
    drawn = ElementTree.fromstring(speed_picture(results))
    texts = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert texts >= {*outcomes} - {"DuckDB, serving"}
    assert texts >= {
        "250 · every line accounted for",
        "250 · 1 entries lost, 1,234 altered",
        "250 · no rows, a report alone",
    }
    assert "DuckDB, serving" not in texts


def test_a_part_of_the_page_is_written_anew() -> None:
    def table(title: str, cell: str) -> page.Table:
        return page.Table(title, f"what {title} says", ("file", "MB"), [(cell, "1")])

    def of(*tables: page.Table) -> str:
        return page.Page("make bench", 10, 1, ("0", "0"), [], [], list(tables)).markdown()

    parts = [table(title, "old") for title in ("Size", "Size of a file", "Last")]
    for number, part in enumerate(parts):
        anew = table(part.title, "new")
        expected = of(*parts[:number], anew, *parts[number + 1 :])
        assert page.with_part_anew(of(*parts), anew) == expected
    with pytest.raises(ValueError, match="no part 'Other'"):
        page.with_part_anew(of(*parts), table("Other", "new"))
