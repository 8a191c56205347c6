"""Work that a second thread does while its caller goes on: encoding and writing rows, mostly.

What belongs here: one thread, what waits for it, and how its errors come back. What does not: the work.

Polars and pyarrow let go of the interpreter while they work, so with two threads both processors are used
where one of them would wait for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Behind:
    """One thread that does one thing after another; the thread is started for the first.

    Who hands over one more waits for the one before, so what they hold in memory is bounded. An error comes
    back at the next call.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._unfinished: Future[None] | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Hand over something to do, once what was handed over before is done."""
        self.wait()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "behind")
        self._unfinished = self._thread.submit(work)

    def wait(self) -> None:
        """Return when all is done."""
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            unfinished.result()

    def close(self) -> None:
        """Wait for the thread to end, without raising an error. Nothing may be handed over after it."""
        if self._thread is not None:
            self._thread.shutdown()
