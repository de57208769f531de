"""The catalogue of templates: what each is called, takes and shows.

A template's module says all about it, its entry here included; this is the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vault.formats import (
    base64url,
    bic,
    card,
    code,
    fixedpoint,
    freetext,
    iban,
    imei,
    imsi,
    integer,
    ipv4,
    ipv6,
    isodate,
    mac,
    mailbox,
    name,
    national_phone,
    phone,
    postal,
    run,
    spelling,
    ssn,
    timestamp,
    uniqueid,
    vin,
)
from vault.formats.national import schemes
from vault.formats.spelling import Entry, build
from vault.formats.template import Template

MAX_WRITTEN: Final = spelling.MAX_WRITTEN  # characters of a spelling

_ENTRIES: Final[tuple[Entry[Template], ...]] = (
    ssn.ENTRY,
    card.ENTRY,
    run.DIGITS_ENTRY,
    run.ALPHANUMERIC_ENTRY,
    code.ENTRY,
    integer.ENTRY,
    fixedpoint.ENTRY,
    phone.ENTRY,
    iban.ENTRY,
    bic.ENTRY,
    imei.ENTRY,
    imsi.ENTRY,
    vin.ENTRY,
    national_phone.ENTRY,
    postal.ENTRY,
    mailbox.ENTRY,
    isodate.ENTRY,
    name.ENTRY,
    timestamp.ENTRY,
    ipv4.ENTRY,
    ipv6.ENTRY,
    mac.ENTRY,
    uniqueid.ENTRY,
    run.HEX_ENTRY,
    base64url.ENTRY,
    freetext.ENTRY,
    *schemes.ENTRIES,
)

CATALOG: Final[Mapping[str, Entry[Template]]] = {entry.name: entry for entry in _ENTRIES}


def parse_template(spec: str) -> Template:
    """The template that a spelling names.

    Args:
        spec: `name` or `name(key=value, ...)`.

    Raises:
        BadInput: `template_invalid`, with the names of template and parameter once they are known ones.
    """
    return build(CATALOG, spec)
