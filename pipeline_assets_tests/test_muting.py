"""Known windows and muted series: what they cover and what they don't.

What belongs here: the two settings. What does not: finding incidents.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline_assets.settings import Settings, SettingsError, load_settings


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, minute, tzinfo=UTC)


def expects(start: datetime, end: datetime, site: str | None = "shop.example", **settings: str) -> bool:
    return Settings(**settings).expects(site, "hits", start, end)  # type: ignore[arg-type]


def test_an_incident_in_a_window_is_expected_and_one_that_outlasts_it_is_not() -> None:
    window = {"known_windows": "2024-01-15T10:00/2024-01-15T10:30"}
    assert expects(at(15, 10), at(15, 10, 45), **window)
    assert expects(at(15, 10, 29), at(15, 10, 35), None, **window)
    assert not expects(at(15, 10, 10), at(15, 10, 46), **window)
    assert not expects(at(15, 9, 59), at(15, 10, 5), **window)
    assert not expects(at(15, 10, 30), at(15, 10, 31), **window)
    assert not expects(at(16, 10), at(16, 10, 5), **window)


def test_a_window_of_every_day_may_cross_midnight() -> None:
    window = {"known_windows": "23:30/00:30"}
    assert expects(at(15, 23, 40), at(16, 0, 10), **window)
    assert expects(at(16, 0, 10), at(16, 0, 20), **window)
    assert not expects(at(16, 0, 40), at(16, 0, 41), **window)


def test_a_window_with_a_zone_and_a_site() -> None:
    window = {"known_windows": "02:00/03:00, 2024-01-15T10:00+02:00/2024-01-15T11:00+02:00 *.example"}
    assert expects(at(15, 8, 10), at(15, 8, 20), **window)
    assert not expects(at(15, 8, 10), at(15, 8, 20), "other.test", **window)
    assert not expects(at(15, 8, 10), at(15, 8, 20), None, **window)


@pytest.mark.parametrize(
    ("muted", "site", "series", "expected"),
    [
        ("shop.example", "shop.example", "hits", True),
        ("shop.example", "a.shop.example", "hits", False),
        ("*.test, *:bytes", "a.test", "hits", True),
        ("*.test, *:bytes", None, "bytes", True),
        ("*.test, *:bytes", None, "hits", False),
        ("all:hits", None, "hits", True),
        ("", "a", "hits", False),
    ],
)
def test_what_is_muted(muted: str, site: str | None, series: str, expected: bool) -> None:
    assert Settings(muted=muted).expects(site, series, at(1, 1), at(1, 2)) == expected


@pytest.mark.parametrize(
    "text", ["tomorrow", "10:00", "10:00/2024-01-15T10:00", "2024-01-15T10:00/2024-01-15T09:00"]
)
def test_a_wrong_window_is_named_at_the_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_KNOWN_WINDOWS", text)
    with pytest.raises(SettingsError, match="PIPELINE_KNOWN_WINDOWS: not a window"):
        load_settings()
