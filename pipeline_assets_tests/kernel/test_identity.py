"""Which files count, against the oracle: any family of names and contents, in any order."""

from __future__ import annotations

from random import Random

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.kernel.identity import Content, statuses, stem
from pipeline_assets_tests import oracle

NAMES = (
    "access.log",
    "access.log.1",
    "access.log.2",
    "access.log.2.gz",
    "access.log-20240115",
    "access.log.2024-01-15-0625.zst",
    "other.log",
    "other.log.1",
)
FOLDERS = ("logs/2024-01-15", "logs/2024-01-16", "logs/incremental", "logs/incremental/web-1")
SUFFIX_PIECES = (".gz", ".log", ".1", ".0123", "-20240115", ".20240115", "-2024-01-15", "-06", "-0625", "a")

# Every content is built from these, so that contents often begin one another, also in mid-line.
LINES = (b"one\n", b"two\n", b"# Fields\n", b"\n", b" \r\n", b"#", b"on", b"one")

contents = st.lists(st.sampled_from(LINES), max_size=5).map(b"".join)
paths = st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)).map("/".join)
families = st.dictionaries(paths, contents, max_size=8)


class Landing:
    """Files in memory, described as the pipeline describes them; remembers what it was asked."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[tuple[Content, Content]] = []

    def contents(self) -> list[Content]:
        return [
            Content(path, blake3(content).hexdigest(), len(content), self._head(content))
            for path, content in self.files.items()
        ]

    def is_prefix(self, shorter: Content, longer: Content) -> bool:
        self.asked.append((shorter, longer))
        return self.files[longer.path].startswith(self.files[shorter.path])

    def statuses(self) -> dict[str, str]:
        return statuses(self.contents(), self.is_prefix)

    @staticmethod
    def _head(content: bytes) -> str | None:
        for line in content.split(b"\n")[:-1]:
            if line.strip() and not line.startswith(b"#"):
                return line.decode()
        return None


@given(families)
def test_agrees_with_the_oracle(files: dict[str, bytes]) -> None:
    assert Landing(files).statuses() == oracle.statuses(files)


@given(families, st.randoms())
def test_order_of_input_does_not_matter(files: dict[str, bytes], random: Random) -> None:
    landing = Landing(files)
    shuffled = landing.contents()
    random.shuffle(shuffled)
    assert statuses(shuffled, landing.is_prefix) == landing.statuses()


@given(families)
def test_asks_only_what_is_open(files: dict[str, bytes]) -> None:
    landing = Landing(files)
    landing.statuses()
    for shorter, longer in landing.asked:
        assert shorter.bytes < longer.bytes
        assert shorter.head == longer.head is not None
        stems = [
            {stem(path) for path in files if files[path] == files[side.path]} for side in (shorter, longer)
        ]
        assert stems[0] & stems[1]
    pairs = [(shorter.digest, longer.digest) for shorter, longer in landing.asked]
    assert len(pairs) == len(set(pairs))


@given(st.lists(st.sampled_from(SUFFIX_PIECES), min_size=1, max_size=5).map("".join))
def test_stem_agrees_with_the_oracle(name: str) -> None:
    path = f"logs/2024-01-15/{name}"
    assert stem(path) == oracle.stem(path)
    assert stem(stem(path)) == stem(path) != ""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("logs/2024-01-15/access.log", "access.log"),
        ("access.log.1", "access.log"),
        ("access.log.12.gz", "access.log"),
        ("access.log.1234", "access.log.1234"),
        ("access.log-20240115.gz", "access.log"),
        ("access.log-20240115-0625", "access.log"),
        ("access.log.2024-01-15-06.zst", "access.log"),
        ("access.log-20240115.1.xz", "access.log"),
        ("access-2024-01-15.log", "access-2024-01-15.log"),
        ("Access.LOG.GZ", "Access.LOG.GZ"),
        ("20240115", "20240115"),
        (".1", ".1"),
        ("access.log.1\n", "access.log.1\n"),
        ("access.log.\u0661", "access.log.\u0661"),
    ],
)
def test_stem(path: str, expected: str) -> None:
    assert stem(path) == oracle.stem(path) == expected


def test_of_a_growing_log_only_the_longest_copy_counts_and_each_is_compared_once() -> None:
    whole = b"line 1\n" * 100
    files = {f"logs/d/access.log.{number}": whole[: 7 * number] for number in range(1, 101)}
    landing = Landing(files)
    result = landing.statuses()
    assert [path for path in files if result[path] == "counted"] == ["logs/d/access.log.100"]
    assert set(result.values()) == {"counted", "superseded"}
    sizes = [(shorter.bytes, longer.bytes) for shorter, longer in landing.asked]
    assert sorted(sizes) == [(7 * number, 7 * number + 7) for number in range(1, 100)]


def test_a_chain_holds_although_its_ends_share_no_name() -> None:
    files = {
        "logs/a/short.log": b"1\n",
        "logs/b/short.log.1": b"1\n2\n",
        "logs/b/long.log": b"1\n2\n",
        "logs/c/long.log.1": b"1\n2\n3\n",
    }
    assert Landing(files).statuses() == {
        "logs/a/short.log": "superseded",
        "logs/b/long.log": "superseded",
        "logs/b/short.log.1": "duplicate",
        "logs/c/long.log.1": "counted",
    }


def test_names_that_change_places_supersede_by_length_alone() -> None:
    files = {
        "logs/x/a.log": b"1\n",
        "logs/x/b.log": b"1\n2\n",
        "logs/y/a.log.1": b"1\n2\n",
        "logs/y/b.log.1": b"1\n",
    }
    assert Landing(files).statuses() == {
        "logs/x/a.log": "superseded",
        "logs/y/b.log.1": "duplicate",
        "logs/x/b.log": "counted",
        "logs/y/a.log.1": "duplicate",
    }


def test_a_path_has_one_content() -> None:
    twice = [Content("logs/d/a.log", digest, 1, None) for digest in ("aa", "bb")]
    with pytest.raises(ValueError, match="twice"):
        statuses(twice, lambda shorter, longer: False)
