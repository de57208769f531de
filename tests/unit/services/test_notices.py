"""Notices: written with what they tell of, sent until they are taken, signed, and without a value."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select

from tests.support.cells import NAME, BuiltCell
from tests.support.service import free_port
from tests.unit.services.test_approvals import PURPOSE, holding, wanted
from vault.clock import DAY, SECOND, FixedClock
from vault.config.notices import NoticeSettings, messenger_of, secret_files_of, wrong_notices
from vault.crypto.webhooks import sign_webhook, webhook_secret
from vault.services.messenger import Message, NotTold
from vault.services.notices import FIRST_PAUSE, KEPT, drop_notices, given_up, send_notices
from vault.wiring import perform

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PERSON = "Ada Lovelace"


class Told:
    """Remembers what it was told; refuses as long as it is told to."""

    channels = ("webhook", "mail")

    def __init__(self) -> None:
        self.messages: list[tuple[str, Message]] = []
        self.refuses = False

    def send(self, channel: str, message: Message) -> None:
        if self.refuses:
            raise NotTold("unreachable")
        self.messages.append((channel, message))


class Mailbox:
    """A sink of mail."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content)
        return "250 taken"


@contextmanager
def hooked(status: int = 204) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An address that takes webhooks, and what came."""
    came: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.send_header("location", "http://127.0.0.1:9/")
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def message(**more: str) -> Message:
    members = {
        "id": "ntc_1", "kind": "approval.required", "region": "eu", "about": "apr_1", "agent": "agent:demo",
        "purpose": "support", "uri": "https://vault.example/approve#eu/apr_1",
    }  # fmt: skip
    return Message(**{**members, **more})


def test_an_approval_is_told_by_every_channel_once(built: BuiltCell) -> None:
    told = built.cell.messenger = Told()
    held, token = holding(built), built.token(NAME, PERSON, "c1")
    need = wanted(built, held, token)
    wanted(built, held, token)
    assert told.messages == []  # a request waits for no server
    assert send_notices(built.cell) == 2
    assert send_notices(built.cell) == 0
    assert sorted(channel for channel, _ in told.messages) == ["mail", "webhook"]
    for _, one in told.messages:
        assert (one.kind, one.about, one.purpose) == ("approval.required", need["id"], PURPOSE)
        assert one.uri.endswith(f"/approve#eu/{need['id']}")
        assert PERSON not in repr(one)
        assert token not in repr(one)


def test_what_is_not_taken_is_tried_again_and_given_up_after_a_day(
    ticking: BuiltCell, clock: FixedClock
) -> None:
    told = ticking.cell.messenger = Told()
    told.refuses = True
    wanted(ticking, holding(ticking), ticking.token(NAME, PERSON, "c1"))
    assert send_notices(ticking.cell) == 0
    told.refuses = False
    assert send_notices(ticking.cell) == 0  # not yet
    clock.advance(FIRST_PAUSE * 2)
    assert send_notices(ticking.cell) == 2
    told.refuses = True
    wanted(ticking, holding(ticking), ticking.token(NAME, PERSON, "c1"))
    send_notices(ticking.cell)
    clock.advance(DAY)
    send_notices(ticking.cell)
    told.refuses = False
    clock.advance(DAY)
    assert send_notices(ticking.cell) == 0
    assert given_up(ticking.cell) == 2
    alerts = [event for event in ticking.events(0, "alert") if event["code"] == "notice_given_up"]
    assert sorted(alert["channel"] for alert in alerts) == ["mail", "webhook"]
    assert {alert["cause"] for alert in alerts} == {"unreachable"}
    clock.advance(KEPT)
    perform(ticking.cell, lambda: drop_notices(ticking.cell))
    table = ticking.cell.store.tables.notices
    assert ticking.cell.store.read(table.select()) == []


def test_a_webhook_is_signed_as_standard_webhooks_says(tmp_path: Path, clock: FixedClock) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n", encoding="utf-8")
    with hooked() as (url, came):
        settings = NoticeSettings(webhook=url, webhook_secret_file="secret")
        assert list(wrong_notices(settings)) == []
        assert secret_files_of(settings) == ["secret"]
        messenger = messenger_of(settings, tmp_path, clock)
        assert messenger is not None
        assert messenger.channels == ("webhook",)
        messenger.send("webhook", message())
    [(headers, body)] = came
    assert headers["webhook-id"] == "ntc_1"
    assert headers["webhook-timestamp"] == str(clock.now() // SECOND)
    signed = f"ntc_1.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(bytes(range(32)), signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    told = json.loads(body)
    assert told["type"] == "approval.required"
    assert told["data"] == {
        "about": "apr_1", "agent": "agent:demo", "purpose": "support", "region": "eu",
        "uri": "https://vault.example/approve#eu/apr_1",
    }  # fmt: skip


def test_the_vector_of_the_scheme() -> None:
    """From the text of Standard Webhooks: a known secret, id, time and body, by an HMAC of our own."""
    secret = webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = sign_webhook(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_that_is_gone_stops_nothing_else(
    ticking: BuiltCell, clock: FixedClock, tmp_path: Path
) -> None:
    settings = NoticeSettings(webhook="https://hooks.invalid/", webhook_secret_file="gone")
    ticking.cell.messenger = messenger_of(settings, tmp_path, clock)
    wanted(ticking, holding(ticking), ticking.token(NAME, PERSON, "c1"))
    assert send_notices(ticking.cell) == 0
    table = ticking.cell.store.tables.notices
    assert ticking.cell.store.read(select(table.c.state, table.c.error)) == [("pending", "host_permissions")]


@pytest.mark.parametrize("status", [302, 410, 500])
def test_another_answer_is_no_success(tmp_path: Path, clock: FixedClock, status: int) -> None:
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    with hooked(status) as (url, came):
        messenger = messenger_of(NoticeSettings(webhook=url, webhook_secret_file="secret"), tmp_path, clock)
        assert messenger is not None
        with pytest.raises(NotTold, match=f"status_{status}"):
            messenger.send("webhook", message())
    assert len(came) == 1  # a redirect is not followed


def test_mail_reaches_a_server(tmp_path: Path, clock: FixedClock) -> None:
    mailbox, port = Mailbox(), free_port()
    sink = Controller(mailbox, hostname="127.0.0.1", port=port)
    sink.start()
    try:
        settings = NoticeSettings(
            mail_server=f"127.0.0.1:{port}",
            mail_security="none",
            mail_from="coatcheck@example.org",
            mail_to=["officer@example.org", "other@example.org"],
        )
        assert list(wrong_notices(settings)) == []
        messenger = messenger_of(settings, tmp_path, clock)
        assert messenger is not None
        messenger.send("mail", message())
    finally:
        sink.stop()
    [raw] = mailbox.mails
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["subject"] == "Coatcheck: an approval is asked for (apr_1)"
    assert mail["to"] == "officer@example.org, other@example.org"
    assert mail["message-id"] == "<ntc_1@example.org>"
    assert mail["auto-submitted"] == "auto-generated"
    assert "https://vault.example/approve#eu/apr_1" in mail.get_content()


def test_a_server_that_offers_no_tls_gets_nothing(tmp_path: Path, clock: FixedClock) -> None:
    """A control of the one above: the same server, and STARTTLS demanded."""
    mailbox, port = Mailbox(), free_port()
    sink = Controller(mailbox, hostname="127.0.0.1", port=port)
    sink.start()
    try:
        settings = NoticeSettings(
            mail_server=f"127.0.0.1:{port}", mail_from="a@example.org", mail_to=["b@example.org"]
        )
        messenger = messenger_of(settings, tmp_path, clock)
        assert messenger is not None
        with pytest.raises(NotTold, match="mail_refused"):
            messenger.send("mail", message())
    finally:
        sink.stop()
    assert mailbox.mails == []


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, []),
        ({"webhook": "https://hooks.example/a"}, ["webhook_secret_file"]),
        ({"webhook_secret_file": "s"}, ["webhook_secret_file"]),
        ({"webhook": "http://hooks.example/a", "webhook_secret_file": "s"}, ["webhook"]),
        ({"webhook": "https://u:p@hooks.example/a", "webhook_secret_file": "s"}, ["webhook"]),
        ({"mail_to": ["a@example.org"]}, ["mail_server"]),
        ({"mail_server": "mx.example:25"}, ["mail_from", "mail_to"]),
        (
            {"mail_server": "mx.example", "mail_from": "a@b.example", "mail_to": ["a@b.example"]},
            ["mail_server"],
        ),
        (
            {"mail_server": "mx.example:25", "mail_from": "a@b.example\r\nBcc: e@b.example",
             "mail_to": ["a@b.example"]},
            ["mail_from"],
        ),
        (
            {"mail_server": "mx.example:25", "mail_from": "a@b.example", "mail_to": ["a@b.example"],
             "mail_security": "none"},
            ["mail_security"],
        ),
        (
            {"mail_server": "mx.example:25", "mail_from": "a@b.example", "mail_to": ["a@b.example"],
             "mail_security": "ssl", "mail_user": "u"},
            ["mail_security", "mail_password_file"],
        ),
    ],
)  # fmt: skip
def test_settings_that_are_wrong(settings: dict[str, Any], names: list[str]) -> None:
    assert [name for name, _ in wrong_notices(NoticeSettings(**settings))] == names


@pytest.mark.parametrize("text", ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_*"])
def test_secrets_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        webhook_secret(text)
