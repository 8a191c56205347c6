"""Polars' allocator is told to keep less, before Polars is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_LOOK = """
import os, sys
import pipeline_assets
assert "polars" not in sys.modules
print(os.environ["_RJEM_MALLOC_CONF"])
import polars
"""
# What jemalloc thinks of what it is told, it says on its standard error.
_STATISTICS = "stats_print:true"


def said(code: str, **environment: str) -> tuple[str, str]:
    env = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


def test_it_is_told_before_polars_is_imported() -> None:
    told, complaints = said(_LOOK)
    assert told == f"narenas:{os.cpu_count()},dirty_decay_ms:200,muzzy_decay_ms:0"
    assert not complaints


def test_what_somebody_has_set_stays() -> None:
    assert said(_LOOK, _RJEM_MALLOC_CONF="narenas:3")[0] == "narenas:3"


@pytest.mark.skipif(sys.platform != "linux", reason="Polars has jemalloc on Linux")
def test_the_allocator_listens() -> None:
    code = _LOOK.replace("import pipeline_assets", "import pipeline_assets; os.environ[NAME] += ',' + MORE")
    code = f"NAME, MORE = '_RJEM_MALLOC_CONF', '{_STATISTICS}'\n{code}"
    _, statistics = said(code)
    assert f"opt.narenas: {os.cpu_count()}" in statistics
    assert "opt.dirty_decay_ms: 200" in statistics
    assert "opt.muzzy_decay_ms: 0" in statistics
