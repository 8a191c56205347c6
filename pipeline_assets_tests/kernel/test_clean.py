"""Cleaning rows of bronze, whatever their texts come as."""

from __future__ import annotations

import io
import random

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.kernel import clean
from pipeline_assets.kernel.clean import REQUESTS_FROM_BRONZE, clean_requests, clean_table
from pipeline_assets.kernel.parse import FileReader, ReadOptions
from pipeline_assets.kernel.schemas import BRONZE_REQUESTS
from pipeline_assets.kernel.texts_by_number import Texts
from pipeline_assets_tests.kernel.rebuild import access_line, joined


@pytest.mark.parametrize("formats", [1, 2])
@pytest.mark.parametrize("sites", [1, 2])
def test_cleaned_rows_are_the_same_whether_their_texts_are_dictionaries_or_not(
    sites: int, formats: int
) -> None:
    generator = random.Random(7)
    referers = ("-", "", "https://www.google.com/search?q=a+b", "http://a.example/x", r"http://b/\"q\"")
    agents = ("-", "", "curl/8.5.0", "Googlebot/2.1", r"a \"b\"")
    targets = ("/", "/a.css?x#y", "/a?b?c", "/ä.PNG", r"/\x41")
    lines = [
        access_line(
            vhost=f"{'ab'[number % sites]}.example ",
            request=f"GET {generator.choice(targets)} HTTP/1.1",
            status=generator.choice(("200", "404", "999")),
            tail=f' "{generator.choice(referers)}" "{generator.choice(agents)}"',
        )
        for number in range(200)
    ]
    (chunk,) = FileReader(io.BytesIO(joined(lines)), "logs/x/a.log", ReadOptions())
    bronze = chunk.requests.head(len(lines))
    if formats > 1:
        # What another server has written says a backslash where it says one.
        is_other = pl.int_range(pl.len()) % 3 == 0
        bronze = bronze.with_columns(format=pl.when(is_other).then(pl.lit("json")).otherwise("format"))
    plain = clean_requests(bronze.lazy()).collect()
    assert plain.height == len(lines)
    assert plain["site"].n_unique() == sites
    assert plain["user_agent"].str.contains("\\", literal=True).any() == (formats > 1)
    columns = {
        name: column.dictionary_encode() if pa.types.is_large_string(column.type) else column
        for name, column in zip(
            REQUESTS_FROM_BRONZE,
            bronze.select(REQUESTS_FROM_BRONZE).to_arrow(compat_level=pl.CompatLevel.oldest()).columns,
            strict=True,
        )
    }
    found = clean_table(pa.table(columns))
    assert pa.types.is_dictionary(found.schema.field("query").type)
    assert_frame_equal(pl.DataFrame(found.to_pydict(), schema=plain.schema), plain)


def test_referers_are_asked_of_the_sites_that_they_come_with_and_of_no_others() -> None:
    # Each row has a site and a Referer of its own, as clients may choose them; every other one is its site's.
    rows = 3_000
    names = [f"s{number}.example" for number in range(rows)]
    pages = pl.Series([f"https://{name if n % 2 else 'www.example.org'}/{n}" for n, name in enumerate(names)])
    place, referers, sites = clean._coming_together(Texts.of(pages), Texts.of(pl.Series(names)))
    assert len(referers) == len(sites) == rows
    assert sorted(place) == list(range(rows))
    requests = (
        BRONZE_REQUESTS.empty()
        .clear(rows)
        .with_columns(
            site=pl.Series(names),
            referer=pages,
            source_file=pl.lit("logs/x"),
            format=pl.lit("vhost_combined"),
        )
    )
    kinds = clean_requests(requests.lazy()).collect()["referrer_kind"].cast(pl.String)
    assert kinds[1::2].unique().to_list() == ["own"]
    assert kinds[::2].unique().to_list() == ["other"]
