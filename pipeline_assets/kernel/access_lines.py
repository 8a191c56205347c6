"""Access-log lines to columns.

What belongs here: reading the lines of the access-log formats and saying which can be rebuilt.

What does not: the shapes of the formats (`formats`), the site, the window and the counting (`parse`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline_assets.kernel import formats, log_times
from pipeline_assets.kernel.definitions import ROW_COLUMNS, json_member, rows_schema
from pipeline_assets.kernel.formats import RejectReason

# Below this, starting the streaming engine costs more than its second core saves.
_STREAMING_ROWS: Final = 10_000

_NO_TEXT: Final = pl.lit(None, dtype=pl.String)
# Tried in this order, each on the lines that the ones before left over.
_EXACT: Final = (formats.ACCESS_EXACT, formats.ACCESS_EXACT_VHOST)
# Known fields behind those of Combined, by the name of the format that writes them.
_TRAILING: Final = {"traefik": formats.TRAEFIK_TRAILING, "ingress_nginx": formats.INGRESS_TRAILING}


def read_exact_lines(lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reads lines just as Apache and nginx write them; what this leaves, `read_tolerant_lines` may read.

    A line gives the same row either way, sooner here. Lines and rows are as in `read_tolerant_lines`.
    """
    found: list[pl.DataFrame] = []
    rest = lines
    for pattern in _EXACT:
        groups, rest = _split(rest, pattern)
        if groups.height:
            found.append(_finish(_exact_fields(groups), "UTC", exact=True))
        if not rest.height:
            break
    return _joined(found), rest


def read_tolerant_lines(lines: pl.DataFrame, timezone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reads the access-log lines among `lines`; returns their rows, in line order, and the other lines.

    `lines` has line_number, byte_offset, line (Binary), text (String, without a carriage return at its end)
    and repaired (Boolean: the text is not the line's bytes). Rows have the columns of bronze `requests`
    except `site` and `source_file`, and besides `line` and `reason` (a `RejectReason` where the line must be
    rejected, else null). Times without a zone are taken in `timezone`.

    The formats are common, combined, nginx_main (combined and X-Forwarded-For, which is in `extra` as
    `{"forwarded_for": …}` unless it is `-`), and each of them with a virtual host in front (vhost_…). With
    further fields behind them they are called common_extra and combined_extra, and the fields are in `extra`
    as `{"trailing": …}`, except for those of traefik and ingress_nginx, which have names of their own.
    """
    groups, rest = _split(lines, formats.ACCESS_TOLERANT)
    found = [_finish(_tolerant_fields(groups), timezone, exact=False)] if groups.height else []
    if rest.height:
        groups, rest = _split(rest, formats.ACCESS_LOOSE)
        if groups.height:
            found.append(_finish(_loose_fields(groups), timezone, exact=False))
    return _joined(found), rest


def _joined(found: list[pl.DataFrame]) -> pl.DataFrame:
    if not found:
        return rows_schema().to_frame()
    return pl.concat(found).sort("line_number") if len(found) > 1 else found[0]


def _split(lines: pl.DataFrame, pattern: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines that match, with the pattern's groups as columns, and lines that don't."""
    matching = lines.lazy().with_columns(groups=pl.col("text").str.extract_groups(pattern)).unnest("groups")
    groups = matching.collect(engine="streaming" if lines.height >= _STREAMING_ROWS else "in-memory")
    matched = groups["time"].is_not_null()
    if matched.all():
        return groups, lines.clear()
    return groups.filter(matched), lines.filter(~matched)


def _exact_fields(groups: pl.DataFrame) -> pl.DataFrame:
    if "vhost" in groups.columns:
        return groups
    return groups.with_columns(vhost=_NO_TEXT, port=_NO_TEXT)


def _tolerant_fields(groups: pl.DataFrame) -> pl.DataFrame:
    """The groups of the tolerant expression as those of the exact one, and what can't be rebuilt."""
    # An unquoted dash is a field as well, though it fills no group of its own.
    has_agent = pl.col("agent").is_not_null() | pl.col("agent_2").is_not_null()
    tail = pl.concat_str(
        pl.lit(' "'),
        pl.coalesce("user_agent", "user_agent_2").fill_null(""),
        pl.lit('"'),
        pl.col("trailing").fill_null(""),
    ).str.replace_all(r"\\.", "")
    return _with_names(
        groups.with_columns(
            has_agent=has_agent,
            has_forwarded=pl.col("forwarded").is_not_null(),
            referer=pl.coalesce("referer", "referer_2"),
            user_agent=pl.coalesce("user_agent", "open_user_agent", "user_agent_2"),
            is_ambiguous=pl.col("trailing").is_not_null() & tail.str.contains(formats.SECOND_STATUS),
        )
    )


def _loose_fields(groups: pl.DataFrame) -> pl.DataFrame:
    """The groups of the loose expression as those of the exact one; a line that may be forged is marked."""
    return _with_names(
        groups.with_columns(
            has_agent=pl.col("agent").is_not_null(),
            has_forwarded=pl.lit(value=False),
            forwarded_for=_NO_TEXT,
            trailing=_NO_TEXT,
            is_ambiguous=pl.col("text").str.count_matches(formats.STATUS_BOUNDARY) > 1,
        )
    )


def _with_names(groups: pl.DataFrame) -> pl.DataFrame:
    """What both tolerant expressions have in common: hosts, user, and the words of the request."""
    user = pl.col("user")
    return (
        groups.with_columns(
            vhost=pl.coalesce("vhost", "vhost_without_port"),
            remote_host=pl.coalesce("remote_host_1", "remote_host_2", "remote_host_3"),
            user=pl.when(user == '""')
            .then(pl.lit(""))
            .when(user.str.strip_chars(" ") == "-")
            .then(pl.lit("-"))
            .otherwise(user),
            request=_unless_dash("request"),
        )
        .with_columns(
            pl.col("request").str.extract_groups(formats.REQUEST_LINE).struct.unnest(),
            pl.col("request").str.extract_groups(formats.REQUEST_LINE_WITHOUT_PROTOCOL).struct.unnest(),
        )
        .with_columns(
            method=pl.coalesce("method", "bare_method"),
            target=pl.coalesce("target", "bare_target"),
        )
    )


def _finish(groups: pl.DataFrame, timezone: str, *, exact: bool) -> pl.DataFrame:
    """Text to types: rows with the columns of `ROW_COLUMNS`."""
    time = pl.col("time")
    is_vhost = pl.col("vhost").is_not_null()
    is_ambiguous = pl.lit(value=False) if exact else pl.col("is_ambiguous")
    if exact:
        has_agent = pl.col("user_agent").is_not_null()
        has_forwarded = pl.col("forwarded_for").is_not_null()
        typed = groups.lazy().with_columns(
            utc_offset_minutes=_offset_minutes(groups["time"]),
            duration_us=pl.lit(None, pl.Int64),
            extra=pl.when(pl.col("forwarded_for") != "-").then(
                pl.struct("forwarded_for").struct.json_encode()
            ),
        )
        moment: pl.Expr = log_times.access_timestamp(time, pl.col("utc_offset_minutes"))
    else:
        has_agent, has_forwarded = pl.col("has_agent"), pl.col("has_forwarded")
        moment, offset = log_times.any_timestamp(time, timezone)
        typed = _with_extra(groups.with_columns(utc_offset_minutes=offset)).lazy()
    name: pl.Expr = (
        pl.when(has_forwarded)
        .then(pl.lit("nginx_main"))
        .when(has_agent)
        .then(pl.lit("combined"))
        .otherwise(pl.lit("common"))
    )
    if not exact:
        has_more = pl.col("trailing").is_not_null()
        name = pl.coalesce("known", pl.when(has_more).then(name + pl.lit("_extra")).otherwise(name))
    typed = typed.with_columns(
        timestamp=moment,
        byte_count=pl.col("bytes").cast(pl.Int64, strict=False),
        format=pl.concat_str(pl.when(is_vhost).then(pl.lit("vhost_")).otherwise(pl.lit("")), name),
    ).with_columns(
        reason=pl.when(is_ambiguous)
        .then(pl.lit(RejectReason.AMBIGUOUS.value))
        .when(pl.col("timestamp").is_null())
        .then(pl.lit(RejectReason.INVALID_TIME.value))
        .when((pl.col("bytes") != "-") & pl.col("byte_count").is_null())
        .then(pl.lit(RejectReason.INVALID_NUMBER.value)),
        bytes=pl.col("byte_count"),
        status=pl.col("status").cast(pl.Int16, strict=False),
        port=pl.col("port").cast(pl.Int32, strict=False),
        identity=_unless_dash("identity"),
        user=_unless_dash("user"),
        referer=_unless_dash("referer"),
        user_agent=_unless_dash("user_agent"),
    )
    # What the exact expression matches can be rebuilt, so only the zone's sign is left to check: composing
    # 100,000 lines anew would take as long as reading them.
    differs = time.str.ends_with("-0000") if exact else pl.col("text").ne_missing(_canonical_line())
    raw = pl.when(pl.col("repaired") | differs).then(pl.col("line"))
    return typed.with_columns(raw=raw).select(ROW_COLUMNS).collect()


def _offset_minutes(time: pl.Series) -> pl.Expr:
    """Minutes east of UTC. A log seldom changes its zone, and looking at each line's takes a while."""
    minutes = log_times.access_offset_minutes(pl.col("time"))
    if time.str.slice(20).n_unique() > 1:
        return minutes
    return pl.lit(time.head(1).to_frame("time").select(minutes).item(), pl.Int16)


def _with_extra(groups: pl.DataFrame) -> pl.DataFrame:
    """`groups` with `extra`, `duration_us` and `known`: the format that writes such fields."""
    rows = groups.with_columns(known=_NO_TEXT, duration_us=pl.lit(None, pl.Int64))
    real_ip = pl.when(pl.col("real_ip").is_not_null()).then(json_member("real_ip", pl.col("real_ip")))
    forwarded = pl.when(pl.col("forwarded_for") != "-").then(
        json_member("forwarded_for", pl.col("forwarded_for"))
    )
    trailing: pl.Expr = pl.when(pl.col("trailing").is_not_null()).then(
        json_member("trailing", pl.col("trailing").str.slice(1))
    )
    if rows["trailing"].null_count() < rows.height:
        for name, pattern in _TRAILING.items():
            fields = rows.select(pl.col("trailing").str.extract_groups(pattern).struct.unnest())
            matched = fields.to_series(0).is_not_null() & rows["agent_2"].is_not_null()
            if not matched.any():
                continue
            if name == "traefik":
                duration = fields["duration_ms"].cast(pl.Int64, strict=False) * 1000
                fields = fields.drop("duration_ms")
            else:
                duration = fields.select(log_times.microseconds_in(pl.col("request_time"))).to_series()
            is_known = pl.lit(matched)
            members = [
                pl.when(pl.lit(fields[field]) != "-").then(json_member(field, pl.lit(fields[field])))
                for field in fields.columns
            ]
            rows = rows.with_columns(
                known=pl.when(is_known).then(pl.lit(name)).otherwise("known"),
                duration_us=pl.when(is_known).then(pl.lit(duration)).otherwise("duration_us"),
            )
            trailing = (
                pl.when(is_known)
                .then(pl.concat_str(*members, separator=",", ignore_nulls=True))
                .otherwise(trailing)
            )
    members_text = pl.concat_str(real_ip, forwarded, trailing, separator=",", ignore_nulls=True)
    return rows.with_columns(
        extra=pl.when(members_text != "").then(pl.concat_str(pl.lit("{"), members_text, pl.lit("}")))
    )


def _canonical_line() -> pl.Expr:
    """The line that a server would write for the columns: where it differs, the row needs its raw bytes."""
    user = pl.col("user")
    forwarded_for = pl.col("forwarded_for").fill_null("-")
    return pl.concat_str(
        pl.when(pl.col("vhost").is_not_null())
        .then(
            pl.concat_str(
                "vhost",
                pl.when(pl.col("port").is_not_null())
                .then(pl.concat_str(pl.lit(":"), pl.col("port").cast(pl.String)))
                .otherwise(pl.lit("")),
                pl.lit(" "),
            )
        )
        .otherwise(pl.lit("")),
        pl.col("remote_host"),
        pl.lit(" "),
        pl.col("identity").fill_null("-"),
        pl.lit(" "),
        pl.when(user == "").then(pl.lit('""')).otherwise(user.fill_null("-")),
        pl.lit(" ["),
        log_times.access_time_text(pl.col("timestamp"), pl.col("utc_offset_minutes")),
        pl.lit('] "'),
        pl.col("request").fill_null("-"),
        pl.lit('" '),
        pl.col("status").cast(pl.String).fill_null("-"),
        pl.lit(" "),
        pl.col("bytes").cast(pl.String).fill_null("-"),
        pl.when(pl.col("has_agent"))
        .then(_quoted(pl.col("referer").fill_null("-")) + _quoted(pl.col("user_agent").fill_null("-")))
        .otherwise(pl.lit("")),
        pl.when(pl.col("has_forwarded")).then(_quoted(forwarded_for)).otherwise(pl.lit("")),
        # A known format's fields, and the client in brackets, are not put together again: such rows keep raw.
        pl.when(pl.col("known").is_null() & pl.col("real_ip").is_null()).then(
            pl.col("trailing").fill_null("")
        ),
    )


def _quoted(text: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit(' "'), text, pl.lit('"'))


def _unless_dash(column: str) -> pl.Expr:
    return pl.when(pl.col(column) != "-").then(pl.col(column))
