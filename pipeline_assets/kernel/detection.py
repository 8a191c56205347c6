"""What a file is, from a sample of its lines.

What belongs here: taking the sample, and what it decides: which of the user's own formats the file has, and
whether it is text in two bytes a character. What does not: reading the file (`parse`).

The sample is the first thousand lines that are neither blank nor comments, of the first MiB, so it is a
function of the file's bytes. Our own formats need no detection: they are exact about their time and their
client, so each line is tried with all of them, and a file that changes its format is read on. The user's
formats may be looser, and are tried on a file's lines only if its sample holds a line of theirs. How much of
the sample is read in the end is the confidence; where it is nothing, the format is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline_assets.kernel.definitions import Definition, read_defined
from pipeline_assets.kernel.lines import Block

SAMPLE_LINES: Final = 1_000
SAMPLE_BYTES: Final = 1 << 20
# Text in UTF-16 of any European language has a zero in nearly every second byte.
_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_UTF_16_ZEROS: Final = 0.35


@dataclass(frozen=True)
class Sample:
    """What was seen: how many lines, which is the last of them, the user's formats among them, and UTF-16."""

    lines: int = 0
    last_line: int = 0
    own: tuple[Definition, ...] = ()
    is_utf_16: bool = False

    @classmethod
    def of(cls, lines: pl.DataFrame, own: Sequence[Definition], timezone: str) -> Sample:
        """Look at the first of `lines` (columns as in `access_lines`), which begin with the file's first."""
        sample = _head(lines)
        if not sample.height:
            return cls()
        return cls(
            lines=sample.height,
            last_line=int(sample["line_number"].item(-1)),
            own=tuple(each for each in own if read_defined(sample, each, timezone)[0].height),
            is_utf_16=_is_utf_16(sample["line"]),
        )


def sample_of(blocks: Iterator[Block]) -> list[Block]:
    """The first blocks of a file, enough for the sample wherever the chunks are cut."""
    taken: list[Block] = []
    lines = 0
    for block in blocks:
        taken.append(block)
        lines += len(block.starts)
        if lines >= SAMPLE_LINES or (len(block.starts) and block.offsets[-1] >= SAMPLE_BYTES):
            break
    return taken


def _head(lines: pl.DataFrame) -> pl.DataFrame:
    head = lines.head(SAMPLE_LINES)
    return head.filter(pl.col("byte_offset") < SAMPLE_BYTES)


def _is_utf_16(lines: pl.Series) -> bool:
    data = b"\n".join(lines.head(50).to_list())[:4096]
    # Cut at line feeds, so either of a character's two bytes may be missing.
    return data.startswith(_UTF_16_MARKS) or data.count(0) >= _UTF_16_ZEROS * max(len(data), 8)
