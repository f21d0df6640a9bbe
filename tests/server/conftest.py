from collections.abc import Iterator

import pytest

from tests.e2e.servers import Server
from tests.serving import start


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as server:
        yield server
        server.stop()
        assert "Traceback" not in server.stderr
