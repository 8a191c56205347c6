"""How fast each contestant reads, as a picture: a bar for each, and what became of the lines beside it.

What belongs here: the drawing. What does not: figures, and tables of them (`page`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline_assets_benchmarks.page import Result
from pipeline_assets_benchmarks.truth import Outcome

# The same in a light and in a dark theme, as the picture has a ground of its own.
_GROUND: Final = "#f6f7f9"
_TEXT: Final = "#1c2430"
_OURS: Final = "#2563eb"
_THEIRS: Final = "#8a93a3"
_FONT: Final = "ui-sans-serif, system-ui, sans-serif"
_BAR_HEIGHT: Final = 26
# Browsers have wider letters than whoever draws takes them for.
_NAMES: Final = 200
_WIDTH: Final = 860
# What stands behind the longest bar needs as much again.
_ROOM: Final = 2.0


def speed_picture(results: Sequence[Result]) -> str:
    """An SVG of those that read lines: MB of log for each CPU second, and what was lost or altered."""
    import altair as alt
    import vl_convert

    rows = [
        {
            "name": result.contestant.name,
            "speed": 1000 / result.cpu_s_a_gb,
            "said": f"{1000 / result.cpu_s_a_gb:,.0f} · {_became(result.outcome)}",
            "is_ours": result.contestant.is_ours,
        }
        for result in results
        if result.outcome is not None
    ]
    names = alt.Axis(
        title=None, ticks=False, domain=False, labelLimit=300, labelFontSize=13, minExtent=_NAMES
    )
    y = alt.Y("name:N", sort=None, axis=names, scale=alt.Scale(paddingInner=0.3, paddingOuter=0.15))
    widest = max((1000 / result.cpu_s_a_gb for result in results), default=1.0)
    x = alt.X("speed:Q", axis=None, scale=alt.Scale(domain=[0, _ROOM * widest], nice=False))
    chart = alt.Chart({"values": rows}).encode(x=x, y=y)
    colour = alt.condition("datum.is_ours", alt.value(_OURS), alt.value(_THEIRS))
    said = chart.mark_text(align="left", dx=8, font=_FONT, fontSize=13, color=_TEXT).encode(text="said:N")
    drawing = (
        alt.layer(chart.mark_bar(cornerRadiusEnd=3).encode(color=colour), said)
        .properties(
            width=_WIDTH,
            height=_BAR_HEIGHT * len(rows),
            background=_GROUND,
            padding=16,
            autosize={"type": "fit-x", "contains": "padding"},
            title={
                "text": "MB of log read for each second of CPU time: longer is faster",
                "anchor": "start",
                "font": _FONT,
                "fontSize": 14,
                "color": _TEXT,
                "offset": 12,
            },
        )
        .configure_view(stroke=None)
        .configure_axis(labelColor=_TEXT, labelFont=_FONT, labelPadding=8)
    )
    drawn: str = vl_convert.vegalite_to_svg(drawing.to_dict())
    return drawn


def _became(outcome: Outcome) -> str:
    """What became of the lines, in a few words."""
    if outcome.lost is None:
        return "no rows, a report alone"
    wrong = (
        (outcome.lost, "entries lost"),
        (outcome.altered, "altered"),
        (outcome.accepted, "malformed lines taken for entries"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in wrong if count) or "every line accounted for"
