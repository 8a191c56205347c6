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
from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline_assets.kernel.texts_by_number import Texts

ESCAPED_COLUMNS: Final = ("user", "target", "referer", "user_agent")
# By the formats' names. JSON has escapes of its own, which its reader undoes; other formats have none.
_FORMATS: Final = r"^(?:syslog_)?(?:vhost_)?(?:common|combined|nginx_main|traefik|ingress_nginx)(?:_extra)?$"
_ESCAPES: Final = re.compile(r'(?:\\x[0-9A-Fa-f]{2})+|\\["\\]')
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def undo(columns: Mapping[str, Texts]) -> dict[str, Texts]:
    """Columns of requests, `format` among them, without their servers' escapes: those that have some.

    Each distinct text is looked at once.
    """
    escaping = columns["format"].known.str.contains(_FORMATS).fill_null(value=False).to_numpy()
    is_escaping = escaping[columns["format"].numbers]
    if not is_escaping.any():
        return {}
    plain = {}
    for name in ESCAPED_COLUMNS:
        texts = columns[name]
        # A row in some hundreds has an escape, so it is the others that must cost nothing.
        places = texts.known.str.contains("\\", literal=True).arg_true()
        if not places.len():
            continue
        said = pl.Series([_ESCAPES.sub(_said, text) for text in texts.known[places]], dtype=pl.String)
        if is_escaping.all():
            plain[name] = texts.replaced(places, said)
        else:
            # What an escaping format says stands behind what the others do.
            both = pl.concat([texts.known, texts.known.clone().scatter(places, said)])
            plain[name] = Texts(texts.numbers + texts.size * is_escaping, both).told(both)
    return plain


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
