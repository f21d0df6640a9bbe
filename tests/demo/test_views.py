import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from demo.models import Choice
from pushserver import channel_info

Sent = list[tuple[str, Any]]
FROM_SCRIPT = {"accept": "application/json"}


@pytest.fixture
def user(client: Client) -> Client:
    """A client that is logged in as the demo user."""
    assert client.login(username="demo", password="demo")
    return client


def page_data(html: str) -> Any:
    [text] = re.findall(r'<script id="page" type="application/json">(.*?)<', html)
    return json.loads(text)


def test_setting_up_twice_changes_nothing(client: Client):
    """demo_setup keeps the votes and the user that are there."""
    Choice.objects.update(votes=7)
    call_command("demo_setup")
    assert set(Choice.objects.values_list("votes", flat=True)) == {7}
    assert User.objects.count() == 1


def test_the_board_shows_how_things_stand(client: Client):
    """The page starts with the votes so far, and with the URL of its channel."""
    Choice.objects.filter(text="Tea").update(votes=3)
    response = client.get("/")
    html = response.content.decode()
    data = page_data(html)
    [tea] = Choice.objects.filter(text="Tea")
    votes = next(update for update in data["state"] if update["type"] == "votes")
    assert votes["total"] == 3
    assert votes["counts"][str(tea.pk)] == 3
    assert data["url"] == "/updates/demo"
    assert "manage.py shell -c" in html


@pytest.mark.parametrize("path", ["/", "/login/", "/channels/some%20thing/"])
def test_pages_have_nothing_inline(client: Client, path: str):
    """A page runs no script and applies no style that is not a file of the site."""
    response = client.get(path)
    html = response.content.decode()
    assert response["Content-Security-Policy"].startswith("default-src 'self'")
    scripts = re.findall(r"<script(?![^>]*application/json)[^>]*>", html)
    assert all('src="/static/' in script for script in scripts)
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://", html)


def test_a_vote_is_counted_and_sent(client: Client, sent: Sent):
    """A vote stands in the database, and its update has the new state of the poll."""
    tea = Choice.objects.get(text="Tea")
    response = client.post("/vote/", {"choice": tea.pk}, headers=FROM_SCRIPT)
    assert response.status_code == 204
    tea.refresh_from_db()
    assert tea.votes == 1
    counts = dict(Choice.objects.values_list("pk", "votes"))
    assert sent == [("demo", {"type": "votes", "counts": counts, "total": 1})]


def test_a_vote_works_without_scripts(client: Client):
    """A browser that posts the form itself is sent back to the page."""
    response = client.post("/vote/", {"choice": Choice.objects.all()[0].pk})
    assert response.headers["Location"] == "/"


@pytest.mark.parametrize("choice", ["", "0", "no number", "99999"])
def test_a_vote_for_nothing_is_refused(client: Client, sent: Sent, choice: str):
    """A choice that does not exist is 400, and nothing is sent."""
    response = client.post("/vote/", {"choice": choice}, headers=FROM_SCRIPT)
    assert response.status_code == 400
    assert response.json()["error"]
    assert sent == []


@pytest.mark.parametrize("path", ["/vote/", "/push/"])
def test_posting_needs_the_csrf_token(user: Client, path: str):
    """Another site cannot vote or push in a user's name."""
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = user.cookies
    assert strict.post(path, {"choice": 1}).status_code == 403
    assert user.get(path).status_code == 405


def push(client: Client, channel: str, text: str) -> Any:
    return client.post(
        "/push/", {"channel": channel, "update": text}, headers=FROM_SCRIPT
    )


@pytest.mark.parametrize("text", ['{"type": "x"}', "[]", "{}", "null", '"text"', "1.5"])
def test_any_json_can_be_pushed(user: Client, sent: Sent, text: str):
    """What was typed is sent to that channel; the answer says what became of it."""
    response = push(user, "Räume/1", text)
    assert response.status_code == 200
    info = channel_info("Räume/1")
    assert info is not None
    assert response.json() == {
        "channel": "Räume/1",
        "id": info.last_message_id,
        "held": 0,
    }
    assert sent == [("Räume/1", json.loads(text))]


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        ("demo", "{"),
        ("demo", "[" * 100_000),
        ("demo", "NaN"),
        ("demo", ""),
        ("demo", json.dumps("x" * 1_048_577)),
        ("", "1"),
        ("..", "1"),
        ("x" * 256, "1"),
    ],
)
def test_what_cannot_be_pushed_is_explained(user: Client, channel: str, text: str):
    """Bad JSON, bad channels and what is too big are 400 with a reason."""
    response = push(user, channel, text)
    assert response.status_code == 400
    assert response.json()["error"]


def test_guests_cannot_push(client: Client, sent: Sent):
    """Only who is logged in can push, and the page says so."""
    assert push(client, "demo", "1").status_code == 403
    assert sent == []
    assert (
        '<a href="/login/?next=/">Log in</a> to push'
        in client.get("/").content.decode()
    )


def test_any_channel_has_a_page(client: Client):
    """The page of a channel polls that channel, whatever its name."""
    response = client.get("/channels/R%C3%A4ume/1%20%3Cb%3E/")
    html = response.content.decode()
    assert page_data(html)["url"] == "/updates/R%C3%A4ume%2F1%20%3Cb%3E"
    assert "<b>/" not in html
    assert client.get(f"/channels/{'x' * 256}/").status_code == 404


def test_login_and_logout_return_to_the_board(client: Client):
    """The demo user gets in with the password that the page names, and out again."""
    wrong = client.post("/login/", {"username": "demo", "password": "no"})
    assert 'role="alert"' in wrong.content.decode()
    right = {"username": "demo", "password": "demo"}
    response = client.post("/login/", right, follow=True)
    assert page_data(response.content.decode())["user"] == "demo"
    response = client.post("/logout/", follow=True)
    assert page_data(response.content.decode())["user"] == ""
