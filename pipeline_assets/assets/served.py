"""What Dagster is told of event days that were published: a materialisation a table and day, and a chart.

What belongs here: reading back what serving shows of those days, once, and saying it. What does not: writing
them (`compute.publish`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from types import MappingProxyType
from typing import Any, Final

import dagster as dg
import polars as pl

from pipeline_assets.assets.metadata import bands, bars, column_lineage
from pipeline_assets.compute.publish import Published
from pipeline_assets.kernel.schemas import MODEL, SERVING
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.tables import read_table


def served_hours(store: Store, days: Iterable[date]) -> pl.DataFrame:
    """Hits and bytes that serving shows on these days, by event day and hour: as any reader sees them now."""
    wanted = sorted(set(days))
    if not wanted:
        return pl.DataFrame(schema=dict(SERVING["traffic_hourly"].schema)).select(
            "event_date", "hour", "hits", "bytes"
        )
    return (
        read_table(store, "traffic_hourly")
        .filter(pl.col("event_date").is_in(wanted))
        .group_by("event_date", "hour")
        .agg(pl.col("hits", "bytes").sum())
        .sort("event_date", "hour")
        .collect()
    )


def hits_by_day(served: pl.DataFrame) -> dict[date, int]:
    """Hits by event day."""
    return dict(served.group_by("event_date").agg(pl.col("hits").sum()).iter_rows())


# The table whose materialisations say when a day was last written.
EVERY_TIME: Final = "traffic_hourly"
_EVERY_TIME: Final = (EVERY_TIME, "traffic_scores")


def already_shown(instance: dg.DagsterInstance) -> dict[str, AbstractSet[str]]:
    """Days of tables that Dagster shows as materialised, but for the tables that are told every time.

    An event takes about as long to write as a day of a table, so a batch for a day that is known must not
    cost one for each table. Asking anew each time means that what a killed run did not say, the next does.
    """
    return {
        name: instance.get_materialized_partitions(dg.AssetKey([table.layer, name]))
        for name, table in (SERVING | MODEL).items()
        if name not in _EVERY_TIME
    }


def batching(instance: dg.DagsterInstance) -> AbstractContextManager[None]:
    """Store what is logged in this block in batches, where the instance's log can (`event_log`)."""
    batches: Callable[[], AbstractContextManager[None]] = getattr(
        instance.event_log_storage, "batching", nullcontext
    )
    return batches()


def parsed_lines(store: Store, days: Iterable[date]) -> dict[date, tuple[int, int]]:
    """Parsed lines of these days, and how many of them are garbage in place of a request."""
    wanted = sorted(set(days))
    if not wanted:
        return {}
    lines = pl.col("lines")
    rows = (
        read_table(store, "quality_daily")
        .filter(pl.col("event_date").is_in(wanted), fate="parsed")
        .group_by("event_date")
        .agg(lines.sum(), garbage=lines.filter(pl.col("reason") == "malformed_request").sum())
        .collect()
    )
    return {day: (parsed, garbage) for day, parsed, garbage in rows.iter_rows()}


def materializations(
    store: Store,
    done: Published,
    served: pl.DataFrame,
    *,
    shown: Mapping[str, AbstractSet[str]] = MappingProxyType({}),
) -> Iterator[dg.AssetMaterialization]:
    """A materialisation for each table and event day: of serving where published, of model where scored.

    Days that are `shown` for a table are left out. The last of each table has its columns' lineage, as in
    `metadata.lineage_metadata`.
    """
    charts, usual = _charts(served), _bands(store, done.written.scored_days)
    for tables, days in ((SERVING, set(done.days)), (MODEL, done.written.scored_days)):
        news = {name: {day for day in days if day.isoformat() not in shown.get(name, ())} for name in tables}
        rows = {name: _rows(store, name, done, news[name]) for name in tables}
        hollow = {day for day in days if _has_visitors_alone(rows, day)}
        told = {
            name: {day for day in mine if day not in hollow or rows[name].get(day)}
            for name, mine in news.items()
        }
        last = {name: max(told[name], default=None) for name in told}
        for day in sorted(days):
            for name, catalogued in tables.items():
                if day not in told[name]:
                    continue
                said: dict[str, Any] = {
                    "dagster/uri": store.uri(f"{catalogued.layer}/{name}"),
                    "dagster/row_count": rows[name].get(day, 0),
                }
                if day == last[name]:
                    said["dagster/column_lineage"] = column_lineage(catalogued)
                if day in done.days:
                    said["hits"] = done.days[day]
                if name == EVERY_TIME:
                    said |= charts.get(day, {})
                if name == "traffic_scores" and day in usual:
                    said["hits_and_what_is_usual"] = usual[day]
                yield dg.AssetMaterialization(
                    [catalogued.layer, name], partition=day.isoformat(), metadata=said
                )


def published_metadata(store: Store, done: Published) -> dict[str, Any]:
    """What a lane's publication says of itself."""
    days = sorted(done.days)
    return {
        "event_days": len(days),
        "first_day": days[0].isoformat() if days else "none",
        "last_day": days[-1].isoformat() if days else "none",
        "scored_days": len(done.written.scored_days),
        "hits_on_those_days": sum(done.days.values()),
        "rows_written": sum(sum(by_day.values()) for by_day in done.written.rows.values()),
        "dagster/uri": store.uri("serving"),
        **({"hits_by_day": bars({day.isoformat(): done.days[day] for day in days})} if days else {}),
    }


def _rows(store: Store, name: str, done: Published, days: set[date]) -> dict[date, int]:
    """Rows of a table by day; read only of days that it showed already, so that nothing was written."""
    written = done.written.rows.get(name, {})
    others = sorted(days - written.keys())
    if not others:
        return written
    held = read_table(store, name).filter(pl.col("event_date").is_in(others)).group_by("event_date").len()
    return written | dict(held.collect().iter_rows())


def _has_visitors_alone(rows: Mapping[str, Mapping[date, int]], day: date) -> bool:
    """Whether a day holds nothing but visitors that a log in another zone writes under that date."""
    filled = [name for name, by_day in rows.items() if by_day.get(day)]
    return filled == ["visitors_daily"]


def _bands(store: Store, days: Iterable[date]) -> dict[date, dg.MarkdownMetadataValue]:
    """For each day the hits of all sites by hour, with what the model expected."""
    wanted = sorted(set(days))
    if not wanted:
        return {}
    rows = (
        read_table(store, "traffic_scores")
        .filter(pl.col("event_date").is_in(wanted), pl.col("site").is_null(), series="hits")
        .sort("event_date", "hour")
        .collect()
    )
    return {
        day: bands(hours.to_dicts())
        for (day,), hours in rows.partition_by("event_date", as_dict=True).items()
        if isinstance(day, date)
    }


def _charts(served: pl.DataFrame) -> dict[date, dict[str, Any]]:
    """For each day its bytes and the hits of its 24 hours."""
    found: dict[date, dict[str, Any]] = {}
    for (day,), rows in served.partition_by("event_date", as_dict=True).items():
        hits = dict(rows.select("hour", "hits").iter_rows())
        assert isinstance(day, date)
        found[day] = {
            "bytes_sent": int(rows["bytes"].sum()),
            "hits_by_hour": bars({f"{hour:02}": hits.get(hour, 0) for hour in range(24)}),
        }
    return found
