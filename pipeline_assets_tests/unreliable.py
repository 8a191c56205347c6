"""A network between client and storage that fails on demand, and counts what goes through it.

What belongs here: a proxy on loopback, and the ways in which it can spoil an answer. What does not: what the
pipeline makes of it.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

from pipeline_assets_tests.azurite import Account
from pipeline_assets_tests.storages import Storage

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass(frozen=True)
class Request:
    """A request on its way to the storage: its method, its path with the query, and the size of its body."""

    method: str
    path: str
    size: int
    authorization: str = field(default="", repr=False)

    @property
    def is_block(self) -> bool:
        """Whether it uploads one block of a blob that is not there until all its blocks are."""
        return self.method == "PUT" and "comp=block&" in f"{self.path}&"


@dataclass(frozen=True)
class Fault:
    """What happens to a request.

    `answer`: it never arrives, and is answered with `status`. `slow`: it is answered after `seconds`. `cut
    download`: the connection is cut in the middle of the answer. `cut upload`: it is cut in the middle of the
    request, which never arrives. `lost answer`: the storage does what it is asked, and nobody hears of it.
    """

    kind: Literal["answer", "slow", "cut download", "cut upload", "lost answer"]
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


Decide = Callable[[Request], Fault | None]


@dataclass
class Network:
    """What goes through the proxy, and what is to happen to it."""

    url: str
    decide: Decide = lambda request: None
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def meet(self, request: Request) -> Fault | None:
        """Note a request; what is to happen to it."""
        with self._lock:
            self.requests.append(request)
            fault = self.decide(request)
            if fault:
                self.faults.append(fault)
            return fault

    def storage(self, account: Account) -> Storage:
        """The account, reached through this network."""
        return Storage.in_account(replace(account, endpoint=f"{self.url}/{account.name}"))


@contextmanager
def between(service_url: str) -> Iterator[Network]:
    """A network in front of a service, until the block ends."""
    service = urlsplit(service_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            with suppress(ConnectionError, TimeoutError):
                super().handle_one_request()
                return
            self.close_connection = True

        def forward(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            fault = network.meet(
                Request(self.command, self.path, size, self.headers.get("Authorization", ""))
            )
            if fault and fault.kind == "cut upload":
                self.rfile.read(size // 2)
                self.cut()
                return
            body = self.rfile.read(size)
            if fault and fault.kind == "answer":
                self.reply(fault.status, fault.headers, b"")
                return
            if fault and fault.kind == "slow":
                time.sleep(fault.seconds)
            status, headers, answer = self.ask(body)
            if fault and fault.kind == "lost answer":
                self.cut()
            elif fault and fault.kind == "cut download":
                self.reply(status, headers, answer, sent=len(answer) // 2)
                self.cut()
            else:
                self.reply(status, headers, answer)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward  # noqa: N815

        def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            assert service.hostname
            connection = http.client.HTTPConnection(service.hostname, service.port, timeout=60)
            passed = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            try:
                sent = body if body or self.command in ("PUT", "POST") else None
                connection.request(self.command, self.path, sent, passed)
                answer = connection.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()
            finally:
                connection.close()

        def reply(
            self, status: int, headers: dict[str, str], answer: bytes, *, sent: int | None = None
        ) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            lengths = {name.lower(): value for name, value in headers.items()}
            length = lengths.get("content-length", "0") if self.command == "HEAD" else str(len(answer))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer[:sent])

        def cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    network = Network(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield network
    finally:
        server.shutdown()
        server.server_close()
