"""The log formats as they are written: regular expressions, file names, and the reasons for a reject.

What belongs here: the shape of a line, each with the source of its format.

What does not: turning a matched line into columns (`access_lines`, `error_lines`).

The expressions are for Rust's `regex`: no look-around, and linear time whatever the line holds.

Access logs: Apache `mod_log_config` (`%h %l %u %t "%r" %>s %b`, "combined" with Referer and User-Agent, and
Debian's `vhost_combined`, which begins with `%v:%p`) and nginx `ngx_http_log_module`, whose predefined
`combined` is the same; nginx packages call it `main` with the quoted X-Forwarded-For at the end.
Both servers escape a quote inside a quoted field (`\\"` in Apache, `\\x22` in nginx) and in the user name, so
a bare quote is always the server's own: a client can't forge the end of a field.

Error logs: Apache 2.4 `ErrorLogFormat` (core), its fixed predecessor in Apache 2.2, and nginx `error_log`
(core module; the request's context is appended by `ngx_http_log_error`). nginx escapes nothing there.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from pipeline_assets.kernel.log_times import CLF_TIME, ISO_TIME


class RejectReason(StrEnum):
    """Why a line became no row; a closed list."""

    UNRECOGNISED = "unrecognised"  # in no format we know
    UNKNOWN_FORMAT = "unknown_format"  # the same, in a file whose sample holds no line that we know
    BINARY = "binary"  # in no format we know, and with zero bytes
    UTF_16 = "utf_16"  # text in two bytes a character: convert the file
    TRUNCATED = "truncated"  # the last line, without its end
    AMBIGUOUS = "ambiguous"  # readable in two ways, one of which may be a client's invention
    INVALID_TIME = "invalid_time"  # none, or one that never was: 31 February, or skipped by a clock change
    INVALID_NUMBER = "invalid_number"  # a number that no 64-bit integer holds
    OUTSIDE_WINDOW = "outside_window"  # an event before `earliest`, or on or after `latest`
    LINE_TOO_LONG = "line_too_long"  # only its beginning is kept
    DAMAGED_COMPRESSION = "damaged_compression"  # the compressed file broke off here
    COMPRESSION_BOMB = "compression_bomb"  # it inflated beyond all measure; nothing behind this was read


# No blanks, quotes or control characters: after a crash or `copytruncate` a line may begin with zero bytes,
# which belong to no address.
_WORD: Final = r'[^\x00-\x20"\x7f]+'
# The text between two quotes. It can't hold a bare quote, so where it ends is never in doubt.
_QUOTED: Final = r'(?:[^"\\]|\\.)*'
# A method, as RFC 9110 section 5.6.2 defines a token.
_METHOD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_CLOCK: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"

# ---- access logs, as servers write them ----------------------------------------------------------------
# Every alternative is decided by its next character, which lets the engine fill all groups in one pass
# (measured: 135 MB/s on one core, against 20 MB/s for the tolerant expression below). What these match
# can be rebuilt from its groups, except for a zone of -0000.
_EXACT_HOST: Final = rf"(?<remote_host>{_WORD})"
_EXACT_REST: Final = (
    rf" (?<identity>{_WORD}) (?<user>{_WORD})"
    r" \[(?<time>[0-9]{2}/(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    r'/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-5][0-9] [+-][0-9]{4})\] "'
    rf'(?<request>(?<method>{_METHOD}) (?<target>(?:[^ "\\]|\\[^ ])+) (?<protocol>HTTP/[0-9]\.[0-9]))"'
    r" (?<status>[1-9][0-9]{2}|-) (?<bytes>0|[1-9][0-9]{0,17}|-)"
    rf'(?: "(?<referer>{_QUOTED})" "(?<user_agent>{_QUOTED})"(?: "(?<forwarded_for>{_QUOTED})")?)?$'
)
ACCESS_EXACT: Final = f"^{_EXACT_HOST}{_EXACT_REST}"
ACCESS_EXACT_VHOST: Final = (
    r'^(?<vhost>[^\x00-\x20"\x7f:\[\]]+):(?<port>0|[1-9][0-9]{0,4}) '
    r'(?<remote_host>[^\x00-\x20"\x7f-][^\x00-\x20"\x7f]*)' + _EXACT_REST
)

# ---- access logs, with all that was seen beside that ---------------------------------------------------
_IP_ADDRESS: Final = (
    r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z._-]+)?"
    r"|unix:[^\x00-\x20\x22,]*)"
)
# Where X-Forwarded-For is logged in place of the client it may list several addresses.
_HOSTS: Final = r'(?:[^\x00-\x20",\x7f]+, ?)*' + _WORD
# A virtual host is believed where the form leaves no other reading: a port follows it, or an address
# follows a name. With two addresses the first is the client, for the second may be the client's invention.
_VHOST_AND_HOST: Final = (
    r'^(?:(?<vhost>[^\x00-\x20"\x7f:\[\]]+|\[[0-9A-Fa-f:.]+\]):(?<port>[0-9]{1,5})'
    rf" (?<remote_host_1>(?:[^\x00-\x20\x22,\x7f-][^\x00-\x20\x22,\x7f]*, ?)*"
    r"[^\x00-\x20\x22\x7f-][^\x00-\x20\x22\x7f]*)"
    r'|(?<vhost_without_port>[^\x00-\x20"\x7f:,]*[A-Za-z_][^\x00-\x20"\x7f:,]*)'
    rf" (?<remote_host_2>(?:{_IP_ADDRESS}, ?)*{_IP_ADDRESS})"
    rf"|(?<remote_host_3>{_HOSTS}))"
)
# A user may hold anything but a bare quote (clients send shell commands there): the time that stands
# before the line's first bare quote ends it. Apache writes "" for an empty name, nginx nothing. In front of
# it ingress-nginx wrote the client once more, in brackets.
_TOLERANT_HEAD: Final = (
    _VHOST_AND_HOST
    + rf" +(?<identity>{_WORD}) (?:\[(?<real_ip>[0-9A-Fa-f:., ]+)\] - )?(?<user>{_QUOTED}\\?|\x22\x22)"
    + rf" \[(?<time>{CLF_TIME}|{ISO_TIME})\]"
)
_STATUS_AND_BYTES: Final = r" (?<status>[0-9]{3}|-) (?<bytes>[0-9]+|-)"
# Fields behind those of the format: words and quoted texts, so that no quote is open where the line ends.
_TRAILING: Final = rf'(?<trailing>(?: +(?:[^ "]*"{_QUOTED}"[\],;)}}]*|[^ "]+))+ *)'
ACCESS_TOLERANT: Final = (
    _TOLERANT_HEAD
    + rf' "(?<request>{_QUOTED})"{_STATUS_AND_BYTES}'
    + rf'(?:(?<agent> (?:"(?<referer>{_QUOTED})"|-)'
    + rf' (?:(?:"(?<user_agent>{_QUOTED})"|-)(?<forwarded> (?:"(?<forwarded_for>{_QUOTED})"|-))?'
    # A server that dies, or a disk that fills up, leaves the last field without its closing quote.
    + rf'|"(?<open_user_agent>{_QUOTED}\\?)))? *'
    + rf'|(?<agent_2> "(?<referer_2>{_QUOTED})" "(?<user_agent_2>{_QUOTED})")?{_TRAILING})$'
)
# Servers that escape nothing: a bare quote may then be the client's. Such a line is read only if its status
# can stand in one place alone (`STATUS_BOUNDARY`); which of two headers holds the quote makes no difference.
ACCESS_LOOSE: Final = (
    _TOLERANT_HEAD
    + rf' "(?<request>.*)"{_STATUS_AND_BYTES}(?<agent> "(?<referer>.*?)" "(?<user_agent>.*)")? *$'
)
STATUS_BOUNDARY: Final = r'" (?:[0-9]{3}|-) (?:[0-9]+|-)(?: |$)'
# What follows the request in a line that could be read otherwise, were its server one that escapes nothing:
# a second end of a request line, or the status of a garbage request with more quoted fields behind it.
SECOND_STATUS: Final = (
    r'(?:[ "]HTTP/[0-9](?:\.[0-9])?" (?:[0-9]{3}|-) (?:[0-9]+|-)(?: |$)'
    r'|" (?:4[0-9]{2}|-) (?:[0-9]+|-) "[^"]*"(?: |$))'
)
# A line of an access log but for its time, which is missing or in no form that we know.
ACCESS_WITHOUT_TIME: Final = rf'^[^"]* "{_QUOTED}" (?:[0-9]{{3}}|-) (?:[0-9]+|-)(?: |$)'

# Formats that are how a line of a longer one begins.
SHORT_FORMATS: Final = frozenset({"common", "vhost_common", "syslog_common", "syslog_vhost_common"})

# Known fields behind Combined: Traefik's common log format, and Kubernetes' ingress-nginx (`upstreaminfo`).
TRAEFIK_TRAILING: Final = (
    r'^ (?<request_count>[0-9]+) "(?<router>[^"]*)" "(?<service_url>[^"]*)" (?<duration_ms>[0-9]+)ms$'
)
INGRESS_TRAILING: Final = (
    r"^ (?<request_length>[0-9]+) (?<request_time>[0-9]+\.[0-9]{3}) \[(?<upstream_name>[^\]]*)\]"
    r"(?: \[(?<alternative_upstream_name>[^\]]*)\])? (?<upstream_addr>[^ ]+(?:, [^ ]+)*)"
    r" (?<upstream_response_length>[0-9-]+(?:, [0-9-]+)*) (?<upstream_response_time>[0-9.-]+(?:, [0-9.-]+)*)"
    r" (?<upstream_status>[0-9-]+(?:, [0-9-]+)*) (?<request_id>[0-9a-f]{32}|-)$"
)
# With a protocol the target may be any text; without one (HTTP/0.9, or a request line cut off) only what
# begins like a target counts: garbage such as `t3 12.1.2` has two words as well.
REQUEST_LINE: Final = (
    rf"^(?<method>{_METHOD}) +(?<target>[^ ](?:.*[^ ])?) +(?<protocol>HTTP/[0-9](?:\.[0-9])?)$"
)
REQUEST_LINE_WITHOUT_PROTOCOL: Final = rf"^(?<bare_method>{_METHOD}) +(?<bare_target>/[^ ]*|[a-z]+://[^ ]+)$"

# ---- error logs ----------------------------------------------------------------------------------------
_LEVEL: Final = "emerg|alert|crit|error|warn|notice|info|debug"
NGINX_ERROR: Final = (
    rf"(?s)^(?<time>[0-9]{{4}}/[0-9]{{2}}/[0-9]{{2}} {_CLOCK}) \[(?<level>{_LEVEL})\]"
    r" (?<pid>[0-9]+)#(?<tid>[0-9]+): (?:\*(?<connection>[0-9]+) )?(?<rest>.*)$"
)
# The first ", client: " and what is before and after it; whether to believe it is decided by the reader.
NGINX_CLIENT: Final = r"(?s)^(?<head>.*?), client: (?<client>[0-9A-Fa-f:.]+|unix:)(?<tail>, .*)?$"
NGINX_SERVER: Final = r"^, server: (?<server>[^,\x22]*)"
NGINX_CONTEXT: Final = (
    r'^(?:, server: [^,"]*)?(?:, request: "(?<request>[^"]*)"'
    r'(?<after_request>(?:, subrequest: "[^"]*")?(?:, upstream: "(?<upstream>[^" ]*)")?'
    r'(?:, host: "(?<host>[^" ]*)")?(?:, referrer: "(?<referer>[^"]*)")?))?$'
)
# Written last by ngx_log_errno, then perhaps what the server was doing.
NGINX_OS_ERROR: Final = r'\((?<os_error_code>[0-9]+): [^()"]*\)(?: while [^"(),]*)?$'
# nginx cuts an entry at 2048 bytes (NGX_MAX_ERROR_STR), and from 1998 on drops the end of the message to
# make room for the system's error: what then looks like its context may be the client's.
NGINX_CUT_BYTES: Final = 1990

# `%t`, `%{u}t` (microseconds), `%{cu}t` (ISO), and the access log's time that some tools write here.
_APACHE_TIME: Final = (
    rf"(?:(?<ctime>[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ 0-9][0-9] {_CLOCK}(?:\.[0-9]{{1,9}})? [0-9]{{4}})"
    rf"|(?<iso_time>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} {_CLOCK}(?:\.[0-9]{{1,9}})?)"
    rf"|(?<access_time>[0-9]{{2}}/[A-Z][a-z]{{2}}/[0-9]{{4}}:{_CLOCK} [+-][0-9]{{4}}))"
)
_APACHE_OS_ERROR: Final = r"(?:\((?:OS )?(?<os_error_code>[0-9]+)\).*?: )?"
_APACHE_CLIENT: Final = r"(?:\[client (?<client_text>[^\]]*)\] )?"
APACHE_24_ERROR: Final = (
    rf"^\[{_APACHE_TIME}\] \[(?<module>[^\]: ]*):(?<level>{_LEVEL}|trace[1-8])\]"
    r" \[pid (?<pid>[0-9]+)(?::tid (?<tid>[0-9]+))?\] (?:[^ \[\]()]+\([0-9]+\): )?"
    rf"{_APACHE_OS_ERROR}{_APACHE_CLIENT}(?:(?<error_code>AH[0-9]{{5}}): )?(?<text_rest>.*)$"
)
APACHE_22_ERROR: Final = (
    rf"^\[{_APACHE_TIME}\] \[(?<level>{_LEVEL})\] (?:\[pid (?<pid>[0-9]+)\] )?"
    rf"{_APACHE_CLIENT}{_APACHE_OS_ERROR}(?<text_rest>.*)$"
)
# Apache 2.4 always writes the port, after the last colon, also behind a bare IPv6 address; 2.2 never does.
APACHE_24_CLIENT: Final = r"^(?<client>.*[^:]):(?<client_port>[0-9]{1,5})$"
APACHE_22_CLIENT: Final = r"^(?<client>[^:]+):(?<client_port>[0-9]{1,5})$"
APACHE_REFERER: Final = r"^(?<message>.*), referer: (?<referer>.*)$"

# A configured name: nginx writes `_` for a catch-all, `~…` for an expression, and the listening address
# (`0.0.0.0:80`) before it knows which server is meant.
REAL_SERVER_NAME: Final = r"^(?:[^_~:\s][^:\s]*|_[^:\s]+)$"

# ---- file names ----------------------------------------------------------------------------------------
_NAME_SUFFIX: Final = re.compile(
    r"(?:\.(?:gz|bz2|xz|zst|z|log|txt|old|bak)"
    r"|[._-](?:[0-9]{1,3}|[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[-_.t]?[0-9]{2,6})?|[0-9]{10}))$"
)
_HOST_NAME: Final = r"(?P<site>(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+?(?:[a-z]{2,}|xn--[a-z0-9-]+))"
_KIND: Final = r"(?:ssl[._-])?(?:access|error)"
_SITE_NAME: Final = (
    re.compile(rf"{_KIND}(?:[._-]?log)?[._-]{_HOST_NAME}"),
    re.compile(rf"{_HOST_NAME}[._-]{_KIND}(?:[._-]?log)?"),
)


def site_from_name(path: str) -> str | None:
    """The site that a log file's name says it is of, in lower case, or None.

    Known are `access.SITE.log`, `SITE-access.log`, `SITE_access_log`, `SITE.access.log` and the like, also
    with `error`, with `ssl`, rotated (`.1`, `-20240115`) or compressed. SITE must be a full host name:
    in `ssl_access_log` or `nginx-access.log` there is none.
    """
    name = PurePosixPath(path).name.lower()
    while (shorter := _NAME_SUFFIX.sub("", name)) != name:
        name = shorter
    for pattern in _SITE_NAME:
        if match := pattern.fullmatch(name):
            return match["site"]
    return None
