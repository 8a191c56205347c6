"""Columns that tables of several layers have.

What belongs here: a column whose meaning is the same wherever it stands. What does not: one that a
single layer has.
"""

from __future__ import annotations

import polars as pl

from pipeline_assets.kernel.schemas.table import STRING, TIMESTAMP, Column

SITE = Column("site", STRING, "virtual host, else the configured name, else from the file's name", False)
FORMAT = Column("format", STRING, "log format the line was read as", False)
LINEAGE = (
    Column("source_file", STRING, "path of the landed file, below the storage root", False),
    Column("line_number", pl.Int64(), "line of that file, counted from 1", False),
)
EVENT_TIME = Column("timestamp", TIMESTAMP, "when the server says it happened", False)
REQUEST_FIELDS = (
    Column("remote_host", STRING, "client address or name as logged (%h)", False),
    Column("identity", STRING, "identd name (%l); '-' is null"),
    Column("user", STRING, "authenticated user (%u); '-' is null"),
    EVENT_TIME,
    Column("utc_offset_minutes", pl.Int16(), "zone of the logged time, minutes east of UTC", False),
    Column("request", STRING, "request line as the server wrote it (%r)"),
    Column("method", STRING, "first word of the request; null where the request is garbage"),
    Column("target", STRING, "request target with its query; null where the request is garbage"),
    Column("protocol", STRING, "HTTP/x.y; null where absent"),
    Column("status", pl.Int16(), "status sent to the client (%>s); '-' is null"),
    Column("bytes", pl.Int64(), "bytes of the response body (%b); '-' is null"),
    Column("referer", STRING, "Referer header; '-' is null, an empty value is the empty string"),
    Column("user_agent", STRING, "User-Agent header; '-' is null, an empty value is the empty string"),
    Column("vhost", STRING, "virtual host where the format has one (%v)"),
    Column("port", pl.Int32(), "server port where the format has one (%p)"),
    Column("duration_us", pl.Int64(), "time to serve, microseconds, where the format has one"),
    Column("extra", STRING, "further fields as JSON text"),
    SITE,
    FORMAT,
    *LINEAGE,
)
ERROR_FIELDS = (
    EVENT_TIME,
    Column("level", STRING, "severity as logged, such as error or notice"),
    Column("module", STRING, "Apache module that wrote it"),
    Column("pid", pl.Int64(), "process id"),
    Column("tid", pl.Int64(), "thread id"),
    Column("connection", pl.Int64(), "nginx connection serial number"),
    Column("client", STRING, "client address"),
    Column("client_port", pl.Int32(), "client port"),
    Column("error_code", STRING, "Apache message code such as AH01630"),
    Column("os_error_code", pl.Int64(), "operating system error number"),
    Column("message", STRING, "the message, with its continuation lines", False),
    Column("referer", STRING, "Referer header"),
    Column("server", STRING, "nginx server name"),
    Column("request", STRING, "request line"),
    Column("upstream", STRING, "nginx upstream"),
    Column("host", STRING, "Host header"),
    SITE,
    FORMAT,
    *LINEAGE,
    Column("line_count", pl.Int64(), "lines of the file this row holds, continuations included", False),
)
EVENT_DATE = Column("event_date", pl.Date(), "day of the event, UTC", False)
HOUR = Column("hour", pl.Int8(), "hour of the event, UTC, 0 to 23", False)
MINUTE = Column("minute", pl.Int8(), "minute of that hour, 0 to 59", False)
STATUS_CLASS = Column(
    "status_class",
    STRING,
    "class of the HTTP status (RFC 9110, section 15): 1xx to 5xx, or other where it has none",
    False,
)
IS_BOT = Column(
    "is_bot",
    pl.Boolean(),
    "the user agent names a crawler (crawler-user-agents), a tool or a library",
    False,
)
AGENT_COLUMNS = (
    Column("bot", STRING, "crawler, tool or library by name (crawler-user-agents); null where it is no bot"),
    Column("browser", STRING, "browser family by ua-parser (uap-core); null where it knows none"),
    Column("browser_version", STRING, "its major version"),
    Column("os", STRING, "operating system family by ua-parser (uap-core); null where it knows none"),
    Column("device", STRING, "device class: desktop, phone, tablet, tv, bot, or other", False),
)
REFERRER_KIND = Column(
    "referrer_kind",
    STRING,
    "direct: no Referer (RFC 9110, section 10.1.3); own: a page of the same site, with or without www.;"
    " search: a known search engine; other",
    False,
)
REFERRER_HOST = Column("referrer_host", STRING, "host that the Referer names, in lower case")
SEARCH_PHRASE = Column(
    "search_phrase",
    STRING,
    "words searched for, decoded and in lower case, where the search engine still sends them",
)
HITS = Column("hits", pl.Int64(), "requests", False)
BYTES = Column("bytes", pl.Int64(), "bytes sent; a request without a size counts none", False)
STATUS = Column("status", pl.Int16(), "HTTP status (RFC 9110, section 15); 0 where the log has none", False)
METHOD = Column(
    "method",
    STRING,
    "request method of IANA's HTTP Method Registry; `other` for any other word; null for a garbage request",
)
PROTOCOL = Column("protocol", STRING, "HTTP version as in the request line; null where it has none")
REMOTE_HOST = Column("remote_host", STRING, "client address as logged", False)
USER_AGENT = Column("user_agent", STRING, "User-Agent header, its first 512 characters")
STARTED_AT = Column("started_at", TIMESTAMP, "time of the visit's first request", False)
ENDED_AT = Column("ended_at", TIMESTAMP, "time of the visit's last request", False)
PAGES = Column("pages", pl.Int64(), "requests of pages, not of static files", False)
# How a client asks: by method, and whether it says where it comes from.
MANNERS = (
    Column("writes", pl.Int64(), "requests by POST, PUT, PATCH or DELETE", False),
    Column(
        "odd_methods",
        pl.Int64(),
        "requests by none of the methods that pages use, which are those, GET, HEAD and OPTIONS",
        False,
    ),
    Column("referred", pl.Int64(), "requests that named a page they came from (Referer)", False),
)
