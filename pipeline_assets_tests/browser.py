"""A headless Chromium for the tests that look at pages.

What belongs here: finding and starting it. What does not: which pages, and what they must show.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from playwright.sync_api import Browser, sync_playwright

_CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
# Without a sandbox, as the superuser has none, and without anything of its own that would go to the network.
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser until the block ends.

    Without Chromium the test is skipped, except in CI, where that would hide that nothing was looked at.
    """
    if _CHROMIUM is None:
        if os.environ.get("CI"):
            raise RuntimeError("no Chromium is installed; in CI the pages must be looked at")
        pytest.skip("no Chromium is installed")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=_CHROMIUM, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
