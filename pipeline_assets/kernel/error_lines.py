"""Error-log lines to columns.

What belongs here: reading the first line of an error-log entry, and whom to believe in it.

What does not: the shapes of the formats (`formats`), and the lines that follow an entry (`continuations`).

nginx and Apache copy parts of the request into their messages, nginx without any escaping. A value is taken
out of the text only where the client can't have put it there; where that is in doubt it stays in the
message, which is never evidence of anything but itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import polars as pl

from pipeline_assets.kernel import formats, log_times
from pipeline_assets.kernel.formats import RejectReason
from pipeline_assets.kernel.schemas import BRONZE_ERRORS

_LINE_COLUMNS: Final = ("line_number", "byte_offset", "line", "text", "repaired")
_TEXT_FIELDS: Final = (
    "level",
    "module",
    "client",
    "error_code",
    "message",
    "referer",
    "server",
    "request",
    "upstream",
    "host",
)
_NUMBER_FIELDS: Final = {
    "pid": pl.Int64,
    "tid": pl.Int64,
    "connection": pl.Int64,
    "client_port": pl.Int32,
    "os_error_code": pl.Int64,
}


@lru_cache(maxsize=1)
def error_rows_schema() -> pl.Schema:
    """Names and types of the rows that `read_error_lines` gives."""
    own = {"line": pl.Binary(), "text": pl.String(), "repaired": pl.Boolean(), "reason": pl.String()}
    names = [
        *_LINE_COLUMNS, "timestamp", *_TEXT_FIELDS, *_NUMBER_FIELDS, "format", "reason", "raw",
    ]  # fmt: skip
    catalogued = BRONZE_ERRORS.schema
    return pl.Schema({name: own.get(name) or catalogued[name] for name in names})


def read_error_lines(lines: pl.DataFrame, timezone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reads the lines of `lines` that begin an error-log entry; returns their rows and the other lines.

    `lines` has line_number, byte_offset, line (Binary), text (String, without a carriage return at its end)
    and repaired (Boolean: the text is not the line's bytes). Rows have the columns of bronze `errors`
    except `site`, `source_file` and `line_count`, and besides `line`, `text` and `reason` (a `RejectReason`
    where the line must be rejected, else null).

    The formats are nginx_error, apache_error_24 and apache_error_22; none writes a zone, so times are taken
    in `timezone`. From an Apache message the operating system's error and the message code (AH01630) are
    taken out; the text of the former is the code's own.
    """
    found: list[pl.DataFrame] = []
    rest = lines
    for name, pattern in (
        ("nginx_error", formats.NGINX_ERROR),
        ("apache_error_24", formats.APACHE_24_ERROR),
        ("apache_error_22", formats.APACHE_22_ERROR),
    ):
        groups = rest.with_columns(pl.col("text").str.extract_groups(pattern).struct.unnest())
        matched = groups["level"].is_not_null()
        if not matched.any():  # most lines that are none of a log's own are none of an error log either
            continue
        rest = rest.filter(~matched)
        fields = groups.filter(matched).with_columns(format=pl.lit(name))
        if name == "nginx_error":
            fields = _nginx_fields(fields, timezone)
        else:
            fields = _apache_fields(fields, timezone)
        found.append(_finish(fields))
    return pl.concat(found).sort("line_number") if found else error_rows_schema().to_frame(), rest


def with_whole_context(errors: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Entries of several lines, with the context that all of their lines allow.

    What a FastCGI program writes to its standard error stands in quotes, line feeds and all, and only behind
    the closing quote, lines below, nginx names client, server and request. What a client got into the first
    line may look the same. So the whole entry is judged as one line is: what is named twice, or in an entry
    that was cut, is not believed. `errors` has the columns of `read_error_lines` and `line_count`; `text` and
    `raw` hold all lines of an entry.
    """
    first = pl.col("text").str.extract("^[^\n]*", 0)
    named = pl.col("text").str.count_matches(", client: ", literal=True)
    is_judged = (
        (named == 1)
        & first.str.contains(", client: ", literal=True)
        & (pl.col("raw").bin.size() < formats.NGINX_CUT_BYTES)
    )
    may_hold_more = first.str.contains('"', literal=True) & (named > 0) & ~is_judged
    several = errors.filter(pl.col("line_count") > 1)
    if not several.height:
        return errors
    doubtful = several.filter((pl.col("format") == "nginx_error") & may_hold_more)
    if not doubtful.height:
        return errors
    groups = doubtful.select("line_number", "text", "repaired", line="raw").with_columns(
        pl.col("text").str.extract_groups(formats.NGINX_ERROR).struct.unnest()
    )
    names = ("message", "client", "server", "request", "upstream", "host", "referer", "os_error_code")
    judged = (
        _nginx_fields(groups, timezone)
        .select("line_number", *(pl.col(name).alias(f"new_{name}") for name in names), is_new=True)
        .with_columns(pl.col("new_os_error_code").cast(pl.Int64, strict=False))
    )
    joined = errors.join(judged, on="line_number", how="left", maintain_order="left")
    return joined.with_columns(
        pl.when(pl.col("is_new").is_not_null()).then(f"new_{name}").otherwise(name).alias(name)
        for name in names
    ).select(errors.columns)


def _nginx_fields(groups: pl.DataFrame, timezone: str) -> pl.DataFrame:
    message = pl.col("head")
    # Text that comes from the client stands in quotes in every message of nginx. Before the first quote the
    # first ", client: " is nginx's own; behind one it is only if no quote is open, it is the last as well,
    # and nothing was cut.
    is_certain = message.is_not_null() & (
        ~message.str.contains('"', literal=True)
        | (
            (message.str.count_matches('"', literal=True) % 2 == 0)
            & ~pl.col("tail").fill_null("").str.contains(", client: ", literal=True)
            & (pl.col("line").bin.size() < formats.NGINX_CUT_BYTES)
        )
    )
    # No request has been read yet, so nothing can follow it but what the client wrote into it.
    is_garbage = message.str.ends_with("while reading client request line")
    # The server writes nothing after a request of HTTP/0.9; a client that writes `GET /", host: "…` does.
    is_whole = (pl.col("after_request").fill_null("") == "") | (
        pl.col("request").str.contains(r" HTTP/[0-9]\.[0-9]$") & ~is_garbage
    )
    is_understood = (pl.col("tail").is_null() | pl.col("context").is_not_null()) & is_whole
    return (
        groups.with_columns(pl.col("rest").str.extract_groups(formats.NGINX_CLIENT).struct.unnest())
        .with_columns(is_certain=is_certain.fill_null(value=False))
        .with_columns(
            pl.when("is_certain").then(column).alias(column) for column in ("head", "client", "tail")
        )
        .with_columns(
            pl.col("tail").str.extract_groups(formats.NGINX_CONTEXT).struct.unnest(),
            context=pl.col("tail").str.extract(formats.NGINX_CONTEXT, 0),
            server=pl.col("tail").str.extract(formats.NGINX_SERVER, 1),
        )
        .with_columns(is_understood=(is_understood & pl.col("is_certain")).fill_null(value=False))
        .with_columns(
            pl.when("is_understood").then(column).alias(column)
            for column in ("request", "upstream", "host", "referer")
        )
        .with_columns(
            timestamp=log_times.zoneless_timestamp(pl.col("time"), "%Y/%m/%d %H:%M:%S", timezone),
            message=pl.when("is_understood").then("head").otherwise("rest"),
        )
        .with_columns(
            os_error_code=pl.col("message").str.extract(formats.NGINX_OS_ERROR, 1),
            canonical=_nginx_line(),
            module=pl.lit(None, dtype=pl.String),
            error_code=pl.lit(None, dtype=pl.String),
            client_port=pl.lit(None, dtype=pl.String),
        )
    )


def _apache_fields(groups: pl.DataFrame, timezone: str) -> pl.DataFrame:
    access_time = pl.col("access_time")
    is_24 = pl.col("format") == "apache_error_24"
    client_24 = pl.col("client_text").str.extract_groups(formats.APACHE_24_CLIENT)
    client_22 = pl.col("client_text").str.extract_groups(formats.APACHE_22_CLIENT)
    # The header follows a client's message only; with two of them one may be in the path that is named.
    has_referer = pl.col("client_text").is_not_null() & (
        pl.col("text_rest").str.count_matches(", referer: ", literal=True) == 1
    )
    missing = [
        pl.lit(None, dtype=pl.String).alias(column)
        for column in ("module", "tid", "error_code", "connection", "server", "request", "upstream", "host")
        if column not in groups.columns
    ]
    return (
        groups.with_columns(*missing)
        .with_columns(pl.when(is_24).then(client_24).otherwise(client_22).struct.unnest())
        .with_columns(
            client=pl.coalesce("client", "client_text"),
            module=pl.when(pl.col("module") != "").then("module"),
            timestamp=pl.coalesce(
                log_times.zoneless_timestamp(pl.col("ctime"), "%a %b %d %H:%M:%S%.f %Y", timezone),
                log_times.zoneless_timestamp(pl.col("iso_time"), "%Y-%m-%d %H:%M:%S%.f", timezone),
                log_times.access_timestamp(access_time, log_times.access_offset_minutes(access_time)),
            ),
        )
        .with_columns(
            pl.when(has_referer)
            .then(pl.col("text_rest").str.extract_groups(formats.APACHE_REFERER))
            .struct.unnest()
        )
        .with_columns(message=pl.coalesce("message", "text_rest"))
        .with_columns(canonical=_apache_line())
    )


def _finish(fields: pl.DataFrame) -> pl.DataFrame:
    """Text to types: rows with the columns that `read_error_lines` promises."""
    numbers = [pl.col(name).cast(dtype, strict=False).alias(name) for name, dtype in _NUMBER_FIELDS.items()]
    overflows = pl.any_horizontal(
        pl.col(name).is_not_null() & pl.col(name).cast(dtype, strict=False).is_null()
        for name, dtype in _NUMBER_FIELDS.items()
    )
    # A number that is written with zeros in front doesn't say so any more.
    padded = pl.any_horizontal(
        pl.col(name).str.contains("^0[0-9]").fill_null(value=False)
        for name in _NUMBER_FIELDS
        if name != "os_error_code"  # nginx leaves it in the message
    )
    differs = pl.col("repaired") | padded | pl.col("text").ne_missing(pl.col("canonical"))
    return fields.select(
        *_LINE_COLUMNS,
        "timestamp",
        *_TEXT_FIELDS,
        *numbers,
        "format",
        reason=pl.when(pl.col("timestamp").is_null())
        .then(pl.lit(RejectReason.INVALID_TIME.value))
        .when(overflows)
        .then(pl.lit(RejectReason.INVALID_NUMBER.value)),
        raw=pl.when(differs).then("line"),
    )


def _nginx_line() -> pl.Expr:
    """The line that nginx would write in UTC for the columns: where it differs, the row needs its bytes."""
    return pl.concat_str(
        pl.col("timestamp").dt.strftime("%Y/%m/%d %H:%M:%S"),
        pl.concat_str(pl.lit(" ["), "level", pl.lit("] "), "pid", pl.lit("#"), "tid", pl.lit(": ")),
        _where_present("connection", "*", " "),
        "message",
        _where_present("client", ", client: ", ""),
        _where_present("server", ", server: ", ""),
        _where_present("request", ', request: "', '"'),
        _where_present("upstream", ', upstream: "', '"'),
        _where_present("host", ', host: "', '"'),
        _where_present("referer", ', referrer: "', '"'),
    )


def _apache_line() -> pl.Expr:
    """The line that Apache would write in UTC for the columns: where it differs, the row needs its bytes."""
    time = pl.col("timestamp").dt
    return pl.concat_str(
        pl.lit("["),
        pl.when(pl.col("format") == "apache_error_24")
        .then(
            pl.concat_str(
                time.strftime("%a %b %d %H:%M:%S%.6f %Y"),
                pl.lit("] ["),
                pl.col("module").fill_null(""),
                pl.lit(":"),
            )
        )
        .otherwise(pl.concat_str(time.strftime("%a %b %d %H:%M:%S %Y"), pl.lit("] ["))),
        pl.col("level"),
        pl.lit("] "),
        pl.when(pl.col("pid").is_not_null())
        .then(pl.concat_str(pl.lit("[pid "), "pid", _where_present("tid", ":tid ", ""), pl.lit("] ")))
        .otherwise(pl.lit("")),
        pl.when(pl.col("client").is_not_null())
        .then(
            pl.concat_str(pl.lit("[client "), "client", _where_present("client_port", ":", ""), pl.lit("] "))
        )
        .otherwise(pl.lit("")),
        _where_present("error_code", "", ": "),
        "message",
        _where_present("referer", ", referer: ", ""),
    )


def _where_present(column: str, before: str, after: str) -> pl.Expr:
    return (
        pl.when(pl.col(column).is_not_null())
        .then(pl.concat_str(pl.lit(before), column, pl.lit(after)))
        .otherwise(pl.lit(""))
    )
