"""What serving must say of a set of landed files, worked out by brute force.

What belongs here: the rules in their plainest form, slow and standard library only, for tests to compare
the pipeline with. It reads everything every time and keeps nothing between two questions.

What does not: any import from `pipeline_assets`. Code shared with what is tested would share its faults.

Only well-formed lines of the Common, Combined and vhost_combined formats and the shortest of nginx's error
log are parsed; any other line is rejected here, although the pipeline may be able to read it. Files are given
as landed path -> stored bytes, plain or gzip; `forgotten` holds pairs of a path and the SHA-256 of its
decompressed content.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from blake3 import blake3

BOT = re.compile(
    r"(?i)bot|crawl|spider|slurp|curl|wget|python|go-http-client|libwww|scan|http-?client|java/|okhttp"
    r"|headless|monitor|feed|fetch|archiv|preview|facebookexternalhit|gptbot"
    # A single word that is no browser, such as is left of a name where a line was cut.
    r"|^(?!firefox$)[a-z]{4,}$"
)
QUOTED = r'"((?:[^"\\]|\\.)*)"'
LINE = re.compile(
    r"(?:([^ ]+):[0-9]{1,5} )?"  # virtual host and port
    r"([^ ]+) [^ ]+ [^ ]+ "  # client, identity, user
    r"\[([0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4})\] "
    rf"{QUOTED} ([0-9]{{3}}|-) ([0-9]+|-)"  # request, status, bytes
    # Referer and user agent; a line that was cut off has the latter without its closing quote.
    rf'(?: {QUOTED} "((?:[^"\\]|\\.)*)(?:"|\\?$))? *'
    r"\r?"
)
NOTHING_FORGOTTEN: frozenset[tuple[str, str]] = frozenset()

ERROR_LINE = re.compile(r"([0-9/]{10} [0-9:]{8}) \[(\w+)\] [0-9]+#[0-9]+: (.*)")
REQUEST = re.compile(r"([A-Z]+) ([^ ]+) (HTTP/[0-9]\.[0-9])")
STATIC = (".css", ".js", ".png", ".ico", ".svg", ".jpg", ".woff2")
VISIT_GAP = timedelta(minutes=30)
Thing = TypeVar("Thing")

# A table's rows, in the order of their columns, sorted.
Rows = list[tuple[Any, ...]]


class Request(NamedTuple):
    """What the tables need of one access-log line; its time is UTC, an absent status 0, absent bytes None."""

    site: str
    remote_host: str
    time: datetime
    written_date: date
    status: int
    bytes: int | None
    user_agent: str | None
    method: str | None
    path: str | None
    protocol: str | None
    referer: str | None
    file: str
    line: int

    @property
    def day(self) -> date:
        return self.time.date()

    @property
    def visitor(self) -> tuple[str, str | None]:
        return self.remote_host, self.user_agent and self.user_agent[:512]

    @property
    def is_bot(self) -> bool:
        """Only for user agents that a glance tells: the pipeline asks libraries."""
        return BOT.search(self.user_agent or "") is not None

    @property
    def is_page(self) -> bool:
        return self.path is not None and not self.path.endswith(STATIC)


class Error(NamedTuple):
    """One entry of an nginx error log, with the lines that continue it."""

    site: str
    time: datetime
    level: str
    message: str
    lines: int


class Reading(NamedTuple):
    """What one file holds: its requests and errors, and how many lines became neither, by (fate, reason)."""

    path: str
    requests: list[Request]
    errors: list[Error]
    rest: dict[tuple[str, str | None], int]


Serving = SimpleNamespace


def decompressed(stored: bytes) -> bytes:
    return gzip.decompress(stored) if stored.startswith(b"\x1f\x8b") else stored


def lines(content: bytes) -> list[bytes]:
    """Its lines without their line feeds: the bytes up to a 0x0A or the end of the file."""
    pieces = content.split(b"\n")
    return pieces[:-1] if pieces[-1] == b"" else pieces


def is_blank(line: bytes) -> bool:
    return line.strip() == b""


def is_comment(line: bytes) -> bool:
    return line.startswith(b"#") and not line[1:2].isdigit()


def line_counts(content: bytes) -> tuple[int, int, int]:
    """How many lines there are, how many of them are blank, and how many are comments."""
    every = lines(content)
    return len(every), sum(map(is_blank, every)), sum(map(is_comment, every))


def stem(path: str) -> str:
    """The base name, as it is, without what rotation and compression put at its end.

    Taken off again and again until nothing more comes off, but never the whole name:
    a compression suffix `.gz .bz2 .zst .xz`; a rotation number `.N` of one to three digits; a date
    `YYYYMMDD` or `YYYY-MM-DD` after a `-` or a `.`, itself with or without a `-HH` or `-HHMM` after it.
    """
    name = path.split("/")[-1]
    for length in range(1, len(name)):
        if is_suffix(name[-length:]):
            return stem(name[:-length])
    return name


def is_suffix(text: str) -> bool:
    shape = "".join("9" if character in "0123456789" else character for character in text)
    dates = [mark + day for mark in "-." for day in ("99999999", "9999-99-99")]
    dated = [day + time for day in dates for time in ("", "-99", "-9999")]
    return text in (".gz", ".bz2", ".zst", ".xz") or shape in (".9", ".99", ".999", *dated)


def statuses(
    files: Mapping[str, bytes], forgotten: AbstractSet[tuple[str, str]] = NOTHING_FORGOTTEN
) -> dict[str, str]:
    """What becomes of each path: counted, duplicate, superseded or forgotten."""
    contents = {path: decompressed(stored) for path, stored in files.items()}
    result = {}
    live = {}
    for path, content in contents.items():
        if (path, blake3(content).hexdigest()) in forgotten:
            result[path] = "forgotten"
        else:
            live[path] = content
    for path, content in live.items():
        copies = [other for other in live if live[other] == content]
        if path != min(copies):
            result[path] = "duplicate"
        elif any(extends(live, copy, other) for copy in copies for other in live):
            result[path] = "superseded"
        else:
            result[path] = "counted"
    return result


def extends(contents: Mapping[str, bytes], path: str, other: str) -> bool:
    """Whether `other` is a longer copy of the same log as `path`."""
    short, long = contents[path], contents[other]
    complete = short.split(b"\n")[:-1]
    return (
        stem(path) == stem(other)
        and long.startswith(short)
        and len(long) > len(short)
        and any(not is_blank(line) and not is_comment(line) for line in complete)
    )


def named_site(path: str) -> str:
    """The site that a file's name speaks of: `access.<site>.log`, else `default`."""
    match = re.fullmatch(r"access\.(.+)\.log(?:[.-].*)?", path.split("/")[-1])
    return match[1] if match else "default"


def parse(line: bytes, path: str, number: int = 1) -> Request | None:
    """One line as a request; None where it is rejected."""
    match = LINE.fullmatch(line.decode("utf-8", "replace"))
    if match is None:
        return None
    vhost, remote_host, time, request, status, size, referer, user_agent = match.groups()
    try:
        moment = datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z")
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    parts = REQUEST.fullmatch(request)
    method, target, protocol = parts.groups() if parts else (None, None, None)
    return Request(
        site=vhost or named_site(path),
        remote_host=remote_host,
        time=moment.astimezone(UTC),
        written_date=moment.date(),
        status=0 if status == "-" else int(status),
        bytes=None if size == "-" else int(size),
        user_agent=None if user_agent == "-" else user_agent,
        method=method,
        path=target and target.split("#")[0].split("?")[0][:1024],
        protocol=protocol,
        referer=None if referer == "-" else referer,
        file=path,
        line=number,
    )


def parse_error(line: bytes, path: str) -> Error | None:
    """One line as the beginning of an error entry; its time has no zone and is taken as UTC."""
    match = ERROR_LINE.fullmatch(line.decode("utf-8", "replace"))
    if match is None:
        return None
    moment = datetime.strptime(match[1], "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
    return Error(named_site(path), moment, match[2], match[3], 1)


def read(path: str, content: bytes) -> Reading:
    """A file, line by line. A line in no format continues the error entry before it, if one is before it."""
    found = Reading(path, [], [], defaultdict(int))
    follows_error = False
    for number, line in enumerate(lines(content), 1):
        request, error = parse(line, path, number), parse_error(line, path)
        if is_blank(line) or is_comment(line):
            found.rest["blank" if is_blank(line) else "comment", None] += 1
            follows_error = False
        elif request is not None:
            found.requests.append(request)
            follows_error = False
        elif error is not None:
            found.errors.append(error)
            follows_error = True
        elif follows_error:
            found.errors[-1] = found.errors[-1]._replace(lines=found.errors[-1].lines + 1)
        else:
            found.rest["rejected", "unrecognised"] += 1
    return found


def readings(
    files: Mapping[str, bytes], forgotten: AbstractSet[tuple[str, str]] = NOTHING_FORGOTTEN
) -> list[Reading]:
    """Every file that counts."""
    return [
        read(path, decompressed(files[path]))
        for path, status in statuses(files, forgotten).items()
        if status == "counted"
    ]


def grouped(
    things: Iterable[Thing], key: Callable[[Thing], tuple[Any, ...]]
) -> dict[tuple[Any, ...], list[Thing]]:
    groups: dict[tuple[Any, ...], list[Thing]] = defaultdict(list)
    for thing in things:
        groups[key(thing)].append(thing)
    return groups


def in_order(rows: Iterable[tuple[Any, ...]]) -> Rows:
    return sorted(rows, key=repr)


def sizes(requests: Iterable[Request]) -> int:
    return sum(request.bytes or 0 for request in requests)


def count(requests: Iterable[Request], key: Callable[[Request], tuple[Any, ...]]) -> Rows:
    """Rows of the key, hits and bytes."""
    return in_order((*of, len(group), sizes(group)) for of, group in grouped(requests, key).items())


def status_class(request: Request) -> str:
    return f"{request.status // 100}xx" if 100 <= request.status <= 599 else "other"


def traffic_hourly(requests: Iterable[Request]) -> Rows:
    groups = grouped(requests, lambda r: (r.day, r.time.hour, r.site, status_class(r), r.is_bot))
    return in_order(
        (*key, len(group), sizes(group), len({request.visitor for request in group}))
        for key, group in groups.items()
    )


def visitors_daily(requests: list[Request]) -> Rows:
    """By our definition and by GoAccess's, whose day is the date as written, and to which none is `-`."""
    ours = grouped(requests, lambda r: (r.day, r.site))
    theirs = grouped((r for r in requests if r.status // 100 != 4), lambda r: (r.written_date, r.site))
    rows = []
    for key in {*ours, *theirs}:
        mine = ours.get(key, [])
        visitors = {request.visitor for request in mine}
        bots = {request.visitor for request in mine if request.is_bot}
        unique = {(r.remote_host, unquote(r.visitor[1] or "").strip() or "-") for r in theirs.get(key, [])}
        rows.append((*key, len(mine), sizes(mine), len(visitors), len(bots), len(unique)))
    return in_order(rows)


def paths_daily(requests: Iterable[Request]) -> Rows:
    groups = grouped(
        (r for r in requests if r.path is not None),
        lambda r: (r.day, r.site, r.path, "page" if r.is_page else "static"),
    )
    return in_order((*key, len(g), sizes(g), sum(r.status >= 400 for r in g)) for key, g in groups.items())


def bare_referrer(request: Request) -> str | None:
    return (request.referer or "").split("#")[0].split("?")[0][:1024] or None


def host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # brackets that hold no address
        return None


def referrer(request: Request) -> tuple[Any, ...]:
    """Kind, host, referrer without its query, and the phrase searched for at google.com."""
    if not request.referer:
        return ("direct", None, None, None)
    host = host_of(request.referer)
    if host and host.removeprefix("www.") == request.site:
        return ("own", host, bare_referrer(request), None)
    if host and host.endswith("google.com"):
        (phrase,) = parse_qs(urlsplit(request.referer).query).get("q", [None])
        return ("search", host, bare_referrer(request), phrase)
    return ("other", host, bare_referrer(request), None)


def clients_daily(requests: Iterable[Request]) -> Rows:
    groups = grouped(requests, lambda r: (r.day, r.site, r.remote_host, r.is_bot))
    return in_order(
        (*key, len(g), sizes(g), sum(400 <= r.status <= 599 for r in g), len({r.visitor for r in g}))
        for key, g in groups.items()
    )


def visits_daily(requests: Iterable[Request]) -> Rows:
    rows = []
    for (day, site, host, agent), group in grouped(requests, lambda r: (r.day, r.site, *r.visitor)).items():
        visits: list[list[Request]] = []
        for request in sorted(group, key=lambda r: (r.time, r.file, r.line)):
            if not visits or request.time - visits[-1][-1].time > VISIT_GAP:
                visits.append([])
            visits[-1].append(request)
        for visit in visits:
            pages = [request.path for request in visit if request.is_page]
            began, ended = visit[0].time, visit[-1].time
            ends = (pages[0], pages[-1]) if pages else (None, None)
            times = (began, ended, int((ended - began).total_seconds()))
            sums = (len(pages), len(visit), sizes(visit))
            rows.append((day, site, host, agent, visit[0].is_bot, *times, *ends, *sums))
    return in_order(rows)


def bucket(number: int) -> tuple[int, int]:
    """The smallest and the largest number that share the five leading bits of this one."""
    shift = max(number.bit_length() - 5, 0)
    return (number >> shift) << shift, ((number >> shift) + 1 << shift) - 1


def sizes_and_times_daily(requests: Iterable[Request]) -> Rows:
    rows = []
    groups = grouped((r for r in requests if r.bytes is not None), lambda r: (r.day, r.site, "bytes"))
    for key, group in groups.items():
        values = sorted(request.bytes or 0 for request in group)
        buckets = Counter(bucket(value) for value in values)
        quantiles = []
        for percent in (50, 90, 95, 99):
            low, high = bucket(values[-(-len(values) * percent // 100) - 1])
            quantiles.append(low + (high - low) // 2)
        uppers = [high for _, high in sorted(buckets)]
        hits = [buckets[edges] for edges in sorted(buckets)]
        rows.append((*key, len(values), sum(values), *quantiles, uppers, hits))
    return in_order(rows)


def errors_daily(errors: Iterable[Error]) -> Rows:
    """By template; only messages whose variables are numbers are to be told."""
    groups: dict[tuple[Any, ...], list[Error]] = grouped(
        errors, lambda e: (e.time.date(), e.site, e.level, None, re.sub("[0-9]+", "<n>", e.message).strip())
    )
    return in_order(
        (*key, len(group), min(e.time for e in group), max(e.time for e in group))
        for key, group in groups.items()
    )


def quality_daily(files: Iterable[Reading]) -> Rows:
    """Lines by fate; those without a time on the day of the file's earliest event, else of its folder."""
    found: dict[tuple[Any, ...], int] = defaultdict(int)
    for file in files:
        for request in file.requests:
            reason = None if request.method else "malformed_request"
            found[request.day, request.site, "parsed", reason] += 1
        for error in file.errors:
            found[error.time.date(), error.site, "parsed", None] += 1
            found[error.time.date(), error.site, "continuation", None] += error.lines - 1
        moments = [request.time for request in file.requests] + [error.time for error in file.errors]
        folder = file.path.split("/")[1]
        day = min(moments).date() if moments else None
        if day is None and folder != "incremental":
            day = date.fromisoformat(folder)
        if day is not None:
            for (fate, reason), number in file.rest.items():
                found[day, named_site(file.path), fate, reason] += number
    return in_order((*key, number) for key, number in found.items() if number)


def serving(
    files: Mapping[str, bytes], forgotten: AbstractSet[tuple[str, str]] = NOTHING_FORGOTTEN
) -> Serving:
    """Every table that can be worked out without a library, by its name."""
    every = readings(files, forgotten)
    requests = [request for file in every for request in file.requests]
    missing = [r for r in requests if r.status == 404 and r.path is not None]
    return Serving(
        traffic_hourly=traffic_hourly(requests),
        traffic_minutely=count(
            requests, lambda r: (r.day, r.time.hour, r.time.minute, r.site, status_class(r), r.is_bot)
        ),
        visitors_daily=visitors_daily(requests),
        status_daily=count(requests, lambda r: (r.day, r.site, r.status)),
        methods_daily=count(requests, lambda r: (r.day, r.site, r.method, r.protocol)),
        paths_daily=paths_daily(requests),
        not_found_daily=count(missing, lambda r: (r.day, r.site, r.path, bare_referrer(r))),
        referrers_daily=count(requests, lambda r: (r.day, r.site, *referrer(r))),
        clients_daily=clients_daily(requests),
        visits_daily=visits_daily(requests),
        sizes_and_times_daily=sizes_and_times_daily(requests),
        errors_daily=errors_daily(error for file in every for error in file.errors),
        quality_daily=quality_daily(every),
    )


def status_daily(
    files: Mapping[str, bytes], forgotten: AbstractSet[tuple[str, str]] = NOTHING_FORGOTTEN
) -> Rows:
    """Rows of event_date, site, status, hits, bytes."""
    rows: Rows = serving(files, forgotten).status_daily
    return rows
