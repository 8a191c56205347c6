"""Which landed files count, when several hold the same lines.

What belongs here: the rule itself, as a pure function of what is known of each live file: equal content
counts once, and a file that a longer copy of the same log extends doesn't count beside it.

What does not: reading files, digesting them, comparing their bytes (the caller hands in `is_prefix`), or
what is done with a file that doesn't count.

The rule looks at nothing learned from order: neither the order of arrival nor that of the input matters,
so every way of running reaches the same answer.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

COUNTED: Final = "counted"
DUPLICATE: Final = "duplicate"
SUPERSEDED: Final = "superseded"

# What rotation and compression add to the end of a log's name. Something must be left in front of it.
_SUFFIX: Final = re.compile(
    r"""(?<=.)
    (?: \.(?:gz|bz2|zst|xz)
      | \.[0-9]{1,3}
      | [.-](?:[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})(?:-[0-9]{2}(?:[0-9]{2})?)?
    )\Z""",
    re.VERBOSE | re.DOTALL,
)


def stem(path: str) -> str:
    """The base name of a log without what rotation and compression add: `access.log` for all its copies.

    Taken from the end, as often as they occur: a compression suffix (`.gz .bz2 .zst .xz`), a rotation
    number (`.1` to three digits), and a date (`-20240115`, `.20240115`, `-2024-01-15`, `.2024-01-15`, each
    with or without an hour `-06` or a time `-0625`). Case is kept, and a name is never emptied.
    """
    name = path.rpartition("/")[2]
    while (suffix := _SUFFIX.search(name)) is not None:
        name = name[: suffix.start()]
    return name


@dataclass(frozen=True)
class Content:
    """What is known of one live file.

    `head` is its first complete line that is neither blank nor a comment, or a digest of that line; it is
    None where there is no such line, and then the file can be no prefix of a rotated copy. Comments are
    passed over because a log's header is the same in all its files and would tell nothing apart.
    """

    path: str
    digest: str
    bytes: int
    head: str | None


@dataclass(frozen=True)
class _Group:
    """The files of one content; its first path in plain string order stands for all of them."""

    first: Content
    stems: frozenset[str]


# The groups with a stem and a head in common, the shortest first.
_Kin: TypeAlias = dict[tuple[str, str | None], list[_Group]]


def statuses(contents: Iterable[Content], is_prefix: Callable[[Content, Content], bool]) -> dict[str, str]:
    """Each path's status: `counted`, `duplicate` or `superseded`, whatever the order of `contents`.

    Files of equal content count once, from the first path in plain string order; the others are
    duplicates. A content is superseded where another, of a file with the same stem, properly extends it.

    `is_prefix(shorter, longer)` says whether the bytes of one begin the other's. It is asked only where
    names, heads and sizes leave it open, at most once for a pair of contents, and first for the next
    longer one: of a growing log's many copies each is compared with its successor alone.
    """
    members: dict[str, list[Content]] = defaultdict(list)
    for content in sorted(contents, key=lambda content: content.path):
        members[content.digest].append(content)
    result = {content.path: DUPLICATE for group in members.values() for content in group}
    if len(result) != sum(map(len, members.values())):
        raise ValueError("a path was given twice")

    groups = [_Group(group[0], frozenset(stem(file.path) for file in group)) for group in members.values()]
    groups.sort(key=lambda group: (group.first.bytes, group.first.path))
    kin: _Kin = defaultdict(list)
    for group in groups:
        for name in group.stems:
            kin[name, group.first.head].append(group)

    for group in groups:
        extended = any(is_prefix(group.first, longer.first) for longer in _longer(group, kin))
        result[group.first.path] = SUPERSEDED if extended else COUNTED
    return result


def _longer(group: _Group, kin: _Kin) -> list[_Group]:
    """The groups that may extend this one, the next longer first."""
    if group.first.head is None:
        return []
    found: set[_Group] = set()
    for name in group.stems:
        same = kin[name, group.first.head]
        found.update(same[bisect_right(same, group.first.bytes, key=lambda other: other.first.bytes) :])
    return sorted(found, key=lambda other: (other.first.bytes, other.first.path))
