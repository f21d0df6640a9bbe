"""The load of the benchmarks sees what a server does wrong."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase

import pytest

from bench.client import Load, Result, Target

pytestmark = pytest.mark.once

Write = Callable[[BufferedIOBase, bytes], object]


def faithfully(stream: BufferedIOBase, body: bytes) -> None:
    stream.write(b"data: " + body + b"\n\n")


def in_pieces(stream: BufferedIOBase, body: bytes) -> None:
    stream.writelines((b"data: ", body[:3], body[3:9], body[9:20], body[20:]))


def twice(stream: BufferedIOBase, body: bytes) -> None:
    stream.write(body + body)


def all_but_the_third(stream: BufferedIOBase, body: bytes) -> None:
    if b":3:" not in body:
        stream.write(body)


@contextmanager
def event_streams(write: Write) -> Iterator[Target]:
    """A server that has each message go to whoever reads, in its way."""
    streams: list[BufferedIOBase] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            streams.append(self.wfile)
            self.rfile.read(1)  # until it goes

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if "1000000" not in self.path:  # the channel that nobody reads
                for stream in streams:
                    write(stream, body)
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield Target(
            ports=(server.server_port,), pids=(os.getpid(),), transport="stream"
        )
        server.shutdown()


def burst(write: Write) -> Result:
    with event_streams(write) as target, Load(target) as load:
        return load.burst(readers=3, messages=2)


@pytest.mark.parametrize("write", [faithfully, in_pieces])
def test_what_comes_is_counted(write: Write) -> None:
    """Each message once for each reader, however it is cut."""
    result = burst(write)
    assert (result.delivered, result.lost, result.doubled) == (6, 0, 0)
    assert result.errors == 0
    assert 0 < result.p50_ms <= result.p99_ms


def test_what_comes_twice_is_not_two_deliveries() -> None:
    """It is counted apart, with that of the first message, which warms up."""
    result = burst(twice)
    assert (result.delivered, result.lost, result.doubled) == (6, 0, 9)


def test_what_does_not_come_is_lost() -> None:
    """After a while without any delivery."""
    result = burst(all_but_the_third)
    assert (result.delivered, result.lost, result.doubled) == (3, 3, 0)
