"""Some things done at a time, in threads: Polars and pyarrow compute without Python's lock.

What belongs here: how many, and in which order what they give comes back. What does not: what is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Final, TypeVar

# A frame keeps Polars' own threads busy for half of the time or so, two keep them busy for nearly all of it.
# More would only be in memory.
_ABREAST: Final = 2

Item = TypeVar("Item")
Result = TypeVar("Result")


def abreast(
    work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int = _ABREAST
) -> Iterator[Result]:
    """What `work` gives for each item, in the items' order; while one is taken, others are worked on.

    No more items are in memory than are worked on. For a single one no thread is started. What is raised for
    an item is raised in its turn, when others that have begun are done.
    """
    waiting = iter(items)
    first = list(islice(waiting, 2))
    if len(first) < 2:
        yield from map(work, first)
        return
    ahead = chain(taken(first), waiting)
    with ThreadPoolExecutor(at_once, "abreast") as pool:
        running = deque(pool.submit(work, item) for item in islice(ahead, at_once))
        while running:
            done = [running.popleft().result()]
            running.extend(pool.submit(work, item) for item in islice(ahead, 1))
            yield done.pop()  # whoever takes it lets go of it


def taken(items: list[Item]) -> Iterator[Item]:
    """The items in their order; each is let go of when the next is asked for."""
    items.reverse()
    while items:
        yield items.pop()
