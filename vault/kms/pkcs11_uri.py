"""URIs of tokens and their objects (RFC 7512): what a key store needs of them; the rest is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from vault.kms.provider import refused

FORM: Final = "pkcs11:token=LABEL;object=NAME?module-path=/PATH&pin-source=file:/PATH"
_TOKEN: Final = ("token", "serial", "manufacturer", "model")
_PATH: Final = (*_TOKEN, "object", "type")
_QUERY: Final = ("module-path", "pin-source")
MAX_OBJECT: Final = 120  # characters; with an epoch's number behind, what tokens take as a label


@dataclass(frozen=True, slots=True)
class TokenUri:
    """What a URI says.

    Attributes:
        token: what the token must be, by attribute.
        object: how its keys are called, before their number.
        module_path: the library that speaks to it.
        pin_source: the file with the PIN; None without one.
    """

    token: dict[str, str]
    object: str
    module_path: str
    pin_source: str | None

    def fits(self, token: Any) -> bool:
        """Whether a token is the one meant."""
        shown = {
            "token": token.label,
            "serial": _text(token.serial),
            "manufacturer": _text(token.manufacturer_id),
            "model": _text(token.model),
        }
        return all(shown[name].strip() == value for name, value in self.token.items())


def read_uri(rest: str) -> TokenUri:
    """The parts of a URI, from what stands behind `pkcs11:`.

    Raises:
        Misconfigured: `config_invalid`. A PIN in it (`pin-value`) is refused: settings are copied about.
    """
    path, _, query = rest.partition("?")
    attributes, parameters = _pairs(path, ";"), _pairs(query, "&")
    if "pin-value" in attributes or "pin-value" in parameters:
        raise refused("has a PIN in it; name a file with pin-source")
    if not set(attributes) <= set(_PATH) or not set(parameters) <= set(_QUERY):
        raise refused(f"takes {', '.join(_PATH)}; behind the question mark {', '.join(_QUERY)}")
    if attributes.get("type", "secret-key") != "secret-key":
        raise refused("takes type=secret-key")
    token = {name: attributes[name] for name in _TOKEN if attributes.get(name)}
    name, module = attributes.get("object", ""), parameters.get("module-path", "")
    if not token or not 0 < len(name) <= MAX_OBJECT or not name.isprintable() or not module.startswith("/"):
        raise refused(f"is not {FORM}")
    source = parameters.get("pin-source")
    if source is not None:
        scheme, colon, place = source.partition(":")
        source = place if colon and scheme == "file" else source
        if not source or "|" in source or ":" in source:
            raise refused("takes a pin-source that is a file: file:/PATH")
        source = source.removeprefix("//")
    return TokenUri(token, name, module, source)


def _pairs(text: str, separator: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or name in pairs:
            raise refused(f"is not {FORM}")
        try:
            pairs[name] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise refused(f"is not {FORM}") from None
    return pairs


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
