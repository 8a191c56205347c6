"""docs/alerts.md: its examples are understood, and the settings it names exist.

What belongs here: the page against the code. What does not: how the page reads.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline_assets.alerts.sink import open_targets
from pipeline_assets.settings import Settings, variable_of

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = (DOCS / "alerts.md").read_text()
EXAMPLES = {
    "slack": "Slack",
    "logic.azure": "Power Automate / Workflows (for MSTeams)",
    "mailtos": "E-Mail",
    "jsons": "JSON",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_an_address_that_is_understood(name: str) -> None:
    (url,) = [url for url in re.findall(r"^ALERT_URLS='?([^'\n]+)", ALERTS, re.MULTILINE) if name in url]
    (target,) = open_targets(Settings(alert_urls=SecretStr(url)))
    assert target.label == f"1. {EXAMPLES[name]}"


@pytest.mark.parametrize("page", ["alerts.md", "costs.md"])
def test_each_setting_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"\b(?:PIPELINE|ALERT)_[A-Z_0-9]+[A-Z0-9]\b", (DOCS / page).read_text()))
    assert named
    assert named <= {variable_of(name) for name in Settings.model_fields}
