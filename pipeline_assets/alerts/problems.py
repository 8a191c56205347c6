"""Problems: the things that somebody should be told of.

What belongs here: what a problem is, and the words for each kind of it. What does not: finding one
(`automation.watch`), and when it is told (`alerts.state`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Kind = Literal["storage", "run", "stuck", "late", "quarantined", "check", "rejects", "model"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

# Kinds that stay until somebody does something: of these one is reminded ...
REMINDED: Final[frozenset[Kind]] = frozenset({"storage", "stuck", "late", "quarantined"})
# ... and kinds whose end is news. Rejected lines and incidents only become old.
WITH_AN_END: Final[frozenset[Kind]] = REMINDED | {"run", "check"}
# The others are only warnings.
ERRORS: Final[frozenset[Kind]] = frozenset({"storage", "run", "stuck", "late", "quarantined"})


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    `key` is the same as long as it is the same problem: who was told of a key is not told again. `text` may
    hold names and lines that strangers wrote; `run_id` is the run whose page says more; `about` is for
    finding out whether it is over.
    """

    key: str
    kind: Kind
    text: str
    run_id: str | None = None
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Words:
    """A kind of problem in words: a heading for one and for several, and what to do."""

    one: str
    several: str
    advice: str


WORDS: Final[dict[Kind, Words]] = {
    "storage": Words("storage unavailable", "storages unavailable", "nothing runs until it is back"),
    "run": Words("failed run", "failed runs", "the page of the run says more"),
    "stuck": Words("stuck run", "stuck runs", "look at its page, and end it there if it does nothing"),
    "late": Words("late delivery", "late deliveries", "find out why the sender has sent nothing"),
    "quarantined": Words(
        "quarantined delivery",
        "quarantined deliveries",
        "what they held before stands; mend the file and it is read again",
    ),
    "check": Words("failed check", "failed checks", "the page of the asset says what it found"),
    "rejects": Words(
        "delivery with many rejected lines",
        "deliveries with many rejected lines",
        "look at them in the bronze table `rejected`",
    ),
    "model": Words(
        "incident in the traffic", "incidents in the traffic", "model/traffic_scores has what is usual"
    ),
}
