"""What silver and gold have in common: parts that are made, attempt by attempt, from another layer's.

What belongs here: choosing the attempts that are missing, and the commit. What does not: what the parts hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pipeline_assets.compute.context import Context
from pipeline_assets.kernel.schemas import KERNEL_VERSION
from pipeline_assets.storage.manifests import (
    FileRecord,
    Layer,
    Manifest,
    Part,
    digest,
    read_manifest,
    swap_manifest,
)
from pipeline_assets.storage.parts import PartWriter
from pipeline_assets.storage.quarantine import quarantining
from pipeline_assets.storage.store import SwapConflictError
from pipeline_assets.storage.units import Unit

_TRIES: Final = 20


@dataclass(frozen=True)
class Attempt:
    """One attempt of the layer that is read: its parts, and the files whose rows they hold."""

    parts: list[Part]
    files: list[FileRecord]

    @classmethod
    def of(cls, manifest: Manifest, name: str) -> Attempt:
        """What a manifest says of an attempt."""
        return cls(
            [part for part in manifest.parts if part.attempt == name],
            [file for file in manifest.files if file.attempt == name],
        )


@dataclass(frozen=True)
class Derivation:
    """A layer, the one it is made from, and how one attempt's parts are made into a writer's."""

    layer: Layer
    source: Layer
    write: Callable[[Context, Unit, Attempt, PartWriter], None]


def refresh_layer(context: Context, unit: Unit, derivation: Derivation, *, reuse: bool) -> Manifest | None:
    """Bring a layer of a unit up to its source layer; None where the source has nothing.

    With `reuse`, parts made from an attempt that is still in the source are kept.

    Raises `QuarantinedError` where the rows can't be committed.
    """
    with quarantining(context.store, unit):
        return _refresh(context, unit, derivation, reuse)


def attempts_to_make(previous: Manifest, source: Manifest, *, reuse: bool) -> tuple[list[str], set[str]]:
    """The attempts of a source layer that its layer, as it is, lacks; and those whose parts it keeps."""
    kept = previous.attempts if reuse and previous.kernel == KERNEL_VERSION else set()
    # What retention has deleted of the source can't be made again, so what there is of it stays.
    gone = source.attempts & set(source.removed)
    kept |= previous.attempts & gone
    return sorted(source.attempts - kept - gone), kept


def _refresh(context: Context, unit: Unit, derivation: Derivation, reuse: bool) -> Manifest | None:
    made: dict[str, list[Part]] = {}
    for _ in range(_TRIES):
        stored = read_manifest(context.store, derivation.layer, unit)
        source = read_manifest(context.store, derivation.source, unit)
        if source.etag is None:
            return None
        previous = stored.value
        missing, kept = attempts_to_make(previous, source.value, reuse=reuse)
        for attempt in missing:
            if attempt in made:
                continue
            with PartWriter(context.store, derivation.layer, unit, attempt) as writer:
                derivation.write(context, unit, Attempt.of(source.value, attempt), writer)
                made[attempt] = writer.close()
        manifest = _next_manifest(previous, source.value, kept, made)
        if stored.etag is not None and manifest == previous:
            return previous
        try:
            return swap_manifest(context.store, unit, manifest, stored.etag)
        except SwapConflictError:
            continue
    raise RuntimeError(f"{unit}: lost {_TRIES} races for its {derivation.layer} manifest")


def _next_manifest(
    previous: Manifest, source: Manifest, kept: set[str], made: dict[str, list[Part]]
) -> Manifest:
    parts = [part for part in previous.parts if part.attempt in kept - made.keys()]
    parts += [part for attempt in made for part in made[attempt]]
    current = [part for part in parts if part.attempt in source.attempts]
    never_made = set(source.removed) - previous.attempts
    removed = ((set(previous.removed) & kept) | never_made) & source.attempts - made.keys()
    # What is kept of another kernel could not be made again.
    older = kept if previous.kernel != KERNEL_VERSION else set(previous.older) & kept
    return replace(
        previous,
        kernel=KERNEL_VERSION,
        config=source.config,
        inputs=digest(sorted(source.attempts)),
        files=source.files,
        parts=tuple(sorted(current, key=lambda part: part.name)),
        touched_days=source.touched_days,
        removed=tuple(sorted(removed)),
        older=tuple(sorted(older & source.attempts - made.keys() - removed)),
    )
