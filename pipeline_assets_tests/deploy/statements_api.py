"""A stand-in of Databricks' SQL Statement Execution API, as far as the pipeline uses it.

What belongs here: the two requests and their answers, by https://docs.databricks.com/api/workspace/statementexecution.
What does not: running SQL.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StatementsApi:
    """What was asked of it, and what it answers: each statement is first said to be pending, then done.

    `failing` is the beginning of statements that fail; so many requests as `throttled` says are turned away first.
    """

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.warehouses: set[str] = set()
        self.failing = "never"
        self.throttled = 0

    def submit(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.statements.append(asked["statement"])
        self.warehouses.add(asked["warehouse_id"])
        return {"statement_id": str(len(self.statements)), "status": {"state": "PENDING"}}

    def look(self, statement_id: str) -> dict[str, Any]:
        if self.statements[int(statement_id) - 1].startswith(self.failing):
            error = {"error_code": "BAD_REQUEST", "message": "[PERMISSION_DENIED] no such right"}
            return {"statement_id": statement_id, "status": {"state": "FAILED", "error": error}}
        return {"statement_id": statement_id, "status": {"state": "SUCCEEDED"}}


@contextmanager
def serving(api: StatementsApi) -> Iterator[str]:
    """Serve it on loopback; its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, said: dict[str, Any]) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if api.throttled:
                api.throttled -= 1
                self._answer(429, {"error_code": "RESOURCE_EXHAUSTED", "message": "too many requests"})
            elif self.headers["Authorization"] != "Bearer a-token":
                self._answer(403, {"error_code": "PERMISSION_DENIED", "message": "Invalid access token."})
            elif self.path == "/api/2.0/sql/statements/":
                self._answer(200, api.submit(asked))
            else:
                self._answer(404, {"error_code": "NOT_FOUND", "message": self.path})

        def do_GET(self) -> None:
            self._answer(200, api.look(self.path.rpartition("/")[2]))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
