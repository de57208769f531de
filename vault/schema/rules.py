"""What a schema is made of: purposes, retention classes, and fields. Values only; `document` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vault.clock import Period
from vault.formats.mask import Mask
from vault.formats.normalize import Normalization
from vault.formats.surrogate import Surrogate
from vault.formats.template import Template

DEFAULT_MAX_BYTES: Final = 65_536  # of an encrypted value, unless its field says otherwise

CREATION: Final = "creation"
LAST_USE: Final = "last_use"
EVENT: Final = "event"


class Protection(StrEnum):
    """How a field's surrogate is made."""

    VAULTLESS = "vaultless"
    VAULTED = "vaulted"
    ENCRYPTED = "encrypted"


class Determinism(StrEnum):
    """Among which values of a vaulted field equal ones get equal tokens."""

    NONE = "none"
    SUBJECT = "subject"
    FIELD = "field"


class Small(StrEnum):
    """What happens to values of a vaultless field of which fewer than 1,000,000 look alike."""

    REFUSE = "refuse"
    VAULTED = "vaulted"  # an opaque token and a row, another one each time
    PASS = "pass"  # the value is its own token: it is not protected


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why plaintext may be wanted, and the caps of bearer grants for it.

    Attributes:
        deliveries: what bearer grants may deliver besides sealed answers: `plain` or nothing.
        keyed_deliveries: the same of keyed grants.
        max_uses, max_ttl_s: of bearer grants.
    """

    name: str
    description: str
    legal_basis: str
    activity: str
    disclosure_class: str
    deliveries: frozenset[str]
    max_uses: int
    max_ttl_s: int
    keyed_deliveries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """A retention class as written: kept for `keep` from its start, due by day or month.

    Attributes:
        keep: None for as long as the field key.
        start: when the time begins: `creation`, `last_use` or `event`.
        event: the event's name, where that is the start.
        max: how long a value is kept if its event never comes.
        period: how wide a due period is: `day` or `month`.
    """

    name: str
    keep: Period | None
    start: str = CREATION
    event: str | None = None
    max: Period | None = None
    period: str = "month"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A named kind of value.

    Attributes:
        template: what values look like; None for encrypted ones that may be anything.
        subject_required: whether a value must name its data subject.
        masks: what may be shown, by name.
        source: the settings as written, for comparison.
        deterministic: among which values equal ones get equal tokens (vaulted).
        normalize: what is done to a value before it is compared with others; it comes back as it was.
        surrogate: what shaped tokens look like; None for opaque ones.
        max_rows: how many shaped tokens there may be.
        max_bytes: how long an encrypted value may be, in UTF-8.
        budget_per_day: how many values each principal may hand over a day, repeats counted.
        rotation: after how long the FF1 key, or the index key, is due for a new version.
        small: what happens to values that FF1 has too few of (vaultless).
        small_retention: the class of their rows, where they are vaulted; else empty.
        transfer_to: regions into which values may be transferred; none: they stay.
    """

    name: str
    template: Template | None
    protection: Protection
    retention: str
    classification: str
    subject_required: bool
    masks: Mapping[str, Mask]
    source: Mapping[str, Any]
    deterministic: Determinism = Determinism.NONE
    normalize: Normalization = Normalization.NONE
    surrogate: Surrogate | None = None
    max_rows: int | None = None
    max_bytes: int = DEFAULT_MAX_BYTES
    budget_per_day: int | None = None
    rotation: Period | None = None
    small: Small = Small.REFUSE
    small_retention: str = ""
    transfer_to: frozenset[str] = frozenset()

    @property
    def row_class(self) -> str:
        """The retention class that rows of the field are kept in."""
        return self.small_retention or self.retention

    @property
    def shape(self) -> Template:
        """The template, of a protection that cannot be without one.

        Raises:
            TypeError: the field is encrypted and takes anything.
        """
        if self.template is None:
            raise TypeError("this field has no template")
        return self.template
