"""Who takes part: each reads a landed file in a process of its own, in its own best settings.

What belongs here: one function a contestant, from the landed file to what it writes, and where it can run.
What does not: the peers' SQL (`sql`, `serving_sql`), and taking the time (`measuring`).

    python -m pipeline_assets_benchmarks.contestants NAME SOURCE FOLDER

runs one of them once. Heavy imports are inside of the functions, so that nobody pays for somebody else's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from pipeline_assets.storage.memory import end_quickly, own_process

ROWS: Final = "rows.parquet"
GOACCESS_REPORT: Final = "report.json"

Task = Literal["typed Parquet", "serving tables", "its own report"]


@dataclass(frozen=True)
class Contestant:
    """One way of reading a landed log: `run(source, folder)` writes into an empty folder.

    `task` is what comes out, `package` what must be installed, `mb` the largest corpus that it is given, and
    `ours` says that it is this pipeline, whatever it needs besides.
    """

    name: str
    task: Task
    run: Callable[[Path, Path], None]
    package: str
    compressed: bool = False
    mb: int | None = None
    ours: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it is this pipeline."""
        return self.ours or self.package == "pipeline-assets"

    @property
    def version(self) -> str | None:
        """The version of what is measured; None where it is not installed."""
        if self.package == "goaccess":
            return _goaccess_version()
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


def _bronze(source: Path, folder: Path) -> None:
    from pipeline_assets_benchmarks.whole_way import landed, to_bronze

    to_bronze(landed(source, folder))


def _accelerated_bronze(source: Path, folder: Path) -> None:
    from pipeline_assets_benchmarks.whole_way import landed, to_bronze

    to_bronze(landed(source, folder, accelerator=True))


def _serving(source: Path, folder: Path) -> None:
    from pipeline_assets_benchmarks.whole_way import landed, to_serving

    to_serving(landed(source, folder))


def _accelerated_serving(source: Path, folder: Path) -> None:
    from pipeline_assets_benchmarks.whole_way import landed, to_serving

    to_serving(landed(source, folder, accelerator=True))


def _duckdb(*statements: str) -> None:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false")
    for statement in statements:
        connection.execute(statement)


def _duckdb_csv(source: Path, folder: Path) -> None:
    from pipeline_assets_benchmarks import sql

    _duckdb(sql.duckdb_csv(source, folder / ROWS))


def _duckdb_regex(source: Path, folder: Path) -> None:
    from pipeline_assets_benchmarks import sql

    _duckdb(sql.duckdb_regex(source, folder / ROWS))


def _duckdb_serving(source: Path, folder: Path) -> None:
    from pipeline_assets_benchmarks.serving_sql import duckdb_serving

    _duckdb(*duckdb_serving(source, folder))


def _chdb_split(source: Path, folder: Path) -> None:
    import chdb

    from pipeline_assets_benchmarks import sql

    chdb.query(sql.chdb_split(source, folder / ROWS))


def _chdb_regex(source: Path, folder: Path) -> None:
    import chdb

    from pipeline_assets_benchmarks import sql

    chdb.query(sql.chdb_regex(source, folder / ROWS))


def _goaccess(source: Path, folder: Path) -> None:
    subprocess.run(
        [
            *("goaccess", str(source), "--log-format=COMBINED", "--no-global-config", "--no-progress"),
            *("--no-query-string", "-o", str(folder / GOACCESS_REPORT)),
        ],
        check=True,
        capture_output=True,
    )


def _goaccess_version() -> str | None:
    program = shutil.which("goaccess")
    if program is None:
        return None
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return said.split()[2].rstrip(".") if len(said.split()) > 2 else None


CONTESTANTS: Final = {
    it.name: it
    for it in (
        Contestant("ours, bronze", "typed Parquet", _bronze, "pipeline-assets"),
        Contestant("ours, bronze from gzip", "typed Parquet", _bronze, "pipeline-assets", compressed=True),
        Contestant("ours, accelerated", "typed Parquet", _accelerated_bronze, "numba", ours=True),
        Contestant(
            "ours, accelerated, from gzip",
            *("typed Parquet", _accelerated_bronze, "numba"),
            compressed=True,
            ours=True,
        ),
        Contestant("DuckDB, read_csv", "typed Parquet", _duckdb_csv, "duckdb"),
        Contestant("DuckDB, regex", "typed Parquet", _duckdb_regex, "duckdb"),
        Contestant("chdb, splitByChar", "typed Parquet", _chdb_split, "chdb"),
        Contestant("chdb, regex", "typed Parquet", _chdb_regex, "chdb"),
        # A gigabyte would take it minutes; its rate is the same from 50 MB on.
        Contestant("GoAccess", "its own report", _goaccess, "goaccess", mb=100),
        Contestant("ours, the whole way", "serving tables", _serving, "pipeline-assets"),
        Contestant(
            "ours, the whole way, accelerated", "serving tables", _accelerated_serving, "numba", ours=True
        ),
        Contestant("DuckDB, serving", "serving tables", _duckdb_serving, "duckdb"),
    )
}


if __name__ == "__main__":
    # As the pipeline's own commands do, for all alike.
    end_quickly()
    contestant = CONTESTANTS[sys.argv[1]]
    if contestant.is_ours:
        own_process()
    contestant.run(Path(sys.argv[2]), Path(sys.argv[3]))
