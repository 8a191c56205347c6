"""The escapes that servers write into quoted fields, undone.

What belongs here: Apache's and nginx's escapes, and which formats have them. What does not: percent-encoding,
which is the client's own spelling of a target.

Apache writes `\\"`, `\\\\`, `\\n` and the like, and `\\xhh` for what is not printable ASCII
(`ap_escape_logitem` in server/util.c); nginx writes `\\xHH` for all of these (`ngx_http_log_escape`). Bytes
that are not UTF-8 are Latin-1, as HTTP/1.0 had it. Control characters, and those that turn the direction of
text around, stay as written: a terminal or a page would obey them.
"""

from __future__ import annotations

import re
from typing import Final

import polars as pl

ESCAPED_COLUMNS: Final = ("user", "request", "target", "referer", "user_agent")
# By the formats' names. JSON has escapes of its own, which its reader undoes; other formats have none.
_FORMATS: Final = r"^(?:syslog_)?(?:vhost_)?(?:common|combined|nginx_main|traefik|ingress_nginx)(?:_extra)?$"
_ESCAPES: Final = re.compile(r'(?:\\x[0-9A-Fa-f]{2})+|\\["\\]')
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def undo(requests: pl.DataFrame) -> pl.DataFrame:
    """The rows of `requests` without their servers' escapes; each distinct text is looked at once."""
    formats = requests["format"].unique()
    escaping = requests["format"].is_in(formats.filter(formats.str.contains(_FORMATS)).implode())
    plain = []
    for column in ESCAPED_COLUMNS:
        texts = requests[column]
        # A row in some hundreds has an escape, so it is the others that must cost nothing.
        places = (texts.str.contains("\\", literal=True) & escaping).arg_true()
        if places.len():
            plain.append(texts.clone().scatter(places, _undone(texts.gather(places))))
    return requests.with_columns(plain)


def _undone(texts: pl.Series) -> pl.Series:
    found = texts.unique()
    plain = [_ESCAPES.sub(_said, text) for text in found.to_list()]
    return texts.replace(found, pl.Series(plain, dtype=pl.String))


def _said(found: re.Match[str]) -> str:
    """What some escapes say, or the escapes themselves where that is no safe text."""
    written = found[0]
    if written[1] != "x":
        return written[1]
    data = bytes.fromhex(written.replace("\\x", ""))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return written if _UNSAFE.search(text) else text
