"""What must hold after every kill: asked of the service over HTTP, and read in its database."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.harness.journal import Given, Held, Journal, Once, Sealed
from tests.harness.load import SHARED, VAULTED, VAULTLESS, Api
from tests.harness.roomy import PURPOSE, grant_body

BATCH: Final = 5_000
SAMPLE: Final = 25  # of the grants of earlier rounds


def rows(database: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a cell's database, read beside the service."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(statement).fetchall()


def lost_tokens(api: Api, tokens: list[Held]) -> list[str]:
    """Acknowledged tokens that do not open to exactly their value under a fresh grant."""
    lost = []
    for subject, held in _by(tokens, lambda one: one.subject).items():
        people = None if subject is None else [subject]
        fields = [*VAULTED, *SHARED] if subject else [*VAULTED, *VAULTLESS]
        for (field, version), same in _by(held, lambda one: (one.field, one.key_version)).items():
            for start in range(0, len(same), BATCH):
                part = same[start : start + BATCH]
                status, grant = api.call("POST", "grants", grant_body(fields, len(part), people))
                if status != 201:
                    lost += [f"no grant: {grant.get('code')}"] * len(part)
                    continue
                body = {"purpose": PURPOSE, "field": field, "tokens": [one.token for one in part]}
                body |= {"key_version": version} if version else {}
                status, answer = api.call("POST", "detokenize", body, by=grant["credential"])
                if status != 200:
                    bad = answer.get("errors") or [{"code": answer.get("code")}] * len(part)
                    lost += [f"{field}: {one['code']}" for one in bad]
                    continue
                opened = zip(part, answer["values"], strict=True)
                lost += [f"{field}: another value" for one, value in opened if value != one.value]
    return lost


def lost_ciphertexts(api: Api, sealed: list[Sealed]) -> list[str]:
    """Acknowledged ciphertexts that do not open to exactly their value under a fresh grant."""
    if not sealed:
        return []
    status, grant = api.call("POST", "grants", grant_body([sealed[0].field], len(sealed)))
    if status != 201:
        return [f"no grant: {grant.get('code')}"]
    items = [{"field": one.field, "ciphertext": one.ciphertext, "record": one.record} for one in sealed]
    status, answer = api.call("POST", "decrypt", {"purpose": PURPOSE, "items": items}, by=grant["credential"])
    if status != 200:
        return [f"decrypt: {status} {answer.get('code')}"]
    opened = zip(sealed, answer["items"], strict=True)
    return ["decrypt: another value" for one, item in opened if item["value"] != one.value]


def answered_twice(api: Api, once: list[Once]) -> list[str]:
    """Requests under an Idempotency-Key that do not answer alike. What was not done yet is done now."""
    found = []
    for one in once:
        ids = {one.id} - {None}
        for _ in range(2):
            status, answer = api.call("POST", "grants", one.body, once=one.key)
            ids.add(answer["id"] if status == 201 else f"{status} {answer.get('code')}")
        if len(ids) > 1:
            found.append(f"one key, several answers: {sorted(map(str, ids))}")
        one.id = ids.pop()
    return found


def done_twice(database: Path, once: list[Once]) -> list[str]:
    """Those of them that were not done once.

    Args:
        database: as it is after they were asked again.
    """
    made: dict[str, int] = dict(rows(database, "SELECT reason, count(*) FROM re_grants GROUP BY reason"))
    return [f"done {made.get(one.key, 0)} times" for one in once if made.get(one.key) != 1]


def lost_access(api: Api, journal: Journal, round_: int, rng: random.Random) -> list[str]:
    """Credentials that no longer work, and revocations that no longer hold."""
    lost = [
        f"service key: {status}"
        for _, credential in journal.keys
        if (status := api.call("GET", "whoami", by=credential)[0]) != 200
    ]
    for grant in _recent(journal, round_, rng):
        if grant.revoked:
            body = {"purpose": PURPOSE, "field": VAULTED[0], "tokens": ["tok_" + "a" * 26]}
            status, answer = api.call("POST", "detokenize", body, by=grant.credential)
            if (status, answer.get("code")) != (401, "grant_invalid"):
                lost.append(f"revoked grant: {status} {answer.get('code')}")
        else:
            status, answer = api.call("GET", f"grants/{grant.id}", by=grant.credential)
            if status != 200 or answer["id"] != grant.id:
                lost.append(f"grant's credential: {status}")
    return lost


def _recent(journal: Journal, round_: int, rng: random.Random) -> list[Given]:
    grants = list(journal.grants.values())
    now = [grant for grant in grants if grant.round == round_]
    before = [grant for grant in grants if grant.round != round_]
    return now + rng.sample(before, min(SAMPLE, len(before)))


def events(database: Path) -> list[dict[str, Any]]:
    """All events, decoded, in order."""
    return [json.loads(body) for (body,) in rows(database, "SELECT body FROM re_audit ORDER BY number")]


def gaps(database: Path, journal: Journal, log: list[dict[str, Any]]) -> list[str]:
    """Numbers that the log lacks, and acknowledged decisions that are not in it."""
    numbers = [number for (number,) in rows(database, "SELECT number FROM re_audit ORDER BY number")]
    found = [f"gap before {number}" for index, number in enumerate(numbers) if number != index][:5]
    [(following,)] = rows(database, "SELECT next FROM re_head")
    if following != len(numbers):
        found.append(f"head says {following} events, there are {len(numbers)}")
    missing = journal.decisions - {event.get("decision") for event in log}
    return found + [f"{decision} is not in the log" for decision in sorted(missing)]


def overcharged(database: Path, journal: Journal, log: list[dict[str, Any]]) -> list[str]:
    """Grants whose uses are not what the log charged, or fewer than was handed out, or too many."""
    charged: dict[str, int] = defaultdict(int)
    for event in log:
        if event["kind"] in ("detokenize", "decrypt") and "grant" in event:
            charged[event["grant"]] += event["charged"]
    found = []
    stored = rows(database, 'SELECT id, uses, max_uses FROM "re_grants"')
    for id_, uses, most in stored:
        given = journal.grants.get(id_)
        handed_out = given.plaintexts if given else 0
        if not (handed_out <= uses == charged[id_] <= most):
            found.append(f"{id_}: handed out {handed_out}, used {uses}, charged {charged[id_]}, of {most}")
    return found


def vanished(database: Path, journal: Journal) -> list[str]:
    """Acknowledged grants and revocations that the database does not have."""
    states = dict(rows(database, 'SELECT id, state FROM "re_grants"'))
    found = [f"{id_} is gone" for id_ in journal.grants if id_ not in states]
    return found + [
        f"{grant.id} is {states.get(grant.id)} again"
        for grant in journal.grants.values()
        if grant.revoked and states.get(grant.id) != "revoked"
    ]


# What would be half of a change, and the rows that show it.
HALVES: Final = {
    "a token without a claim": "cu_tokens WHERE id NOT IN (SELECT token FROM va_claims)",
    "a claim without a token": "va_claims WHERE token NOT IN (SELECT id FROM cu_tokens)",
    "a claim without its key": "va_claims WHERE key NOT IN (SELECT id FROM cu_data_keys)",
    "a key without its period": """cu_data_keys k WHERE NOT EXISTS (SELECT 1 FROM cu_due_periods p
        WHERE p.tenant = k.tenant AND p."class" = k."class" AND p.due = k.due)""",
    "a person without a reference": "cu_subjects WHERE id NOT IN (SELECT subject FROM cu_subject_refs)",
    "a person without a key": "cu_subjects WHERE key NOT IN (SELECT id FROM cu_data_keys)",
    "a grant for nobody": """re_grants WHERE any_subject = 0
        AND id NOT IN (SELECT "grant" FROM re_grant_subjects)""",
    "an entry of the index without its token": "cu_blind_index WHERE token NOT IN (SELECT id FROM cu_tokens)",
    "a surrogate that is not registered": """cu_tokens t WHERE surrogate IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM cu_surrogates s WHERE s.token = t.id AND s.surrogate = t.surrogate)""",
    "a registered surrogate without its token": "cu_surrogates WHERE token NOT IN (SELECT id FROM cu_tokens)",
    "a wrong count of what was issued": """cu_issued i WHERE key_version = 0
        AND field IN (SELECT field FROM cu_tokens) AND issued <> (
        SELECT count(*) FROM cu_tokens t WHERE t.tenant = i.tenant AND t.field = i.field)""",
    "items without an event": "cu_audit_items WHERE number NOT IN (SELECT number FROM re_audit)",
}


def halves(database: Path, log: list[dict[str, Any]]) -> list[str]:
    """Changes of which only a part is there: between rows, and between rows and the log."""
    found = [what for what, where in HALVES.items() if rows(database, f"SELECT 1 FROM {where}")]
    noted: set[str] = set()
    statement = 'SELECT i.number, i."items" FROM cu_audit_items i'
    for number, items in rows(database, statement):
        if number < len(log) and log[number]["kind"] == "tokenize":
            noted.update(json.loads(items)["rows"]["ids"])
    kept = {number for (number,) in rows(database, "SELECT number FROM cu_audit_items")}
    if kept != {number for number, event in enumerate(log) if "items_digest" in event}:
        found.append("items and events that digest them differ")
    stored = {bytes(row).hex() for (row,) in rows(database, "SELECT id FROM cu_tokens")}
    if noted != stored:
        found.append(f"{len(stored - noted)} tokens without an event, {len(noted - stored)} events without")
    pairs = (
        ("grant.create", "grant", 'SELECT id FROM "re_grants"'),
        ("apikey.create", "key", "SELECT id FROM re_api_keys"),
    )
    for kind, member, statement in pairs:
        said = {event[member] for event in log if event["kind"] == kind and member in event}
        if said != {row[0] for row in rows(database, statement)}:
            found.append(f"{kind} events and rows differ")
    return found


def _by(tokens: list[Held], key: Any) -> dict[Any, list[Held]]:
    groups: dict[Any, list[Held]] = defaultdict(list)
    for held in tokens:
        groups[key(held)].append(held)
    return groups
