"""A moment of fuzzing, the same in every run. `make fuzz` runs it for longer, and each time on other files."""

from __future__ import annotations

from pipeline_assets_tests.kernel import fuzz


def test_every_line_of_the_corpus_is_what_it_is_said_to_be() -> None:
    content = b"\n".join(fuzz.CORPUS) + b"\n"
    facts = fuzz.check(content, 1 << 24)
    fuzz.check_ways(content)
    assert len(facts.formats) > 15
    # The line of the other fields, the mark that is not the first, and the last.
    assert (facts.rejected, facts.blank, facts.comment) == (3, 2, 3)


def test_damaged_files_lose_no_byte_and_raise_nothing() -> None:
    total = fuzz.run(20_000, seed=1)
    assert min(total[fate] for fate in ("parsed", "continuation", "rejected", "blank", "comment")) > 100
