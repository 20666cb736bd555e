"""What the tests' servers of files have in common: ranges of bytes, lines that break off or stand still, a thread."""

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLICE = 1 << 16  # bytes sent at a time


@dataclass
class Line:
    """What goes wrong with answers that carry a file, and how many bytes of files were sent."""

    cuts: list[int] = field(default_factory=list)  # the next answers with bytes break off after so many
    statuses: list[int] = field(default_factory=list)  # the next answers with bytes have these statuses instead
    knows_ranges: bool = True
    pause: float = 0.0  # seconds between slices: a slow line
    stands_at: int | None = None  # when so many bytes are sent the line stands still, until `moves` is set
    moves: threading.Event = field(default_factory=threading.Event, repr=False)
    breaks: bool = False  # what stands still does not move on, but breaks off
    sent: int = 0


class ByteHandler(BaseHTTPRequestHandler):
    """Answers over a `Line`."""

    line: Line
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a short body would wait for the acknowledgement of its headers

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            pass  # who asked has gone away

    def do_GET(self) -> None:
        self.get()

    def do_HEAD(self) -> None:
        self.get()

    def get(self) -> None:
        """Answer to GET, and to HEAD, whose answers end with the headers."""
        raise NotImplementedError

    def send_file(self, data: bytes, headers: Mapping[str, str], *, whole: bool = False) -> None:
        """A file, or the range of it that was asked for; `whole`: whatever was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if self.line.statuses:
            self.send_answer(self.line.statuses.pop(0), {})
        elif not asked or not self.line.knows_ranges or whole:
            self.send_answer(200, headers, data, is_file=True)
        elif int(asked[1]) >= len(data):
            self.send_answer(416, {**headers, "Content-Range": f"bytes */{len(data)}"})
        else:
            first, end = int(asked[1]), min(int(asked[2]) + 1, len(data)) if asked[2] else len(data)
            about = {**headers, "Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}
            self.send_answer(206, about, data[first:end], is_file=True)

    def send_answer(self, status: int, headers: Mapping[str, str], body: bytes = b"", *, is_file: bool = False) -> None:
        """Headers and a body. Those of a file suffer what the line does to them."""
        has_body = self.command != "HEAD"
        cut = self.line.cuts.pop(0) if is_file and has_body and self.line.cuts else len(body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if not has_body:
            return
        try:
            for start in range(0, cut, SLICE):
                piece = body[start : min(start + SLICE, cut)]
                self.wfile.write(piece)
                if is_file:
                    self.line.sent += len(piece)
                    self._wait()
        except OSError:  # who asked has gone away
            self.close_connection = True
        if cut < len(body) or self.line.breaks:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _wait(self) -> None:
        if self.line.stands_at is not None and self.line.sent >= self.line.stands_at:
            self.line.moves.wait()
            if self.line.breaks:
                raise ConnectionAbortedError
        elif self.line.pause:
            threading.Event().wait(self.line.pause)


@contextmanager
def serving(handler: type[ByteHandler], line: Line) -> Iterator[int]:
    """Serve in a thread, each connection in one of its own; gives the port."""
    bound = type(handler.__name__, (handler,), {"line": line})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        line.moves.set()
        server.shutdown()
        server.server_close()
        thread.join()
