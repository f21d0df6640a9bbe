"""What a publisher is told about a channel, in the form that it accepts."""

import json
from dataclasses import asdict
from xml.etree import ElementTree

import pytest

from pushserver.engine.channel_report import ChannelInfo, render

INFO = ChannelInfo(
    messages=3, requested=-1, subscribers=17, last_message_id="1767225600123-0"
)
PLAIN = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json", "application/json"),
        ("text/json", "text/json"),
        ("APPLICATION/JSON", "application/json"),
        ("application/*", "application/json"),
        ("application/json; charset=utf-8", PLAIN),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("text/plain", PLAIN),
        ("text/*", PLAIN),
        ("*/*", PLAIN),
        ("", PLAIN),
        ("image/png", PLAIN),
        ("application/xhtml+xml", PLAIN),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "application/xml"),
        ("application/json;q=0.5, text/xml;q=0.6", "text/xml"),
        ("application/json, text/plain", "application/json"),
        ("text/plain, application/json", PLAIN),
        ("text/plain;q=0, application/json;q=0.1", "application/json"),
        ("application/json;q=0", PLAIN),
        ("application/json , */*;q=0.1", "application/json"),
    ],
)
def test_the_form_is_negotiated(accept: str, content_type: str) -> None:
    """JSON or XML for who prefers it, plain text for everybody else."""
    assert render(INFO, accept)[0] == content_type


@pytest.mark.parametrize(
    "accept",
    [
        ";",
        ",",
        "/",
        "json",
        ";q=x",
        "a/b;x*=nonsense''%41",
        "a/b;x*=utf-8''%FF",
        "*/*;" * 5000,
        "a/b;" + "x" * 20_000,
        "\xff/\x00",
        'a/b;x="',
    ],
)
def test_what_cannot_be_read_is_no_preference(accept: str) -> None:
    """Nothing in Accept makes it fail: it may be the answer to a publish."""
    assert render(INFO, accept)[0] == PLAIN


def test_json() -> None:
    """The information as it is."""
    assert json.loads(render(INFO, "application/json")[1]) == asdict(INFO)


def test_xml() -> None:
    """One element for each name, in a document that parsers take."""
    _, text = render(INFO, "application/xml")
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<channel>')
    root = ElementTree.fromstring(text)
    assert {child.tag: child.text for child in root} == {
        name: str(value) for name, value in asdict(INFO).items()
    }


def test_plain_text() -> None:
    """One line for each thing, as nginx's push module and Nchan have them."""
    assert render(INFO, "*/*")[1] == (
        "queued messages: 3\n"
        "last requested: -1 sec. ago\n"
        "active subscribers: 17\n"
        "last message id: 1767225600123-0\n"
    )
