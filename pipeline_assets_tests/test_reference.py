"""The reference pages say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_assets import reference
from pipeline_assets.kernel import schemas
from pipeline_assets.reference import pages, write_pages
from pipeline_assets.settings import Settings, project_root, variable_of

DOCS = project_root() / "docs"


@pytest.mark.parametrize("name", ["configuration.md", "tables.md"])
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], f"docs/{name} is stale: run `make docs`"


def test_every_setting_is_in_the_reference_with_its_help_and_default() -> None:
    page = pages()["configuration.md"]
    for name, field in Settings.model_fields.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{variable_of(name)}` |")]
        assert field.description, f"{name} has no help"
        assert len(row.split(" | ")) == 4, row
    assert "| `PIPELINE_SETTLE_SECONDS` | number, at least 0 | `1.0` | How long a file must" in page


def test_a_setting_with_a_check_of_its_own_says_what_it_accepts() -> None:
    checked = {
        field
        for check in Settings.__pydantic_decorators__.field_validators.values()
        for field in check.info.fields
    }
    assert checked <= reference._FORMS.keys()
    assert reference._FORMS.keys() <= Settings.model_fields.keys()


def test_every_table_and_column_is_in_the_reference() -> None:
    page = pages()["tables.md"]
    tables = [value for value in vars(schemas).values() if isinstance(value, schemas.Table)]
    assert len(tables) > 10
    for table in tables:
        _, _, rest = page.partition(f"### {table.layer}/{table.name}\n")
        section = rest.partition("\n### ")[0].partition("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert [row.split("`")[1] for row in rows] == table.column_names, table.name
        assert all(len(row.split(" | ")) == 4 for row in rows), table.name


def test_no_text_breaks_a_table_or_becomes_markup() -> None:
    assert reference._escaped("a|b <script> *x*") == r"a\|b &lt;script> \*x\*"


def test_pages_that_are_current_are_not_written_again(tmp_path: Path) -> None:
    assert len(write_pages(tmp_path)) == 2
    assert write_pages(tmp_path) == []
    (tmp_path / "tables.md").write_text("stale")
    assert write_pages(tmp_path) == [tmp_path / "tables.md"]
