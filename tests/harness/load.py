"""Clients that keep the service busy until it is killed, and journal what it acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Callable
from typing import Any, Final

from tests.harness.journal import Given, Held, Journal, Once, Sealed
from tests.harness.roomy import EMAIL, HANDLE, NAME, NOTE, PURPOSE, SSN, TEXT, grant_body

VAULTLESS: Final = (SSN,)
VAULTED: Final = (NAME, NOTE)
SHARED: Final = (EMAIL, HANDLE)
SUBJECTS: Final = tuple(f"person-{number}" for number in range(16))
TIMEOUT_S: Final = 60.0
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzåäößžğ王小明 -'"


class Gone(Exception):
    """The service went away before it answered: nothing was acknowledged."""


class Api:
    """One client's connection to one region, with one credential unless told otherwise."""

    def __init__(self, port: int, credential: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self._credential = credential

    def call(
        self, method: str, path: str, body: Any = None, by: str | None = None, once: str | None = None
    ) -> tuple[int, Any]:
        """Status and document of an answer that arrived whole.

        Args:
            once: the request's Idempotency-Key.

        Raises:
            Gone: it did not.
        """
        headers = {
            "authorization": f"Bearer {by or self._credential}",
            "content-type": "application/json",
        }
        if once is not None:
            headers["idempotency-key"] = once
        content = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, f"/v1/eu/{path}", content, headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            raise Gone from None

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


def ssn(rng: random.Random) -> str:
    """A social security number that its template takes."""
    return f"{rng.randint(1, 665):03}-{rng.randint(1, 99):02}-{rng.randint(1, 9999):04}"


def text(rng: random.Random) -> str:
    """A name or a note."""
    return "".join(rng.choices(_LETTERS, k=rng.randint(1, 60))).strip() or "x"


class Worker:
    """One client: does this and that at random until the service is gone or the round is over."""

    def __init__(self, api: Api, admin: str, owner: str, journal: Journal, round_: int, seed: str) -> None:
        self._api = api
        self._admin = admin
        self._owner = owner  # the principal that further keys are made for
        self._journal = journal
        self._round = round_
        self._rng = random.Random(seed)

    def run(self, stop: threading.Event) -> None:
        """Works until told to stop, or until nobody answers."""
        doings: list[tuple[Callable[[], None], int]] = [
            (self._vaultless, 26),
            (self._vaulted, 26),
            (self._for_people, 20),
            (self._shared, 14),
            (self._encrypt, 8),
            (self._grant, 9),
            (self._grant_once, 3),
            (self._reveal, 20),
            (self._revoke, 4),
            (self._key, 2),
        ]
        names, weights = zip(*doings, strict=True)
        try:
            while not stop.is_set():
                self._rng.choices(names, weights)[0]()
        except Gone:
            pass
        finally:
            self._api.close()

    def _vaultless(self) -> None:
        values = [ssn(self._rng) for _ in range(self._rng.randint(1, 12))]
        status, answer = self._api.call("POST", "tokenize", {"field": SSN, "values": values})
        if self._expected(status, answer, "tokenize", 200):
            version = answer["key_version"]
            self._tokens(SSN, answer, values, [None] * len(values), version)

    def _vaulted(self) -> None:
        field = self._rng.choice(VAULTED)
        values = [text(self._rng) for _ in range(self._rng.randint(1, 6))]
        status, answer = self._api.call("POST", "tokenize", {"field": field, "values": values})
        if self._expected(status, answer, "tokenize", 200):
            self._tokens(field, answer, values, [None] * len(values), None)

    def _for_people(self) -> None:
        field = self._rng.choice(VAULTED)
        values = [text(self._rng) for _ in range(self._rng.randint(1, 6))]
        people = [self._rng.choice((*SUBJECTS, self._new_person(), None)) for _ in values]
        body = {"field": field, "values": values, "subjects": people}
        status, answer = self._api.call("POST", "tokenize", body)
        if self._expected(status, answer, "tokenize", 200):
            self._tokens(field, answer, values, people, None)

    def _shared(self) -> None:
        """The same few values over and over, for many people: each has one token."""
        field = self._rng.choice(SHARED)
        number = self._rng.randrange(12)
        values = [f"user{number}@example.org", f"new{self._rng.randrange(10**6)}@example.org"]
        people: list[str | None] = [self._rng.choice((*SUBJECTS, self._new_person())) for _ in values]
        body = {"field": field, "values": values, "subjects": people}
        status, answer = self._api.call("POST", "tokenize", body)
        if self._expected(status, answer, "tokenize", 200):
            for value, token in zip(values, answer["tokens"], strict=True):
                self._journal.note_shared(field, value, token)
            self._tokens(field, answer, values, people, None)

    def _encrypt(self) -> None:
        value, record = text(self._rng), f"row {self._rng.randrange(10**6)}"
        person = self._rng.choice((*SUBJECTS, None))
        item = {"field": TEXT, "value": value, "record": record}
        item |= {} if person is None else {"subject": person}
        status, answer = self._api.call("POST", "encrypt", {"items": [item]})
        if self._expected(status, answer, "encrypt", 200):
            self._journal.note_sealed(Sealed(TEXT, answer["items"][0]["ciphertext"], value, person, record))
            self._journal.note(answer["decision"])

    def _grant_once(self) -> None:
        """A grant with an Idempotency-Key: noted before it is asked for, and asked for twice at times."""
        key = f"once-{self._round}-{self._rng.randrange(10**12)}"
        one = Once(key, grant_body([*VAULTED], 3) | {"reason": key})
        with self._journal.lock:
            self._journal.once.append(one)
        for _ in range(self._rng.choice((1, 2))):
            status, answer = self._api.call("POST", "grants", one.body, once=key)
            if self._expected(status, answer, "grants", 201):
                if one.id not in (None, answer["id"]):
                    self._journal.complain("a request was done twice under one key")
                one.id = answer["id"]

    def _new_person(self) -> str:
        """Somebody not seen before this round, mostly."""
        return f"round-{self._round}-{self._rng.randrange(200)}"

    def _tokens(
        self,
        field: str,
        answer: Any,
        values: list[str],
        people: list[str | None],
        version: int | None,
    ) -> None:
        columns = zip(answer["tokens"], values, people, strict=True)
        held = [Held(field, *column, version, self._round) for column in columns]
        self._journal.note(answer["decision"], held)

    def _grant(self) -> None:
        uses = self._rng.randint(1, 25)
        subject = self._rng.choice((*SUBJECTS, *[None] * len(SUBJECTS)))
        fields = [*VAULTED, *SHARED, *([] if subject else VAULTLESS)]
        status, answer = self._api.call(
            "POST", "grants", grant_body(fields, uses, [subject] if subject else None)
        )
        if self._expected(status, answer, "grants", 201):
            given = Given(answer["id"], answer["credential"], uses, subject, self._round)
            self._journal.note_grant(given, answer["decision"])

    def _reveal(self) -> None:
        grant = self._some_grant()
        tokens = self._some_tokens(grant)
        if grant is None or not tokens:
            return
        was_revoked = grant.revoked
        items: list[dict[str, Any]] = [
            {"field": held.field, "token": held.token}
            | ({"key_version": held.key_version} if held.key_version else {})
            for held in tokens
        ]
        missing = self._rng.random() < 0.1
        if missing:
            items.append({"field": NAME, "token": "tok_" + "a" * 26})
        body = {"purpose": PURPOSE, "items": items}
        status, answer = self._api.call("POST", "detokenize", body, by=grant.credential)
        if status != 200:
            allowed = {"budget_exhausted", "grant_invalid"} | ({"token_unknown"} if missing else set())
            if answer.get("code") not in allowed:
                self._journal.complain(f"detokenize: {status} {answer.get('code')}")
            self._journal.note(answer.get("decision"))
            return
        self._journal.note_values(grant, len(items), was_revoked=was_revoked)
        self._journal.note(answer["decision"])
        if missing or [item["value"] for item in answer["items"]] != [held.value for held in tokens]:
            self._journal.complain(f"detokenize: another value, decision {answer['decision']}")

    def _revoke(self) -> None:
        grant = self._some_grant()
        if grant is not None:
            status, answer = self._api.call("POST", f"grants/{grant.id}/revoke", {"reason": "harness"})
            if self._expected(status, answer, "revoke", 200):
                self._journal.note_revocation(grant)

    def _key(self) -> None:
        status, answer = self._api.call("POST", f"principals/{self._owner}/keys", {}, by=self._admin)
        if self._expected(status, answer, "keys", 201):
            self._journal.note_key(answer["id"], answer["credential"])

    def _some_grant(self) -> Given | None:
        """Mostly a recent one; revoked ones too, which must stay revoked."""
        with self._journal.lock:
            grants = list(self._journal.grants.values())
        if self._rng.random() < 0.8:
            grants = grants[-20:]
        return self._rng.choice(grants) if grants else None

    def _some_tokens(self, grant: Given | None) -> list[Held]:
        """Tokens inside a grant's scope."""
        if grant is None:
            return []
        with self._journal.lock:
            count = len(self._journal.tokens)
            near = self._rng.randrange(count) if count else 0
            window = self._journal.tokens[near : near + 60]
        fitting = [held for held in window if grant.subject in (None, held.subject)]
        return self._rng.sample(fitting, min(len(fitting), self._rng.randint(1, 4)))

    def _expected(self, status: int, answer: Any, what: str, wanted: int) -> bool:
        if status != wanted:
            code = answer.get("code") if isinstance(answer, dict) else None
            self._journal.complain(f"{what}: {status} {code}")
        return status == wanted
