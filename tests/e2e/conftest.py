from collections.abc import Iterator

import pytest

from tests.e2e.browser import Browser, Window, start_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def keeper(browser: Browser) -> Window:
    """A window that stays: a browser without one would end."""
    return browser.open("about:blank")
