"""What log shippers put in front of a server's line: syslog, journald and container runtimes.

What belongs here: recognising such a beginning and taking it off. What does not: reading what is left.

The bytes of the prefix are the shipper's, so nothing of a row comes from them; requests keep the text in
`extra` as `prefix`, and every such row keeps its line raw.

Sources: RFC 3164 section 4.1, RFC 5424 section 6, rsyslog's and journalctl's short formats, and the log
format of Kubernetes' container runtime interface (full lines, tag `F`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

_CLOCK: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
_ISO: Final = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})"
_PROGRAM: Final = r"[^ :\[\]]+(?:\[[0-9]+\])?:"
PREFIX: Final = (
    r"^(?<prefix>"
    # RFC 5424: version, time, host, program, process, message id, structured data.
    rf"<[0-9]{{1,3}}>1 (?:{_ISO}|-) [^ ]+ [^ ]+ [^ ]+ [^ ]+ (?:-|(?:\[[^\]]*\])+) \x{{feff}}?"
    # RFC 3164 and the files that syslog daemons and journalctl write.
    rf"|(?:<[0-9]{{1,3}}>)?(?:[A-Z][a-z]{{2}} [ 0-9][0-9] (?:[0-9]{{4}} )?{_CLOCK}|{_ISO}) [^ ]+ {_PROGRAM} ?"
    rf"|<[0-9]{{1,3}}>{_PROGRAM} ?"
    rf"|{_ISO} (?:stdout|stderr) F "
    # Behind three words, a time in brackets is that of an access log: then they are its client and user.
    r")(?<rest>(?:[^\[]|\[[^0-9]|\[[0-9]{4}).*)$"
)


def without_prefix(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines that have such a beginning, with `text` left without it, and `prefix`."""
    groups = lines["text"].str.extract_groups(PREFIX).struct.unnest()
    stripped = lines.with_columns(text=groups["rest"], prefix=groups["prefix"], repaired=pl.lit(value=True))
    return stripped.filter(pl.col("prefix").is_not_null())
