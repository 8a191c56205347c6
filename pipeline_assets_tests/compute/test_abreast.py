"""Things done two at a time come back in their order, and are not all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier, active_count

import pytest

from pipeline_assets.compute.abreast import abreast


def test_two_are_worked_on_at_once_and_come_back_in_their_order() -> None:
    both = Barrier(2, timeout=60)

    def work(number: int) -> int:
        both.wait()  # neither goes on without the other
        return number * number

    assert list(abreast(work, range(6))) == [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_no_more_are_asked_for_than_are_worked_on(at_once: int) -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            asked.append(number)
            yield number

    seen = []
    for done in abreast(lambda number: number, items(), at_once=at_once):
        assert len(asked) <= done + 1 + max(at_once, 1)
        seen.append(done)
    assert seen == list(range(9))


def test_one_alone_needs_no_thread() -> None:
    before = active_count()
    assert [found - before for found in abreast(lambda _: active_count(), ["only"])] == [0]


@pytest.mark.parametrize("broken", range(4))
def test_an_error_is_raised_in_its_turn(broken: int) -> None:
    def work(number: int) -> int:
        if number == broken:
            raise ValueError(number)
        return number

    seen = []
    with pytest.raises(ValueError, match=f"^{broken}$"):
        for each in abreast(work, range(4)):
            seen.append(each)
    assert seen == list(range(broken))
