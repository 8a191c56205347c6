"""Fixtures of the end-to-end tests: one running service for each module, as each start costs many seconds.

What belongs here: fixtures. What does not: how things are started and ended (`services`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline_assets_tests.end_to_end.services import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")).running() as running:
        yield running
