"""A `shaderlm web` of its own, and what it answers."""

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What came for a request."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True)
class SiteServer:
    """A running server."""

    address: str
    process: subprocess.Popen[str]

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask for a path just as it is written. `Accept_Encoding="br"` sends a header."""
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc)
        sent = {"Accept-Encoding": "identity", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.putrequest(method, path, skip_host="Host" in sent, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()
        got = connection.getresponse()
        answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        connection.close()
        return answer


@contextmanager
def serving(*arguments: str, program: str = sys.executable, **environment: str) -> Iterator[SiteServer]:
    """`shaderlm web` at any free port, until the end of the block; Ctrl-C then ends it."""
    command = [program, "-m", "shaderlm", "web", "--port", "0", "--no-open", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    assert process.stdout is not None
    assert process.stderr is not None
    address = process.stdout.readline().strip()
    if not address:
        raise AssertionError(process.communicate()[1])
    try:
        yield SiteServer(address, process)
    finally:
        process.terminate()
        process.communicate()
