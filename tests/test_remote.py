"""The remote module: what goes over the wire, and what is made of the answers."""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar
from urllib.parse import unquote

import pytest
from django.test import override_settings

from pushserver import remote
from pushserver.engine.publishing import ChannelInfo, Sent
from pushserver.exceptions import (
    DaemonUnreachable,
    InvalidChannelId,
    MessageTooBig,
    NobodyListens,
    PublishRefused,
)
from pushserver.messages import START
from pushserver.stores import get_store
from pushserver.tokens import verify_publish
from tests.daemon import start_daemon
from tests.e2e.servers import free_port
from tests.ids import ANY_CHARACTERS

E = TypeVar("E", bound=Exception)
Call = Callable[[], object]

INFO = b'{"messages":1,"requested":2,"subscribers":3,"last_message_id":"4-5"}'


class Scripted:
    """A server that sends the given bytes whatever it is asked, and keeps what it got.

    With `reset` it then drops the connection hard, as a process that was killed.
    """

    def __init__(self, answer: bytes, *, reset: bool = False) -> None:
        self.requests: list[bytes] = []
        self._answer, self._reset = answer, reset
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.location = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as incoming:
                request = read_request(incoming.readline, incoming.read)
                if request == b"stop":
                    return
                self.requests.append(request)
                connection.sendall(self._answer)
                if self._reset:
                    no_linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, no_linger
                    )

    def __enter__(self) -> "Scripted":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with socket.create_connection(self._listener.getsockname()) as connection:
            connection.sendall(b"stop")
        self._thread.join()
        self._listener.close()


def read_request(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> bytes:
    """Read a request, or the line of something that is none."""
    lines = [readline()]
    if not lines[0].endswith(b" HTTP/1.1\r\n"):
        return lines[0]
    length = 0
    while lines[-1] != b"\r\n":
        lines.append(readline())
        name, _, value = lines[-1].partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return b"".join(lines) + read(length)


def answer(status: str, body: bytes = b"", *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    lines = [f"HTTP/1.1 {status}".encode(), length, *headers, b"", body]
    return b"\r\n".join(lines)


@contextmanager
def scripted(bytes_: bytes, **options: bool) -> Iterator[Scripted]:
    with Scripted(bytes_, **options) as server:
        host = {"location": server.location}
        with override_settings(PUSH_SERVER={"publisher_host": host}):
            yield server


def post(body: bytes = b"{}", content_type: str | None = None) -> Sent:
    request = remote.prepare("POST", "news", body, content_type=content_type)
    return remote.publish(request)


def refused(bytes_: bytes, expected: type[E], call: Call = post, **options: bool) -> E:
    """Return the exception that a call raises when this is the answer."""
    with scripted(bytes_, **options), pytest.raises(expected) as caught:
        call()
    return caught.value


def unreachable(location: str, *, secure: bool = False) -> DaemonUnreachable:
    host = {"location": location, "secure": secure}
    with (
        override_settings(PUSH_SERVER={"publisher_host": host}),
        pytest.raises(DaemonUnreachable) as caught,
    ):
        post()
    return caught.value


# What goes over the wire


def test_a_request_is_signed_for_itself_alone() -> None:
    """Its token is good for this method, channel and body, and for no other."""
    request = remote.prepare("POST", "news", b"body")
    kind, _, token = request.headers["Authorization"].partition(" ")
    assert kind == "Bearer"
    assert verify_publish(token, "POST", "news", b"body")
    assert not verify_publish(token, "POST", "news", b"other")
    assert not verify_publish(token, "POST", "other", b"body")
    assert not verify_publish(token, "DELETE", "news", b"body")


@pytest.mark.parametrize(
    ("content_type", "lines"),
    [
        (None, []),
        ("application/json", [b"application/json"]),
        ("text/plain; charset=utf-8", [b"text/plain; charset=utf-8"]),
        ("application/x-www-form-urlencoded", [b"application/x-www-form-urlencoded"]),
    ],
)
def test_a_body_goes_out_as_it_is(content_type: str | None, lines: list[bytes]) -> None:
    """Bytes and content type arrive unchanged; a type that is absent stays absent."""
    body = b"\0\xff\r\n\r\nany bytes"
    with scripted(answer("202 Accepted")) as server:
        post(body, content_type)
    [request] = server.requests
    head, _, sent = request.partition(b"\r\n\r\n")
    assert sent == body
    fields = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    assert [v for name, _, v in fields if name.lower() == b"content-type"] == lines


def test_an_empty_body_is_a_body() -> None:
    """A message may be empty; the request says that nothing follows."""
    with scripted(answer("202 Accepted")) as server:
        post(b"")
    assert b"Content-Length: 0\r\n" in server.requests[0]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_question_has_no_body(method: str) -> None:
    """Only a publish sends a body."""
    with scripted(answer("404 Not Found")) as server:
        {"GET": remote.info, "DELETE": remote.delete}[method]("news")
    [request] = server.requests
    assert request.startswith(f"{method} /send-update/news HTTP/1.1\r\n".encode())
    assert request.endswith(b"\r\n\r\n")
    assert b"Content-" not in request


@pytest.mark.parametrize("channel_id", ANY_CHARACTERS)
def test_any_channel_id_stands_in_the_path(channel_id: str) -> None:
    """An id is one part of the path, percent-encoded, whatever is in it."""
    with scripted(answer("202 Accepted")) as server:
        remote.publish(remote.prepare("POST", channel_id))
    path = server.requests[0].split(b" ")[1].decode("ascii")
    assert unquote(path.removeprefix("/send-update/")) == channel_id
    assert path.count("/") == 2


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_proxies_of_the_environment_are_not_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon is reached directly: a proxy would not find a loopback address."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with scripted(answer("202 Accepted")) as server, Scripted(b"") as proxy:
        monkeypatch.setenv(name, f"http://{proxy.location}")
        post()
    assert len(server.requests) == 1
    assert proxy.requests == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 X", "308 X"])
def test_a_redirect_is_not_followed(status: str) -> None:
    """A signed message goes where the settings say, and nowhere else."""
    with Scripted(answer("202 Accepted")) as elsewhere:
        location = f"Location: http://{elsewhere.location}/".encode()
        error = refused(answer(status, b"", location), PublishRefused)
    assert error.status == int(status[:3])
    assert elsewhere.requests == []


def test_without_a_publisher_location_nothing_is_prepared() -> None:
    """There is no address to send to."""
    only = {"locations": [{"type": "subscriber", "prefix": "/updates/"}]}
    with override_settings(PUSH_SERVER=only), pytest.raises(NobodyListens):
        remote.prepare("POST", "news")


def test_an_invalid_channel_id_is_not_sent() -> None:
    """What the daemon would refuse is refused before it goes out."""
    with pytest.raises(InvalidChannelId):
        remote.prepare("POST", "..")


# Answers to a publish


@pytest.mark.parametrize(
    ("status", "headers", "sent"),
    [
        ("201 Created", [b'ETag: "7-0"', b"X-Push-Held: 3"], Sent("7-0", 3)),
        ("202 Accepted", [b'ETag: "7-0"', b"X-Push-Held: 0"], Sent("7-0", 0)),
        # A proxy that compresses weakens the tag.
        ("202 Accepted", [b'ETag: W/"7-0"', b"X-Push-Held: 0"], Sent("7-0", 0)),
        # Nchan tells neither.
        ("201 Created", [], Sent(None, 1)),
        ("202 Accepted", [], Sent(None, 0)),
    ],
)
def test_an_answer_says_what_happened(
    status: str, headers: list[bytes], sent: Sent
) -> None:
    """The message's id and the readers held, as far as the server tells."""
    with scripted(answer(status, INFO, *headers)):
        assert post() == sent


@pytest.mark.parametrize("status", ["200 OK", "204 No Content"])
def test_another_success_is_not_taken_for_a_publish(status: str) -> None:
    """A site that answers 200 to anything is not a push server: nobody would hear."""
    error = refused(answer(status), PublishRefused)
    assert error.status == int(status[:3])
    assert "publisher_host" in str(error)


def test_a_refusal_names_its_reason() -> None:
    """The exception has the status and the first words of what the server said."""
    reason = b"The signature is wrong.\n" + b"x" * 1000
    error = refused(answer("403 Forbidden", reason), PublishRefused)
    assert error.status == 403
    said = re.fullmatch(
        r"http://127\.0\.0\.1:\d+ answered 403: The signature is wrong\.\nx+",
        str(error),
    )
    assert said is not None
    assert len(str(error)) < 300


def test_a_refusal_need_not_be_text() -> None:
    """A server that says nothing readable is quoted all the same."""
    error = refused(answer("500 Oops", b"\xff\xfe\0"), PublishRefused)
    assert "answered 500" in str(error)


def test_a_404_says_what_may_be_missing() -> None:
    """No publisher location there, or no channel where none may be created."""
    error = refused(answer("404 Not Found"), PublishRefused)
    assert error.status == 404
    assert "create_on_post" in str(error)


def test_a_413_is_too_big() -> None:
    """The server's limit may be lower than ours."""
    error = refused(answer("413 Too Large", b"at most 5 bytes"), MessageTooBig)
    assert "413: at most 5 bytes" in str(error)


# Answers to questions


def test_the_channel_information_is_read() -> None:
    """What the server says beside the four names is left alone."""
    with scripted(answer("200 OK", INFO[:-1] + b',"more":1}')):
        assert remote.info("news") == ChannelInfo(
            messages=1, requested=2, subscribers=3, last_message_id="4-5"
        )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{}", b'{"messages":1}'])
def test_information_of_another_kind_is_refused(body: bytes) -> None:
    """What is no information about a channel raises, and names the setting."""
    error = refused(answer("200 OK", body), PublishRefused, partial(remote.info, "x"))
    assert "publisher_host" in str(error)


def test_a_channel_that_is_not_there_is_none() -> None:
    """A 404 to a question is an answer."""
    with scripted(answer("404 Not Found")):
        assert remote.info("news") is None
        assert remote.delete("news") is False


def test_deleting_tells_whether_there_was_a_channel() -> None:
    """A 200 says that there was one."""
    with scripted(answer("200 OK", INFO)):
        assert remote.delete("news") is True


@pytest.mark.parametrize("question", [remote.info, remote.delete])
def test_a_question_can_be_refused(question) -> None:
    """A refused question raises as a refused publish does."""
    error = refused(answer("403 No"), PublishRefused, partial(question, "news"))
    assert error.status == 403


# No answer


def test_a_daemon_that_does_not_run_is_named() -> None:
    """The error says where nobody answered, what to start, and what to set."""
    location = f"127.0.0.1:{free_port()}"
    error = unreachable(location)
    for words in (f"http://{location}", "runpushserver", "publisher_host"):
        assert words in str(error)
    assert error.maybe_sent is False


@pytest.mark.parametrize(
    "bytes_",
    [
        b"",
        b"HTTP/1.1 2",
        b"gibberish\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 202 Accepted\r\nX: " + b"x" * 70_000,
    ],
)
@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_that_breaks_off_leaves_it_open(bytes_: bytes, reset: bool) -> None:
    """The request had gone out: the message may or may not be stored."""
    assert refused(bytes_, DaemonUnreachable, reset=reset).maybe_sent is True


@pytest.mark.parametrize(
    "bytes_", [b"", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"]
)
def test_https_to_a_plain_daemon_is_explained(bytes_: bytes) -> None:
    """However the plain server takes the greeting, https and the setting are named."""
    with Scripted(bytes_) as server:
        error = unreachable(server.location, secure=True)
    for words in (f"https://{server.location}", "https is spoken", "'secure': True"):
        assert words in str(error)
    assert error.maybe_sent is False


def test_a_secure_daemon_that_does_not_run_is_no_matter_of_https() -> None:
    """Where nobody listens at all, the advice is to start it."""
    error = unreachable(f"127.0.0.1:{free_port()}", secure=True)
    assert "Start `manage.py runpushserver`" in str(error)


# The whole road


def test_an_event_name_takes_the_road() -> None:
    """A message has the name that it was sent with, whatever characters it has."""
    with start_daemon() as daemon, daemon.settings():
        remote.publish(remote.prepare("POST", "news", b"body", event="Größe 1"))
        history = asyncio.run(get_store().read("news", after=START))
        assert [message.event for message in history.messages] == ["Größe 1"]


def test_ids_survive_the_road() -> None:
    """A channel of any name is published to, told of and deleted over HTTP."""
    with start_daemon() as daemon, daemon.settings():
        for channel_id in ANY_CHARACTERS:
            sent = remote.publish(remote.prepare("POST", channel_id, b"body"))
            assert remote.info(channel_id) == ChannelInfo(
                messages=1, requested=-1, subscribers=0, last_message_id=sent.id or ""
            )
            assert daemon.reader(channel_id).next() == "body"
            assert remote.delete(channel_id)
            assert not remote.delete(channel_id)
