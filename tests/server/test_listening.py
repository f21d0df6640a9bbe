import errno
import resource
import socket

import pytest

from pushserver.server.listening import listen, raise_file_limit


@pytest.mark.parametrize(
    ("address", "ipv6", "expected"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("localhost", False, "127.0.0.1"),
        ("::1", True, "::1"),
        ("::1", False, "::1"),
        ("0", False, "0.0.0.0"),
    ],
)
def test_listens(address, ipv6, expected):
    """A socket listens at an address or a name, on a free port if that is 0."""
    with listen(address, 0, ipv6=ipv6) as listener:
        host, port = listener.getsockname()[:2]
        assert host == expected
        assert listener.proto == socket.IPPROTO_TCP
        socket.create_connection((host, port), timeout=5).close()


def test_taken_port():
    """A port that another socket listens on is an error."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match="in use") as raised:
            listen("127.0.0.1", port)
        assert raised.value.errno == errno.EADDRINUSE


def test_address_of_another_machine():
    """An address that no interface of the machine has is an error."""
    with pytest.raises(OSError, match="assign") as raised:
        listen("192.0.2.1", 0)
    assert raised.value.errno == errno.EADDRNOTAVAIL


def test_name_that_does_not_resolve():
    """A name without an address is an error."""
    with pytest.raises(socket.gaierror):
        listen("nowhere.invalid", 0)


def test_file_limit():
    """The soft limit of open files becomes the hard one."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) - 1, hard))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
