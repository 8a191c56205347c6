"""What an attacker writes into logs, and into the names of files: everything that a page might act on.

What belongs here: the corpus, as log lines and file names. What does not: looking at what became of it.

Every address in it is below `evil.example`, and every script would set `window.attacked`, so that a page that
acts on any of it can be told.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from pipeline_assets.samples import HOSTILE

ATTACK: Final = "window.attacked=1"
TEXTS: Final = (
    # The first few are what the samples of rejects show.
    f"<script>{ATTACK};alert(1)</script> ![image](https://evil.example/first.png) www.evil.example \u202egnp",
    *HOSTILE,
    f'<img src="https://evil.example/i.png" onerror="{ATTACK}">',
    f'<svg onload="{ATTACK}"><a xlink:href="https://evil.example/s">x</a></svg>',
    "<iframe src=https://evil.example/f></iframe><style>*{display:none}</style>",
    f"</code></pre></td></table><b onmouseover={ATTACK}>bold</b>",
    f"[click](javascript:{ATTACK}) [web](https://evil.example/a) <https://evil.example/angle>",
    "![image](https://evil.example/p.png) ![data](data:image/svg+xml,%3Csvg%20onload=alert(1)%3E)",
    "[ref]: https://evil.example/ref 'title'\n[ref]",
    "https://evil.example/auto www.evil.example mail@evil.example mailto:mail@evil.example",
    "HTTPS://EVIL.EXAMPLE/upper ftp://evil.example/x //evil.example/y file:///etc/passwd",
    "| a | b |\n|---|---|\n| **bold** | `code` |",
    "`one` ``two`` ```\nfence\n``` ~~~ # heading\n- list\n> quote\n---",
    "\u202egnp.exe \u2066isolate\u2069 zero\u200bwidth \ufeff soft\u00adhyphen",
    "\x1b[2J\x1b[31mred\x1b]8;;https://evil.example/osc\x07link\x1b]8;;\x07 \x00null \x08back \r\nline feed",
    "{{7*7}} {% raw %} ${7*7} #{7*7} <%= 7*7 %> __proto__ constructor",
    "../../../../etc/passwd /assets/evil /runs/evil?x=1 C:\\evil",
    "&lt;img src=x&gt; &#60;script&#62; www&#46;evil&#46;example",
    "long " + "ab" * 20_000,
)
# What of the corpus must be readable on some page: then it was looked at, and as text.
SEEN: Final = "<script>window.attacked=1;alert(1)</script>"


def access_log(day: date) -> bytes:
    """Each text in every field that a client chooses, in a well-formed line of Apache's."""
    lines = []
    for number, text in enumerate(TEXTS):
        field = text.encode("unicode_escape").decode().replace('"', '\\"')
        start = f'192.0.2.{number} - {{}} [{day:%d/%b/%Y}:{number % 24:02}:00:00 +0000] "GET /{{}} HTTP/1.1"'
        for user, target, referer, agent in (
            ("-", field, "-", "x"),
            ("-", "a", field, "x"),
            ("-", "a", "-", field),
            (field[:200], "a", "-", "x"),
        ):
            lines.append(f'{start.format(user, target)} 404 196 "{referer}" "{agent}"')
    return ("\n".join(lines) + "\n").encode()


def error_log(day: date) -> bytes:
    """Each text in nginx's error log, which escapes nothing."""
    return b"".join(
        f"{day:%Y/%m/%d} 10:00:00 [error] 1#1: *{number} ".encode()
        + text.replace("\n", " ").encode()
        + b", client: 192.0.2.1, server: shop.example\n"
        for number, text in enumerate(TEXTS)
    )


def garbage() -> bytes:
    """Each text as a line of no format at all."""
    return b"\n".join(text.encode() for text in TEXTS) + b"\n\xff\xfe\x80not UTF-8 <b>\n"


def file_names() -> list[str]:
    """Names of files, as far as a file system takes them."""
    names = []
    for text in TEXTS:
        name = text.replace("/", ":").replace("\x00", "").replace("\n", " ").strip(". ")
        short = name.encode()[:180].decode(errors="ignore")
        if short and not short.startswith(("..", ".")):
            names.append(f"{short}.log")
    return sorted(set(names))
