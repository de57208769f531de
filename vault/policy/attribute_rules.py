"""Attribute rules: a set of Cedar policies, and what it says to a question.

Rules only take away. Whoever asks has been found to hold the permission, or a grant that covers the use; then
a `forbid`, or that no policy permits it, refuses. A set that cannot be read, or an error while it is asked,
refuses too.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import cedarpy
import msgspec

from vault.errors import BadInput
from vault.policy.attributes import CEDAR_SCHEMA, Question, entities_of, request_of
from vault.policy.policy_text import Refusal, check_names, check_text
from vault.schema.document import Schema

DEFAULT: Final = '@id("default.permit")\npermit (principal, action, resource);\n'
"""The set of a tenant that has none of its own: permissions, ceilings and grants alone decide."""
DEFAULT_DIGEST: Final = hashlib.sha256(DEFAULT.encode()).hexdigest()
MAX_DETAIL: Final = 300  # characters
MAX_REFUSALS: Final = 100
_KEPT: Final = 4_096  # answers of one set
_schema: Final = cedarpy.Schema.from_str(CEDAR_SCHEMA)


class Verdict(NamedTuple):
    """What a set says.

    Attributes:
        policies: the names of those that decided; none where nothing permits it, or the set broke.
        broke: whether it could not be asked, so that it is refused.
    """

    allowed: bool
    policies: tuple[str, ...] = ()
    broke: bool = False


class Policies(NamedTuple):
    """A set that was read and found to be right.

    Attributes:
        names: of its policies, in their order.
        digest: SHA-256 (hex) of the text.
    """

    text: str
    names: tuple[str, ...]
    digest: str


def examine(text: str) -> tuple[Policies, list[Refusal]]:
    """A text, with everything that is wrong with it."""
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    early = check_text(text)
    if early is not None:
        return Policies(text, (), digest), [early]
    try:
        read = msgspec.json.decode(cedarpy.policies_to_json_str(text), type=dict[str, dict[str, Any]] | Any)
    except ValueError as problem:
        refusal = Refusal(0, "", "the text is not one of Cedar policies", _detail(problem))
        return Policies(text, (), digest), [refusal]
    if read.get("templates"):
        return Policies(text, (), digest), [Refusal(0, "", "templates (?principal, ?resource) are not taken")]
    written = _in_order(read["staticPolicies"])
    names = [policy.get("annotations", {}).get("id") for policy in written]
    refusals = check_names(names)
    if not any(policy["effect"] == "permit" for policy in written):
        refusals.append(Refusal(0, "", "no policy permits anything: everything would be refused"))
    refusals += _invalid(text, names)
    return Policies(text, tuple(name or "" for name in names), digest), refusals[:MAX_REFUSALS]


def read_policies(text: str) -> Policies:
    """A set of policies.

    Raises:
        BadInput: `policy_refused` with `refusals`, one line a reason.
    """
    policies, refusals = examine(text)
    if refusals:
        raise BadInput("policy_refused", refusals=[refusal.sentence for refusal in refusals])
    return policies


def _in_order(policies: dict[str, Any]) -> list[Any]:
    """Policies by their places: Cedar calls them `policy0`, `policy1`, ..."""
    return [policies[key] for key in sorted(policies, key=lambda key: int(key.removeprefix("policy")))]


def _invalid(text: str, names: list[str | None]) -> list[Refusal]:
    """What does not hold to the schema."""
    refusals = []
    for problem in cedarpy.validate_policies(text, _schema).errors:
        number = problem.policy_id.removeprefix("policy")
        place = int(number) + 1 if number.isdigit() and int(number) < len(names) else 0
        name = names[place - 1] or "" if place else ""
        refusals.append(
            Refusal(place, name, "does not hold to the schema of policies", _detail(problem.error))
        )
    return refusals


def _detail(problem: object) -> str:
    """What Cedar says, on one line that may be shown."""
    line = "".join(char if char.isprintable() else " " for char in str(problem))
    return line[:MAX_DETAIL]


class AttributeRules:
    """A tenant's set in force, with the schema whose fields and purposes it is asked about.

    What was answered is remembered while the set and that schema are in force; the object goes with them.

    Args:
        text: as it was applied.
        schema: the tenant's.
    """

    def __init__(self, text: str, schema: Schema) -> None:
        self._schema = schema
        self._known: dict[Question, Verdict] = {}
        try:
            self._set: cedarpy.PolicySet | None = None
            if check_text(text) is None:
                self._set = cedarpy.PolicySet.from_str(text)
        except ValueError:
            self._set = None  # by another Cedar, perhaps: nothing is permitted

    def __repr__(self) -> str:
        return "<AttributeRules>"

    def judge(self, question: Question) -> Verdict:
        """What the set says."""
        known = self._known.get(question)
        if known is None:
            known = self._ask(question)
            if len(self._known) >= _KEPT:
                self._known = {}  # a new one: others may be looking at the old
            self._known[question] = known
        return known

    def _ask(self, question: Question) -> Verdict:
        if self._set is None:
            return Verdict(allowed=False, broke=True)
        try:
            answer = cedarpy.is_authorized(
                request_of(question), self._set, entities_of(question, self._schema)
            )
        except (ValueError, KeyError, TypeError):
            return Verdict(allowed=False, broke=True)
        # Cedar leaves out a policy that fails, be it a `forbid`: what it would have said nobody knows.
        if answer.diagnostics.errors:
            return Verdict(allowed=False, broke=True)
        names = answer.diagnostics.id_annotations_by_reason.values()
        return Verdict(answer.allowed, tuple(sorted(names)))


def rules_of(text: str, schema: Schema) -> AttributeRules | None:
    """The rules of a set; None for the one that permits all, which need not be asked."""
    return None if text == DEFAULT else AttributeRules(text, schema)
