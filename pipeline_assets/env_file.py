"""`.env` in the checkout: variables for every command, kept out of the shell and out of git.

What belongs here: reading the file into the environment. What does not: what the variables mean (`settings`).

Dagster's own commands read the same file, and let it overrule the environment; most tools do it the other way
round. So that no two commands work on different storages, a variable that both set differently is an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_OURS: Final = ("PIPELINE_", "AZURE_", "DAGSTER_HOME", "ALERT_")


def read_env_file(file: Path) -> list[str]:
    """Add what the file says to the environment; names that the environment sets to something else."""
    if not file.is_file():
        return []
    from dotenv import dotenv_values

    differing = []
    for name, value in dotenv_values(file).items():
        set_already = os.environ.get(name)
        if not set_already:
            os.environ[name] = value or ""
        elif set_already != value and name.startswith(_OURS):
            differing.append(name)
    return differing
