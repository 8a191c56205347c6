"""What is asked of a job elsewhere, and what it answers: plain values, written as JSON.

What belongs here: the request, the answer for one unit, why a job gave up, and their text. What does not: how
a request travels (`databricks`), and what is done with it (`spark`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from pipeline_assets.storage.manifests import Layer
from pipeline_assets.storage.units import Unit

Fate = Literal["made", "empty", "quarantined"]


@dataclass(frozen=True)
class JobSpec:
    """Bring these layers of these units up to what has landed.

    `layers` are neighbours, in their order. With `reuse`, what has not changed is kept, as in
    `refresh_bronze`. `settings` are the sender's `PIPELINE_*` variables that decide what is stored and where,
    none of them a secret. `version` is the sender's (`versions.code_version`).
    """

    layers: tuple[Layer, ...]
    units: tuple[Unit, ...]
    reuse: bool
    settings: Mapping[str, str] = field(default_factory=dict)
    version: str = ""

    def to_json(self) -> str:
        """The request as one line of JSON."""
        return json.dumps({**asdict(self), "units": [str(unit) for unit in self.units]}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """A request from its JSON. Raises `ValueError` where it is none."""
        try:
            said = json.loads(text)
            return cls(
                layers=tuple(said["layers"]),
                units=tuple(Unit.parse(name) for name in said["units"]),
                reuse=bool(said["reuse"]),
                settings={str(name): str(value) for name, value in said.get("settings", {}).items()},
                version=str(said.get("version", "")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a job's request: {error!r}") from error


@dataclass(frozen=True)
class UnitAnswer:
    """What became of a unit: `made` (its manifests say what), `empty` (nothing has landed), or `quarantined`.

    `gone_files` are landed files whose rows were kept though they are gone. `seconds` and `cpu_seconds` are
    those of all tasks together that worked for this unit.
    """

    unit: Unit
    fate: Fate
    reason: str = ""
    gone_files: tuple[str, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def to_message(self) -> dict[str, object]:
        """The answer as values that JSON has."""
        return {**asdict(self), "unit": str(self.unit), "gone_files": list(self.gone_files)}

    @classmethod
    def from_message(cls, said: Mapping[str, object]) -> UnitAnswer:
        """An answer from what `to_message` made of it. Raises `ValueError` where it is none."""
        try:
            fate = said["fate"]
            if fate not in ("made", "empty", "quarantined"):
                raise ValueError(f"no such fate: {fate!r}")
            gone = said.get("gone_files", ())
            assert isinstance(gone, list | tuple)
            return cls(
                unit=Unit.parse(str(said["unit"])),
                fate=fate,
                reason=str(said.get("reason", "")),
                gone_files=tuple(map(str, gone)),
                seconds=float(str(said.get("seconds", 0.0))),
                cpu_seconds=float(str(said.get("cpu_seconds", 0.0))),
            )
        except (KeyError, AssertionError) as error:
            raise ValueError(f"not a job's answer: {error!r}") from error


@dataclass(frozen=True)
class JobFailure:
    """Why a job gave up. `lost`: machines went away under it, so that the same request may do now."""

    reason: str
    lost: bool = False

    def to_message(self) -> dict[str, object]:
        """The failure as values that JSON has."""
        return {"failure": self.reason, "lost": self.lost}

    @classmethod
    def from_message(cls, said: Mapping[str, object]) -> JobFailure | None:
        """A failure from what `to_message` made of it; None where the message is another one."""
        return cls(str(said["failure"]), said.get("lost") is True) if "failure" in said else None
