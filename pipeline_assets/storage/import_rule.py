"""What a log of the user's has to do with what has landed: pure.

What belongs here: the rule, and the landing paths that belong to a log. What does not: how contents are found
and compared (`importing`).

It is the pipeline's own rule of copies (`kernel.identity`), so that leaving a file out never changes what
serving says: equal content counts once, and a file doesn't count where a longer one of the same name
continues it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, Literal

from pipeline_assets.kernel.identity import stem

_TWIN: Final = re.compile(r"[0-9a-f]{8}(-[0-9]+)?")


@dataclass(frozen=True)
class Known:
    """A content that has landed: where, its decompressed size and digest, and whether it was forgotten."""

    path: str
    bytes: int
    digest: str
    forgotten: bool = False


@dataclass(frozen=True)
class Content:
    """A file to be imported: its decompressed size and digest, and digests of its beginnings by size."""

    bytes: int
    digest: str
    prefixes: Mapping[int, Collection[str]]

    def is_same(self, known: Known) -> bool:
        """Whether it is that content."""
        return known.digest == self.digest or (known.bytes == self.bytes and self._begins_with(known))

    def extends(self, known: Known) -> bool:
        """Whether it is a longer state of that content."""
        return known.bytes < self.bytes and self._begins_with(known)

    def _begins_with(self, known: Known) -> bool:
        return known.digest in self.prefixes.get(known.bytes, ())


@dataclass(frozen=True)
class Place:
    """Where a file belongs: its folder below the place it comes from, and its name without rotation."""

    folder: str
    stem: str

    def path(self, base: str, twin: str = "") -> str:
        """The landing path below `base`, a day's folder or `logs/incremental`."""
        return "/".join(part for part in (base, self.folder, twin, self.stem) if part)

    def paths(self, base: str, head: str) -> Iterator[str]:
        """Landing paths in the order in which they are tried: the plain one, then those of a twin.

        A twin is another log of the same name that begins on the same day; its folder is named after the
        digest of its first line, so the path says the same of it on every import.
        """
        digest = head.rpartition("-")[2][:8]
        yield self.path(base)
        for number in count(1):
            yield self.path(base, digest if number == 1 else f"{digest}-{number}")

    def owns(self, path: str) -> bool:
        """Whether a landing path is one that this place gives, on any day."""
        rest = path.split("/")[2:]
        mine = [*filter(None, self.folder.split("/")), self.stem]
        return rest == mine or ([*rest[:-2], rest[-1]] == mine and bool(_TWIN.fullmatch(rest[-2])))


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a file, and the landing path that it is about.

    `new`: it lands under a path of its own. `grown`: it replaces the file at `path`. `there`: its lines have
    landed at `path`. `forgotten`: they had, and a person retracted them. `unclear`: a longer file began
    like it and was deleted, so whether it was the same log can't be told any more.
    """

    what: Literal["new", "grown", "there", "forgotten", "unclear"]
    path: str = ""


def decide(
    content: Content,
    place: Place,
    known: Iterable[Known],
    begins_with: Callable[[Known, Content], bool | None],
) -> Verdict:
    """What to do with a file, given every landed content that begins with the same line.

    `begins_with(longer, content)` says whether a longer landed content begins with this one, or None where
    that can't be told. It is asked only of contents under the same name.
    """
    # What counts before what was forgotten, and the longest first: that is the log's latest state.
    ordered = sorted(known, key=lambda one: (one.forgotten, -one.bytes, one.path))
    for one in ordered:
        if content.is_same(one):
            return Verdict("forgotten" if one.forgotten else "there", one.path)
    mine = [one for one in ordered if place.owns(one.path)]
    for one in mine:
        if content.extends(one):
            return Verdict("forgotten" if one.forgotten else "grown", one.path)
    unclear = ""
    for one in ordered:
        if one.bytes > content.bytes and stem(one.path) == place.stem:
            answer = begins_with(one, content)
            if answer:
                return Verdict("forgotten" if one.forgotten else "there", one.path)
            if answer is None and one in mine:
                unclear = one.path
    return Verdict("unclear", unclear) if unclear else Verdict("new")
