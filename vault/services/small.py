"""Values of a vaultless field that FF1 has too few of, where the field says `small = vaulted` or `pass`.

FF1 itself is never used on them. A vaulted one gets an opaque token, another one each time: in a domain that
small, equal tokens would tell by their frequency what the values are. A passed one is its own token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vault.crypto.ff1 import MIN_DOMAIN
from vault.errors import CoatcheckError
from vault.schema.document import FieldRule, Small
from vault.services.batch import Failures
from vault.services.issue import Count
from vault.services.vaulting import Wanted
from vault.tokens.vaulted import PREFIX

REFUSED_AS = "domain_too_small"


def take_small(
    failures: Failures, counts: Mapping[str, Count], asked: Callable[[int], tuple[FieldRule, str]]
) -> tuple[dict[int, str], dict[int, Wanted]]:
    """Takes out of the failures what is no failure where the field says so; counts it as taken.

    Args:
        failures: of a batch, by place.
        asked: the field and the value of a place.

    Returns:
        By place: passed values, and those that are to be vaulted.
    """
    passed: dict[int, str] = {}
    vaulted: dict[int, Wanted] = {}
    for place, failure in sorted(failures.items()):
        if (failure if isinstance(failure, str) else failure.code) != REFUSED_AS:
            continue
        rule, value = asked(place)
        if rule.small is Small.REFUSE:
            continue
        if rule.small is Small.PASS:
            passed[place] = value
        else:
            vaulted[place] = Wanted(rule, value, None)
        del failures[place]
        count = counts[rule.name]
        count.values += 1
        count.small += 1
        count.failed[REFUSED_AS] -= 1
        if not count.failed[REFUSED_AS]:
            del count.failed[REFUSED_AS]
    return passed, vaulted


def is_opaque(rule: FieldRule, token: str) -> bool:
    """Whether a token of a vaultless field is one that stands for a row."""
    return rule.small is Small.VAULTED and token.startswith(PREFIX)


def is_passed(rule: FieldRule, token: str) -> bool:
    """Whether a token of a vaultless field is a value that was passed: by its shape, which no other has.

    A token keeps the shape of its value, so one that FF1 made has a domain that FF1 takes.
    """
    if rule.small is not Small.PASS:
        return False
    try:
        return rule.shape.parse_token(token).size < MIN_DOMAIN and _is_small(rule, token)
    except CoatcheckError:
        return _is_small(rule, token)


def _is_small(rule: FieldRule, value: str) -> bool:
    try:
        return rule.shape.parse(value).size < MIN_DOMAIN
    except CoatcheckError:
        return False
