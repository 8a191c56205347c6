"""A day's facts to one HTML page, and the list of days to another.

What belongs here: words, units and rendering. What does not: queries (`facts`), drawing (`charts`), and where
a page is stored (`publish`).

The page needs nothing else: its style is inside, it holds no script, and its policy allows none and no
request. Everything from logs goes through an escaping template as text, with what hides or reverses text
written out; none of it is in an attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline_assets.escaping import shortened, shown_bytes
from pipeline_assets.report import charts
from pipeline_assets.report.facts import TOP, DayFacts, Totals

_WIDE: Final = (1040, 230)
_NARROW: Final = (350, 190)
_SMALL: Final = (500, 170)
_LONGEST_TEXT: Final = 300
_TIMES: Final = ((1_000_000, "s"), (1_000, "ms"), (1, "µs"))
_SIZES: Final = ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


def day_page(facts: DayFacts, *, neighbours: Mapping[str, date | None]) -> str:
    """The page of a day; `neighbours` are the days of the pages `before` and `after`, where there are any."""
    return (
        _templates()
        .get_template("day.html")
        .render(
            facts=facts,
            title=f"{facts.day:%A}, {facts.day.day} {facts.day:%B %Y}",
            neighbours=neighbours,
            tiles=_tiles(facts),
            charts=_charts(facts),
            top=TOP,
        )
    )


def index_page(days: Mapping[date, Totals]) -> str:
    """The list of days that have a page, by month, the newest first."""
    months: dict[str, list[tuple[date, Totals]]] = {}
    for day in sorted(days, reverse=True):
        months.setdefault(f"{day:%B %Y}", []).append((day, days[day]))
    most = max((totals.hits for totals in days.values()), default=0)
    return _templates().get_template("index.html").render(months=months, most=most, title="Reports")


def change(now: float, then: float) -> str:
    """How much more or less than then, in words for a small space."""
    if not then:
        return "new" if now else "same"
    share = (now - then) / then
    if abs(share) < 0.005:
        return "same"
    return f"{share:+.0%}" if abs(share) < 10 else f"{now / then:,.0f} times"


def size_text(value: float) -> str:
    """Bytes in the largest unit that leaves a digit before the point."""
    for unit, name in _SIZES:
        # From a thousand of the unit below, so that no number has five digits.
        if value >= unit * 1000 / 1024:
            return f"{value / unit:,.1f} {name}"
    return f"{value:,.0f} B"


def time_text(microseconds: float) -> str:
    """A time to serve."""
    for unit, name in _TIMES:
        if microseconds >= unit:
            return f"{microseconds / unit:,.1f} {name}"
    return "0"


def span_text(seconds: float | None) -> str:
    """How long a visit took."""
    if seconds is None:
        return "-"
    whole = timedelta(seconds=round(seconds))
    minutes, rest = divmod(int(whole.total_seconds()), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def share_text(part: float, whole: float) -> str:
    """A share in percent; of nothing there is none."""
    if not whole:
        return "-"
    share = part / whole
    return "<0.1%" if 0 < share < 0.001 else f"{share:.1%}"


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("pipeline_assets.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": lambda value: f"{value:,}",
        "size": size_text,
        "span": span_text,
        "time": time_text,
        "said": lambda text: shortened(text, _LONGEST_TEXT),
        "line": lambda line: shown_bytes(line, _LONGEST_TEXT),
    }
    made.globals |= {"share": share_text, "change": change}
    return made


def _tiles(facts: DayFacts) -> list[dict[str, Any]]:
    """The numbers at the top, each with the day before and the same weekday a week before."""

    def tile(
        name: str, field: str, note: str = "", shown: str = "", *, is_bad: bool = False
    ) -> dict[str, Any]:
        now = getattr(facts.totals, field)
        compared = []
        for label, other in (("day before", facts.before), ("week before", facts.week_before)):
            if not other.is_empty:
                then = getattr(other, field)
                text = change(now, then)
                tone = "bad" if is_bad and now > then and text != "same" else ""
                compared.append({"label": label, "text": text, "tone": tone})
        return {"name": name, "value": shown or f"{now:,}", "note": note, "compared": compared}

    total = facts.totals
    failed = total.client_errors + total.server_errors
    return [
        tile("Requests", "hits", f"{share_text(total.bot_hits, total.hits)} from bots"),
        tile("Visitors", "visitors", f"{total.bot_visitors:,} of them bots"),
        tile("Visits", "visits", "of people"),
        tile("Sent", "bytes", "", size_text(total.bytes)),
        tile(
            "Client errors",
            "client_errors",
            f"{share_text(total.client_errors, total.hits)} of requests",
            is_bad=True,
        ),
        tile(
            "Server errors", "server_errors", f"{share_text(failed, total.hits)} failed in all", is_bad=True
        ),
        tile("Error log", "log_errors", "entries", is_bad=True),
        tile(
            "Rejected lines", "rejected", f"{share_text(total.rejected, facts.lines)} of lines", is_bad=True
        ),
    ]


def _charts(facts: DayFacts) -> dict[str, Any]:
    """The drawings; one is left out where it would show nothing."""
    drawn: dict[str, Any] = {}
    if any(row["people"] or row["bots"] for row in facts.hours):
        drawn["hours_wide"] = _drawing(charts.hours_chart(facts.hours, width=_WIDE[0], height=_WIDE[1]))
        drawn["hours_narrow"] = _drawing(charts.hours_chart(facts.hours, width=_NARROW[0], height=_NARROW[1]))
    for field in ("visits", "failed", "bytes"):
        if any(row[field] for row in facts.hours):
            drawn[field] = _drawing(charts.hourly_bars(facts.hours, field, width=_SMALL[0], height=_SMALL[1]))
    if any(row["visits"] for row in facts.durations):
        drawn["durations"] = _drawing(
            charts.named_bars(facts.durations, "name", "visits", width=_SMALL[0], height=_SMALL[1])
        )
    for measure in ("bytes", "duration_us"):
        upper, hits = _buckets([row for row in facts.measures if row["measure"] == measure])
        if upper:
            drawn[f"of_{measure}"] = _drawing(
                charts.histogram(upper, hits, unit=measure, width=_SMALL[0], height=_SMALL[1])
            )
    return drawn


def _drawing(svg: str) -> Markup:
    # Drawn from numbers and names of ours alone, so it may go into the page as it is.
    return Markup(svg)  # noqa: S704


def _buckets(rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[int]]:
    """The buckets of all sites together."""
    upper = [bound for row in rows for bound in row["bucket_upper"]]
    return upper, [hits for row in rows for hits in row["bucket_hits"]]
