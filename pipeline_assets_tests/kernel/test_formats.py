"""What a file's name says of its site, and the list of reasons.

What belongs here: `formats` alone. What does not: how lines of the formats are read (`test_parse`,
`test_errors`).
"""

from __future__ import annotations

import pytest

from pipeline_assets.kernel.formats import RejectReason, site_from_name


@pytest.mark.parametrize(
    "name",
    [
        "access.example.org.log",
        "access-example.org.log",
        "access_example.org.log",
        "access.log.example.org",
        "access_log.example.org",
        "access_log-example.org",
        "example.org-access.log",
        "example.org_access_log",
        "example.org.access.log",
        "example.org-access_log",
        "example.org_error.log",
        "error.example.org.log",
        "ssl-access.example.org.log",
        "ssl_access_example.org.log",
        "example.org-ssl_access.log",
        "example.org-ssl-access_log",
        "EXAMPLE.org-access.log",
        "example.org-access.log.1",
        "example.org-access.log.14.gz",
        "example.org-access.log.2.bz2",
        "example.org-access.log-20240115",
        "example.org-access.log-20240115.gz",
        "example.org-access.log-2024-01-15",
        "example.org-access.log.2024-01-15-0625.gz",
        "example.org-access.log-1705300000.gz",
        "access.example.org.log.1.gz",
        "access.example.org.2024-01-15.log.gz",
        "logs/2024-01-15/access.example.org.log",
        "logs/other.example.net/example.org-access.log",
    ],
)
def test_names_with_a_site(name: str) -> None:
    assert site_from_name(name) == "example.org"


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("access.www.example.co.uk.log", "www.example.co.uk"),
        ("xn--bcher-kva.example-access.log", "xn--bcher-kva.example"),
        ("access.xn--bcher-kva.xn--p1ai.log", "xn--bcher-kva.xn--p1ai"),
        ("1.example.org-access.log", "1.example.org"),
        ("my-shop.example-access.log", "my-shop.example"),
    ],
)
def test_unusual_sites(name: str, site: str) -> None:
    assert site_from_name(name) == site


@pytest.mark.parametrize(
    "name",
    [
        "",
        "access.log",
        "access.log.1.gz",
        "access_log",
        "access_log-20240115",
        "error.log",
        "ssl_access_log",
        "nginx-access.log",
        "other_vhosts_access.log",
        "example.org.log",
        "example.org",
        "example.org/access.log",
        "new_data.log",
        "access.localhost.log",
        "access.192.0.2.1.log",
        "access.-bad-.org.log",
        "access..org.log",
        "access.example.org\n.log",
        "access.ex ample.org.log",
        "accessories.example.org.log",
    ],
)
def test_names_without_a_site(name: str) -> None:
    assert site_from_name(name) is None


def test_a_long_name_takes_no_time() -> None:
    for name in ("access." + "a." * 5000 + "!", "access." + "a-" * 5000, "x" * 10_000 + ".1" * 2000):
        assert site_from_name(name) is None


def test_the_reasons_are_a_closed_list() -> None:
    assert [reason.value for reason in RejectReason] == [
        "unrecognised",
        "unknown_format",
        "binary",
        "utf_16",
        "truncated",
        "ambiguous",
        "invalid_time",
        "invalid_number",
        "outside_window",
        "line_too_long",
        "damaged_compression",
        "compression_bomb",
    ]
