"""What a second thread does comes in order, and fails where its caller sees it."""

from __future__ import annotations

import threading

import pytest

from pipeline_assets.storage.behind import Behind


def test_one_thing_is_done_after_the_other_while_the_caller_goes_on() -> None:
    behind, may_go_on, done = Behind(), threading.Event(), list[int]()

    def first() -> None:
        may_go_on.wait()
        done.append(1)

    behind.run(first)
    assert done == []
    may_go_on.set()
    behind.run(lambda: done.append(2))
    assert done[0] == 1
    behind.wait()
    assert done == [1, 2]
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
