"""Runs a command that never ends until it answers, and ends it: `until_up URL COMMAND…`."""

from __future__ import annotations

import subprocess
import sys
import urllib.request

from pipeline_assets_tests.end_to_end.services import end_group, wait_for


def main(url: str, *command: str) -> None:
    """Fails where the command ends by itself, or doesn't answer in time."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def answers() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"ended by itself with exit code {process.returncode}: {' '.join(command)}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(f"{url} to answer", answers)
    finally:
        end_group(process)


if __name__ == "__main__":
    main(*sys.argv[1:])
