"""Lines and names that attackers write into logs to reach whoever reads an alert.

What belongs here: the corpus. What does not: what must become of it.
"""

from __future__ import annotations

from typing import Final

HOSTILE: Final = {
    "slack channel": "<!channel> pay attention",
    "slack here": "&lt;!here&gt; <!here|here>",
    "mention": "@channel @everyone @here <@U024BE7LH>",
    "slack link": "<https://evil.example/login|your dashboard>",
    "markdown link": "[the run](https://evil.example/login)",
    "markdown reference link": "[the run][1]\n\n[1]: https://evil.example/login",
    "markdown picture": "![x](http://evil.example/pixel.png)",
    "relative link": "[the run](//evil.example)",
    "bare address": "http://evil.example/login and www.evil.example/login and evil.example",
    "other schemes": "javascript:alert(1) data:text/html;base64,PHNjcmlwdD4= ftp://evil.example",
    "mail address": "mailto:ceo@evil.example",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "html comment": "--><a href='http://evil.example'>x</a><!--",
    "entities": "&#60;script&#62; &lt;b&gt;",
    "code fence": "```\nrm -rf /\n```",
    "bold": "**URGENT** __URGENT__ ~~no~~ ||spoiler||",
    "table": "| a | b |\n|---|---|\n| c | d |",
    "heading": "# All is well\n\nnothing to see",
    "terminal": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b31m",
    "mail headers": "x\r\nBcc: everyone@example.org\r\nSubject: other\r\n\r\nbody",
    "null": "a\x00b",
    "direction": "\u202egpj.exe \u2066x\u2069",
    "invisible": "a\u200bb\u2060c\ufeff",
    "surrogate": "caf\udce9",
    "share": r"\\evil.example\share",
    "format strings": "%s {0} ${HOME} $(id) {{ 7*7 }}",
    "long": "A" * 100_000,
    "long address": "http://" + "a." * 5000 + "example",
    "emoji words": ":fire: :rotating_light:",
}
