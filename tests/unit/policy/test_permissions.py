"""Permissions are single words of one list; there is no wildcard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import BadInput
from vault.policy.permissions import PERMISSIONS, ROLES, check_permissions, check_roles, effective
from vault.schema.refusals import is_label

ABOUT_SOMETHING = [name.removesuffix("*") for name in PERMISSIONS if name.endswith("*")]
PLAIN = [name for name in PERMISSIONS if not name.endswith("*")]


def test_the_list_is_alphabetical_and_says_what_each_gives() -> None:
    assert list(PERMISSIONS) == sorted(PERMISSIONS)
    assert all(
        meaning and meaning[0].islower() and not meaning.endswith(".") for meaning in PERMISSIONS.values()
    )
    assert ABOUT_SOMETHING == ["encrypt:", "grant:create:", "rekey:", "tokenize:"]


@pytest.mark.parametrize("name", [*PLAIN, "tokenize:customer.ssn", "grant:create:support", "tokenize:0"])
def test_a_permission_that_is_taken(name: str) -> None:
    assert check_permissions([name, name]) == {name}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        ":",
        "tokenize",
        "tokenize:",
        "tokenize:*",
        "tokenize:customer.*",
        "tokenize:*.ssn",
        "tokenize:customer.ssn:*",
        "tokenize:a:b",
        "tokenize: customer.ssn",
        "tokenize:customer.ssn ",
        "tokenize:customer.ssn\n",
        "tokenize:a\0",
        "tokenize:" + "a" * 65,
        "tokenize:Customer",
        "tokenize:４",
        "Tokenize:customer.ssn",
        "grant:create",
        "grant:create:",
        "grant:create:*",
        "grant:*",
        "grant:list:x",
        "schema:apply:x",
        "schema:*",
        "detokenize:customer.ssn",
        "admin",
    ],
)
def test_a_permission_that_is_not(name: str) -> None:
    for given_ in ([name], ["audit:read", name]):
        with pytest.raises(BadInput) as refusal:
            check_permissions(given_)
        assert (refusal.value.code, refusal.value.facts) == ("permission_unknown", {})


@given(
    st.text(max_size=20)
    | st.sampled_from(ABOUT_SOMETHING).flatmap(lambda h: st.text(max_size=9).map(h.__add__))
)
def test_what_is_taken_is_in_the_list_or_names_one_thing(name: str) -> None:
    try:
        check_permissions([name])
    except BadInput:
        return
    about = [name.removeprefix(head) for head in ABOUT_SOMETHING if name.startswith(head)]
    assert name in PLAIN or (len(about) == 1 and is_label(about[0]))
    assert "*" not in name


def test_roles_hold_permissions_of_the_list_and_none_that_give_data() -> None:
    assert list(ROLES) == sorted(ROLES)
    for held in ROLES.values():
        assert held <= set(PLAIN)
        assert check_permissions(held) == held
    # duties are apart: who arranges does not read what happened, who reads what happened changes nothing
    assert "audit:read" not in ROLES["admin"]
    assert not {name for name in ROLES["auditor"] if name.endswith((":write", ":apply", ":revoke"))}


@pytest.mark.parametrize("role", ["", "root", "Admin", "admin ", "*", "admin,auditor"])
def test_a_role_that_is_none(role: str) -> None:
    with pytest.raises(BadInput, match="permission_unknown"):
        check_roles(["admin", role])
    assert check_roles(["admin", "auditor", "admin"]) == {"admin", "auditor"}
    assert check_roles([]) == frozenset()


def test_what_is_held_is_what_roles_and_permissions_give_together() -> None:
    assert effective([], []) == frozenset()
    assert effective(["auditor"], ["tokenize:a"]) == ROLES["auditor"] | {"tokenize:a"}
    assert effective(["admin", "auditor"], []) == ROLES["admin"] | ROLES["auditor"]
    assert effective([], ["tokenize:a"]) == {"tokenize:a"}
