"""The bundle, read as the Databricks CLI reads it, and a judge of what is in it.

What belongs here: including, targets and variables, and whether a mapping is what a class of the Databricks SDK says.
What does not: what this bundle must say.

The CLI's own schema may only be used with its service, so the judge is the SDK (Apache-2.0), whose classes are made
from the same description of the API.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

REFERENCE = re.compile(r"(?<!\$)\$\{([^}]+)\}")


def load(root: Path, target: str, given: dict[str, Any]) -> dict[str, Any]:
    """The bundle for a target, with these values for variables, every reference replaced.

    Raises `KeyError` for a reference to nothing, and for a variable that has no value.
    """
    bundle = yaml.safe_load((root / "databricks.yml").read_text())
    for pattern in bundle["include"]:
        for path in sorted(root.glob(pattern)):
            merged(bundle, yaml.safe_load(path.read_text()))
    chosen = bundle["targets"][target] or {}
    merged(bundle, {name: chosen[name] for name in ("workspace", "run_as") if name in chosen})
    bundle["bundle"]["target"] = target
    values = {
        name: given[name] if name in given else said["default"] for name, said in bundle["variables"].items()
    }
    unknown = given.keys() - values.keys()
    assert not unknown, unknown
    found = {**bundle, "var": values}
    resolved: dict[str, Any] = _replaced(
        {name: bundle[name] for name in bundle if name != "variables"}, found
    )
    return resolved


def merged(into: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(into.get(name), dict) and isinstance(value, dict):
            merged(into[name], value)
        else:
            assert name not in into, f"{name} is said twice"
            into[name] = value


def problems(cls: Any, value: Any, where: str = "") -> list[str]:
    """What of a value is not as a type says, or a class of the SDK: a key, a type, a word of an enumeration."""
    if typing.get_origin(cls) in (typing.Union, types.UnionType):
        (cls,) = (arg for arg in typing.get_args(cls) if arg is not type(None))
    if typing.get_origin(cls) is list:
        if not isinstance(value, list):
            return [f"{where} is no list"]
        (item,) = typing.get_args(cls)
        return [
            one for place, inner in enumerate(value) for one in problems(item, inner, f"{where}[{place}]")
        ]
    if typing.get_origin(cls) is dict:
        return (
            [] if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()) else [where]
        )
    if dataclasses.is_dataclass(cls):
        if not isinstance(value, dict):
            return [f"{where} is no mapping"]
        hints = typing.get_type_hints(cls)
        unknown = [f"{where}.{name} is unknown" for name in value if name not in hints]
        known = ((name, inner) for name, inner in value.items() if name in hints)
        return unknown + [
            one for name, inner in known for one in problems(hints[name], inner, f"{where}.{name}")
        ]
    if isinstance(cls, type) and issubclass(cls, Enum):
        return [] if value in [member.value for member in cls] else [f"{where}: no such word: {value!r}"]
    wanted = (int, float) if cls is float else cls
    right = isinstance(value, wanted) and (cls is bool or not isinstance(value, bool))
    return [] if right else [f"{where}: {value!r} is no {cls.__name__}"]


def _replaced(value: Any, found: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _replaced(inner, found) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, found) for inner in value]
    if not isinstance(value, str):
        return value
    if whole := REFERENCE.fullmatch(value):
        return _replaced(_looked_up(found, whole[1]), found)
    return REFERENCE.sub(lambda match: str(_replaced(_looked_up(found, match[1]), found)), value)


def _looked_up(found: dict[str, Any], path: str) -> Any:
    value: Any = found
    for name in path.split("."):
        value = value[name]
    return value
