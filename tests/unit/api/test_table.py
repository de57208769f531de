"""The table of routes: finding them, their queries, their problems, their metrics."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from vault.api.app import ROUTES
from vault.api.metrics import Metrics
from vault.api.openapi import codes_of
from vault.api.problems import problem_response, status_of
from vault.api.route import parse_query
from vault.api.router import Router
from vault.codes import CODES
from vault.errors import BadInput, error
from vault.policy.permissions import PERMISSIONS
from vault.services.batch import BatchRefused
from vault.services.pacing import Pacing
from vault.services.second_factors import PasswordBody
from vault.services.sessions import LoginBody

ROUTER = Router(ROUTES)
KNOWN = {"limit": "", "cursor": ""}


def test_every_route_is_found_by_its_path() -> None:
    for route in ROUTES:
        found = ROUTER.find(re.sub(r"\{[a-z]+\}", "x", route.path))
        assert found is not None
        resource, parameters = found
        assert resource.routes[route.method] is route
        assert set(parameters.values()) <= {"x"}
        assert route.method in resource.allow.decode().split(", ")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "grants/",
        "/grants",
        "grants//revoke",
        "grants/x/",
        "grants/x/y",
        "grants/x/revoke/",
        "Grants",
    ],
)
def test_other_paths_are_not(path: str) -> None:
    assert ROUTER.find(path) is None


def test_a_plain_path_goes_before_a_parameter() -> None:
    found = ROUTER.find("schema/plan")
    assert found is not None
    assert found[1] == {}


FOR_NOBODY = {"POST sessions", "POST sessions/passkey", "POST sessions/passkey/options"}
"""What is done for whoever has no credential. Nothing comes to this list without a page in docs/adr/."""


def test_whoever_hashes_a_password_is_not_on_the_loop() -> None:
    hashing = [route for route in ROUTES if route.body in (LoginBody, PasswordBody)]
    assert len(hashing) == 2
    assert all(route.slow for route in hashing)


def test_the_table_is_consistent() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        assert set(codes_of(route)) <= CODES.keys()
        assert all(CODES[code].status for code in codes_of(route))
        assert route.who or f"{route.method} {route.path}" in FOR_NOBODY
        assert set(route.who) <= {"key", "grant", "session"}
        kind = route.permission.partition(":")[0]
        assert route.permission == "" or any(name.startswith(kind) for name in PERMISSIONS)
        assert route.method in ("GET", "DELETE") or route.body is not None or route.path == "intake-key"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", {}),
        (b"limit=1", {"limit": "1"}),
        (b"limit=&cursor=a%20b", {"limit": "", "cursor": "a b"}),
        (b"cursor=a+b", {"cursor": "a b"}),
    ],
)
def test_a_query(raw: bytes, found: dict[str, str]) -> None:
    assert parse_query(raw, KNOWN) == found


@pytest.mark.parametrize(
    "raw", [b"x=1", b"limit=1&limit=1", b"limit", b"&", b"limit=%ff", b"limit=\xff", b"limit=" + b"1" * 3000]
)
def test_a_query_that_is_none(raw: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        parse_query(raw, KNOWN)
    assert (caught.value.code, caught.value.facts) == ("parameter_invalid", {})


@pytest.mark.parametrize("code", [code for code, row in CODES.items() if row.status])
def test_a_problem(code: str) -> None:
    status, headers, body = problem_response(error(code, member="a"), "req_1")
    document = json.loads(body)
    assert status == document["status"] == CODES[code].status
    assert (document["code"], document["type"]) == (code, f"urn:coatcheck:error:{code}")
    assert (document["request"], document["member"]) == ("req_1", "a")
    names = dict(headers)
    assert names[b"content-type"] == b"application/problem+json"
    assert (b"www-authenticate" in names) is (status == 401)
    assert (b"retry-after" in names) is (status in (423, 429, 503))


def test_a_batch_is_422_whatever_its_items_are() -> None:
    assert status_of(BatchRefused({0: "token_unknown"})) == 422
    assert status_of(BatchRefused({3: "erased", 1: "ciphertext_invalid"})) == 422


def test_metrics_are_bounded_by_our_own_names() -> None:
    ledger = SimpleNamespace(groups=2, commands=5)
    pacing = Pacing()
    pacing.totals["network"] = 3
    looked = {"ending": 7, "unreviewed": 4, "overdue": 2, "untellable": 1}
    cell: Any = SimpleNamespace(committer=ledger, key_store=None, directory=None, pacing=pacing, **looked)
    telling: Any = SimpleNamespace(**{**vars(cell), "directory": object(), "untold": 12})
    metrics = Metrics({"eu": cell, "us": telling})
    for _ in range(3):
        metrics.answered("GET whoami", 200, "", 0.002)
    metrics.answered("other", 404, "not_found", 0.001)
    page = metrics.render().decode()
    assert 'coatcheck_requests_total{code="",route="GET whoami",status="200"} 3.0' in page
    assert 'coatcheck_requests_total{code="not_found",route="other",status="404"} 1.0' in page
    assert 'coatcheck_ledger_commands_total{region="eu"} 5.0' in page
    assert 'coatcheck_service_keys_ending{region="eu"} 7.0' in page
    assert [line for line in page.splitlines() if line.startswith("coatcheck_directory_untold")] == [
        'coatcheck_directory_untold{region="us"} 12.0'
    ]
    assert 'coatcheck_request_seconds_count{route="GET whoami"} 3.0' in page
    assert 'coatcheck_limited_total{bound="network",region="eu"} 3.0' in page
    assert 'coatcheck_limited_total{bound="at_once",region="us"} 0.0' in page
