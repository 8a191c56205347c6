"""Where columns come from: for each table the tables it is made of, and for each column the columns.

What belongs here: the one place that says so; the UI's column lineage is made from it. What does not: how a
column is computed.

A column comes from the column of the same name, unless `_DERIVED` says from which others. A column that is
counted from whole rows comes from none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeline_assets.kernel import user_agents
from pipeline_assets.kernel.clean import CLEANERS
from pipeline_assets.kernel.rollups import ROLLUPS
from pipeline_assets.kernel.schemas import LAYERS, MODEL, SERVING, Table

# Which rollups of gold each serving table is projected from.
_ROLLUPS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "traffic_hourly": ("traffic", "visitors"),
    "traffic_minutely": ("traffic",),
    "visitors_daily": ("visitors",),
    "status_daily": ("traffic",),
    "methods_daily": ("traffic",),
    "paths_daily": ("counts",),
    "not_found_daily": ("counts",),
    "referrers_daily": ("counts",),
    "agents_daily": ("visitors",),
    "clients_daily": ("visitors",),
    "visits_daily": ("visits",),
    "sizes_and_times_daily": ("counts",),
    "errors_daily": ("counts",),
    "quality_daily": ("counts",),
}
# What of serving says the same as what the model tables are made of.
_SERVING_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "traffic_scores": ("traffic_hourly",),
    "incidents": ("traffic_hourly", "traffic_minutely", "visits_daily", "paths_daily", "clients_daily"),
    "client_profiles": ("clients_daily", "visits_daily"),
}
_DERIVED: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("silver", "event_date"): ("timestamp",),
    ("silver", "hour"): ("timestamp",),
    ("silver", "path"): ("target",),
    ("silver", "path_kind"): ("target",),
    ("silver", "query"): ("target",),
    ("silver", "status_class"): ("status",),
    **{("silver", name): ("user_agent",) for name in user_agents.COLUMNS},
    ("silver", "referrer_kind"): ("referer", "site"),
    ("silver", "referrer_host"): ("referer",),
    ("silver", "search_phrase"): ("referer",),
    ("silver", "template"): ("message",),
    ("gold", "minute"): ("timestamp",),
    ("gold", "failures"): ("status",),
    ("gold", "pages"): ("path_kind",),
    ("gold", "bucket"): ("bytes", "duration_us"),
    ("gold", "paths"): ("path", "path_kind", "status"),
    ("gold", "probes"): ("path", "status"),
    ("gold", "key_1"): ("path", "referrer_kind", "source_file", "level"),
    ("gold", "key_2"): ("path_kind", "referer", "vhost", "module"),
    ("gold", "key_3"): ("search_phrase", "template"),
    **{("gold", f"{end}_path"): ("path",) for end in ("entry", "exit")},
    **{("gold", f"{end}_file"): ("source_file",) for end in ("entry", "exit")},
    **{("gold", f"{end}_line"): ("line_number",) for end in ("entry", "exit")},
    **{
        ("gold", name): ("timestamp",)
        for name in ("started_at", "ended_at", "entry_at", "exit_at", "first_seen", "last_seen")
    },
    ("serving", "status_class"): ("status", "status_class"),
    ("serving", "visitors"): ("remote_host", "user_agent"),
    ("serving", "bot_visitors"): ("remote_host", "user_agent", "is_bot"),
    ("serving", "visitors_goaccess"): ("remote_host", "user_agent"),
    ("serving", "agents"): ("user_agent",),
    ("serving", "failures"): ("failures", "status_class"),
    ("serving", "duration_s"): ("started_at", "ended_at"),
    ("serving", "path"): ("key_1",),
    ("serving", "kind"): ("key_1", "key_2"),
    ("serving", "host"): ("key_2",),
    ("serving", "referrer"): ("key_2",),
    ("serving", "search_phrase"): ("key_3",),
    ("serving", "level"): ("key_1",),
    ("serving", "module"): ("key_2",),
    ("serving", "template"): ("key_3",),
    ("serving", "fate"): ("key_1",),
    ("serving", "reason"): ("key_2",),
    ("serving", "measure"): ("aspect",),
    ("serving", "entries"): ("hits",),
    ("serving", "lines"): ("hits",),
    ("serving", "total"): ("bytes",),
    ("serving", "bucket_upper"): ("bucket",),
    ("serving", "bucket_hits"): ("hits",),
    **{("serving", f"p{percent}"): ("bucket", "hits") for percent in (50, 90, 95, 99)},
    ("model", "kind"): ("hits", "failures", "pages", "entry_path", "user_agent"),
    ("model", "points"): ("hits", "failures", "pages", "entry_path", "user_agent"),
    ("model", "asked_robots"): ("entry_path",),
    ("model", "name"): ("user_agent",),
    ("model", "purpose"): ("user_agent",),
    ("model", "user_agents"): ("user_agent",),
    **{
        ("model", name): ("hits", "bytes", "visitors")
        for name in ("observed", "expected", "lower", "upper", "score", "distance", "is_anomaly")
    },
}


def sources_of(table: Table) -> list[Table]:
    """The tables that a table is made of; none for bronze, which is made of landed files."""
    if table.layer == "silver":
        return [LAYERS["bronze"][table.name]] if table.name in CLEANERS else []
    if table.layer == "gold":
        return [LAYERS["silver"][name] for name in ROLLUPS[table.name].sources if name in LAYERS["silver"]]
    if table.name in SERVING:
        return [LAYERS["gold"][name] for name in _ROLLUPS_OF.get(table.name, ())]
    return [SERVING[name] for name in _SERVING_OF.get(table.name, ())] if table.name in MODEL else []


def column_sources(table: Table) -> dict[str, list[tuple[Table, str]]]:
    """For each column the table and the column it comes from; empty for what is counted from whole rows."""
    found: dict[str, list[tuple[Table, str]]] = {}
    for column in table.columns:
        names = _DERIVED.get((table.layer, column.name), (column.name,))
        found[column.name] = [
            (source, name) for source in sources_of(table) for name in names if name in source.schema
        ]
    return found
