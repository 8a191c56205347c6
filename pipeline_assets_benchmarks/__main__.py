"""The benchmark: `python -m pipeline_assets_benchmarks` (or `make bench`).

What belongs here: the command line, and the order in which figures are taken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pipeline_assets_benchmarks import machine, page
from pipeline_assets_benchmarks.contestants import CONTESTANTS, Contestant
from pipeline_assets_benchmarks.corpus import Corpus, make_corpus
from pipeline_assets_benchmarks.measuring import CHECKOUT, Run, measure_code, measure_module, median
from pipeline_assets_benchmarks.picture import speed_picture
from pipeline_assets_benchmarks.scaling import SECTIONS, Scale, Section
from pipeline_assets_benchmarks.truth import Outcome, outcome_of

_SMALL_MB: Final = 30
_IMPORTS: Final = 5
# Of the profile, whose shares don't depend on the size beyond this.
_PROFILE_MB: Final = 250

Say = Callable[[str], None]


def main() -> None:
    """Take all figures, print them, and write the page if one is asked for."""
    parser = argparse.ArgumentParser(prog="pipeline_assets_benchmarks", description=__doc__)
    parser.add_argument("--mb", type=int, default=1000, help="size of the log")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant")
    parser.add_argument(
        "--small", action="store_true", help="a quick look: a small log, one run, nothing written"
    )
    parser.add_argument("--only", action="append", help="only contestants with this in their name")
    parser.add_argument("--section", action="append", help="only sections with this in their title")
    parser.add_argument("--large", action="store_true", help="by Spark, a log of 16 times the size too")
    parser.add_argument("--no-scaling", action="store_true", help="leave out how costs grow")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".benchmarks", help="where to work")
    parser.add_argument("--write", type=Path, help="the page to write")
    chosen = parser.parse_args()
    scale = Scale(
        chosen.folder.resolve(), _SMALL_MB if chosen.small else chosen.mb, chosen.small, chosen.large
    )
    target: Path | None = None if chosen.small else chosen.write
    if chosen.section:
        for section in SECTIONS:
            if any(part in section.title for part in chosen.section):
                table = _section(section, scale)
                print(page.terminal_table(table), flush=True)
                if target:
                    target.write_text(page.with_part_anew(target.read_text(), table))
        return
    rounds = 1 if chosen.small else chosen.rounds
    made = _take(scale, rounds, chosen.only, scaling=not chosen.no_scaling)
    if target:
        target.write_text(made.markdown())
        target.with_name(page.PICTURE).write_text(speed_picture(made.results))
        _say(f"wrote {target}")


def _take(scale: Scale, rounds: int, only: list[str] | None, *, scaling: bool) -> page.Page:
    before = machine.load()
    tables: list[page.Table] = []

    def add(table: page.Table) -> None:
        tables.append(table)
        print(page.terminal_table(table), flush=True)

    chosen = [
        it
        for it in CONTESTANTS.values()
        if it.version and (not only or any(part in it.name for part in only))
    ]
    results = compete(scale, chosen, rounds, _say)
    add(page.speed_table(results))
    add(page.outcome_table(results))
    if scaling:
        profiled = min(scale.mb, _PROFILE_MB)
        _say("where the time goes")
        make_corpus(scale.folder, profiled)
        add(page.shares_table(scale.run("stages", profiled)[1]["seconds"], profiled))
        add(_imports(1 if scale.small else _IMPORTS))
        for section in SECTIONS:
            if scale.small and section.takes_minutes:
                continue
            add(_section(section, scale))
    return page.Page(
        command="make bench" + ("" if scale.mb == 1000 else f" SIZE={scale.mb}"),
        mb=scale.mb,
        rounds=rounds,
        load=(before, machine.load()),
        machine=machine.machine(),
        versions=machine.versions(),
        tables=tables,
        results=results,
        absent=sorted({it.package for it in CONTESTANTS.values() if not it.version}),
    )


def compete(scale: Scale, contestants: list[Contestant], rounds: int, say: Say) -> list[page.Result]:
    """Let the contestants take turns; the median of each, and what became of the lines in its last run."""
    corpora: dict[str, Corpus] = {}
    for it in contestants:
        mb = min(scale.mb, it.mb or scale.mb)
        say(f"{mb} MB of log for {it.name}")
        corpora[it.name] = make_corpus(scale.folder, mb)
    runs: dict[str, list[Run]] = {it.name: [] for it in contestants}
    outcomes: dict[str, Outcome | None] = {}
    for number in range(rounds):
        for it in contestants:
            say(f"round {number + 1} of {rounds}: {it.name}")
            corpus = corpora[it.name]
            folder = scale.empty_folder()
            source = corpus.gz if it.compressed else corpus.plain
            runs[it.name].append(measure_module("contestants", it.name, source, folder))
            if number == rounds - 1:
                outcomes[it.name] = outcome_of(it, folder, corpus)
    return [
        page.Result(
            it, median(runs[it.name]), corpora[it.name].bytes, corpora[it.name].lines, outcomes[it.name]
        )
        for it in contestants
    ]


def _section(section: Section, scale: Scale) -> page.Table:
    _say(section.title.lower())
    return page.Table(section.title, section.says, section.headings, section.rows(scale))


def _imports(times: int) -> page.Table:
    codes = ("import dagster, polars", "import pipeline_assets.definitions")
    taken = [[measure_code(code) for code in codes] for _ in range(times)]
    libraries, definitions = (median(runs) for runs in zip(*taken, strict=True))
    return page.import_table(libraries, definitions)


def _say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
