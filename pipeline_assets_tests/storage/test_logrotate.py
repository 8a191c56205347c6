"""The real logrotate, where it is installed: what it makes of a log is imported, each line once.

What belongs here: that `test_rotation` plays logrotate as it is. What does not: the many moments and kills.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from pipeline_assets.storage.importing import import_logs
from pipeline_assets_tests import oracle
from pipeline_assets_tests.world import World

LOGROTATE: Final = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin:/sbin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed"),
]


@pytest.mark.parametrize(
    "options", ["create", "copytruncate", "compress", "compress delaycompress copytruncate"]
)
def test_what_the_real_logrotate_makes_counts_once(options: str, tmp_path: Path) -> None:
    assert LOGROTATE is not None
    world = World(tmp_path / "storage")
    folder = tmp_path / "log"
    folder.mkdir(mode=0o755)
    log = folder / "access.log"
    log.touch()
    rules = tmp_path / "rules"
    rules.write_text("\n".join([f'"{folder}/*.log" {{', "rotate 30", *options.split(), "}"]) + "\n")
    rules.chmod(0o644)
    generator = random.Random(options)
    written: list[bytes] = []
    moment = datetime(2024, 1, 15, tzinfo=UTC)
    for _ in range(12):
        for _ in range(generator.randrange(1, 4)):
            moment += timedelta(minutes=generator.randrange(1, 200))
            line = (
                f'192.0.2.1 - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()
            )
            written.append(line)
            with log.open("ab") as stream:
                stream.write(line)
        if generator.random() < 0.7:
            state = str(tmp_path / "state")
            subprocess.run([LOGROTATE, "-f", "-s", state, str(rules)], check=True, env={"PATH": os.defpath})
            log.touch()
        if generator.random() < 0.7:
            import_logs(world.context.store, world.context.options, folder, last_day=moment.date())
    import_logs(world.context.store, world.context.options, folder, last_day=moment.date())
    world.catch_up()
    truth = oracle.serving({"logs/incremental/access.log": b"".join(written)})
    assert world.table("status_daily") == sorted(map(tuple, truth.status_daily), key=repr)
    again = import_logs(world.context.store, world.context.options, folder, last_day=moment.date())
    assert (again.taken, again.grown) == ([], [])
