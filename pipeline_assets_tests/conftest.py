"""What holds for all tests: settings of the tools, storages, and the Azurite that serves those in the cloud.

What belongs here: fixtures that several rooms use, and which tests share a worker. What does not: how anything is
started (`azurite`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

from pipeline_assets_tests import azurite as azurite_service
from pipeline_assets_tests.azurite import Azurite
from pipeline_assets_tests.browser import launched
from pipeline_assets_tests.storages import NewStorage, Storage
from pipeline_assets_tests.wheels import InstalledWheel, build_and_install

# How long an example takes says something about the machine, which others use too, and nothing about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins early: begun last, it would leave all but one processor idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Spread tests over the workers one by one, but those together that share what takes seconds to make.

    These are the tests of Spark, and of a file that makes something once for all of them. (The plugin's own
    `loadgroup` does not group under this pytest: it renames tests in a way that pytest 9.2 no longer looks at.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class BySharedThings(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            if "/spark/" in nodeid:
                return "spark"
            file = nodeid.split("::")[0]
            return file if _shares(config.rootpath / file) else nodeid

    return BySharedThings(config, log)


@cache
def _shares(file: Path) -> bool:
    return file.parent.name == "end_to_end" or 'scope="module"' in file.read_text()


@pytest.fixture(scope="session")
def start_azurite() -> Iterator[Callable[[], Azurite]]:
    """One Azurite for the session, started by whoever needs it first.

    Without Node a test that needs it is skipped, except in CI, where that would hide that nothing was tried.
    """
    started: list[Azurite] = []
    with ExitStack() as stack:

        def start() -> Azurite:
            if not started:
                try:
                    started.append(stack.enter_context(azurite_service.running()))
                except azurite_service.NoNodeError as error:
                    if os.environ.get("CI"):
                        raise
                    pytest.skip(str(error))
            return started[0]

        yield start


@pytest.fixture
def azurite(start_azurite: Callable[[], Azurite]) -> Azurite:
    """A running Azurite."""
    return start_azurite()


@pytest.fixture(scope="session")
def installed_wheel(tmp_path_factory: pytest.TempPathFactory) -> InstalledWheel:
    """The wheel of this checkout, built and installed in a folder of its own."""
    return build_and_install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One headless Chromium for a module."""
    with launched() as started:
        yield started


@pytest.fixture
def new_storage(kind: str, tmp_path: Path, start_azurite: Callable[[], Azurite]) -> NewStorage:
    """Makes storages of the kind that the test is run for; each call makes another one."""
    if kind == "azurite":
        service = start_azurite()
        return lambda: Storage.in_account(service.new_account())
    numbers = count()
    return lambda: Storage.in_folder(tmp_path / f"storage-{next(numbers)}")


@pytest.fixture
def storage(new_storage: NewStorage) -> Storage:
    """A storage of the kind that the test is run for."""
    return new_storage()
