"""Tells people that something waits for them: a signed webhook, a mail. Neither holds a value.

What goes out is an id, a purpose, an agent and a link. Whoever reads it over a shoulder learns that, and can
do nothing with it.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final, Protocol

import httpx
import msgspec

from vault.clock import SECOND, Clock
from vault.crypto.webhooks import sign_webhook
from vault.secret import Secret

WEBHOOK: Final = "webhook"
MAIL: Final = "mail"
TIMEOUT_S: Final = 10.0
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_TITLES: Final = {
    "approval.required": "an approval is asked for",
    "grant.pending": "a grant waits for an approval",
    "break-glass.created": "somebody has broken the glass",
}


class NotTold(Exception):
    """It did not reach them; the next try may. Its text is a word of ours."""


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """What is told.

    Attributes:
        id: the same for every try.
        kind: `approval.required`, `grant.pending`, `break-glass.created`.
        about: the id of an approval or a grant.
        uri: where somebody acts on it.
    """

    id: str
    kind: str
    region: str
    about: str
    agent: str
    purpose: str
    uri: str


class Messenger(Protocol):
    """Who can tell people something."""

    @property
    def channels(self) -> tuple[str, ...]:
        """How: each gets a notice of its own."""

    def send(self, channel: str, message: Message) -> None:
        """Sends one message.

        Raises:
            NotTold: it was not taken.
        """


@dataclass(frozen=True, slots=True, repr=False)
class Hook:
    """Where a webhook goes.

    Attributes:
        secret: reads the key of its signatures.
    """

    url: str
    secret: Callable[[], Secret] = field(repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class Post:
    """How mail goes out.

    Attributes:
        security: `starttls`, `tls`, or `none`.
        user: who signs in; None: nobody.
        password: reads the password of that user.
    """

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    security: str
    user: str | None
    password: Callable[[], str] = field(repr=False)


class Messages:
    """Tells people by the channels that are configured."""

    def __init__(self, hook: Hook | None, post: Post | None, clock: Clock) -> None:
        self._hook = hook
        self._post = post
        self._clock = clock

    @property
    def channels(self) -> tuple[str, ...]:
        """How."""
        return tuple(name for name, one in ((WEBHOOK, self._hook), (MAIL, self._post)) if one is not None)

    def send(self, channel: str, message: Message) -> None:
        """Sends one message.

        Raises:
            NotTold: the channel is not configured any more, or did not take it.
        """
        if channel == WEBHOOK and self._hook is not None:
            self._call(self._hook, message)
        elif channel == MAIL and self._post is not None:
            self._mail(self._post, message)
        else:
            raise NotTold("not_configured")

    def _call(self, hook: Hook, message: Message) -> None:
        """One POST (Standard Webhooks 1.0). Redirects are not followed: the answer is no proof of theirs."""
        now = self._clock.now()
        at = datetime.fromtimestamp(now // SECOND, UTC).isoformat().replace("+00:00", "Z")
        told = {name: getattr(message, name) for name in ("about", "agent", "purpose", "region", "uri")}
        body = _encode({"type": message.kind, "timestamp": at, "data": told})
        seconds = now // SECOND
        headers = {
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": sign_webhook(hook.secret(), message.id, seconds, body),
        }
        try:
            answer = httpx.post(
                hook.url, content=body, headers=headers, timeout=TIMEOUT_S, follow_redirects=False
            )
        except (httpx.HTTPError, OSError):
            raise NotTold("unreachable") from None
        if not answer.is_success:
            raise NotTold(f"status_{answer.status_code}")

    def _mail(self, post: Post, message: Message) -> None:
        """One mail to everybody (RFC 5322), over SMTP (RFC 5321) with STARTTLS (RFC 3207)."""
        mail = written(post, message, self._clock.now())
        try:
            context = ssl.create_default_context()
            with self._connected(post, context) as server:
                if post.security == "starttls":
                    server.starttls(context=context)
                if post.user is not None:
                    server.login(post.user, post.password())
                server.send_message(mail)
        except (smtplib.SMTPException, OSError):
            raise NotTold("mail_refused") from None

    def _connected(self, post: Post, context: ssl.SSLContext) -> smtplib.SMTP:
        if post.security == "tls":
            return smtplib.SMTP_SSL(post.host, post.port, timeout=TIMEOUT_S, context=context)
        return smtplib.SMTP(post.host, post.port, timeout=TIMEOUT_S)


def written(post: Post, message: Message, now: int) -> EmailMessage:
    """The mail. Its Message-ID is the message's, so that a mailbox shows a second try once."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = post.sender
    mail["To"] = ", ".join(post.to)
    mail["Subject"] = f"Coatcheck: {_TITLES[message.kind]} ({message.about})"
    mail["Date"] = format_datetime(datetime.fromtimestamp(now // SECOND, UTC))
    domain = post.sender.rpartition("@")[2].rstrip(">") or "coatcheck.invalid"
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834, 5
    mail.set_content(
        f"In region {message.region}, {_TITLES[message.kind]}.\n\n"
        f"Id:      {message.about}\nAgent:   {message.agent}\nPurpose: {message.purpose}\n\n"
        f"{message.uri}\n\nSign in there to see what is asked. No value is in this mail, and none of it "
        "can be answered by mail.\n"
    )
    return mail
