"""Passkeys (W3C Web Authentication), by webauthn: options for a browser, and what its answer proves.

User verification is always required, so that a passkey is two factors in one: something that one has, and
what opens it (SP 800-63B-4, 3.1.7). No attestation is asked for: any maker's will do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from vault.errors import BadInput

MAX_CREDENTIAL: Final = 1_023  # bytes of an id; Web Authentication Level 3, 5.1
MAX_PUBLIC_KEY: Final = 2_048
TIMEOUT_MS: Final = 300_000  # Web Authentication Level 3, 15.1: between 5 and 10 minutes
_TRANSPORTS: Final = {transport.value for transport in AuthenticatorTransport}


@dataclass(frozen=True, slots=True)
class Party:
    """Whom passkeys are for: the relying party.

    Attributes:
        id: a domain; a browser uses its passkeys there and below, and nowhere else.
        origins: the addresses that pages may be at.
    """

    id: str
    origins: tuple[str, ...]
    name: str = "Coatcheck"


@dataclass(frozen=True, slots=True)
class Passkey:
    """What is kept of a passkey.

    Attributes:
        credential: as the authenticator names it.
        public_key: COSE_Key.
        transports: how a browser reaches it.
    """

    credential: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    sign_count: int
    transports: tuple[str, ...]


def registration_options(
    party: Party, user: bytes, name: str, challenge: bytes, there: Sequence[bytes]
) -> dict[str, Any]:
    """What a browser makes a passkey of: a PublicKeyCredentialCreationOptionsJSON.

    Args:
        user: the operator's id, which the authenticator keeps: it tells nothing of a person.
        there: the passkeys that it has, so that no authenticator makes a second one.
    """
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=user,
        user_name=name,
        user_display_name=name,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=credential) for credential in there],
    )
    return _plain(options)


def authentication_options(party: Party, challenge: bytes, those: Sequence[bytes] = ()) -> dict[str, Any]:
    """What a browser proves a passkey by: a PublicKeyCredentialRequestOptionsJSON.

    Args:
        those: the passkeys that may be used; none: any of this party's, so that nobody has to be named.
    """
    options = generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        allow_credentials=[PublicKeyCredentialDescriptor(id=credential) for credential in those],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return _plain(options)


def _plain(options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(options_to_json(options))
    return found


def challenge_in(answer: dict[str, Any]) -> bytes:
    """The challenge that an answer is to; it proves nothing yet.

    Raises:
        BadInput: `passkey_invalid`.
    """
    try:
        data = json.loads(base64url_to_bytes(answer["response"]["clientDataJSON"]))
        return base64url_to_bytes(data["challenge"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise BadInput("passkey_invalid") from None


def credential_in(answer: dict[str, Any]) -> bytes:
    """The passkey that an answer says it is of; it proves nothing yet.

    Raises:
        BadInput: `passkey_invalid`.
    """
    try:
        found = base64url_to_bytes(answer["rawId"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput("passkey_invalid") from None
    if not 0 < len(found) <= MAX_CREDENTIAL:
        raise BadInput("passkey_invalid")
    return found


def check_registration(party: Party, answer: dict[str, Any], challenge: bytes) -> Passkey:
    """The passkey that was made.

    Raises:
        BadInput: `passkey_invalid`: another page's, another challenge's, without the user verified, or no
            such answer at all.
    """
    try:
        made = verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            require_user_verification=True,
        )
        named = answer["response"].get("transports", [])
        transports = tuple(sorted({name for name in named if name in _TRANSPORTS}))
    except (WebAuthnException, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise BadInput("passkey_invalid") from None
    if len(made.credential_id) > MAX_CREDENTIAL or len(made.credential_public_key) > MAX_PUBLIC_KEY:
        raise BadInput("passkey_invalid")
    return Passkey(made.credential_id, made.credential_public_key, made.sign_count, transports)


def check_assertion(
    party: Party, answer: dict[str, Any], challenge: bytes, public_key: bytes, sign_count: int
) -> int:
    """The count of signatures that the passkey now has.

    Args:
        sign_count: the one that it had. A count that does not grow is a copy's (6.1.1), and refused.

    Raises:
        BadInput: `passkey_invalid`.
    """
    try:
        proved = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            credential_public_key=public_key,
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise BadInput("passkey_invalid") from None
    return proved.new_sign_count
