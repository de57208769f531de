"""How operators sign in: the table `[identities]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from vault.authn.passkeys import Party
from vault.authn.sessions import ANYBODY, OPERATORS, SignIn
from vault.clock import SECOND, parse_period
from vault.config.oauth import IssuerSettings, wrong_issuers

ADMINS: Final = (ANYBODY, OPERATORS)
SHORTEST_IDLE_S: Final = 300  # uses are written down once a minute
LONGEST_SESSION_S: Final = 30 * 86_400  # SP 800-63B-4, 2.1.3
LONGEST_FRESH_S: Final = 86_400
_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LOCAL: Final = "localhost"


class IdentitySettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How operators sign in, and who may do what is administrative."""

    admin: Annotated[
        str,
        Meta(
            description="who may do what is administrative: `operators`, in a session with a fresh second "
            "factor; or `any`: services with the permission too. `init` writes `operators`"
        ),
    ] = ANYBODY
    session_idle: Annotated[
        str,
        Meta(description="how long a session may lie unused, like `PT30M`; five minutes at least"),
    ] = "PT30M"
    session_longest: Annotated[
        str, Meta(description="how long an operator's session lasts at most; 30 days at most")
    ] = "PT12H"
    mfa_max_age: Annotated[
        str,
        Meta(description="how old a second factor's proof may be for what is administrative; a day at most"),
    ] = "PT15M"
    mfa_acts: Annotated[
        int,
        Meta(
            description="how many administrative acts one proof of a second factor is good for; each process "
            "counts for itself",
            ge=1,
            le=1_000_000,
        ),
    ] = 200
    passkey_domain: Annotated[
        str | None,
        Meta(
            description="the domain that passkeys are for, like `vault.example.org`; they work there and "
            "below. None: there are no passkeys; in development they are for `localhost`"
        ),
    ] = None
    passkey_origins: Annotated[
        list[str],
        Meta(
            description="where the sign-in page may be, like `https://vault.example.org`; none: at https on "
            "`passkey_domain`"
        ),
    ] = []
    issuers: dict[str, IssuerSettings] = {}


def wrong_identities(settings: IdentitySettings, *, strict: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings: name and reason.

    Args:
        strict: whether what is for development only is wrong.
    """
    if settings.admin not in ADMINS:
        yield "admin", "is operators or any"
    for name, least, most in (
        ("session_idle", SHORTEST_IDLE_S, LONGEST_SESSION_S),
        ("session_longest", SHORTEST_IDLE_S, LONGEST_SESSION_S),
        ("mfa_max_age", 60, LONGEST_FRESH_S),
    ):
        try:
            period = parse_period(getattr(settings, name))
        except ValueError:
            yield name, "is a duration like PT30M"
            continue
        if period.months or not least <= period.seconds <= most:
            yield name, f"is from {least} to {most} seconds"
    domain = settings.passkey_domain
    if domain is not None and not _DOMAIN.fullmatch(domain):
        yield "passkey_domain", "is a domain in small letters, without a port; an address is none"
    if domain is None and settings.passkey_origins:
        yield "passkey_origins", "needs passkey_domain"
    if domain is not None and any(
        not _fits(origin, domain, strict=strict) for origin in settings.passkey_origins
    ):
        yield "passkey_origins", "is a list like https://HOST, without a path, at passkey_domain or below"
    yield from wrong_issuers(settings.issuers)


def _fits(origin: str, domain: str, *, strict: bool) -> bool:
    """Whether a browser that is there uses passkeys of the domain (Web Authentication Level 3, 5.1.3)."""
    try:
        parts = urlsplit(origin)
        host, rest = parts.hostname or "", parts.path + parts.query + parts.fragment
        secure = parts.scheme == "https" or (parts.scheme == "http" and host == _LOCAL and not strict)
        plain = parts.port != 0 and not rest and "@" not in origin
    except ValueError:
        return False
    return secure and plain and (host == domain or host.endswith("." + domain))


def sign_in_of(settings: IdentitySettings, port: int, *, development: bool) -> SignIn:
    """How operators sign in, as the settings say.

    Args:
        port: that the service listens on: in development its page is there, on localhost.
    """
    domain, origins = settings.passkey_domain, tuple(settings.passkey_origins)
    if domain is None and development:
        domain, origins = _LOCAL, (f"http://{_LOCAL}:{port}",)
    party = None if domain is None else Party(domain, origins or (f"https://{domain}",))
    return SignIn(
        admin=settings.admin,
        idle=parse_period(settings.session_idle).seconds * SECOND,
        longest=parse_period(settings.session_longest).seconds * SECOND,
        fresh=parse_period(settings.mfa_max_age).seconds * SECOND,
        acts=settings.mfa_acts,
        party=party,
    )
