"""Opening values: after the charge is durable, and with the proof of it."""

from __future__ import annotations

from collections import defaultdict

from vault.clock import utc_date
from vault.context import EncryptionContext, Use, encode_for
from vault.envelope.seal import open_encoded, open_message
from vault.errors import IntegrityError, ValueRefused
from vault.formats.derived import derive
from vault.formats.mask import View
from vault.ledger.command import Committed
from vault.schema.document import FieldRule
from vault.services.asked import Asked, Asking, Shown, Used
from vault.services.cell import Cell
from vault.services.comparing import is_pair, matches
from vault.tokens.shaped import claim_record


def open_values(
    cell: Cell, done: Committed, tenant: str, asked: list[Asked], used: Used, asking: Asking
) -> list[Shown]:
    """Decrypts what the ledger allowed, and shows it as the operation says.

    Takes the proof of the commit, and nothing without it. Items that do not open are added to
    `used.failures`: a vaultless token that no value has, a ciphertext that is not for its context.

    Raises:
        IntegrityError: `integrity_failed`: a stored claim does not open.
    """
    if not isinstance(done, Committed):
        raise TypeError("opening takes a Committed")
    if done.value is not used:
        raise TypeError("opening takes the Committed of this very use")
    values: list[Shown] = [None] * len(asked)
    masked = any(one.mask is not None for one in asked)  # a preview
    pair: dict[int, str] | None = {} if is_pair(asking) and not masked else None
    turned = _vaultless(cell, tenant, asked, used)
    cell.keyring.prepare([*(claim.key for claim in used.claims.values()), *used.keys.values()])
    for index, one in enumerate(asked):
        if not one.given or one.rule is None or index in used.failures:
            continue
        try:
            if index in used.claims:
                value = _claim(cell, tenant, one, used, index)
            elif index in used.keys:
                value = _ciphertext(cell, tenant, one, used, index)
            elif one.passed:
                value = one.text
            else:
                value = turned[index]
        except (ValueRefused, IntegrityError) as refusal:
            if refusal.code == "integrity_failed":
                raise
            used.failures[index] = refusal
            continue
        if pair is not None:
            pair[index] = value
        else:
            values[index] = _told(cell, done, tenant, one, used, asking, index, value)
    return values if pair is None else _pair_told(asked, used, pair)


def _pair_told(asked: list[Asked], used: Used, pair: dict[int, str]) -> list[Shown]:
    """Of each of two, whether they are one value. Where one does not open, nothing is told of either."""
    rule = asked[0].rule
    if used.failures:
        failure = next(iter(used.failures.values()))
        for place in range(len(asked)):
            used.failures.setdefault(place, failure)
    if used.failures or rule is None:
        return [None] * len(asked)
    return [matches(rule, pair[0], pair[1])] * len(asked)


def _told(
    cell: Cell, done: Committed, tenant: str, one: Asked, used: Used, asking: Asking, index: int, value: str
) -> Shown:
    """What the operation tells of a value; a value that it cannot be asked of is added to the failures."""
    rule = one.rule
    if rule is None:
        raise TypeError("opened without a rule")
    mask = one.mask or asking.mask
    if mask is not None:
        return _masked(cell, done, tenant, rule, mask, value)
    if asking.derive is not None:
        try:
            return derive(asking.derive.fn, asking.derive.arg, value, utc_date(done.at))
        except ValueRefused as refusal:
            used.failures[index] = refusal
            return None
    if one.candidate is not None:
        return matches(rule, value, one.candidate)
    return value


def _vaultless(cell: Cell, tenant: str, asked: list[Asked], used: Used) -> dict[int, str]:
    """The values of vaultless tokens, those of a field and key version together; adds to `used.failures`."""
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, version in used.versions.items():
        if index not in used.failures and not asked[index].passed:
            groups[asked[index].field, version].append(index)
    values: dict[int, str] = {}
    for (field, version), places in groups.items():
        rule = asked[places[0]].rule
        if rule is None:
            continue
        try:
            codec = cell.keyring.vaultless(tenant, field, rule.shape, version)
        except ValueRefused as refusal:
            used.failures.update(dict.fromkeys(places, refusal))
            continue
        opened, refused = codec.detokenize_many([asked[place].text for place in places])
        for index, failure in refused.items():
            if not isinstance(failure, ValueRefused):
                raise failure
            used.failures[places[index]] = failure
        values |= {place: value for place, value in zip(places, opened, strict=True) if value is not None}
    return values


def _masked(cell: Cell, done: Committed, tenant: str, rule: FieldRule, name: str, value: str) -> str:
    """What a mask of the field shows of a value, on the day of the commit (UTC)."""

    def digest(whole: str) -> str:
        form = whole if rule.template is None else rule.template.canonical(whole)
        return cell.keyring.mask_hash(tenant, rule.name).of(form)

    return rule.masks[name].apply(value, View(utc_date(done.at), digest))


def _claim(cell: Cell, tenant: str, one: Asked, used: Used, index: int) -> str:
    claim = used.claims[index]
    record = claim_record(one.row or b"", one.surrogate)
    context = encode_for(Use.CLAIM, tenant, cell.region, one.field, record)
    try:
        return open_encoded(cell.keyring.data_key(claim.key), context, claim.sealed).decode()
    except (IntegrityError, UnicodeDecodeError):
        raise IntegrityError("integrity_failed") from None


def _ciphertext(cell: Cell, tenant: str, one: Asked, used: Used, index: int) -> str:
    """The value of a ciphertext that a caller brought; whatever is wrong with it is the caller's."""
    context = EncryptionContext(Use.VALUE, tenant, cell.region, one.field, one.record)
    try:
        key = cell.keyring.data_key(used.keys[index])
    except IntegrityError:
        raise IntegrityError("integrity_failed") from None
    if one.message is None:
        raise IntegrityError("ciphertext_invalid")
    try:
        return open_message(key, context, one.message).decode()
    except UnicodeDecodeError:
        raise IntegrityError("ciphertext_invalid") from None
