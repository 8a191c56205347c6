"""Whether a log is read by compiled code: where numba is installed, and the log is large enough.

What belongs here: that choice, and compiling in advance. What does not: the compiled code (`byte_scan`), and
what is made of it (`scanned_lines`).

    python -m pipeline_assets.kernel.accelerator

compiles, so that the first large log need not: in an image, or after an installation. `machine_code` keeps
what is compiled beside this package, or where `NUMBA_CACHE_DIR` says, or in the user's cache.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pipeline_assets.kernel.combined_lines import CombinedReader, Given, QuickReader
from pipeline_assets.kernel.lines import LineReader

if TYPE_CHECKING:
    from pipeline_assets.kernel.scanned_lines import ScannedReader

# To load what has been compiled before takes the CPU time that is saved with some 25 MB of log.
PAYS_FROM_BYTES: Final = 50_000_000
# To compile takes what is saved with some 2 GB, and then it is there for the next logs.
COMPILES_FROM_BYTES: Final = 400_000_000

# Compiled code reads this one, too.
FORMAT_BESIDES: Final = "nginx_main"

_SAMPLE: Final = (
    b'192.0.2.1 - - [29/Feb/2024:23:59:59 +0100] "GET /a?b=c HTTP/1.1" 200 12345 "-" "Mozilla/5.0 (X11!)"\n'
    b'2001:db8::1 - jo [01/Mar/2024:00:00:00 -0730] "POST / HTTP/2.0" 404 - "https://example.org/" ""\n'
    b'192.0.2.2 - - [01/Mar/2024:00:00:00 -0730] "HEAD /\\x22 HTTP/1.0" 304 0\n'
    b'192.0.2.3 - - [31/Feb/2024:00:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"\n'
    b"no line of a log\n"
)


def quick_reader(given: Given, log_bytes: int) -> ScannedReader | None:
    """The reader by compiled code, if it is there, and worth it for logs of about so many bytes."""
    if log_bytes < PAYS_FROM_BYTES or (log_bytes < COMPILES_FROM_BYTES and not _is_compiled()):
        return None
    return _compiled(given) if is_ready() else None


def _is_compiled() -> bool:
    if importlib.util.find_spec("numba") is None:
        return False
    from pipeline_assets.kernel import machine_code

    return machine_code.is_kept()


@functools.cache
def is_ready() -> bool:
    """Whether compiled code reads some lines as they are read without it; the first time it is compiled."""
    if importlib.util.find_spec("numba") is None:
        return False
    anything = Given(datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), "site", "file")
    try:
        found, wanted = (
            _rows_of_sample(reader) for reader in (_compiled(anything), CombinedReader(anything))
        )
    # An accelerator that fails, in whatever way, is none: the rows are read without it.
    except Exception as error:  # noqa: BLE001
        why = f"{type(error).__name__}: {error}"
    else:
        if found == wanted:
            return True
        why = "it reads lines in another way"
    logging.getLogger(__name__).warning(
        "large logs are read without the accelerator, more slowly: %s", why.partition("\n")[0]
    )
    return False


def _compiled(given: Given) -> ScannedReader:
    from pipeline_assets.kernel.scanned_lines import ScannedReader

    return ScannedReader(given)


def _rows_of_sample(reader: QuickReader) -> list[dict[str, object]]:
    # Buffers of the usual size would take 30 ms to be made.
    lines = LineReader(io.BytesIO(_SAMPLE), chunk_bytes=len(_SAMPLE))
    reader.attach(lines)
    for block in lines.blocks():
        reader.take(block)
    rows = reader.rows()
    return rows.frame().to_dicts() if rows else []


if __name__ == "__main__":
    sys.exit(not is_ready())
