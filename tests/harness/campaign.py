"""Plants canaries through every door, in requests that succeed and in all ways that they fail."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit
from typing import Any, Final

from tests.harness.canaries import Planted
from tests.harness.doors import signed_in
from tests.harness.roomy import (
    AGENT,
    EMAIL,
    HANDLE,
    NAME,
    NOTE,
    PAN,
    PURPOSE,
    SSN,
    TEXT,
    add_principal,
    grant_body,
)
from tests.support.holders import new_holder
from tests.support.operators import PASSWORD, STEP_S, Device
from tests.support.service import Answer, Service, coatcheck_here
from vault.api.app import ROUTES
from vault.clock import DAY, SystemClock, format_time

OPTIONS: Final = ("sessions/passkey/options", "sessions/step-up/options", "self/passkeys/options")
UNKNOWN: Final = "ck_01M84HD64DFW18BYTQYF0BJRJQ_"
UNKNOWN_JOB: Final = "job_01M84HD64DFW18BYTQYF0BJRJQ"


def route_of(method: str, path: str) -> str:
    """The route that a request is for, by its name in the table; empty: none."""
    plain = path.partition("?")[0]
    for route in ROUTES:
        pattern = re.sub(r"{\w+}", "[^/]+", route.path)
        if route.method == method and re.fullmatch(pattern, plain):
            return f"{method} {route.path}"
    return ""


class Campaign:
    """One service, what was planted in it, and what it said when it refused.

    Attributes:
        refused: heads and bodies of all answers that are refusals, and what failing commands printed.
        statuses: how often which status was answered.
        routes: which statuses each route answered.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.planted = Planted(Random("canaries"))
        self.refused: list[bytes] = []
        self.statuses: dict[int, int] = {}
        self.routes: dict[str, set[int]] = {}
        self.admin = service.credential("admin_key")
        _, self.creator = add_principal(service, "creator")
        self.planted.credentials |= {self.admin, self.creator, service.credential()}

    def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> Answer:
        """A request whose answer is kept if it is a refusal; tokens and credentials of others are planted."""
        answer = self.service.call(method, path, body, key=self.creator if key is None else key)
        self.keep(answer)
        self.routes.setdefault(route_of(method, path), set()).add(answer.status)
        if answer.status < 300:
            document = answer.json()
            made = document.get("tokens") or [item.get("token") for item in document.get("items", [])]
            found = {token for token in made if token}
            shaped = {token for token in found if re.fullmatch("[0-9a-z]{9}", token)}
            self.planted.surrogates |= shaped
            self.planted.tokens |= found - shaped
            if document.get("credential"):
                self.planted.credentials.add(document["credential"])
        return answer

    def once(self, path: str, body: Any) -> None:
        """A request whose Idempotency-Key is a canary, three times: done, repeated, with another body."""
        headers = {
            "authorization": f"Bearer {self.creator}", "content-type": "application/json",
            "idempotency-key": self.planted.word(),
        }  # fmt: skip
        for content in (
            body,
            body,
            {**body, self.planted.word(): 1},
            {**body, "reason": self.planted.reason()},
        ):
            raw = json.dumps(content).encode()
            answer = self.service.request("POST", f"/v1/eu/{path}", raw, headers)
            self.keep(answer)
            if answer.status < 300 and answer.json().get("credential"):
                self.planted.credentials.add(answer.json()["credential"])

    def keep(self, answer: Answer) -> None:
        """Keeps an answer if it is a refusal."""
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.status >= 400:
            self.refused.append(repr(answer.headers).encode() + answer.body)

    def tokenize(self, count: int) -> list[tuple[str, str]]:
        """Values of every field, by columns and by rows, for people and for nobody; (field, token)."""
        p = self.planted
        for _ in range(count):
            self.call("POST", "tokenize", {"field": SSN, "values": [p.ssn() for _ in range(10)]})
            self.call("POST", "tokenize", {"field": PAN, "values": [p.card() for _ in range(10)]})
            columns = {"field": NAME, "values": [p.text(), None, p.word()]}
            columns["subjects"] = [p.word(), None, p.text()]
            self.call("POST", "tokenize/check", columns)
            self.call("POST", "tokenize", columns)
            rows = [
                {"field": NOTE, "value": p.text()},
                {"field": NAME, "value": p.text(), "subject": p.word()},
            ]
            self.call("POST", "tokenize", {"items": [*rows, {"field": SSN, "value": p.ssn()}]})
        made = self.call("POST", "tokenize", {"field": NAME, "values": [p.text() for _ in range(5)]})
        return [(NAME, token) for token in made.json()["tokens"]]

    def share(self) -> None:
        """Deterministic and shaped values of several people, and requests that are repeated."""
        p = self.planted
        for field, value in ((EMAIL, p.word() + "@example.org"), (HANDLE, p.word())):
            body = {"field": field, "values": [value, value], "subjects": [p.word(), p.text()]}
            assert self.call("POST", "tokenize", body).status == 200
            self.call("POST", "tokenize", body | {"subjects": [p.word(), None]})
            self.call("POST", "tokenize", body | {"values": [p.text() + "\0", p.word() * 40]})
        self.call("POST", "tokenize", {"field": EMAIL, "values": [p.text()], "subjects": [p.word()]})
        self.once("grants", grant_body([NAME], 1, [p.word()]) | {"reason": p.reason()})

    def encrypt(self) -> None:
        """Values whose ciphertexts the caller keeps: sealed, opened, and all ways in which they are not."""
        p = self.planted
        subject, record = p.word(), p.text()
        item = {"field": TEXT, "value": p.text(), "subject": subject, "record": record}
        made = self.call("POST", "encrypt", {"items": [item, {"field": TEXT, "value": p.text()}]})
        assert made.status == 200, made.body
        for change in (
            {"field": p.word()}, {"field": NAME}, {"value": p.text() * 9_000}, {"value": p.word() + "\0"},
            {"subject": p.word() + "\n"}, {"record": p.word() * 40}, {"record": p.text() + "\0"},
            {p.word(): p.text()}, {"value": [p.text()]},
        ):  # fmt: skip
            self.call("POST", "encrypt", {"items": [item | change]})
            self.call("POST", "encrypt", {"items": [item | change], "on_error": "report"})
        self.call("POST", "encrypt", {"items": [item], "on_error": p.word()})
        ciphertext = made.json()["items"][0]["ciphertext"]
        sealed = {"field": TEXT, "ciphertext": ciphertext, "subject": subject, "record": record}
        body = {"purpose": PURPOSE, "items": [sealed]}
        granted = self.call("POST", "grants", grant_body([TEXT], 100)).json()["credential"]
        assert self.call("POST", "decrypt", body, granted).status == 200
        changes: tuple[dict[str, Any], ...] = (
            {"record": p.text()}, {"record": None}, {"subject": p.word()}, {"field": p.word()},
            {"ciphertext": "ve1." + p.word()}, {"ciphertext": p.text()}, {"ciphertext": ciphertext[:-2]},
            {"ciphertext": ciphertext[:60] + "AAAA" + ciphertext[64:]}, {p.word(): 1},
        )  # fmt: skip
        for change in changes:
            self.call("POST", "decrypt", body | {"items": [sealed | change]}, granted)
            self.call("POST", "decrypt", body | {"items": [sealed | change], "on_error": "report"}, granted)
        for more in ({"purpose": p.word()}, {"operation": p.word()}, {"operation": "mask", "mask": p.word()}):
            self.call("POST", "decrypt", body | more, granted)

    def administer(self) -> None:
        """Tenants that are none, and lists asked for by what nobody is."""
        p = self.planted
        for name in (p.word(), p.text(), p.word() + "\0"):
            self.call("POST", "tenants", {"name": name}, key=self.admin)
            self.call("POST", "tenants", {"name": name})
        self.call("POST", "tenants", {p.word(): 1}, key=self.admin)
        for path in (
            f"keys/{p.word()}",
            f"keys?kind={p.word()}",
            f"principals/{p.word()}/keys",
            f"keys?state={p.ssn()}",
            f"tenants?cursor={p.word()}",
        ):
            self.call("GET", path, key=self.admin)

    def replace_keys(self) -> None:
        """Service keys that are none, and successors asked for by what nobody takes."""
        p = self.planted
        self.call("POST", f"keys/{p.word()}/replace", {}, key=self.admin)
        mine = self.call("GET", "whoami").json()["key"]
        for change in (
            {"overlap": p.word()}, {"expires": p.text()}, {"networks": [p.word()]}, {p.word(): p.ssn()},
            {"overlap": [p.word()]},
        ):  # fmt: skip
            self.call("POST", f"keys/{mine}/replace", change, key=self.admin)
        done = self.call("POST", f"keys/{mine}/replace", {"overlap": "P1D"}, key=self.admin)
        assert done.status == 201, done.body

    def sign_in(self) -> None:
        """An operator signs in, gets what it proves itself by, and does all of it wrongly."""
        p, new = self.planted, f"{self.planted.word()} walnut ferry"
        p.proofs |= {PASSWORD, new}
        right = {"name": "watcher", "password": PASSWORD}
        session = self.call("POST", "sessions", right, key="none").json()["credential"]
        device = Device(self.call("POST", "self/totp", key=session).json()["secret"])
        p.proofs |= {device.secret}
        step = int(time.time()) // STEP_S
        answer = {"rawId": p.word(), "response": {"clientDataJSON": p.word(), "userHandle": p.ssn()}}
        for path, body in (
            ("sessions", right | {"password": p.text()}),
            ("sessions", {"name": p.word(), "password": p.text(), "code": p.word()}),
            ("sessions", right | {p.word(): 1}),
            ("sessions/passkey", {"answer": answer}),
            ("sessions/step-up", {"code": p.word()}),
            ("sessions/step-up", {"answer": answer}),
            ("self/password", {"password": p.text(), "new_password": new}),
            ("self/password", {"password": PASSWORD, "new_password": p.word()[:9]}),
            ("self/totp/confirm", {"code": p.word()}),
            ("self/passkeys", {"answer": answer, "label": p.text() + "\0"}),
            *((path, {p.word(): p.text()}) for path in ("self/totp", "self/recovery-codes", *OPTIONS)),
        ):
            assert self.call("POST", path, body, key=session).status >= 400, path
        assert self.call("POST", "self/totp/confirm", {"code": device.at(step)}, key=session).status == 200
        codes = self.call("POST", "self/recovery-codes", key=session).json()["codes"]
        p.proofs |= set(codes)
        for path in OPTIONS:
            self.call("POST", path, {}, key=session)
        stepped = self.call("POST", "sessions/step-up", {"code": device.at(step + 1)}, key=session)
        assert stepped.status == 200, stepped.body
        self.approve(session)
        body = {"password": PASSWORD, "new_password": new}
        assert self.call("POST", "self/password", body, key=session).status == 200
        body = {"name": "watcher", "password": new, "code": codes[0]}
        assert self.call("POST", "sessions", body, key="none").status == 201
        self.call("POST", "sessions", body, key="none")

    def forget(self, session: str) -> None:
        """People who are erased, held and entered anew, with canaries in every text."""
        p = self.planted
        for path in ("erasures", "subjects/status", "subjects/reopen", "holds"):
            reasons = {"grounds": "objection"} if path == "erasures" else {"reason": p.reason()}
            forms: tuple[Any, ...] = (
                {"subject": p.text() + "\0"} | reasons, {"subject": p.word(), p.word(): 1}, [p.card()],
                {"subject": p.word(), "grounds": p.word(), "reason": p.text() + "\n"},
            )  # fmt: skip
            for body in forms:
                self.call("POST", path, body, key=self.admin)
        for body in ({"event": p.word(), "subject": p.word()}, {"event": p.text() + "\0"}, {"at": p.ssn()}):
            self.call("POST", "events", {"event": "closed", "subject": p.word()} | body, key=self.admin)
        self.call("GET", f"retention/calendar?until={p.word()}", key=self.admin)
        self.call("POST", "retention/run", {p.word(): p.card()}, key=self.admin)
        somebody = p.word()
        self.call("POST", "tokenize", {"field": NAME, "values": [p.text()], "subjects": [somebody]})
        held = self.call("POST", "holds", {"subject": somebody, "reason": p.reason()}, key=self.admin)
        assert held.status == 201, held.body
        for body in (
            {"subject": somebody}, {"subject": p.text() + "\0"}, {"subject": p.word(), p.word(): p.ssn()},
            {"subject": somebody, "from": p.card()}, {"subject": somebody, "cursor": p.ssn()},
        ):  # fmt: skip
            self.call("POST", "reports/disclosures", body, key=self.admin)
        for query in ("until", "cursor", "limit", p.word()):
            self.call("GET", f"reports/retention?{query}={p.word()}", key=self.admin)
        request = {"subject": somebody, "grounds": "objection", "request_ref": p.reason()}
        assert self.call("POST", "erasures", request, key=self.admin).status == 202
        self.call("POST", "subjects/status", {"subject": somebody}, key=self.admin)
        hold = f"holds/{held.json()['id']}"
        assert self.call("POST", "retention/run", {}, key=self.admin).status == 200
        for path, key in (
            ("confirm", session), ("release", self.admin), ("keep", session), ("release", self.admin),
            ("approve", session),
        ):  # fmt: skip
            for bad in ({"reason": ""}, {"reason": p.text() + "\n"}, {p.word(): p.card()}):
                assert self.call("POST", f"{hold}/{path}", bad, key=key).status >= 400, path
            taken = self.call("POST", f"{hold}/{path}", {"reason": p.reason()}, key=key)
            assert taken.status == 200, taken.body
        stranger = p.word()
        self.call("POST", "erasures", {"subject": stranger, "grounds": "objection"}, key=self.admin)
        again = {"subject": stranger, "reason": p.reason()}
        assert self.call("POST", "subjects/reopen", again, key=self.admin).status == 200

    def approve(self, session: str) -> None:
        """What waits for somebody, approved and denied, and broken glass, with canaries in every text."""
        p = self.planted
        self.forget(session)
        person = p.text()
        named = {"field": NAME, "values": [p.text()], "subjects": [person]}
        token = self.call("POST", "tokenize", named).json()["tokens"][0]
        needs = {"of": ["role:approver"], "when": {"op": "reveal"}}
        body = grant_body([NAME], 5) | {"reason": p.reason(), "on_behalf_of": p.reason()}
        held = self.call("POST", "grants", body | {"approval": needs}).json()["credential"]
        for bad in ({"of": [p.word()]}, {"ttl": p.word()}, {"when": {"fields": [p.word()]}}, {p.word(): 1}):
            self.call("POST", "grants", body | {"approval": needs | bad})
        item = {"field": NAME, "token": token, "subject": person}
        for verdict in ("deny", "approve"):
            asked = {"purpose": PURPOSE, "items": [item], "conversation": p.reason()}
            waiting = self.call("POST", "detokenize", asked, key=held)
            assert waiting.code == "approval_required", waiting.body
            path = f"approvals/{waiting.json()['approval']['id']}"
            seen = self.call("GET", path, key=session).json()
            for wrong in (
                {"digest": p.word()},
                {"digest": seen["digest"], "reason": p.word() * 60},
                {p.word(): 1},
            ):
                assert self.call("POST", f"{path}/{verdict}", wrong, key=session).status >= 400
            right = {"digest": seen["digest"], "reason": p.reason()}
            assert self.call("POST", f"{path}/{verdict}", right, key=session).status == 200
            self.call("POST", "detokenize", asked, key=held)
        review_by = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        glass = body | {"review_by": review_by}
        worse: tuple[dict[str, Any], ...] = (
            {"review_by": p.word()}, {"reason": p.word() * 60}, {"valid": {"until": p.word()}}
        )  # fmt: skip
        for change in worse:
            assert self.call("POST", "break-glass", glass | change, key=session).status >= 400
        made = self.call("POST", "break-glass", glass, key=session)
        assert made.status == 201, made.body
        path = f"break-glass/{made.json()['id']}/review"
        other = signed_in(self.service, "reviewer")
        for wrong in ({"verdict": p.word()}, {"verdict": "justified", "note": p.word() * 60}):
            assert self.call("POST", path, wrong, key=other).status >= 400
        right = {"verdict": "justified", "note": p.reason()}
        assert self.call("POST", path, right, key=session).code == "self_approval"
        assert self.call("POST", path, right, key=other).status == 200

    def turn_keys(self) -> None:
        """Field keys turned over with reasons, tokens rekeyed, and all that is refused of both."""
        p = self.planted
        rows = self.call("GET", "keys?kind=ff1&limit=500", key=self.admin).json()["items"]
        key = next(row["id"] for row in rows if row.get("field") == SSN)
        made = self.call("POST", "tokenize", {"field": SSN, "values": [p.ssn()]}).json()
        p.tokens.update(made["tokens"])
        for change in ({"reason": p.word() * 60}, {p.word(): 1}, {"reason": [p.word()]}):
            for verb in ("rotate", "compromise"):
                self.call("POST", f"keys/{key}/{verb}", change, key=self.admin)
        assert self.call("POST", f"keys/{key}/rotate", {"reason": p.reason()}, key=self.admin).status == 200
        body = {"field": SSN, "tokens": made["tokens"], "from_version": 1}
        again = self.call("POST", "rekey", body)
        assert again.status == 200, again.body
        p.tokens.update(again.json()["tokens"])
        for more in (
            {"tokens": [p.text(), p.card(), p.ssn() + "1"]}, {"field": p.word()}, {"from_version": 99},
            {"on_error": p.word()}, {p.word(): p.ssn()}, {"from_version": p.word()},
        ):  # fmt: skip
            self.call("POST", "rekey", body | more)
        for word in ({"by": p.word() * 60, "statement": p.word()}, {"by": p.word()}, {p.word(): p.text()}):
            self.call("POST", f"keys/{key}/destroy", {"attestation": word}, key=self.admin)
        assert (
            self.call("POST", f"keys/{key}/compromise", {"reason": p.reason()}, key=self.admin).status == 200
        )
        for change in ({"replays": p.word()}, {p.word(): 1}, {"replays": [p.text()]}):
            for path in ("epochs/turn", f"jobs/{UNKNOWN_JOB}/cancel", f"jobs/{UNKNOWN_JOB}/resume"):
                self.call("POST", path, change, key=self.admin)
        for asked in ({"subject": p.word()}, {"subject": p.text() + "\0"}, {p.word(): p.ssn()}, [p.card()]):
            self.call("POST", "directory/lookup", asked, key=self.admin)
        wanted = {"subject": p.word(), "to": "us", "legal_basis": "contract", "fields": [NAME]}
        for more in (
            {}, {"to": p.word()}, {"legal_basis": p.word()}, {"fields": [p.word()]}, {"mode": p.word()},
            {p.word(): p.ssn()}, {"subject": p.text() + "\n"}, {"subject": [p.card()]},
        ):  # fmt: skip
            self.call("POST", "transfers", wanted | more, key=self.admin)
        batch = {"source": "us", "transfer": p.word(), "number": 1}
        self.call("POST", "arrivals", batch | {"enc_ct": p.ssn()}, key=self.admin)
        word = {"by": p.reason(), "statement": p.reason()}
        done = self.call("POST", f"keys/{key}/destroy", {"attestation": word}, key=self.admin)
        assert done.status == 200, done.body

    def fail_to_tokenize(self) -> None:
        """Requests of which every one holds canaries and none is taken."""
        p = self.planted
        good = {"field": SSN, "values": [p.ssn()]}
        documents: list[Any] = [
            {"field": SSN, "values": [p.ssn(), p.ssn() + "1", p.text(), p.card()]},
            {"field": PAN, "values": [p.card(), p.card()[:-1] + "x", p.ssn()]},
            {"field": NAME, "values": [p.text(), p.text() + "\0", p.word() * 40]},
            {"field": NAME, "values": [p.text()], "subjects": [p.word() + "\n"]},
            {"field": NAME, "values": [p.text()], "subjects": [p.word(), p.word()]},
            {"field": SSN, "values": [p.ssn()], "subjects": [p.word()]},
            {"field": p.word(), "values": [p.ssn()]},
            {"items": [{"field": NAME, "value": p.text()}, {"field": p.word(), "value": p.ssn()}]},
            {**good, p.word(): p.text()},
            {"items": [{"field": NAME, "value": {p.word(): p.ssn()}}]},
            {"field": [p.word()], "values": p.text()},
            [p.ssn()],
            p.text(),
        ]  # fmt: skip
        raw = json.dumps(good).encode()
        bodies = [json.dumps(document).encode() for document in documents]
        bodies += [
            raw + p.word().encode(), raw[:-1], p.text().encode(), b'{"' + p.word().encode() + b"\xff",
            b'{"field":"' + p.word().encode() + b'","field":"' + p.word().encode() + b'"}',
            b'"' + p.word().encode() * 500_000 + b'"',
        ]  # fmt: skip
        for body in bodies:
            self.call("POST", "tokenize", body)
            self.call("POST", "tokenize/check", body)
            self.call("POST", "tokenize", body, key=UNKNOWN + "a" * 43)
            self.call("POST", "detokenize", body)
        for name in ("text/plain", p.word()):
            headers = {"authorization": f"Bearer {self.creator}", "content-type": name}
            self.keep(self.service.request("POST", "/v1/eu/tokenize", raw, headers))

    def fail_at_the_door(self) -> None:
        """Paths, queries and headers with canaries."""
        p = self.planted
        paths = (
            p.word(), f"grants/{p.word()}", f"fields/{p.ssn()}", f"grants?agent={p.word()}&x={p.ssn()}",
            f"grants?cursor={p.word()}", f"audit?kind={p.word()}", f"principals/{p.word()}/keys",
        )  # fmt: skip
        for path in paths:
            for method in ("GET", "DELETE", "POST"):
                self.call(method, path, {} if method == "POST" else None, key=self.admin)
        for region in (p.word(), "mars"):
            self.keep(self.service.get(f"/v1/{region}/{p.word()}?{p.ssn()}"))
        self.keep(
            self.service.get(f"/{p.word()}?a={p.card()}", {"cookie": p.word(), "x-request-id": p.word()})
        )
        for value in (
            p.word(),
            f"Bearer {p.word()}",
            f"Basic {p.word()}",
            UNKNOWN + p.word().ljust(43, "a")[:43],
        ):
            self.keep(self.service.get("/v1/eu/whoami", {"authorization": value}))
        for line in (
            f"{p.word()} / HTTP/1.1",
            f"GET /{p.word()}\0 HTTP/1.1",
            f"GET / HTTP/1.1\r\n{p.word()}",
        ):
            answer = self.service.raw(f"{line}\r\n\r\n".encode())
            assert answer is not None
            self.keep(answer)

    def grant(self, uses: int = 50, subjects: list[str] | None = None) -> str:
        """The credential of a grant over names."""
        p = self.planted
        body = grant_body([NAME], uses, subjects) | {"reason": p.reason(), "on_behalf_of": p.reason()}
        return str(self.call("POST", "grants", body).json()["credential"])

    def fail_to_grant(self) -> None:
        """Grants, revocations, principals and schemas that hold canaries."""
        p = self.planted
        body = grant_body([NAME], 1)
        changes: tuple[dict[str, Any], ...] = (
            {"agent": p.word()}, {"purpose": p.word()},
            {"reason": p.word() * 60}, {"reason": p.word() + "\0"}, {"on_behalf_of": p.text() + "\n"},
            {"scope": [{**body["scope"][0], "fields": [p.word()]}]},
            {"scope": [{**body["scope"][0], "mask": p.word()}]}, {"subjects": {"in": [p.word() + "\0"]}},
            {"subjects": {"in": [p.word()]}, "limits": {"uses": 10**9}}, {"valid": {"until": p.word()}},
            {"limits": {"uses": p.word()}}, {p.word(): 1},
        )  # fmt: skip
        for change in changes:
            self.call("POST", "grants", body | change)
        made = self.call("POST", "grants", body | {"subjects": {"in": [p.word(), p.text()]}}).json()
        self.call("POST", f"grants/{made['id']}/revoke", {"reason": p.reason()})
        self.call("POST", f"grants/{made['id']}/revoke", {"reason": p.word() * 60})
        self.stop_grants(body)
        changes = (
            {"name": p.text()}, {"kind": p.word()}, {"roles": [p.word()]}, {"permissions": [p.text()]},
            {"ceiling": {"ttl": p.word()}}, {"ceiling": {"subjects": [p.word() + "\0"]}},
        )  # fmt: skip
        for change in changes:
            self.call("POST", "principals", {"kind": "service", "name": "x"} | change, key=self.admin)
        limits = {"subjects": [p.word(), p.text()], "fields": [NAME], "uses": 5}
        bound, key = add_principal(self.service, "bound", ceiling=limits)
        self.planted.credentials.add(key)
        changes = ({"expires": p.word()}, {"networks": [p.word()]})
        for change in changes:
            self.call("POST", f"principals/{bound}/keys", change, key=self.admin)
        clients = f"principals/{bound}/clients"
        self.call("POST", clients, {"thumbprint": "A" * 43}, key=self.admin)
        for wrong in ("certificate", "certificate_name", "thumbprint", "expires"):
            self.call("POST", clients, {"thumbprint": "B" * 43, wrong: p.word()}, key=self.admin)
        for toml in (
            p.text(),
            f'[fields."{p.word()}"]\ntemplate = "{p.word()}"',
            f"[purposes.a]\n{p.word()} = 1",
        ):
            self.call("POST", "schema/plan", {"toml": toml}, key=self.admin)
        self.call("POST", "schema/apply", {"toml": "", "digest": p.word()}, key=self.admin)

    def stop_grants(self, body: dict[str, Any]) -> None:
        """Grants narrowed, suspended and stopped, and asked about, with canaries in every text."""
        p = self.planted
        bind = {"conversation": p.reason(), "task": p.reason()}
        path = "grants/" + self.call("POST", "grants", body | {"bind": bind}).json()["id"]
        for bad in ({"conversation": p.word() + "\0"}, {"networks": [p.word()]}, {"cnf": {"jkt": p.word()}}):
            self.call("POST", "grants", body | {"bind": bad})
        self.call("PATCH", path, {"version": 1, "uses": 1, "reason": p.reason()})
        for change in (
            {"conversation": p.word()},
            {"networks": [p.word()]},
            {"until": p.word()},
            {p.word(): 1},
        ):
            self.call("PATCH", path, {"version": 2, **change})
        for verb in ("suspend", "resume"):
            self.call("POST", f"{path}/{verb}", {"reason": p.reason()}, key=self.admin)
            self.call("POST", f"{path}/{verb}", {"reason": p.word() * 60}, key=self.admin)
        self.call("POST", f"{path}/blocks/{'A' * 43}/revoke", {"reason": p.reason()})
        self.call("POST", f"{path}/blocks/{p.word()}/revoke", {"reason": p.word() * 60})
        asked = {"grant": path.rpartition("/")[2], "purpose": PURPOSE, "fields": [NAME]}
        self.call(
            "POST", "grants/simulate", asked | {"fields": [p.word()], "source": p.word()}, key=self.admin
        )
        self.call("POST", "grants/simulate", asked | {"operation": p.word()}, key=self.admin)
        self.call("POST", "kill", {"conversation": p.reason(), "reason": p.reason()}, key=self.admin)
        self.call("POST", "kill", {"agent": p.word() + "\0"}, key=self.admin)
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": p.word()}
        agent = {"kind": "agent", "name": f"holder{time.monotonic_ns()}"}
        made = self.call("POST", "principals", agent, key=self.admin)
        of = f"agents/{made.json()['id']}/keys"
        self.call("POST", of, new_holder() | {"label": p.reason()}, key=self.admin)
        self.call("POST", of, {"key": jwk, "label": p.reason()}, key=self.admin)
        self.call("POST", of, {"key": {**jwk, "d": p.word()}, "replaces": p.word()}, key=self.admin)
        self.call("DELETE", f"{of}/{p.word()}", key=self.admin)
        self.oversee()

    def oversee(self) -> None:
        """Rules and reviews with canaries in every text; none of the rules is put in force."""
        p = self.planted
        for text in (f'@id("{p.word()}") permit (principal, action, resource);', p.text(), "\0" + p.word()):
            self.call("POST", "policy/plan", {"text": text}, key=self.admin)
            self.call("PUT", "policy", {"text": text, "digest": p.word()}, key=self.admin)
            self.call("POST", "policy/explain", {"decision": p.word()}, key=self.admin)
        case = {"principal": AGENT, "action": "reveal", "field": NAME}
        for change in ({}, {"field": p.word()}, {"principal": p.word()}, {"context": {"mask": p.text()}}):
            self.call("POST", "policy/test", {"cases": [case | change]}, key=self.admin)
            self.call("POST", "policy/explain", {"case": case | change}, key=self.admin)
        for path in ("policy/plan", "policy/test", "policy/explain", "reviews"):
            self.call("POST", path, {p.word(): 1}, key=self.admin)
        taken = '@id("all") permit (principal, action, resource);'
        digest = self.call("POST", "policy/plan", {"text": taken}, key=self.admin).json()["digest"]
        self.call("PUT", "policy", {"text": taken, "digest": digest}, key=self.admin)
        body = {"kind": "operator", "name": "r", "roles": ["reviewer"]}
        made = self.call("POST", "principals", body, key=self.admin)
        if made.status == 201:  # else another round made it
            self.review(str(made.json()["id"]))

    def review(self, reviewer: str) -> None:
        """A review that is begun and decided, with canaries in its texts."""
        p = self.planted
        made = self.call("POST", f"principals/{reviewer}/keys", {}, key=self.admin).json()
        key = str(made["credential"])
        p.credentials.add(key)
        due = format_time(SystemClock().now() + 30 * DAY)
        asked = {"due": due, "reviewer": "operator:r", "scope": {"kinds": ["ceiling"]}}
        scope = {"kinds": ["role"], "principals": [f"operator:{p.word()}"]}
        for more in ({"scope": scope}, {"reviewer": p.word()}, {"due": p.word()}):
            self.call("POST", "reviews", {**asked, **more}, key=self.admin)
        review = self.call("POST", "reviews", asked, key=self.admin).json()["id"]
        path = f"reviews/{review}/items/1"
        self.call("POST", path, {"decision": p.word(), "reason": p.reason()}, key=key)
        self.call("POST", path, {"decision": "confirm", "reason": p.reason()}, key=key)
        self.call("GET", f"reviews/{review}", key=key)

    def verify(self) -> None:
        """Candidates that are right, wrong and none, and tokens that are none."""
        p = self.planted
        value = p.ssn()
        token = self.call("POST", "tokenize", {"field": SSN, "values": [value]}).json()["tokens"][0]
        scope = [{"fields": [SSN], "operations": ["verify"], "delivery": []}]
        granted = self.call("POST", "grants", grant_body([SSN], 50) | {"scope": scope}).json()["credential"]
        asked = {"purpose": PURPOSE, "field": SSN, "token": token, "candidate": value, "key_version": 1}
        for change in (
            {}, {"candidate": p.text()}, {"candidate": p.ssn()}, {"token": p.word()}, {"field": p.word()},
            {"purpose": p.word()}, {"conversation": p.word() + "\0"}, {p.word(): 1},
        ):  # fmt: skip
            self.call("POST", "verify", asked | change, granted)

    def detokenize(self, tokens: list[tuple[str, str]]) -> None:
        """Uses of grants, allowed and refused."""
        p = self.planted
        credential, narrow = self.grant(), self.grant(3, [p.word()])
        items = [{"field": field, "token": token} for field, token in tokens]
        body = {"purpose": PURPOSE, "items": items}
        for key in (credential, narrow):
            self.call("POST", "detokenize", body, key)
            self.call("POST", "detokenize", body | {"operation": "mask", "mask": "initial"}, key)
            for change in (
                {"purpose": p.word()}, {"mask": p.word(), "operation": "mask"}, {"operation": p.word()},
                {"delivery": p.word()}, {"items": [{"field": p.word(), "token": p.word()}]},
                {"items": [{"field": NAME, "token": p.word(), "subject": p.word()}, *items[:1]]},
                {"items": [{"field": SSN, "token": p.ssn(), "key_version": 1}]},
            ):  # fmt: skip
                self.call("POST", "detokenize", body | change, key)

    def break_a_claim(self, token: tuple[str, str]) -> None:
        """What is stored no longer opens."""
        with closing(sqlite3.connect(self.service.folder / "eu.db")) as database:
            database.execute("UPDATE va_claims SET sealed = randomblob(length(sealed))")
            database.commit()
        body = {"purpose": PURPOSE, "items": [{"field": token[0], "token": token[1]}]}
        self.call("POST", "detokenize", body, self.grant())

    @contextmanager
    def another_writer(self) -> Iterator[None]:
        """Somebody else holds the database's write lock."""
        with closing(sqlite3.connect(self.service.folder / "eu.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def a_full_disk(self) -> Iterator[None]:
        """The service can make no file longer than its database's log is."""
        size = (self.service.folder / "eu.db-wal").stat().st_size
        prlimit(self.service.pid, RLIMIT_FSIZE, (size, RLIM_INFINITY))
        try:
            yield
        finally:
            prlimit(self.service.pid, RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))

    def fail_to_write(self) -> None:
        """Requests that the database has no room or no time for."""
        p = self.planted
        for trouble in (self.a_full_disk, self.another_writer):
            with trouble():
                body = {"field": NAME, "values": [p.text() for _ in range(300)], "subjects": [p.word()] * 300}
                self.call("POST", "tokenize", body)
                self.call("POST", "grants", grant_body([NAME], 1, [p.word()]) | {"reason": p.reason()})

    def fail_to_start(self, folder: Path) -> None:
        """Cells without what they need, in copies of the deployment."""
        p = self.planted
        garbage = p.word().encode()
        damages: list[tuple[str, bytes | None]] = [
            ("keys/eu/development.key", None), ("keys/eu/development.key", b""),
            ("keys/eu/development.key", garbage), ("keys/eu/root-000001", None),
            ("keys/eu/root-000001", garbage), ("keys/eu/half-000001", None),
            ("keys/eu/half-000001", garbage), ("eu.db", garbage),
        ]  # fmt: skip
        text = (self.service.folder / "coatcheck.toml").read_text(encoding="utf-8")
        for line in (
            f'passphrase = "{p.word()}"',
            f'database = "postgresql://u:{p.word()}@h/d"',
            f"passphrase_file = {p.word()}",
            f'unknown = "{p.word()}"',
        ):
            damages.append(("coatcheck.toml", text.replace("key_file", f"{line}\nkey_file").encode()))
        for number, (name, content) in enumerate(damages):
            copy = folder / str(number)
            shutil.copytree(self.service.folder, copy)
            (copy / name).unlink()
            if content is not None:
                (copy / name).write_bytes(content)
                (copy / name).chmod(0o600)
            self.command("schema", "show", "--config", copy, "--region", "eu")

    def command(self, *arguments: str | Path, given: str = "", **settings: str) -> None:
        """A command that fails; what it printed is kept."""
        done = coatcheck_here(*arguments, given=given, more=settings)
        assert done.returncode not in (0, 70), (arguments, done.stderr)
        self.refused.append((done.stdout + done.stderr).encode())

    def fail_on_the_command_line(self) -> None:
        """Canaries on standard input, as arguments and in variables."""
        p = self.planted
        reach = {"COATCHECK_URL": self.service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": self.creator}
        wrong = reach | {"COATCHECK_KEY": UNKNOWN + p.word().ljust(43, "a")[:43]}
        self.command("tokenize", SSN, given=f"{p.ssn()}\n{p.text()}\n", **reach)
        self.command("tokenize", SSN, "--json", given=f"{p.ssn()}\n{p.text()}\n", **reach)
        self.command("tokenize", SSN, given=p.ssn(), **wrong)
        self.command("tokenize", SSN, p.ssn(), **reach)
        self.command("tokenize", SSN, "--", p.text(), p.card(), **reach)
        self.command("tokenize", SSN, f"--{p.word()}", **reach)
        self.command("detokenize", NAME, p.word(), "--purpose", PURPOSE, **reach)
        self.command("detokenize", NAME, "--purpose", p.word(), given=p.word(), **reach)
        self.command("detokenize", NAME, "--purpose", PURPOSE, "--key-version", p.ssn(), **reach)
        self.command("principal", "create", p.word(), p.word(), **reach)
        self.command("principal", "create", "service", "x", "--ceiling", '{"' + p.word(), **reach)
        self.command(p.word(), p.ssn())
        grant = ("grant", "create", "--agent", AGENT, "--field", NAME, "--purpose", PURPOSE)
        self.command(*grant, "--reason", p.word() * 60, "--subject", p.word(), **reach)
        self.command(*grant, "--until", p.word(), **reach)
        self.command(*grant, "--key", p.word(), COATCHECK_URL=self.service.url, COATCHECK_REGION="eu")
        self.command("whoami", COATCHECK_KEY=p.word())

    def pages(self) -> dict[str, bytes]:
        """The pages that anybody may read."""
        return {
            name: self.service.get(f"/{name}").body for name in ("metrics", "openapi.json", "docs", "readyz")
        }

    def audit(self) -> list[dict[str, Any]]:
        """The whole log, as an auditor reads it."""
        found: list[dict[str, Any]] = []
        following: str | None = ""
        while following is not None:
            page = self.service.call("GET", f"audit?limit=500{following}", key=self.admin).json()
            found += page["items"]
            following = page["next"] and f"&cursor={page['next']}"
        return found
