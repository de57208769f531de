"""How people are told of what waits for them: the table `[notices]`."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from vault.clock import Clock
from vault.crypto.webhooks import webhook_secret
from vault.errors import Misconfigured
from vault.secret import Secret
from vault.services.messenger import Hook, Messages, Messenger, Post

SECURITIES: Final = ("starttls", "tls", "none")
MOST_ADDRESSEES: Final = 50
_LOCAL: Final = "localhost"


class NoticeSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How people are told that something waits for an approval or a review. Neither way carries a value."""

    webhook: Annotated[
        str | None,
        Meta(description="where a signed webhook is sent, `https://HOST/PATH`; http on loopback only"),
    ] = None
    webhook_secret_file: Annotated[
        str | None,
        Meta(
            description="the file with the key of its signatures (Standard Webhooks): `whsec_` and base64 of "
            "24 to 64 bytes"
        ),
    ] = None
    mail_server: Annotated[str | None, Meta(description="`HOST:PORT` of the SMTP server that takes mail")] = (
        None
    )
    mail_security: Annotated[
        str,
        Meta(description="`starttls`, `tls`; or `none`, on loopback only"),
    ] = "starttls"
    mail_from: Annotated[str | None, Meta(description="the address that mail is from")] = None
    mail_to: Annotated[list[str], Meta(description="the addresses that mail is for")] = []
    mail_user: Annotated[str | None, Meta(description="who signs in at the server; none: nobody")] = None
    mail_password_file: Annotated[
        str | None, Meta(description="the file with that user's password; read for every mail")
    ] = None


def wrong_notices(settings: NoticeSettings) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings: name and reason."""
    if settings.webhook is not None and not _is_hook(settings.webhook):
        yield "webhook", "is https://HOST/PATH, without a user; http on loopback only"
    if (settings.webhook is None) != (settings.webhook_secret_file is None):
        yield "webhook_secret_file", "goes with webhook, and webhook with it: every one is signed"
    if settings.mail_security not in SECURITIES:
        yield "mail_security", "is starttls, tls or none"
    if settings.mail_server is None:
        if settings.mail_from is not None or settings.mail_to:
            yield "mail_server", "is missing"
        return
    place = _place(settings.mail_server)
    if place is None:
        yield "mail_server", "is HOST:PORT"
    elif settings.mail_security == "none" and not _is_here(place[0]):
        yield "mail_security", "is none on loopback only"
    if settings.mail_from is None or not _is_address(settings.mail_from):
        yield "mail_from", "is an address like coatcheck@example.org"
    if not 1 <= len(settings.mail_to) <= MOST_ADDRESSEES or not all(map(_is_address, settings.mail_to)):
        yield "mail_to", "is a list of addresses like officer@example.org"
    if (settings.mail_user is None) != (settings.mail_password_file is None):
        yield "mail_password_file", "goes with mail_user, and mail_user with it"


def secret_files_of(settings: NoticeSettings) -> list[str]:
    """The files of secrets that are configured, as they are written."""
    named = (settings.webhook_secret_file, settings.mail_password_file)
    return [path for path in named if path is not None]


def messenger_of(settings: NoticeSettings, base: Path, clock: Clock) -> Messenger | None:
    """Who tells people, as the settings say; None: nobody does."""
    hook = post = None
    if settings.webhook is not None and settings.webhook_secret_file is not None:
        key = base / settings.webhook_secret_file
        hook = Hook(settings.webhook, lambda: _webhook_secret(key))
    place = None if settings.mail_server is None else _place(settings.mail_server)
    if place is not None and settings.mail_from is not None:
        post = Post(
            *place,
            settings.mail_from,
            tuple(settings.mail_to),
            settings.mail_security,
            settings.mail_user,
            lambda: _text(base / (settings.mail_password_file or ""), "mail_password_file"),
        )
    return None if hook is None and post is None else Messages(hook, post, clock)


def _webhook_secret(path: Path) -> Secret:
    try:
        return webhook_secret(_text(path, "webhook_secret_file"))
    except ValueError:
        reason = "holds whsec_ and base64 of 24 to 64 bytes"
        raise Misconfigured("config_invalid", setting="notices.webhook_secret_file", reason=reason) from None


def _text(path: Path, setting: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured("host_permissions", setting=f"notices.{setting}") from None


def _place(text: str) -> tuple[str, int] | None:
    """Host and port of a server."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    plain = not (parts.path or parts.query or parts.fragment or "@" in text) and text.isprintable()
    return (host, port) if host and port and plain else None


def _is_here(host: str) -> bool:
    try:
        return host == _LOCAL or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_hook(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        known = parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))
        plain = parts.port != 0 and "@" not in parts.netloc and not parts.fragment
    except ValueError:
        return False
    return known and bool(host) and plain and text.isprintable() and " " not in text


def _is_address(text: str) -> bool:
    """Whether a text is a plain address (RFC 5321, 4.1.2), that cannot become a header of its own."""
    local, at, domain = text.partition("@")
    plain = text.isascii() and text.isprintable() and not set(text) & set(' ,;:<>()[]"\\')
    return bool(local and at and domain) and "@" not in domain and plain and len(text) <= 254
