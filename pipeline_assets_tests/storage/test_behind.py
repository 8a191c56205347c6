"""What a second thread does comes in order, is bounded, and fails where its caller sees it."""

from __future__ import annotations

import threading

import pytest

from pipeline_assets.storage.behind import Behind


def test_things_are_done_in_order_and_at_most_some_are_unfinished() -> None:
    behind, may_go_on, done = Behind(), threading.Event(), list[int]()

    def work(number: int) -> None:
        may_go_on.wait()
        done.append(number)

    for number in range(3):
        behind.run(lambda number=number: work(number), most=3)  # type: ignore[misc]
    assert done == []
    may_go_on.set()
    behind.run(lambda: done.append(3))
    assert done[:3] == [0, 1, 2]
    behind.wait()
    assert done == [0, 1, 2, 3]
    behind.close()


def test_an_error_comes_back_once() -> None:
    behind = Behind()

    def fail() -> None:
        raise OSError("full")

    behind.run(fail)
    with pytest.raises(OSError, match="full"):
        behind.wait()
    behind.wait()
    behind.run(fail)
    with pytest.raises(OSError, match="full"):
        behind.run(lambda: None)
    behind.close()
