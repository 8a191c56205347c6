"""Where a layer is made: what is asked of any place, and this process as the first of them.

What belongs here: the request, the answer for one unit, and making layers here. What does not: other machines
(`databricks`), and what a layer is (`bronze`, `silver`, `gold`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from pipeline_assets.compute.bronze import refresh_bronze
from pipeline_assets.compute.context import Context
from pipeline_assets.compute.gold import refresh_gold
from pipeline_assets.compute.metering import Meter
from pipeline_assets.compute.silver import refresh_silver
from pipeline_assets.storage.manifests import Layer, Manifest
from pipeline_assets.storage.quarantine import QuarantinedError
from pipeline_assets.storage.units import Unit

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """Bring a layer of these units up to what it is made from.

    `later` are the layers after it that the same run is going to ask for: who finds it cheaper to make them
    now may. With `reuse`, what has not changed is kept, as in `refresh_bronze`.
    """

    layer: Layer
    units: tuple[Unit, ...]
    reuse: bool
    later: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Refreshed:
    """What became of a unit: its manifest (None: nothing has landed), or why it was quarantined.

    `gone_files` are landed files whose rows were kept though they are gone. `shown` is what to show with the
    tables beside what the manifest says: addresses, by name.
    """

    unit: Unit
    manifest: Manifest | None
    quarantined: str = ""
    gone_files: tuple[str, ...] = ()
    shown: Mapping[str, str] = field(default_factory=dict)


class Compute(Protocol):
    """A place where layers are made."""

    def refresh(self, request: Request, progress: Progress) -> Iterator[Refreshed]:
        """Make the layer; an answer for each unit, in any order.

        A bad unit is quarantined, with a note left for `status`, and the others go on. Any other failure is
        raised, and the units that have no answer yet have none.
        """
        ...


class LocalCompute:
    """This process."""

    def __init__(self, context: Context, meter: Meter) -> None:
        self._context = context
        self._meter = meter

    def refresh(self, request: Request, progress: Progress) -> Iterator[Refreshed]:
        """Make the layer here, one unit after the other; `Compute` documents it."""
        for unit in request.units:
            try:
                with self._meter.measuring(request.layer, unit):
                    refreshed = self._refresh(request, unit, progress)
            except QuarantinedError as error:
                refreshed = Refreshed(unit, None, quarantined=error.reason)
            yield refreshed

    def _refresh(self, request: Request, unit: Unit, progress: Progress) -> Refreshed:
        if request.layer == "bronze":
            result = refresh_bronze(self._context, unit, reuse=request.reuse, progress=progress)
            return Refreshed(unit, result.manifest, gone_files=result.gone_files)
        return Refreshed(unit, _DERIVED[request.layer](self._context, unit, reuse=request.reuse))


_DERIVED: Final = {"silver": refresh_silver, "gold": refresh_gold}
