"""Reading a field: what its values look like, how they are protected, and when they end.

A setting that its protection cannot honour is refused, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from vault.clock import Period
from vault.crypto.ff1 import MIN_DOMAIN
from vault.errors import BadInput, CoatcheckError, ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.mask import Mask
from vault.formats.normalize import Normalization
from vault.formats.surrogate import Surrogate, parse_surrogate
from vault.formats.template import MAX_LENGTH, Template
from vault.identifiers import is_name
from vault.schema.opaque import takes_opaque_tokens
from vault.schema.refusals import Refusals, is_label, shown
from vault.schema.rules import (
    CREATION,
    DEFAULT_MAX_BYTES,
    Determinism,
    FieldRule,
    Protection,
    RetentionRule,
    Small,
)

MAX_BYTES: Final = 1024 * 1024  # of an encrypted value; a batch is a few MiB
MAX_ROWS: Final = 10**12
SMALLEST_SPACE: Final = 1_000_000  # surrogates; as for FF1, SP 800-38G
ROOM: Final = 100  # surrogates a row: one in a hundred made-up tokens at most is somebody's
MAX_REGIONS: Final = 100
MAX_BUDGET: Final = 10**12  # values a day
SHORTEST_ROTATION_S: Final = 86_400
LONGEST_ROTATION_S: Final = 10 * 366 * 86_400  # seconds; SP 800-57 part 1, 5.3.6 advises two years or less

_KNOWN: Final = (
    "template",
    "protection",
    "retention",
    "classification",
    "subject",
    "masks",
    "deterministic",
    "normalize",
    "surrogate",
    "max_rows",
    "max_bytes",
    "tokenize_budget",
    "rotation",
    "small",
    "small_retention",
    "transfer_to",
)

_VAULTLESS, _VAULTED, _ENCRYPTED = Protection.VAULTLESS, Protection.VAULTED, Protection.ENCRYPTED
_GOES_WITH: Final[Mapping[str, tuple[tuple[Protection, ...], str]]] = {
    "normalize": ((_VAULTED,), "goes with vaulted fields that are deterministic: nothing else is compared"),
    "surrogate": ((_VAULTED,), "goes with vaulted fields: only a row can tell a drawn token's value"),
    "max_rows": ((_VAULTED,), "goes with the surrogate of a vaulted field"),
    "max_bytes": ((_ENCRYPTED,), "goes with encrypted fields; a template bounds the values of others"),
    "tokenize_budget": (
        (_VAULTLESS, _VAULTED),
        "goes with fields that are tokenized; encrypting tells nobody what a value is",
    ),
    "rotation": (
        (_VAULTLESS, _VAULTED),
        "goes with vaultless fields, and with deterministic ones: others have no key that is rotated",
    ),
    "transfer_to": ((_VAULTED,), "goes with vaulted fields: of others the cell has no values"),
}


def read_field(
    refusals: Refusals,
    place: str,
    name: str,
    value: object,
    retention: Mapping[str, RetentionRule],
    templates: Mapping[str, Template] = MappingProxyType({}),
    named: Collection[str] = (),
) -> FieldRule | None:
    """The field of a table; None after a refusal that leaves no field to speak of.

    Args:
        templates: the schema's own.
        named: the names of all of them, also of those that were refused.
    """
    table = refusals.table(place, value, _KNOWN)
    protection = _protection(refusals, place, table)
    small = refusals.choice(place, table, "small", tuple(item.value for item in Small), default="refuse")
    words = tuple(item.value for item in Determinism)
    deterministic = Determinism(refusals.choice(place, table, "deterministic", words, default="none"))
    subject = refusals.choice(place, table, "subject", ("optional", "required"), default="optional")
    forms = tuple(item.value for item in Normalization)
    normalize = Normalization(refusals.choice(place, table, "normalize", forms, default="none"))
    template = _template(refusals, place, table, protection, templates, named)
    rest: dict[str, Any] = {
        "retention": _class(refusals, place, table, retention),
        "classification": refusals.text(place, table, "classification", limit=64),
        "masks": _masks(refusals, place, table),
        "surrogate": _surrogate(refusals, place, table),
        "max_rows": _optional(refusals, place, table, "max_rows", MAX_ROWS),
        "max_bytes": refusals.number(place, table, "max_bytes", DEFAULT_MAX_BYTES, 1, MAX_BYTES),
        "budget_per_day": _budget(refusals, place, table),
        "rotation": _rotation(refusals, place, table),
        "small": Small(small),
        "small_retention": _small_class(refusals, place, table, retention),
        "transfer_to": _regions(refusals, place, table),
    }
    if protection is None:
        return None
    rule = FieldRule(
        name=name,
        template=template,
        protection=protection,
        subject_required=subject == "required" or deterministic is Determinism.FIELD,
        source=table,
        deterministic=deterministic,
        normalize=normalize,
        **rest,
    )
    _agree(refusals, place, table, rule)
    _agree_on_small(refusals, place, table, rule)
    _keepable(refusals, place, rule, retention.get(rule.retention))
    if rule.small is Small.VAULTED:
        _small_keepable(refusals, place, retention.get(rule.small_retention))
    return rule if template is not None or protection is Protection.ENCRYPTED else None


def _protection(refusals: Refusals, place: str, table: Mapping[str, Any]) -> Protection | None:
    """The field's protection; None after a refusal, so that no reason is given that rests on a guess."""
    built = [item.value for item in Protection]
    word = refusals.choice(place, table, "protection", built, not_built=("vaultless-subject",))
    return Protection(word) if table.get("protection") == word else None


def _template(
    refusals: Refusals,
    place: str,
    table: Mapping[str, Any],
    protection: Protection | None,
    templates: Mapping[str, Template],
    named: Collection[str],
) -> Template | None:
    if "template" not in table and protection in (None, Protection.ENCRYPTED):
        return None
    spec = table.get("template")
    spec = spec if isinstance(spec, str) else ""
    if spec in named and spec not in templates:
        return None  # its own refusal is enough
    try:
        template = templates[spec] if spec in templates else parse_template(spec)
    except CoatcheckError:
        refusals.add(f"{place}.template", "is not a template; docs/reference/templates.md lists them")
        return None
    if protection is Protection.VAULTLESS and not template.reversible_by_ff1:
        refusals.add(f"{place}.template", "has no fixed alphabet, so it cannot be vaultless")
    elif protection is Protection.VAULTLESS and not _roomy(template):
        refusals.add(
            f"{place}.template",
            f"fewer than {MIN_DOMAIN:,} values of the usual length look alike: too few to hide one among",
        )
    return template


def _roomy(template: Template) -> bool:
    """Whether FF1 can hide values of a template: of its usual length if it has one, else of any.

    Source: NIST SP 800-38G Rev. 1 (2nd draft), 4: radix^n of at least 1,000,000.
    """
    usual = template.domain()
    if usual.size >= MIN_DOMAIN or usual != template.smallest():
        return usual.size >= MIN_DOMAIN
    return any(_size(template, length) >= MIN_DOMAIN for length in range(1, MAX_LENGTH + 1))


def _size(template: Template, length: int) -> int:
    """How many values of a length look alike; none where the template takes no such length."""
    try:
        return template.domain(length).size
    except ValueRefused:
        return 0


def _class(
    refusals: Refusals, place: str, table: Mapping[str, Any], retention: Mapping[str, RetentionRule]
) -> str:
    name = table.get("retention")
    if not isinstance(name, str) or name not in retention:
        refusals.add(f"{place}.retention", "does not name a class of [retention]")
        return ""
    return name


def _small_class(
    refusals: Refusals, place: str, table: Mapping[str, Any], retention: Mapping[str, RetentionRule]
) -> str:
    name = table.get("small_retention", "")
    if "small_retention" in table and (not isinstance(name, str) or name not in retention):
        refusals.add(f"{place}.small_retention", "does not name a class of [retention]")
        return ""
    return str(name)


def _surrogate(refusals: Refusals, place: str, table: Mapping[str, Any]) -> Surrogate | None:
    if "surrogate" not in table:
        return None
    spec = table["surrogate"]
    try:
        surrogate = parse_surrogate(spec if isinstance(spec, str) else "")
    except CoatcheckError:
        refusals.add(f"{place}.surrogate", "is not a surrogate; docs/reference/templates.md lists them")
        return None
    if surrogate.space < SMALLEST_SPACE:
        refusals.add(f"{place}.surrogate", f"has {surrogate.space:,} tokens, fewer than {SMALLEST_SPACE:,}")
    return surrogate


def _regions(refusals: Refusals, place: str, table: Mapping[str, Any]) -> frozenset[str]:
    """The regions into which values may be transferred: none, unless they are named."""
    named = table.get("transfer_to", [])
    if not isinstance(named, list) or len(named) > MAX_REGIONS or not all(map(_is_region, named)):
        refusals.add(f"{place}.transfer_to", f"is a list of at most {MAX_REGIONS} regions")
        return frozenset()
    return frozenset(named)


def _is_region(value: object) -> bool:
    return isinstance(value, str) and is_name(value)


def _optional(refusals: Refusals, place: str, table: Mapping[str, Any], key: str, high: int) -> int | None:
    """A whole number from 1 on that may be left out."""
    return refusals.number(place, table, key, 1, 1, high) if key in table else None


def _budget(refusals: Refusals, place: str, table: Mapping[str, Any]) -> int | None:
    if "tokenize_budget" not in table:
        return None
    place = f"{place}.tokenize_budget"
    budget = refusals.table(place, table["tokenize_budget"], ("per_day",))
    if isinstance(table["tokenize_budget"], Mapping) and "per_day" not in budget:
        refusals.add(f"{place}.per_day", "is missing: how many values a day")
    return _optional(refusals, place, budget, "per_day", MAX_BUDGET)


def _rotation(refusals: Refusals, place: str, table: Mapping[str, Any]) -> Period | None:
    if "rotation" not in table:
        return None
    rotation = refusals.period(place, table, "rotation", "P1Y")
    if not SHORTEST_ROTATION_S <= rotation.shortest_seconds <= LONGEST_ROTATION_S:
        refusals.add(f"{place}.rotation", "is at least a day and at most ten years")
    return rotation


def _agree(refusals: Refusals, place: str, table: Mapping[str, Any], rule: FieldRule) -> None:
    """Settings that their protection, or another setting, leaves without a meaning."""
    for key, (protections, reason) in _GOES_WITH.items():
        if key in table and table[key] != "none" and rule.protection not in protections:
            refusals.add(f"{place}.{key}", reason)
    if rule.protection is Protection.VAULTLESS and table.get("subject") == "required":
        refusals.add(f"{place}.subject", "cannot be required: nothing ties a vaultless token to a person")
    if rule.deterministic is not Determinism.NONE and rule.protection is not Protection.VAULTED:
        always = rule.protection is Protection.VAULTLESS
        why = "vaultless tokens always are" if always else "every ciphertext is another"
        refusals.add(f"{place}.deterministic", f"goes with vaulted fields: {why}")
    if rule.protection is not Protection.VAULTED:
        return
    if rule.deterministic is Determinism.FIELD and table.get("subject") == "optional":
        refusals.add(f"{place}.subject", "is required where deterministic = 'field' joins people's values")
    if rule.rotation is not None and rule.deterministic is Determinism.NONE:
        refusals.add(f"{place}.rotation", _GOES_WITH["rotation"][1])
    if rule.normalize is not Normalization.NONE and rule.deterministic is Determinism.NONE:
        refusals.add(f"{place}.normalize", _GOES_WITH["normalize"][1])
    if rule.surrogate is not None and rule.max_rows is None:
        refusals.add(f"{place}.max_rows", "is missing: a surrogate needs room for that many rows")
    elif rule.surrogate is not None and rule.max_rows is not None:
        most = rule.surrogate.space // ROOM
        if rule.max_rows > most:
            refusals.add(f"{place}.max_rows", f"is more than {most:,}: a hundredth of the surrogate's tokens")
    if "surrogate" not in table and rule.max_rows is not None:
        refusals.add(f"{place}.max_rows", _GOES_WITH["max_rows"][1])


def _agree_on_small(refusals: Refusals, place: str, table: Mapping[str, Any], rule: FieldRule) -> None:
    """What `small` needs, and what it cannot be told from."""
    if rule.small is not Small.REFUSE and rule.protection is not Protection.VAULTLESS:
        refusals.add(f"{place}.small", "goes with vaultless fields: no other has too few values for FF1")
    elif rule.small is Small.VAULTED and "small_retention" not in table:
        refusals.add(
            f"{place}.small_retention", "is missing: a class with a period, for rows of small values"
        )
    elif rule.small is Small.VAULTED and rule.template is not None and takes_opaque_tokens(rule.template):
        refusals.add(
            f"{place}.small", "cannot be vaulted: a token of this template may look like an opaque one"
        )
    if rule.small is not Small.VAULTED and rule.small_retention:
        refusals.add(f"{place}.small_retention", "goes with small = 'vaulted': nothing else has a row")


def _small_keepable(refusals: Refusals, place: str, kept: RetentionRule | None) -> None:
    """Rows of small values belong to nobody, so their class must end by itself."""
    if kept is not None and (kept.keep is None or (kept.start != CREATION and kept.max is None)):
        refusals.add(
            f"{place}.small_retention",
            "retention_unkeepable: a row without a person needs a class with a period, "
            "and a max where that does not count from creation",
        )


def _keepable(refusals: Refusals, place: str, rule: FieldRule, kept: RetentionRule | None) -> None:
    """A promise of erasure that the protection cannot keep is refused (`retention_unkeepable`)."""
    if kept is None:
        return
    reason = ""
    if rule.protection is Protection.VAULTLESS and kept.keep is not None:
        reason = "a vaultless token has no row; only its field key's end erases it"
    elif rule.protection is not Protection.VAULTLESS and kept.keep is None:
        reason = f"{_named(rule.protection)} value needs a class with a period"
    elif kept.start != CREATION and kept.max is None and not rule.subject_required:
        reason = (
            "a value without a person never meets its class's event: "
            "give the class a max, or say subject = 'required'"
        )
    if reason:
        refusals.add(f"{place}.retention", f"retention_unkeepable: {reason}")


def _named(protection: Protection) -> str:
    return f"{'an' if protection is Protection.ENCRYPTED else 'a'} {protection.value}"


def _masks(refusals: Refusals, place: str, table: Mapping[str, Any]) -> dict[str, Mask]:
    patterns = table.get("masks", {})
    if not isinstance(patterns, Mapping):
        refusals.add(f"{place}.masks", "is not a table")
        return {}
    masks = {}
    for name, pattern in patterns.items():
        try:
            if not is_label(name) or not isinstance(pattern, str):
                raise BadInput("template_invalid")
            masks[name] = Mask.parse(pattern)
        except CoatcheckError:
            refusals.add(f"{place}.masks.{shown(name)}", "is not a mask such as '***-**-{last:4}'")
    return masks
