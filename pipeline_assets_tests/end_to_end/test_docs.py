"""The commands in the documentation, run word for word in a copy of the checkout.

What belongs here: finding the commands, and running those of a page in order in one shell. What does not: what
they must do (the other tests); here it is enough that they succeed.

- Fenced blocks of `sh` and `python` run. A block that can't is marked by a comment above it,
  `<!-- not run: why -->`, and listed here.
- What never ends, such as `make ui`, is started, waited for, and ended.
- Folders of a server's logs (`/var/log/nginx`) are folders of the test's own.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pytest

from pipeline_assets_tests.end_to_end.lines import access_lines
from pipeline_assets_tests.end_to_end.services import CHECKOUT, end_group, environment

pytestmark = pytest.mark.slow

NOT_RUN: Final = {
    "alerts.md": {"needs an account there", "needs ALERT_URLS"},
    "azure.md": {"needs an Azure account", "an emulator that never ends; tests of its own run it"},
    "databricks.md": {"needs a workspace"},
    "your-logs.md": {"needs root"},
    "operations.md": {
        "needs root and systemd",
        "needs ALERT_URLS",
        "changes the checkout",
        "needs an Azure account",
    },
}
# Commands of a block that are left out, and why: this test is part of what they run.
LEFT_OUT: Final = re.compile(r"make (test|test-fast|test-all|lint)\b")
ENDLESS: Final = re.compile(r"(make ui|dagster-webserver)\b")
SERVERS: Final = ("/var/log/nginx", "/var/log/apache2")
_COPIED: Final = shutil.ignore_patterns(
    ".venv", ".git", "data", ".dagster", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "build",
    "node_modules", ".azurite",
)  # fmt: skip
_PATIENCE_S: Final = 1800  # for a machine that is busy with something else
_PRELUDE: Final = "set -euo pipefail"
# Other pages are read by people who have run it once.
_FIRST_PAGES: Final = ("README.md", "docs/tutorial.md")
_RUN_ONCE: Final = "test -d data/serving/traffic_hourly || make run"
_UNTIL_UP: Final = 'python -m pipeline_assets_tests.end_to_end.until_up "http://127.0.0.1:$PORT/server_info"'


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, where it begins, its lines, and why it can't run (empty: it can)."""

    language: str
    line: int
    text: str
    why_not: str


def blocks_of(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    above, language, begin, why_not = "", None, 0, ""
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if language is None and (fence := re.fullmatch(r"```(\w*)", line)):
            marked = re.fullmatch(r"<!-- not run: (.+) -->", above)
            language, begin, lines = fence[1], number, []
            why_not = marked[1] if marked else ""
        elif language is not None and line == "```":
            yield Block(language, begin, "\n".join(lines), why_not)
            language = None
        elif language is not None:
            lines.append(line)
        if line.strip():
            above = line
    assert language is None, f"the fence of line {begin} is not closed"


def runnable(page: str) -> list[Block]:
    found = blocks_of((CHECKOUT / page).read_text())
    return [block for block in found if block.language in ("sh", "python") and not block.why_not]


DOCS: Final = ("README.md", *(f"docs/{path.name}" for path in sorted((CHECKOUT / "docs").glob("*.md"))))
PAGES: Final = [page for page in DOCS if runnable(page)]


def test_the_pages_for_users_hold_commands() -> None:
    assert {"README.md", "docs/tutorial.md", "docs/your-logs.md", "docs/operations.md"} <= set(PAGES)


def test_blocks_that_are_not_run_are_few_and_listed() -> None:
    found: dict[str, set[str]] = {}
    for page in DOCS:
        for block in blocks_of((CHECKOUT / page).read_text()):
            if block.why_not:
                found.setdefault(page.removeprefix("docs/"), set()).add(block.why_not)
            assert block.language or not re.search(r"^\s*(make|pipeline-assets|sudo) ", block.text, re.M), (
                f"{page}:{block.line}: commands in a block without a language are never run"
            )
    assert found == NOT_RUN


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with the tests' own `.venv`, and logs of a server."""
    if not (Path(sys.prefix) / "installed").exists():
        assert not os.environ.get("CI"), "in CI the commands of the docs must be run: use make"
        pytest.skip("the Python of the tests is not the .venv that make has made")
    copy = tmp_path_factory.mktemp("docs") / "pipeline-assets"
    shutil.copytree(CHECKOUT, copy, ignore=_COPIED)
    (copy / ".venv").symlink_to(sys.prefix)
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        os.utime(copy / name, (0, 0))  # older than what was installed by them
    for server in SERVERS:
        folder = copy.parent / server.lstrip("/")
        folder.mkdir(parents=True)
        for number, ending in enumerate(("", ".1")):
            lines = access_lines([date(2024, 2, 20 - number)], 50, seed=f"{server}{number}")
            (folder / f"access.log{ending}").write_bytes(lines)
    return copy


def script_of(page: str, checkout: Path) -> str:
    """All commands of a page as one script, which says before each block where it stands."""
    lines = [_PRELUDE, *([] if page in _FIRST_PAGES else [_RUN_ONCE])]
    for block in runnable(page):
        lines.append(f"echo '== {page}:{block.line}'")
        if block.language == "python":
            program = checkout.parent / f"block-{block.line}.py"
            program.write_text(block.text)
            lines.append(f"python {program}")
            continue
        for command in block.text.splitlines():
            if not LEFT_OUT.match(command):
                lines.append(f"{_UNTIL_UP} {command}" if ENDLESS.match(command) else command)
    script = "\n".join(lines) + "\n"
    for server in SERVERS:
        script = script.replace(server, f"{checkout.parent}{server}")
    return script


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_succeed(page: str, checkout: Path) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(checkout / "data", checkout / ".dagster", PORT=str(port), PYTHONPATH=str(checkout))
    script = checkout.parent / f"{page.replace('/', '-')}.sh"
    script.write_text(script_of(page, checkout))
    log = script.with_suffix(".log")
    answers = checkout.parent / "answers"
    answers.write_text("y\n" * 100)  # for commands that ask whether to go on
    with log.open("wb") as out, answers.open("rb") as stdin:
        process = subprocess.Popen(
            ["bash", str(script)],
            cwd=checkout,
            env=env,
            stdin=stdin,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(_PATIENCE_S)
        finally:
            end_group(process)
    assert code == 0, f"{page}: exit code {code}\n{log.read_text(errors='replace')[-4000:]}"
