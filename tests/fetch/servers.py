"""A web server on this machine, and small data sets to fetch from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILES = {"onnx/a.onnx": b"first network", "onnx/b.onnx": b"second network", "vnnlib/p.vnnlib": b"a property"}
SUMS = {name: sha256(data).hexdigest() for name, data in FILES.items()}


class Handler(BaseHTTPRequestHandler):
    """Serves `answers`; where a promised length is longer than the body, the connection ends early."""

    answers: Mapping[str, tuple[int, bytes]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        length, body = self.answers.get(self.path, (-1, b""))
        self.send_response(200 if length >= 0 else 404)
        self.send_header("Content-Length", str(max(length, 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(answers: Mapping[str, bytes | tuple[int, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """The address of a server with these answers, and the paths that it was asked for."""
    asked: list[str] = []
    whole = {path: (len(said), said) if isinstance(said, bytes) else said for path, said in answers.items()}
    handler = type("Bound", (Handler,), {"answers": whole, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
