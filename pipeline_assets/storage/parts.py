"""Writing the Parquet parts of one attempt, and checking them before a manifest names them.

What belongs here: parts as files. What does not: which parts a layer consists of (`compute`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final

import polars as pl

from pipeline_assets.kernel.schemas import LAYERS, Table
from pipeline_assets.kernel.words import series
from pipeline_assets.storage.behind import Behind
from pipeline_assets.storage.encoding import Encoder
from pipeline_assets.storage.footers import only_value, schema_of
from pipeline_assets.storage.manifests import Layer, Part, layer_folder, new_attempt
from pipeline_assets.storage.memory import give_back
from pipeline_assets.storage.quarantine import InvalidRowsError
from pipeline_assets.storage.store import Store
from pipeline_assets.storage.units import Unit

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


# So many bytes of frames wait, as many as are a row group.
_FEW_BYTES: Final = 32 << 20
# Parts of so many bytes, some 40 MB of log, have left much memory behind.
_MUCH_BYTES: Final = 4 << 20
# Of so many parts rows are counted at once: each is a request or two.
_PARTS_AT_ONCE: Final = 16


@dataclass
class _Frames:
    """Frames that wait to be encoded together.

    Beside tables of the quick ways they are few rows, and to give them the form of those, and a dictionary in
    common, takes as long for a few as for many.
    """

    waiting: list[tuple[pl.DataFrame, int]] = field(default_factory=list)
    size: int = 0

    def add(self, rows: pl.DataFrame, size: int) -> None:
        """Take rows that keep about `size` bytes."""
        self.waiting.append((rows, size))
        self.size += size


@dataclass
class PartWriter:
    """Gathers frames by table and writes them as parts named after one attempt."""

    store: Store
    layer: Layer
    unit: Unit
    attempt: str
    name_stem: str = field(default_factory=new_attempt)
    _parts: list[Part] = field(default_factory=list)
    _named: Counter[str] = field(default_factory=Counter)
    _behind: Behind = field(default_factory=Behind)
    _encoders: dict[str, Encoder] = field(default_factory=dict)
    _few: dict[str, _Frames] = field(default_factory=dict)

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._behind.close()

    @property
    def parts(self) -> list[Part]:
        """The parts that are written, once those in the making are, too."""
        self._behind.wait()
        return self._parts

    def add(self, table: str, rows: pl.DataFrame | pa.Table, size: int) -> None:
        """Take rows of a table, which keep about `size` bytes; enough of them become a part."""
        if not len(rows):
            return
        check_rows(rows, LAYERS[self.layer][table])
        if not isinstance(rows, pl.DataFrame):
            self._encode(table, rows, size)
            return
        few = self._few.setdefault(table, _Frames())
        few.add(rows, size)
        if few.size >= _FEW_BYTES:
            self._encode_few(table)

    def _encode_few(self, table: str) -> None:
        few = self._few.pop(table, None)
        for rows, size in few.waiting if few else ():
            self._encode(table, rows, size)

    def _encode(self, table: str, rows: pl.DataFrame | pa.Table, size: int) -> None:
        encoder = self._encoders.get(table)
        if encoder is None:
            encoder = self._encoders[table] = Encoder(LAYERS[self.layer][table], self._behind)
        encoder.add(rows, size)
        if encoder.is_full:
            self._finish(table)

    def write(self, table: str, rows: pl.LazyFrame) -> int:
        """Write rows of a table as one part, streaming, and nothing where there are none; how many it holds.

        Raises `InvalidRowsError` where columns differ from the catalogue's.
        """
        path = self._next_path(table)
        size = self.store.write_parquet(path, rows)
        count = self._held_rows(table, path)
        if count:
            self._append(table, path, count, size)
        else:
            self.store.delete(path)
        return count

    def write_frames(self, table: str, frames: Iterable[pl.DataFrame | pa.Table]) -> int:
        """Write rows of a table as one part, a row group a frame; their number.

        Texts may be coded, or dictionaries. Each frame is encoded while the next is made, so two at most are
        in memory. A later call, or `parts`, raises `InvalidRowsError` where the part doesn't hold as many
        rows.
        """
        encoder = Encoder(LAYERS[self.layer][table])
        rows = 0
        for frame in frames:
            check_rows(frame, LAYERS[self.layer][table])
            rows += len(frame)
            if len(frame):
                self._behind.run(partial(encoder.encode, frame))
        if rows:
            self._behind.run(partial(self._create_proved, table, self._next_path(table), encoder))
        return rows

    def write_now(self, table: str, rows: pl.DataFrame | pa.Table) -> None:
        """Write rows of a table as one part, in the thread that calls; nothing where there are none.

        Texts may be coded, or dictionaries. Raises `InvalidRowsError` where the part doesn't hold the rows.
        """
        check_rows(rows, LAYERS[self.layer][table])
        if len(rows):
            encoder = Encoder(LAYERS[self.layer][table])
            encoder.encode(rows)
            self._create_proved(table, self._next_path(table), encoder)

    def _create_proved(self, table: str, path: str, encoder: Encoder) -> None:
        self._create(table, path, encoder)
        with self.store.open(path) as stream:
            footer = _opened(stream, path).metadata
        self._check_types(table, path, schema_of(footer))
        held = footer.num_rows
        if held != encoder.rows:
            raise InvalidRowsError(f"{path}: {encoder.rows} rows were written, but it holds {held}")

    def _held_rows(self, table: str, path: str) -> int:
        """Rows that a part holds. Raises `InvalidRowsError` where they are not as the catalogue has them."""
        written = self.store.scan_parquet([path])
        self._check_types(table, path, written.collect_schema())
        return int(written.select(pl.len()).collect().item())

    def _check_types(self, table: str, path: str, there: pl.Schema) -> None:
        if dict(there) != dict(LAYERS[self.layer][table].schema):
            raise InvalidRowsError(f"{path}: columns differ from the catalogue's {self.layer} {table}")

    def close(self) -> list[Part]:
        """Write what is left; all parts of the attempt."""
        for table in list(self._few):
            self._encode_few(table)
        for table in list(self._encoders):
            self._finish(table)
        self._behind.wait()
        self._behind.close()
        if sum(part.size for part in self._parts) >= _MUCH_BYTES:
            give_back()
        return self._parts

    def _finish(self, table: str) -> None:
        encoder = self._encoders.pop(table)
        self._create(table, self._next_path(table), encoder)

    def _create(self, table: str, path: str, encoder: Encoder) -> None:
        data = encoder.close()
        # The name is this writer's alone: what lies there already is what a request wrote that was repeated
        # because its answer was lost.
        self.store.create(path, data)
        self._append(table, path, encoder.rows, len(data))

    def _next_path(self, table: str) -> str:
        number = self._named[table]
        self._named[table] += 1
        return f"{layer_folder(self.layer, self.unit)}/{table}-{self.name_stem}-{number:04}.parquet"

    def _append(self, table: str, path: str, rows: int, size: int) -> None:
        self._parts.append(Part(table, path.rpartition("/")[2], self.attempt, rows, size))


def check_rows(rows: pl.DataFrame | pa.Table, table: Table) -> None:
    """Raise `InvalidRowsError` unless the rows have the table's columns, and no null where none may be."""
    required = [column.name for column in table.columns if not column.nullable]
    if isinstance(rows, pl.DataFrame):
        # Texts may be coded.
        types = {
            name: pl.String() if isinstance(dtype, pl.Categorical) else dtype
            for name, dtype in rows.schema.items()
        }
        if types != dict(table.schema):
            raise InvalidRowsError(f"{table.layer} {table.name}: columns {rows.schema}, want {table.schema}")
        nulls = rows.select(pl.col(required).null_count()).row(0, named=True) if rows.height else {}
    else:
        nulls = {name: rows.column(name).null_count for name in required}
    broken = [f"{name} ({count} rows)" for name, count in nulls.items() if count]
    if broken:
        raise InvalidRowsError(f"{table.layer} {table.name}: null in {', '.join(broken)}")


def scan_table(
    store: Store, paths: Sequence[str], schema: Mapping[str, pl.DataType], of: str
) -> pl.LazyFrame:
    """Rows of Parquet objects as the catalogue has them now, whatever version wrote them, lazily.

    A column that they lack is null, and one that the catalogue lacks is left out. `of` names them in the
    error: raises `InvalidRowsError` where a column has another type than the catalogue's.
    """
    rows = store.scan_parquet(paths)
    there = rows.collect_schema()
    check_types(there, schema, of)
    return rows.select(
        pl.col(name) if name in there else pl.lit(None, dtype).alias(name) for name, dtype in schema.items()
    )


def check_types(there: Mapping[str, pl.DataType], schema: Mapping[str, pl.DataType], of: str) -> None:
    """Raise `InvalidRowsError` where a column that is there has another type than the catalogue's."""
    differing = [
        f"{name} is {there[name]}, want {dtype}"
        for name, dtype in schema.items()
        if there.get(name, dtype) != dtype
    ]
    if differing:
        raise InvalidRowsError(
            f"{of}: written by an older version, with another type ({'; '.join(differing)});"
            " read its landed files again: pipeline-assets full"
        )


def row_count(store: Store, paths: Iterable[str]) -> int:
    """Rows that the Parquet objects really hold, from their footers."""
    listed = list(paths)
    return int(store.scan_parquet(listed).select(pl.len()).collect().item()) if listed else 0


def rows_by_file(store: Store, paths: Iterable[str]) -> dict[str, int]:
    """Rows that the Parquet objects really hold, by landed file.

    Most row groups are of one file, and the footer says so; only names in others are read. Raises
    `InvalidRowsError` where an object is no Parquet.
    """
    listed = list(paths)
    if not listed:
        return {}
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(min(_PARTS_AT_ONCE, len(listed)), "parts") as pool:
        for found in pool.map(partial(_rows_by_file, store), listed):
            counts.update(found)
    return dict(counts)


def _rows_by_file(store: Store, path: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    with store.open(path) as stream:
        part = _opened(stream, path)
        place = part.metadata.schema.names.index("source_file")
        for number in range(part.num_row_groups):
            group = part.metadata.row_group(number)
            only = only_value(group.column(place))
            if only is not None:
                counts[only] += group.num_rows
            else:
                names = series("", part.read_row_group(number, ["source_file"], use_threads=False).column(0))
                counts.update(dict(names.value_counts().iter_rows()))
    return counts


def _opened(stream: BinaryIO, path: str) -> pq.ParquetFile:
    """A part. Raises `InvalidRowsError` where it is no Parquet."""
    # Whoever encodes has pyarrow already, and it reads a footer in a third of the time that Polars takes.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(stream)
    except pa.ArrowInvalid as error:
        raise InvalidRowsError(f"{path}: {error}") from error


def part_paths(layer: Layer, unit: Unit, parts: Iterable[Part]) -> list[str]:
    """Where the parts lie, below the storage root."""
    return [f"{layer_folder(layer, unit)}/{part.name}" for part in parts]


def scan_live(
    store: Store, layer: Layer, unit: Unit, parts: Iterable[Part], live: Mapping[str, set[str]], table: Table
) -> pl.LazyFrame:
    """Rows of those parts that belong to files which count; `live` maps an attempt to its files."""
    frames = []
    by_attempt: dict[str, list[Part]] = {}
    for part in parts:
        by_attempt.setdefault(part.attempt, []).append(part)
    for attempt, mine in sorted(by_attempt.items()):
        files = live.get(attempt)
        if files:
            rows = scan_table(store, part_paths(layer, unit, mine), table.schema, f"{layer}/{unit}")
            frames.append(rows.filter(pl.col("source_file").is_in(sorted(files))))
    return pl.concat(frames) if frames else table.empty().lazy()
