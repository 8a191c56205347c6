"""The report's charts: declared in Altair, drawn as SVG by vl-convert, without a browser and without scripts.

What belongs here: charts of numbers. What does not: text from logs, which never enters a chart.

A chart is drawn in a few stand-in colours, which the page's style sheet replaces with those of the light or
the dark theme; so one drawing serves both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from pipeline_assets.report.facts import Row

# Stand-ins: the style sheet has the colours they stand for.
FIRST: Final = "#010101"
SECOND: Final = "#020202"
THIRD: Final = "#030303"
TEXT: Final = "#040404"
RULE: Final = "#050505"
_FONT: Final = "system-ui, sans-serif"
_SIZE: Final = re.compile(r'^<svg ([^>]*?)\bwidth="([\d.]+)" height="([\d.]+)"')


def hours_chart(hours: Sequence[Row], *, width: int, height: int) -> str:
    """Requests by hour, people and bots stacked, the hours a week before as a line, and what is usual."""
    import altair as alt

    rows = [
        {"hour": row["hour"], "who": who, "requests": row[key], "order": order}
        for row in hours
        for order, (who, key) in enumerate((("people", "people"), ("bots", "bots")))
    ]
    colours = alt.Scale(domain=["people", "bots"], range=[FIRST, SECOND])
    bars = (
        alt.Chart({"values": rows})
        .mark_bar()
        .encode(
            x=_hour_axis(alt, width),
            y=alt.Y("requests:Q", stack=True, axis=_count_axis(alt)),
            color=alt.Color("who:N", scale=colours, legend=None),
            order=alt.Order("order:Q"),
        )
    )
    layers = [bars]
    if any(row["week_before"] for row in hours):
        earlier = [{"hour": row["hour"], "requests": row["week_before"]} for row in hours]
        layers.append(
            alt.Chart({"values": earlier})
            .mark_line(color=THIRD, strokeWidth=1.5, interpolate="monotone")
            .encode(x=_hour_axis(alt, width), y=alt.Y("requests:Q"))
        )
    usual = [
        {"hour": row["hour"], "lower": row["lower"], "upper": row["upper"]}
        for row in hours
        if row["lower"] is not None
    ]
    if usual:
        layers.append(
            alt.Chart({"values": usual})
            .mark_rule(color=TEXT, strokeWidth=1)
            .encode(x=_hour_axis(alt, width), y=alt.Y("lower:Q"), y2=alt.Y2("upper:Q"))
        )
    return _svg(alt.layer(*layers), width, height)


def hourly_bars(hours: Sequence[Row], field: str, *, width: int, height: int) -> str:
    """One number by hour."""
    import altair as alt

    rows = [{"hour": row["hour"], "value": row[field]} for row in hours]
    chart = (
        alt.Chart({"values": rows})
        .mark_bar(color=FIRST)
        .encode(x=_hour_axis(alt, width), y=alt.Y("value:Q", axis=_count_axis(alt)))
    )
    return _svg(chart, width, height)


def named_bars(rows: Sequence[Row], label: str, value: str, *, width: int, height: int) -> str:
    """A bar for each of a few names of our own, in the order given."""
    import altair as alt

    values = [{"name": row[label], "value": row[value]} for row in rows]
    axis = alt.Axis(
        title=None, labelAngle=0, ticks=False, domainColor=RULE, labelOverlap="greedy", labelSeparation=10
    )
    chart = (
        alt.Chart({"values": values})
        .mark_bar(color=FIRST)
        .encode(
            x=alt.X("name:N", sort=None, axis=axis, scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1)),
            y=alt.Y("value:Q", axis=_count_axis(alt)),
        )
    )
    return _svg(chart, width, height)


def histogram(upper: Sequence[int], hits: Sequence[int], *, unit: str, width: int, height: int) -> str:
    """Requests by size or time, in steps of a factor of two; `unit` is `bytes` or `duration_us`."""
    counts: dict[int, int] = {}
    for bound, count in zip(upper, hits, strict=True):
        counts[max(bound, 0).bit_length()] = counts.get(max(bound, 0).bit_length(), 0) + count
    rows = [
        {"name": _magnitude(power, unit), "value": counts.get(power, 0)}
        for power in range(min(counts), max(counts) + 1)
    ]
    # Names that would run into each other are left out by the axis.
    return named_bars(rows, "name", "value", width=width, height=height)


def _magnitude(power: int, unit: str) -> str:
    value = 0 if power == 0 else 1 << (power - 1)
    steps = (("µs", 1), ("ms", 1_000), ("s", 1_000_000)) if unit == "duration_us" else _BYTES
    name, size = next((step for step in reversed(steps) if value >= step[1]), steps[0])
    number = value / size
    return f"{number:.0f} {name}" if number >= 10 or number == int(number) else f"{number:.1f} {name}"


_BYTES: Final = (("B", 1), ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30))


def _hour_axis(alt: Any, width: int) -> Any:
    shown = list(range(0, 24, 2 if width > 500 else 6))
    axis = alt.Axis(title=None, labelAngle=0, values=shown, ticks=False, domainColor=RULE, format="02d")
    return alt.X(
        "hour:O", axis=axis, scale=alt.Scale(domain=list(range(24)), paddingInner=0.2, paddingOuter=0.1)
    )


def _count_axis(alt: Any) -> Any:
    return alt.Axis(title=None, tickCount=4, ticks=False, domain=False, gridColor=RULE, format="~s")


def _svg(chart: Any, width: int, height: int) -> str:
    import vl_convert

    spec = (
        chart.properties(
            width=width,
            height=height,
            background="transparent",
            padding=0,
            autosize={"type": "fit", "contains": "padding"},
        )
        .configure(aria=False)
        .configure_view(stroke=None)
        .configure_axis(labelColor=TEXT, labelFont=_FONT, labelFontSize=11, labelPadding=6)
        .to_dict()
    )
    drawn: str = vl_convert.vegalite_to_svg(spec)
    # The page decides how wide it is; the drawing keeps its proportions.
    return _SIZE.sub(lambda found: f'<svg {found[1]}data-width="{found[2]}"', drawn, count=1)
