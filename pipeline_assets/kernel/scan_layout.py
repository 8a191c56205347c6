"""What the compiled scan, those who call it and the quick way without it agree on.

What belongs here: numbers and words that several of them need. What does not: any import, for `machine_code`
knows that kept code is old by this file and `byte_scan` alone.
"""

from __future__ import annotations

from typing import Final

# The columns of text, in the order of `scan`'s arrays.
HOST: Final = 0
IDENTITY: Final = 1
USER: Final = 2
REQUEST: Final = 3
TARGET: Final = 4
REFERER: Final = 5
AGENT: Final = 6
EXTRA: Final = 7
TEXTS: Final = 8

# Why `scan` came back: so many lines are read; there is no room for another row, or for another text; or
# there is a directive, behind which lines are read in other ways.
DONE: Final = 0
FULL: Final = 1
OVER: Final = 2
DIRECTIVE: Final = "#Fields:"

# So many lines may be left over at once, which a frame of them takes.
MOST_LEFT: Final = 1 << 17

# Other methods are read by the expressions. A longer word than eight bytes doesn't fit into what is compared.
METHODS: Final = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "CONNECT", "TRACE")
PROTOCOLS: Final = ("HTTP/1.1", "HTTP/2.0", "HTTP/1.0", "HTTP/3.0")
COMBINED: Final = 0
COMMON: Final = 1
NGINX_MAIN: Final = 2

# Minutes, as in `log_times`.
LARGEST_OFFSET_MINUTES: Final = 840
# Longer lines are left to the expressions: they are rare, and room for a row's texts must be kept.
LONGEST: Final = 1 << 16

# A size of more digits may not fit into 64 bits.
MOST_DIGITS: Final = 18

# Bytes are looked at so many at a time, and texts copied, so as many may be written behind a text.
STEP: Final = 64
SLACK: Final = STEP

# Numbers of 64 bits that nobody else knows: some for mixing, and from this byte on as many bytes as `STEP`.
SECRETS: Final = 12
KEYS_AT: Final = 32

# A column's hash table begins with the fewer slots, and grows up to half of the others.
SLOTS: Final = 1 << 21
SMALLEST_AREA: Final = 1 << 12

# Lines that are read together, and then their texts: they are in the processor's nearest cache then.
BATCH: Final = 256
