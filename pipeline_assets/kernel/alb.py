"""AWS load balancers' access logs (Application and Classic) as definitions.

What belongs here: their fields, in order. What does not: reading by a definition (`definitions`).

Sources: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
and …/latest/classic/access-log-collection.html. Fields were added at the end over the years, so an old line
may lack some and a new one have more: those that we have no name for are in `extra` as `trailing`. A duration
is the sum of the three times that are written; where one of them is -1 (the connection failed) it is null.
"""

from __future__ import annotations

from typing import Final

from pipeline_assets.kernel.definitions import Definition, Field, Role
from pipeline_assets.kernel.log_times import ISO_TIME

_WORD: Final = r'[^ "]+'
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_NUMBER: Final = r"-?[0-9]+|-"
_SECONDS: Final = r"-1|[0-9]+(?:\.[0-9]+)?"

# Name, shape, and role or column.
_Part = tuple[str, str, str]
_CLIENT: Final[list[_Part]] = [
    ("elb", _WORD, Role.EXTRA),
    ("client", r"\[?[0-9A-Fa-f:.]+?\]?", Role.REMOTE_HOST),
]
_COMMON: Final[list[_Part]] = [
    ("target", _WORD, Role.EXTRA),
    ("request_processing_time", _SECONDS, Role.DURATION_SECONDS),
    ("target_processing_time", _SECONDS, Role.DURATION_SECONDS),
    ("response_processing_time", _SECONDS, Role.DURATION_SECONDS),
    ("elb_status_code", r"[0-9]{3}|-", "status"),
    ("target_status_code", r"[0-9]{3}|-", Role.EXTRA),
    ("received_bytes", _NUMBER, Role.EXTRA),
    ("sent_bytes", _NUMBER, "bytes"),
    ("request", _QUOTED, "request"),
    ("user_agent", _QUOTED, "user_agent"),
    ("ssl_cipher", _WORD, Role.EXTRA),
    ("ssl_protocol", _WORD, Role.EXTRA),
]
_APPLICATION_ONLY: Final[list[_Part]] = [
    ("target_group_arn", _WORD, Role.EXTRA),
    ("trace_id", _QUOTED, Role.EXTRA),
    ("domain_name", _QUOTED, Role.EXTRA),
    ("chosen_cert_arn", _QUOTED, Role.EXTRA),
    ("matched_rule_priority", _WORD, Role.EXTRA),
    ("request_creation_time", _WORD, Role.EXTRA),
    ("actions_executed", _QUOTED, Role.EXTRA),
    ("redirect_url", _QUOTED, Role.EXTRA),
    ("error_reason", _QUOTED, Role.EXTRA),
    ("target_port_list", _QUOTED, Role.EXTRA),
    ("target_status_code_list", _QUOTED, Role.EXTRA),
    ("classification", _QUOTED, Role.EXTRA),
    ("classification_reason", _QUOTED, Role.EXTRA),
    ("conn_trace_id", _WORD, Role.EXTRA),
]


def _definition(
    name: str, head: str, parts: list[_Part], optional: list[_Part], fields: list[Field]
) -> Definition:
    pattern = "^" + head
    for part, shape, role in parts:
        pattern += " " + _group(part, shape)
        if part == "client":
            pattern += r":(?<client_port>[0-9]+)"
            fields.append(Field("client_port", Role.EXTRA, "client_port"))
        fields.append(Field(part, role, part))
    for part, shape, role in optional:
        pattern += f"(?: {_group(part, shape)}"
        fields.append(Field(part, role, part))
    # Each field only where the ones before it are there.
    pattern += "(?: (?<trailing>.*))?" + ")?" * len(optional) + "$"
    fields.append(Field("trailing", Role.EXTRA, "trailing"))
    return Definition(name, pattern, tuple(fields), zone="UTC")


def _group(name: str, shape: str) -> str:
    """The shape as a group; of a quoted value, what is between its quotes."""
    if shape == _QUOTED:
        return f'"(?<{name}>{_QUOTED[1:-1]})"'
    return f"(?<{name}>{shape})"


ALB: Final = _definition(
    "aws_alb",
    rf"(?<type>https?|h2|grpcs?|wss?) (?<time>{ISO_TIME})",
    [*_CLIENT, *_COMMON],
    _APPLICATION_ONLY,
    [Field("type", Role.EXTRA, "type"), Field("time", Role.TIME)],
)
CLASSIC_ELB: Final = _definition(
    "aws_elb", rf"(?<time>{ISO_TIME})", [*_CLIENT, *_COMMON], [], [Field("time", Role.TIME)]
)
