"""Nothing that stands in a log, or in a file's name, becomes markup, a link, an image or a script in the UI.

What belongs here: a hostile corpus through the real pipeline, looked at in the real UI with a real browser. What
does not: how text is escaped (`test_escaping`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, TimeoutError

from pipeline_assets_tests.end_to_end import hostile
from pipeline_assets_tests.end_to_end.services import Service, end_group, run, start, wait_for
from pipeline_assets_tests.end_to_end.test_ui import PAGE_PATIENCE_S

pytestmark = pytest.mark.long

DAY: Final = datetime.now(UTC).date() - timedelta(days=60)
UNREADABLE: Final = "![x](https:evil.example:p.png) <img src=x onerror=alert(1)> `b` www.evil.example.log"
ASSETS: Final = (
    *(f"bronze/daily/{table}" for table in ("rejected", "requests", "errors")),
    "silver/daily/requests",
    "gold/daily/traffic",
    "publish/daily",
    "serving/traffic_hourly",
    "serving/paths_daily",
    "model/traffic_scores",
)
# Everything that a page makes of text, and where it leads.
FOUND: Final = """() => {
  const own = [...document.querySelectorAll('a[href], [xlink\\\\:href]')]
    .map(a => a.getAttribute('href') || a.getAttribute('xlink:href'));
  return {
    attacked: window.attacked ?? null,
    links: own.filter(h => !/^[/#]/.test(h) && !h.startsWith('https://docs.dagster.io/')
      && !h.startsWith('https://dagster.io/')),
    images: [...document.querySelectorAll('img, image, source, object, embed, iframe, video')]
      .map(i => i.getAttribute('src') || i.getAttribute('href') || i.getAttribute('data') || i.tagName)
      .filter(s => !s.startsWith('/') ),
    handlers: [...document.querySelectorAll('[onerror],[onload],[onmouseover]')].length,
    markup: [...document.querySelectorAll('b, strong, em, h1, h2, li, blockquote, pre')]
      .map(e => e.textContent).filter(t => /^(bold|heading|list|quote|fence)/.test(t)),
    text: document.body.innerText,
  };
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("hostile")
    service = Webserver(folder)
    land(service.world.root)
    ended = run(["pipeline-assets", "run"], service.env, folder / "run.log")
    assert ended.code == 1, ended.err
    with service.running() as running:
        yield running


class Webserver(Service):
    """The pages alone: no daemon that runs anything again while they are looked at."""

    @contextmanager
    def running(self) -> Iterator[Service]:
        port = self.url.rpartition(":")[2]
        command = ["dagster-webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", port]
        process = start(command, self.env, self.log)
        try:
            wait_for("the webserver to come up", self._answers)
            yield self
        finally:
            end_group(process)

    def _answers(self) -> bool:
        try:
            found = self.ask("{repositoriesOrError{... on RepositoryConnection{nodes{name}}}}")
        except (OSError, ValueError):
            return False
        return bool(found["repositoriesOrError"].get("nodes"))


def land(root: Path) -> None:
    """The corpus in one day's folder, and some days later a file that can't be read and has a name."""
    day = root / "logs" / str(DAY)
    day.mkdir(parents=True)
    contents = [hostile.garbage(), hostile.access_log(DAY), hostile.error_log(DAY)]
    for number, name in enumerate(hostile.file_names()):
        # Different first lines: copies would not be shown.
        (day / name).write_bytes(b"%d garbage\n" % number + contents[number % 3])
    (day / "access.log").write_bytes(contents[1])
    later = root / "logs" / str(DAY + timedelta(days=3))
    later.mkdir()
    # A file whose every read fails, also for the superuser.
    (later / UNREADABLE).symlink_to("/proc/self/mem")


class Watched:
    """A page of which every dialog and every request to elsewhere is on record."""

    def __init__(self, page: Page, service: Service) -> None:
        self.page = page
        self.dialogs: list[str] = []
        self.strangers: list[str] = []
        self._home = service.url
        page.set_default_timeout(PAGE_PATIENCE_S * 1000)
        page.on("dialog", self._dismiss)
        page.on("request", self._note)

    def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _note(self, request: Request) -> None:
        own = (self._home, self._home.replace("http", "ws"), "data:image/png", f"blob:{self._home}")
        if not request.url.startswith(own):
            self.strangers.append(request.url)

    def look(self, path: str, until: str) -> dict[str, Any]:
        """What is on a page once it shows that text, with everything opened that can be opened."""
        self.page.goto(f"{self._home}{path}")
        self.page.get_by_text(until).first.wait_for()
        self.page.wait_for_load_state("networkidle")
        for label in ("View full message", "[Show Markdown]", "Show schema"):
            buttons = self.page.get_by_text(label, exact=True)
            if not buttons.count():
                continue
            try:
                buttons.first.click(force=True, timeout=5_000)
            except TimeoutError:
                continue  # the list was drawn anew without that row
            self.page.wait_for_timeout(300)
            self._judge(path)
            self.page.keyboard.press("Escape")
        return self._judge(path)

    def filtered(self, word: str) -> dict[str, Any]:
        """What a run's page shows of the messages with a word."""
        box = self.page.get_by_placeholder("Filter").last
        box.fill(word)
        box.press("Enter")
        self.page.wait_for_timeout(2_000)
        return self._judge(f"messages with {word}")

    def _judge(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(FOUND)
        shown = {name: value for name, value in found.items() if name != "text" and value}
        assert not shown, f"{path}: {json.dumps(shown)[:2000]}"
        assert not self.dialogs, f"{path}: {self.dialogs}"
        assert not self.strangers, f"{path}: {self.strangers}"
        assert "Unexpected GraphQL error" not in found["text"], path
        return found


@pytest.fixture
def watched(browser: Browser, service: Service, tmp_path: Path) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1600, "height": 3000})
    try:
        yield Watched(page, service)
    finally:
        page.screenshot(path=tmp_path / "last.png")
        page.close()


def test_asset_pages_show_hostile_lines_as_text(service: Service, watched: Watched, tmp_path: Path) -> None:
    seen = ""
    for asset in ASSETS:
        for view, until in (
            (f"view=partitions&partition={DAY}", "dagster/uri"),
            ("view=overview", "Columns"),
        ):
            until = "Metadata" if (asset, until) == ("publish/daily", "Columns") else until
            seen += watched.look(f"/assets/{asset}?{view}", until)["text"]
            if asset == "bronze/daily/rejected":
                watched.page.screenshot(path=tmp_path / f"{view[5:13]}.png")
    assert hostile.SEEN in seen
    assert "\u202e" not in seen and "\u200b" not in seen


def test_pages_of_checks_show_hostile_names_as_text(
    service: Service, watched: Watched, tmp_path: Path
) -> None:
    nodes = service.ask("{assetNodes{assetKey{path} assetChecksOrError{... on AssetChecks{checks{name}}}}}")[
        "assetNodes"
    ]
    seen = ""
    for node in nodes:
        path = "/".join(node["assetKey"]["path"])
        if "incremental" in path:
            continue
        for check in node["assetChecksOrError"].get("checks", []):
            page = f"/assets/{path}?view=checks&checkDetail={check['name']}"
            seen += watched.look(page, "Evaluation result")["text"]
            watched.page.screenshot(path=tmp_path / f"{check['name']}.png")
    assert "www.evil.example.log" in seen


def test_runs_and_their_logs_show_hostile_names_as_text(
    service: Service, watched: Watched, tmp_path: Path
) -> None:
    seen = watched.look("/runs", "daily_job")["text"]
    for one in service.runs():
        seen += watched.look(f"/runs/{one.run_id}", f"RUN_{one.status}")["text"]
        # The list of messages draws only what is in sight: look for those with names of files.
        words = ("quarantined",) if one.status == "FAILURE" else ("reading", "Materialized")
        for word in words:
            seen += watched.filtered(word)["text"]
            watched.page.screenshot(path=tmp_path / f"{one.status}-{word}.png")
    assert "www.evil.example.log" in seen
    assert "reading logs/" in seen


@pytest.mark.parametrize(
    "path", ["/assets", "/asset-groups", "/automation", "/overview", "/deployment/daemons"]
)
def test_overviews_show_nothing_of_it_but_text(watched: Watched, path: str) -> None:
    watched.look(path, "Lineage")
