"""The OAuth face, and the issuers whose tokens are taken: `[oauth]` and `[identities.issuers.NAME]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from vault.authn.certificates import Authorities
from vault.authn.issuers import Issuer, of_address, of_file
from vault.authn.oauth import LONGEST_LIFETIME, OAuth
from vault.clock import SECOND, parse_period
from vault.errors import Misconfigured
from vault.identifiers import is_name
from vault.policy.principal import Kind, full_name

SHORTEST_LIFETIME_S: Final = 30
SHORTEST_ROTATION_S: Final = 3_600  # longer than anything that the key before has signed
MAX_ISSUERS: Final = 32


class OAuthSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Access tokens, and the certificates of those who ask for them."""

    lifetime: Annotated[
        str, Meta(description="how long an access token is valid, like `PT5M`; a quarter of an hour at most")
    ] = "PT5M"
    rotation: Annotated[
        str | None,
        Meta(
            description="how long access tokens are signed by one key, like `P90D`; then a worker rotates "
            "it. None: never"
        ),
    ] = "P90D"
    client_ca: Annotated[
        str | None,
        Meta(
            description="PEM file of authorities, whose certificates clients may authenticate with by a name "
            "in them; none: by the certificate itself alone"
        ),
    ] = None


class IssuerSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An issuer of tokens, OpenID Connect or SPIFFE, whose tokens a token exchange takes."""

    issuer: Annotated[str, Meta(description="`iss` of its tokens; a SPIFFE trust domain is one, too")]
    audience: Annotated[str, Meta(description="`aud` that its tokens must have")]
    jwks_file: Annotated[str | None, Meta(description="the file with its keys, a JWK Set")] = None
    jwks_uri: Annotated[
        str | None, Meta(description="where its keys are fetched from: https; http on loopback")
    ] = None
    agents: Annotated[
        dict[str, str], Meta(description="which of its subjects is which agent: `{ SUBJECT = 'agent:NAME' }`")
    ] = {}
    users: Annotated[
        bool, Meta(description="whether its other subjects are users, on whose behalf grants may be")
    ] = False


def wrong_oauth(settings: OAuthSettings) -> Iterator[tuple[str, str]]:
    """What is wrong with `[oauth]`: name and reason."""
    longest = LONGEST_LIFETIME // SECOND
    try:
        period = parse_period(settings.lifetime)
        fits = not period.months and SHORTEST_LIFETIME_S <= period.seconds <= longest
    except ValueError:
        fits = False
    if not fits:
        yield "lifetime", f"is a duration of {SHORTEST_LIFETIME_S} to {longest} seconds, like PT5M"
    try:
        if settings.rotation is not None:
            fits = parse_period(settings.rotation).shortest_seconds >= SHORTEST_ROTATION_S
    except ValueError:
        fits = False
    if not fits and settings.rotation is not None:
        yield "rotation", f"is a duration of at least {SHORTEST_ROTATION_S} seconds, like P90D"


def wrong_issuers(issuers: Mapping[str, IssuerSettings]) -> Iterator[tuple[str, str]]:
    """What is wrong with the issuers: name and reason."""
    if len(issuers) > MAX_ISSUERS:
        yield "issuers", f"are {MAX_ISSUERS} at most"
    seen: set[str] = set()
    for name, one in issuers.items():
        place = f"issuers.{name}"
        if not is_name(name):
            yield "issuers", "an issuer's name is a-z, 0-9, - . _"
        if not one.issuer or not one.audience:
            yield place, "needs an issuer and an audience"
        if one.issuer in seen:
            yield f"{place}.issuer", "is another's too"
        seen.add(one.issuer)
        if (one.jwks_file is None) == (one.jwks_uri is None):
            yield place, "needs jwks_file or jwks_uri"
        if one.jwks_uri is not None and not is_key_address(one.jwks_uri):
            yield f"{place}.jwks_uri", "is https://..., or http on loopback, without a user"
        if not one.agents and not one.users:
            yield place, "needs agents, or users = true: else nobody is known"
        for agent in one.agents.values():
            try:
                full_name(Kind.AGENT, agent)
            except ValueError:
                yield f"{place}.agents", "has values like agent:NAME"


def is_key_address(text: str) -> bool:
    """Whether keys may be fetched from an address: nobody on the way may change them."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        local = parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1")
        fits = (parts.scheme == "https" or local) and bool(host) and parts.port != 0
    except ValueError:
        return False
    return fits and "@" not in text and text.isprintable() and not parts.fragment


def oauth_of(
    settings: OAuthSettings, issuers: Mapping[str, IssuerSettings], base: str, region: str, folder: Path
) -> OAuth:
    """The OAuth face of a region's cell.

    Args:
        base: where the cell is reached.
        folder: that paths of the settings are relative to.

    Raises:
        Misconfigured: `config_invalid`, `host_permissions`: the authorities cannot be read.
    """
    known = {}
    for name, one in issuers.items():
        keys = of_file(folder / (one.jwks_file or "")) if one.jwks_uri is None else of_address(one.jwks_uri)
        agents = {subject: full_name(Kind.AGENT, agent) for subject, agent in one.agents.items()}
        known[one.issuer] = Issuer(name, one.issuer, one.audience, agents, one.users, keys)
    return OAuth(
        issuer=f"{base.rstrip('/')}/v1/{region}",
        lifetime=parse_period(settings.lifetime).seconds * SECOND,
        issuers=known,
        authorities=_authorities(settings, folder),
    )


def _authorities(settings: OAuthSettings, folder: Path) -> Authorities:
    if settings.client_ca is None:
        return Authorities()
    path = folder / settings.client_ca
    try:
        return Authorities(path.read_bytes())
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None
    except ValueError:
        reason = "is no PEM file of certificates"
        raise Misconfigured("config_invalid", setting="oauth.client_ca", reason=reason) from None
