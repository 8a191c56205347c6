"""Work that a second thread does while its caller goes on: encoding and writing rows, mostly.

What belongs here: one thread, what waits for it, and how its errors come back. What does not: the work.

Polars and pyarrow let go of the interpreter while they work, so with two threads both processors are used
where one of them would wait for the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Behind:
    """One thread that does one thing after another; the thread is started for the first.

    An error comes back at a later call, and what was handed over after it is done all the same.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._unfinished: deque[Future[None]] = deque()

    def run(self, work: Callable[[], None], most: int = 1) -> None:
        """Hand over something to do, once so few things are unfinished that with it they are at most `most`.

        That bounds what they hold in memory.
        """
        while len(self._unfinished) >= most:
            self._unfinished.popleft().result()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "behind")
        self._unfinished.append(self._thread.submit(work))

    def wait(self) -> None:
        """Return when all is done."""
        while self._unfinished:
            self._unfinished.popleft().result()

    def close(self) -> None:
        """Wait for the thread to end, without raising an error. Nothing may be handed over after it."""
        if self._thread is not None:
            self._thread.shutdown()
