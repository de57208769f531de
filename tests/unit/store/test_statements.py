"""Every statement runs on both kinds of database; a new one that is not tried here fails."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import delete

from tests.support.databases import give_back, postgresql
from vault.clock import SystemClock
from vault.errors import CoatcheckError
from vault.keystate.states import PROCESSES, KeyState
from vault.store.cell import Store
from vault.store.pipeline import ServerSession
from vault.store.session import Row, Session, Statement, StatementFamily

KEY, SUBJECT, TOKEN, EPOCH_ID, REF, PAGE_ID, PROCESS = (bytes([number]) * 16 for number in range(1, 8))
NIL = bytes(16)
DIGEST = bytes(32)
SLOT = {"tenant": "main", "subject": SUBJECT, "class": "customer", "due": "2028-11"}

# One row for each insert, parents first.
ROWS: dict[str, dict[str, Any]] = {
    "insert_head": {
        "id": 1, "region": "eu", "next": 0, "write_epoch": 1, "read_epoch": 1, "fence": 0,
        "schema_version": 0, "last_at": 5,
    },
    "insert_epoch": {"epoch": 1, "id": EPOCH_ID, "state": "active", "sealed_half": b"h", "created_at": 5,
                     "sealed_canary": b"c", "activated_at": 5, "destroy_at": None},
    "insert_field_key": {
        "id": KEY, "tenant": "main", "field": "customer.ssn", "purpose": "ff1", "version": 1,
        "state": "active", "epoch": 1, "sealed": b"k", "created_at": 5, "filling": 1,
    },
    "insert_due_period": {"tenant": "main", "class": "customer", "due": "2028-11", "state": "active"},
    "insert_data_key": {
        **SLOT, "id": KEY, "state": "active", "epoch": 1, "sealed": b"d", "created_at": 5,
        "due_at": None, "page": None,
    },
    "insert_subject": {"id": SUBJECT, "tenant": "main", "key": KEY, "sealed": b"s", "created_at": 5,
                       "listed": 0, "erasure": None},
    "insert_subject_ref": {"epoch": 1, "ref": REF, "subject": SUBJECT, "key_version": 1},
    "insert_erasure": {
        "id": "er_1", "tenant": "main", "kind": "subject", "state": "requested", "subject": SUBJECT,
        "target": "", "grounds": "objection", "job": "job_1", "created_by": "host:0", "created_at": 5,
        "keys": 1,
        "counts": "{}", "number": 3, "removed_at": 0, "events": 0, "fenced_until": 50, "reopened_at": 0,
        "reopened_by": None,
    },
    "insert_suppression": {"epoch": 1, "ref": REF, "erasure": "er_1", "key_version": 1},
    "insert_subject_event": {"subject": SUBJECT, "event": "closed", "at": 5},
    "insert_hold": {
        "id": "hold_1", "tenant": "main", "kind": "class", "subject": None, "name": "customer",
        "state": "active", "reason": "r", "created_by": "host:0", "created_at": 5,
        "confirmed_by": None, "confirmed_at": 0, "release_asked_by": None, "release_asked_at": 0,
        "release_reason": None, "released_by": None,
        "released_at": 0,
    },
    "insert_token": {"id": TOKEN, "tenant": "main", "field": "customer.name", "created_at": 5,
                     "surrogate": "4711"},
    "insert_index_entry": {"epoch": 1, "entry": REF, "token": TOKEN, "key_version": 1},
    "insert_surrogate": {"tenant": "main", "field": "customer.name", "surrogate": "4711", "token": TOKEN},
    "insert_claim": {"token": TOKEN, "key": KEY, "sealed": b"c"},
    "insert_idempotency": {
        "epoch": 1, "ref": REF, "fingerprint": DIGEST, "sealed": b"r", "expires_at": 5, "replaces": -1,
    },
    "insert_audit_items": {"number": 0, "salt": DIGEST, "items": b"{}"},
    "insert_tenant": {"id": "tn_1", "name": "main", "state": "active", "created_at": 5},
    "insert_principal": {
        "id": "pr_1", "tenant": "main", "kind": "service", "name": "service:demo", "roles": "[]",
        "permissions": "[]", "ceiling": None, "version": 1, "created_by": "host:0", "created_at": 5,
        "removed_at": 0,
    },
    "insert_api_key": {
        "id": "ck_1", "principal": "pr_1", "digest": DIGEST, "networks": "[]", "expires_at": 0,
        "created_at": 5, "revoked_at": 0, "used_at": 0, "warned_at": 0, "replaced_by": None,
    },
    "insert_grant": {
        "id": "gr_1", "tenant": "main", "agent": "agent:demo", "agent_id": "pr_1", "created_by": "pr_1",
        "purpose": "support", "scope": "[]", "any_subject": 0, "on_behalf_of": None, "reason": None,
        "digest": DIGEST, "uses": 0, "max_uses": 10, "batch": 10, "valid_from": 5, "valid_until": 50,
        "state": "active", "version": 1, "created_at": 5, "jkt": "j", "terms": "{}", "tat": 0,
    },
    "insert_grant_proof": {"ref": REF},
    "insert_grant_block": {"id": DIGEST, "grant": "gr_1", "uses": 0, "revoked_at": 0},
    "insert_grant_person": {"grant": "gr_1", "subject": SUBJECT},
    "insert_grant_try": {"ref": REF, "grant": "gr_1", "tries": 1},
    "insert_holder_key": {
        "principal": "pr_1", "jkt": "j", "x": "x", "label": None, "created_at": 5, "expires_at": 50,
        "revoked_at": 0,
    },
    "insert_kill": {
        "id": "kill_1", "tenant": "main", "kind": "agent", "name": "agent:demo", "reason": None,
        "created_by": "host:0", "created_at": 5, "lifted_at": 0, "lifted_by": None,
    },
    "insert_approval": {
        "id": "apr_1", "tenant": "main", "grant": "gr_1", "digest": DIGEST, "version": 1,
        "verb": "detokenize", "operation": "reveal", "delivery": "plain", "fields": "[]", "items": 1,
        "needed": 1,
        "state": "pending", "created_at": 5, "expires_at": 50, "sealed": b"a",
    },
    "insert_approval_vote": {
        "approval": "apr_1", "principal": "pr_1", "name": "operator:ada", "verdict": "approve",
        "reason": None, "mfa_by": "totp", "mfa_at": 5, "at": 6,
    },
    "insert_notice": {
        "id": "ntc_1", "tenant": "main", "channel": "mail", "kind": "grant.pending", "about": "apr_1",
        "agent": "agent:demo", "purpose": "support", "state": "pending", "tries": 0, "created_at": 5,
        "next_at": 5, "error": "",
    },
    "insert_break_glass": {
        "grant": "gr_1", "tenant": "main", "created_by": "pr_1", "created_at": 5, "review_by": 50,
        "reviewed_at": 0, "reviewed_by": None, "verdict": "", "note": None,
    },
    "insert_grant_subject": {"grant": "gr_1", "subject": SUBJECT},
    "insert_audit": {"number": 0, "leaf": DIGEST, "body": b"{}"},
    "insert_schema": {
        "tenant": "main", "version": 1, "digest": "d", "body": "{}", "applied_by": "host:0",
        "applied_at": 5,
    },
    "insert_key_page": {
        "id": PAGE_ID, "tenant": "main", "class": "customer", "due": "2028-11", "version": 1, "epoch": 1,
        "keys": 3, "sealed": b"p",
    },
    "insert_job": {
        "id": "job_1", "tenant": "main", "kind": "epoch.turn", "state": "running", "step": "open",
        "params": "{}", "cursor": "{}", "done": 1, "total": 2, "rate": 3, "waits_for": "", "error": "",
        "created_by": "host:0", "created_at": 5, "due_at": 5, "updated_at": 5, "ended_at": 0,
        "runner": PROCESS, "lease_until": 60,
    },
    "insert_process": {
        "id": PROCESS, "kind": "serve", "pid": 7, "started_at": 5, "lease_until": 60, "opened": 2,
        "dropped": 0, "destroyed": 0,
    },
    "insert_load": {"id": 1, "kind": "copy", "source": "s", "progress": "{}", "started_at": 5},
    "insert_turn": {
        "opens": 2, "closes": 1, "job": "job_1", "steps": "{}", "evidence": "{}", "started_at": 5,
        "ended_at": 0,
    },
    "insert_directory_removal": {"ref": REF},
    "insert_transfer": {
        "id": "xfer_1", "tenant": "main", "subject": SUBJECT, "to": "us", "fields": "[]",
        "legal_basis": "contract", "mode": "copy", "job": "job_1", "created_by": "host:0", "created_at": 5,
    },
    "insert_arrival": {
        "transfer": "xfer_1", "source": TOKEN, "field": "customer.name", "token": NIL, "code": "value_length",
    },
    "insert_password": {"principal": "pr_1", "hash": "$", "version": 1, "changed_at": 5},
    "insert_totp": {"principal": "pr_1", "pending": 1, "sealed": b"t", "step": 0, "created_at": 5},
    "insert_recovery_code": {"digest": DIGEST, "principal": "pr_1", "created_at": 5, "used_at": 0},
    "insert_client_key": {"id": "ck_1", "method": "jwk", "document": "{}"},
    "insert_passkey": {
        "id": "pk_1", "principal": "pr_1", "credential": TOKEN, "public_key": KEY, "sign_count": 0,
        "transports": "[]", "label": "laptop", "created_at": 5, "used_at": 0,
    },
    "insert_session": {
        "id": "cs_1", "principal": "pr_1", "digest": DIGEST, "network": "192.0.2.0/24", "created_at": 5,
        "seen_at": 5, "expires_at": 50, "revoked_at": 0, "mfa_at": 5, "mfa_by": "totp",
    },
    "insert_challenge": {"digest": DIGEST, "expires_at": 50},
    "insert_policy": {
        "tenant": "main", "version": 1, "digest": "d", "body": "permit", "applied_by": "host:0",
        "applied_at": 5,
    },
    "insert_review": {
        "id": "rev_1", "tenant": "main", "scope": "{}", "due_at": 50, "reviewer": "pr_1", "deputy": None,
        "items": 1, "created_by": "host:0", "created_at": 5, "closed_at": 0,
    },
    "insert_review_item": {
        "review": "rev_1", "number": 1, "kind": "role", "target": "pr_1", "principal": "pr_1",
        "what": "admin", "snapshot": "{}", "reviewer": "pr_1", "state": "open", "decided_by": None,
        "decided_at": 0, "reason": None,
    },
}  # fmt: skip

ARRIVAL = ("xfer_1", TOKEN, "customer.name", NIL, "value_length")
PASSKEY = ("pk_1", "pr_1", TOKEN, KEY, 0, "[]", "laptop", 5, 0)
SESSION = ("cs_1", "pr_1", DIGEST, "192.0.2.0/24", 5, 5, 50, 0, 5, "totp")
ERASURE = tuple(ROWS["insert_erasure"].values())
HOLD = tuple(ROWS["insert_hold"].values())
SUBJECT_ROW = (SUBJECT, "main", KEY, b"s")
KEY_ROW = (KEY, "main", SUBJECT, "customer", "2028-11", "active", 1, b"d", "active", None, None)
PAGE_ROW = (PAGE_ID, "main", "customer", "2028-11", 1, 1, 3, b"p")
JOB = (
    "job_1", "main", "epoch.turn", "running", "open", "{}", "{}", 1, 2, 3, "", "", "host:0", 5, 5, 5, 0,
    PROCESS, 60,
)  # fmt: skip
PRINCIPAL = ("pr_1", "main", "service", "service:demo", "[]", "[]", None, 1, 0)
GRANT = (
    "gr_1", "main", "agent:demo", "pr_1", "support", "[]", 0, 10, 10, 5, 50, "active", 1, DIGEST, 0,
    "j", "{}", 0, None,
)  # fmt: skip
APPROVAL = (
    "apr_1", "main", "gr_1", DIGEST, 1, "detokenize", "reveal", "plain", "[]", 1, 1, "pending", 5, 50, b"a",
)  # fmt: skip
VOTE = ("apr_1", "pr_1", "operator:ada", "approve", None, "totp", 5, 6)
NOTICE = (
    "ntc_1", "main", "mail", "grant.pending", "apr_1", "agent:demo", "support", "pending", 0, 5, 5, "",
)  # fmt: skip
GLASS = ("gr_1", "main", "pr_1", 5, 50, 0, None, "", None)
HOLDER = ("pr_1", "j", "x", None, 5, 50, 0)
KILL = ("kill_1", "main", "agent", "agent:demo", None, "host:0", 5, 0, None)
REVIEW = ("rev_1", "main", "{}", 50, "pr_1", None, 1, "host:0", 5, 0)
REVIEW_ITEM = ("rev_1", 1, "role", "pr_1", "pr_1", "admin", "{}", "pr_1", "open", None, 0, None)
PAGE = {"first": 0, "end": 10}
KEYS_PAGE = {"tenant": "main", "below": b"\xff" * 16, "most": 10}
FIELD_KEY_SHOWN = (KEY, "ff1", "customer.ssn", 1, "active", 1, 5, "", "", 1, "main")
DATA_KEY_SHOWN = (KEY, "data", "", 1, "active", 1, 5, "customer", "2028-11", 0, "main")

# What selects and families are asked, and the rows they give.
OF_CLASS = {"of_tenant": "main", "of_class": "customer"}
OF_PERIOD = {**OF_CLASS, "of_due": "2028-11"}
IN_PERIOD = {**OF_PERIOD, "epoch": 1, "before": 1}
QUERIES: dict[str, tuple[dict[str, Any], list[tuple[Any, ...]]]] = {
    "head": ({}, [("eu", 0, 1, 1, 0, 0, 5)]),
    "event_with": ({"first": 0, "leaf": DIGEST}, [(0,)]),
    "field_keys": (
        {"tenant": "main", "field": "customer.ssn", "purpose": "ff1"},
        [(KEY, "main", "customer.ssn", "ff1", 1, "active", 1, b"k", 1)],
    ),
    "data_key_slot": (SLOT, [KEY_ROW]),
    "principals_page": ({"tenant": "main", "below": "pr_~", "most": 10}, [PRINCIPAL]),
    "tenant_named": ({"named": "main"}, [("tn_1", "main", "active", 5)]),
    "tenants_page": ({"below": "tn_~", "most": 10}, [("tn_1", "main", "active", 5)]),
    "field_keys_page": (KEYS_PAGE, [FIELD_KEY_SHOWN]),
    "data_keys_page": (KEYS_PAGE, [DATA_KEY_SHOWN]),
    "field_key_shown": ({"key_id": KEY}, [FIELD_KEY_SHOWN]),
    "data_key_shown": ({"key_id": KEY}, [DATA_KEY_SHOWN]),
    "keys_of": (
        {"principal_id": "pr_1", "tenant": "main", "below": "ck_~", "most": 10},
        [("ck_1", "pr_1", "[]", 0, 0, 5, 0, None)],
    ),
    "key_owner": ({"key_id": "ck_1"}, [("pr_1", "main", "[]", 0, 0, None)]),
    "keys_page": ({"tenant": "main", "below": "ck_~", "most": 10}, [("ck_1", "pr_1", 0, 0, 5, "main")]),
    "service_key_shown": ({"key_id": "ck_1"}, [("ck_1", "pr_1", 0, 0, 5, "main")]),
    "api_keys_ending": ({"after": 0, "before": 9}, []),
    "api_keys_older": ({"made_by": 5, "after": 9}, [(1,)]),
    "what_hangs_on": ({"principal_id": "pr_1", "at": 10}, [(1, 1)]),
    "counter": ({"principal": "pr_1", "kind": "uses", "day": "2026-11-23"}, []),
    "grants_page": ({"tenant": "main", "below": "gr_~", "most": 10}, [GRANT]),
    "grant_holder": ({"grant_id": "gr_1"}, [(DIGEST, "main", "j", "agent:demo", "support", "{}", 0)]),
    "approval": ({"approval_id": "apr_1"}, [APPROVAL]),
    "approvals_page": ({"tenant": "main", "below": "apr_~", "most": 10}, [APPROVAL]),
    "full_approvals": ({"at": 50}, [("apr_1",)]),
    "open_approvals": ({"of_grant": "gr_1", "at": 49}, [(1,)]),
    "due_notices": ({"at": 5, "most": 10}, [NOTICE]),
    "failed_notices": ({"since": 0}, [(0,)]),
    "old_notices": ({"before": 9}, []),
    "break_glass": ({"grant_id": "gr_1"}, [GLASS]),
    "break_glass_page": ({"tenant": "main", "below": "gr_~", "most": 10}, [GLASS]),
    "overdue_break_glass": ({"at": 50}, [(1,)]),
    "latest_policies": ({}, [("main", 1, "permit")]),
    "policies_page": ({"tenant": "main", "below": 2, "most": 10}, [(1, "d", "host:0", 5)]),
    "policy_version": ({"tenant": "main", "version": 1}, [(1, "d", "host:0", 5, "permit")]),
    "review": ({"review_id": "rev_1"}, [REVIEW]),
    "reviews_page": ({"tenant": "main", "below": "rev_~", "most": 10}, [REVIEW]),
    "reviews_open": ({"before": 50, "most": 10}, [REVIEW]),
    "review_items": ({"of_review": "rev_1", "above": 0, "most": 10}, [REVIEW_ITEM]),
    "review_item": ({"of_review": "rev_1", "place": 1}, [REVIEW_ITEM]),
    "review_items_open": ({"of_review": "rev_1", "most": 10}, [REVIEW_ITEM]),
    "review_states": ({"of_review": "rev_1"}, [("open", 1)]),
    "principals_reviewed": (
        {"tenant": "main"},
        [("pr_1", "service", "service:demo", "[]", "[]", None, "host:0")],
    ),
    "keys_reviewed": ({"tenant": "main"}, [("ck_1", "pr_1", "[]", 0, 5, 0)]),
    "grants_reviewed": (
        {"tenant": "main", "after": 49},
        [("gr_1", "agent:demo", "pr_1", "pr_1", "support", "[]", 10, 50)],
    ),
    "old_proofs": ({"before": b"\xff" * 4, "most": 10}, [(REF,)]),
    "any_kill": ({}, [("kill_1",)]),
    "holder_keys_page": ({"of_principal": "pr_1", "of_tenant": "main"}, [HOLDER]),
    "kills_page": ({"tenant": "main", "below": "kill_~", "most": 10}, [KILL]),
    "kill": ({"kill_id": "kill_1"}, [KILL]),
    "answer": ({"epoch": 1, "ref": REF}, [(DIGEST, b"r", 5)]),
    "expired": ({"at": 5, "most": 10}, [(1, REF)]),
    "issued": ({"tenant": "main", "field": "customer.name"}, []),
    "key_uses": ({"tenant": "main", "field": "customer.ssn"}, []),
    "newest_field_keys": ({"purpose": "ff1"}, [("main", "customer.ssn", 1, 5)]),
    "old_data_keys": ({"made_by": 9}, [(0,)]),
    "claims_of_key": ({"data_key": KEY}, [(1,)]),
    "audit_range": (PAGE, [(0, DIGEST, b"{}", DIGEST, b"{}")]),
    "event_from": ({"first": -7}, [(0, b"{}")]),
    "audit_page": ({**PAGE, "most": 10}, [(0, DIGEST, b"{}", DIGEST, b"{}")]),
    "lock_head": ({}, [("eu", 0, 1, 1, 0, 0, 5)]),
    "latest_schemas": ({}, [("main", 1, "{}")]),
    "schemas_page": ({"tenant": "main", "below": 2, "most": 10}, [(1, "d", "host:0", 5)]),
    "schema_version": ({"tenant": "main", "version": 1}, [(1, "d", "host:0", 5, "{}")]),
    "living_tokens": ({"tenant": "main", "field": "customer.name"}, [(1,)]),
    "living_keys": ({"tenant": "main", "class": "customer"}, [(1,)]),
    "living_grants": ({"tenant": "main", "at": 49}, [("support", "[]")]),
    "epochs_listed": ({}, [(1, EPOCH_ID, "active", b"h", b"c", 5, 5, None)]),
    "field_keys_under": ({"epoch": 1}, [(KEY, "main", "customer.ssn", "ff1", 1, "active", 1, b"k")]),
    "pages_under": ({"epoch": 1, "most": 10}, [(*PAGE_ROW, 0)]),
    "keys_paged": ({"epoch": 1}, [(3,)]),
    "page_with_room": (
        {"tenant": "main", "class": "customer", "due": "2028-11", "epoch": 1, "at_most": 3},
        [(*PAGE_ROW, 0)],
    ),
    "singles_under": (
        {"epoch": 1, "most": 10},
        [(KEY, "main", SUBJECT, "customer", "2028-11", "active", 1, b"d")],
    ),
    "index_rows": ({"epoch": 1, "above": b"", "most": 10}, [(REF,)]),
    "suppression_rows": ({"epoch": 1, "above": b"", "most": 10}, [(REF,)]),
    "reference_rows": ({"epoch": 1, "above": b"", "most": 10}, [(REF,)]),
    "index_page": ({"epoch": 1, "above": b"", "most": 10}, [(REF, TOKEN, 1)]),
    "reference_page": ({"epoch": 1, "above": b"", "most": 10}, [(REF, SUBJECT, 1)]),
    "entries_of_version": (
        {"epoch": 1, "version": 1, "tenant": "main", "field": "customer.name"},
        [(1,)],
    ),
    "references_of_version": ({"epoch": 1, "version": 1, "tenant": "main"}, [(2,)]),
    "rows_of_epoch": ({"epoch": 1}, [(1, 1)]),
    "last_answer": ({"epoch": 1}, [(5,)]),
    "counted": ({"epoch": 1}, [(1, 1, 1, 1, 1, 1, 1)]),
    "counted_in_both": ({"of_epoch": 1, "to_epoch": 2}, [(1, 0, 1, 0, 1, 0)]),
    "jobs_unended": ({"kind": "epoch.turn"}, [JOB]),
    "job_due": ({"at": 61}, [JOB]),
    "jobs_page": ({"tenant": "main", "below": "job_~", "most": 10}, [JOB]),
    "processes": ({}, [(PROCESS, "serve", 7, 60, 2, 0, 0)]),
    "turns": ({}, [(2, 1, "job_1", "{}", "{}", 5, 0)]),
    "unlisted": ({"generation": 1, "most": 10}, [SUBJECT_ROW]),
    "most_listed": ({}, [(0,)]),
    "untold": ({"generation": 1, "most": 10}, [(1, 1)]),
    "directory_removals": ({"most": 10}, [(REF,)]),
    "transfer": (
        {"transfer_id": "xfer_1"},
        [("xfer_1", "main", SUBJECT, "us", "[]", "contract", "copy", "job_1", "host:0", 5)],
    ),
    "subject_row": ({"subject_id": SUBJECT}, [SUBJECT_ROW]),
    "keys_of_subject": ({"tenant": "main", "of_subject": SUBJECT}, [(KEY, "customer", "2028-11")]),
    "erasures_page": ({"tenant": "main", "below": "er_~", "most": 10}, [ERASURE]),
    "erasures_over": ({"at": 50, "most": 10}, []),  # its keys are not removed
    "claims_of_subject": ({"tenant": "main", "of_subject": SUBJECT}, [("customer.name", 1)]),
    "shared_tokens_of_subject": ({"tenant": "main", "of_subject": SUBJECT}, [(0,)]),
    "periods_until": (
        {"until": "2028-11", "most": 10},
        [("main", "customer", "2028-11", "active")],
    ),
    "periods_of": ({"tenant": "main", "until": "2028-11"}, [("customer", "2028-11", "active")]),
    "count_of_period": (IN_PERIOD, [(1,)]),
    "values_of_period": (IN_PERIOD, [(1,)]),
    "keys_of_period": ({**IN_PERIOD, "above": b"", "most": 10}, [(KEY, SUBJECT)]),
    "dates_until": ({"until": 9}, []),  # the key has no date of its own
    "dates_of": ({"tenant": "main", "until": 9}, []),
    "keys_suspended": ({**OF_CLASS, "until": 9, "above": b"", "most": 10}, []),
    "count_suspended": ({**OF_CLASS, "until": 9}, [(0,)]),
    "dead_entries": ({"epoch": 1, "above": b"", "through": REF}, []),
    "next_part": ({"after": b"", "step": 0}, [(TOKEN,)]),
    "values_by_period": (
        {"tenant": "main", "after": b"", "to": b"\xff" * 16, "most": 10},
        [("customer", "2028-11", 0, 1)],
    ),
    "values_by_month": (
        {"tenant": "main", "after": b"", "to": b"\xff" * 16, "most": 10},
        [("customer.name", "customer", "1970-01", 1)],
    ),
    "issued_by_field": ({"tenant": "main"}, []),
    "people_counted": ({"tenant": "main"}, [(1, 0)]),
    "kept_by_period": (
        {"tenant": "main", "above": "", "above_due": "", "above_at": 0, "most": 10},
        [("customer", "2028-11", 0, 1, 0)],
    ),
    "erasures_by_grounds": (
        {"tenant": "main", "most": 10},
        [("subject", "", "objection", "requested", 1, 1)],
    ),
    "erasures_between": ({"tenant": "main", "first": 0, "end": 9}, [(0,)]),  # its keys are not removed
    "recipients": ({"tenant": "main", "after": 5, "most": 10}, [("support", "agent:demo", "[]", 1)]),
    "events_naming": (
        {"first": 0, "end": 9, "most": 10, "person": b"{}", "many": b"-", "taken_back": b"-"},
        [(0, b"{}", b"{}")],
    ),
    "hold": ({"hold_id": "hold_1"}, [HOLD]),
    "holds_page": ({"tenant": "main", "below": "hold_~", "most": 10}, [HOLD]),
    "holds_in_force": ({"tenant": "main"}, [HOLD]),
    "tokens_through": ({"above": b"", "most": 10}, [(TOKEN,)]),
    "arrivals_page": ({"of_transfer": "xfer_1", "above": b"", "most": 10}, [ARRIVAL]),
    "operator_named": ({"tenant": "main", "named": "service:demo"}, [PRINCIPAL]),
    "operators_page": ({"tenant": "main", "below": "pr_~", "most": 10}, []),  # it is a service
    "recovery_codes_left": ({"of_principal": "pr_1"}, [(1,)]),
    "passkeys_of": ({"of_principal": "pr_1"}, [PASSKEY]),
    "passkey_named": ({"named": TOKEN}, [PASSKEY]),
    "sessions_page": ({"of_principal": "pr_1", "at": 49, "below": "cs_~", "most": 10}, [SESSION]),
    "known_network": ({"of_principal": "pr_1", "from_network": "192.0.2.0/24"}, [(1,)]),
}
FAMILIES: dict[str, tuple[list[Any], dict[str, Any], list[tuple[Any, ...]]]] = {
    "data_keys": ([KEY, NIL, TOKEN], {}, [KEY_ROW]),
    "subject_refs": ([REF, NIL], {"epoch": 1}, [(REF, SUBJECT)]),
    "subjects": ([SUBJECT], {}, [(SUBJECT, "main")]),
    "events_of": (["closed", "else"], {"of_subject": SUBJECT}, [("closed", 5)]),
    "grants_told": (["gr_1", "gr_2"], {}, [("gr_1", "support", None)]),
    "erasures": (["er_1", "er_2"], {}, [ERASURE]),
    "suppressions": ([REF, NIL], {"epoch": 1}, [(REF, "er_1")]),
    "claims": ([TOKEN, NIL], {}, [(TOKEN, "main", "customer.name", "4711", b"c", *KEY_ROW)]),
    "held": ([REF, NIL], {"epoch": 1}, [(REF, 5)]),
    "index_entries": ([NIL, REF], {"epoch": 1}, [(REF, TOKEN)]),
    "surrogates": (["1", "4711"], {"tenant": "main", "field": "customer.name"}, [("4711", TOKEN)]),
    "audit_items": ([0, 1, 2], {}, [(0, DIGEST, b"{}")]),
    "principals": (["pr_1", "pr_2"], {}, [PRINCIPAL]),
    "principals_by_name": (["service:demo"], {"tenant": "main"}, [PRINCIPAL]),
    "api_keys": (["ck_1"], {}, [("ck_1", "pr_1", DIGEST, "[]", 0, 0, 0, None)]),
    "tokens_of_field": ([TOKEN, NIL], {"tenant": "main", "field": "customer.name"}, [(TOKEN,)]),
    "people_of_tenant": ([SUBJECT, NIL], {"tenant": "main"}, [(SUBJECT, b"s", *KEY_ROW)]),
    "grants": (["gr_1", "gr_2", "gr_3"], {}, [GRANT]),
    "grant_subjects": (["gr_1"], {}, [("gr_1", SUBJECT)]),
    "grant_proofs": ([REF, NIL], {}, [(REF,)]),
    "grant_blocks": ([DIGEST, NIL], {}, [(DIGEST, "gr_1", 0, 0)]),
    "people_of_grants": (["gr_1", "gr_2"], {}, [("gr_1", SUBJECT)]),
    "grant_tries": ([REF, NIL], {}, [(REF, 1)]),
    "holder_keys": (["pr_1", "pr_2"], {}, [HOLDER]),
    "binding_kills": (["agent:demo", "agent:other"], {}, [("main", "agent", "agent:demo")]),
    "approvals": ([DIGEST, KEY * 2], {}, [APPROVAL]),
    "votes": (["apr_1", "apr_2"], {}, [VOTE]),
    "key_pages": ([PAGE_ID, NIL], {}, [PAGE_ROW]),
    "keys_in_page": ([KEY, NIL], {"page": PAGE_ID}, []),
    "jobs": (["job_1", "job_2"], {}, [JOB]),
    "sent": (
        [KEY, NIL],
        {"above": b"", "through": TOKEN, "tenant": "main"},
        [(TOKEN, "customer.name", "4711", KEY, b"c")],
    ),
    "arrivals": ([TOKEN, NIL], {"of_transfer": "xfer_1"}, [ARRIVAL]),
    "passwords": (["pr_1", "pr_2"], {}, [("pr_1", "$", 1, 5)]),
    "totp": (["pr_1", "pr_2"], {}, [("pr_1", 1, b"t", 0)]),
    "recovery_codes": ([DIGEST, KEY * 2], {}, [(DIGEST, "pr_1", 0)]),
    "client_keys": (["ck_1", "ck_2"], {}, [("ck_1", "jwk", "{}")]),
    "passkeys": (["pk_1", "pk_2"], {}, [PASSKEY]),
    "challenges": ([DIGEST, KEY * 2], {}, [(DIGEST,)]),
    "sessions": (["cs_1", "cs_2"], {}, [SESSION]),
}
HEAD = {
    "events": 2, "write_by": 0, "read_by": 0, "fence_by": 1, "schema_by": 1, "at": 9,
    "seen_write_epoch": 1, "seen_read_epoch": 1,
    "seen_fence": 0, "seen_schema": 0,
}  # fmt: skip
ISSUED = {"tenant": "main", "field": "customer.name", "key_version": 0, "issued": 3, "last_at": 9}
USED = {"tenant": "main", "field": "customer.ssn", "key_version": 1, "rekeyed": 3, "used_at": 9}
ENDED = {"of_tenant": "main", "of_field": "customer.ssn", "of_purpose": "ff1", "below": 2}
PROGRESS = {
    "job": "job_1", "by": PROCESS, "at": 9, "until": 90, "new_state": "waiting", "new_step": "open",
    "new_cursor": "{}", "new_done": 2, "new_total": 2, "new_rate": 0, "new_waits_for": "processes",
    "new_error": "", "new_due_at": 20, "new_ended_at": 0,
}  # fmt: skip
CARRIERS = ("carry_index", "carry_reference", "carry_suppression", "fill_index", "fill_reference")
"""Families over pairs."""
SWEPT = {"of_epoch": 1, "most": 10}
NARROWED = {
    "to_scope": "[]", "to_max_uses": 5, "to_batch": 5, "to_valid_until": 40, "to_any_subject": 0,
    "to_terms": "{}",
}  # fmt: skip
OPERATOR = {"of_principal": "pr_1"}
PRINCIPAL_AT = {"principal_id": "pr_1", "at": 10}

# What updates are given, how many rows they change, and what they return if they return rows.
UPDATES: dict[str, tuple[dict[str, Any], int, list[tuple[Any, ...]] | None]] = {
    "add_to_counter": ({"principal": "pr_1", "kind": "uses", "day": "2026-11-23", "by": 3}, 1, None),
    "add_issued": ({**ISSUED, "most": 100}, 1, None),
    "add_rekeyed": (USED, 1, None),
    "note_use": ({**USED, "rekeyed": 0}, 1, None),
    "place_index_entry": ({"epoch": 1, "entry": REF, "token": NIL, "key_version": 2}, 1, None),
    "drop_index_row": ({"of_epoch": 1, "of_block": REF, "below": 2}, 1, None),
    "drop_reference_row": ({"of_epoch": 1, "of_block": REF, "below": 2}, 1, None),
    "end_filling": ({"key_id": KEY}, 1, None),
    "replace_api_key": ({"api_key": "ck_1", "until": 9, "successor": "ck_2"}, 1, None),
    "warn_of_api_key": ({"api_key": "ck_1", "at": 9}, 1, None),
    "note_api_key_use": ({"api_key": "ck_1", "hour": 9}, 1, None),
    "end_field_keys": (ENDED, 1, None),
    "move_due": ({"data_key": KEY, "to": 7}, 1, None),
    "drop_expired_answers": ({"at": 5, "most": 10}, 1, None),
    "charge_grant": ({"grant_id": "gr_1", "by": 4, "to_tat": 9}, 1, None),
    "set_grant_state": ({"grant_id": "gr_1", "seen": 1, "to": "suspended"}, 1, None),
    "narrow_grant": ({"grant_id": "gr_1", "seen": 1, **NARROWED}, 1, None),
    "use_grant_block": ({"block_id": DIGEST, "by": 2}, 1, None),
    "revoke_grant_block": ({"block_id": DIGEST, "at": 9}, 1, None),
    "drop_grant_subject": ({"grant_id": "gr_1", "person": SUBJECT}, 1, None),
    "drop_old_proofs": ({"before": b"\xff" * 4, "most": 10}, 1, None),
    "approve_approval": ({"approval_id": "apr_1"}, 1, None),
    "end_approval": ({"approval_id": "apr_1", "seen": "pending", "to": "denied"}, 1, None),
    "empty_approvals": ({"at": 50}, 1, None),
    "take_notice": ({"notice": "ntc_1", "seen": 5, "again": 9}, 1, None),
    "settle_notice": ({"notice": "ntc_1", "to": "sent", "then": 9, "code": ""}, 1, None),
    "drop_notices": ({"before": 9}, 0, None),  # it is not ended
    "review_break_glass": (
        {"grant_id": "gr_1", "at": 9, "by": "pr_1", "found": "justified", "told": None},
        1,
        None,
    ),
    "lift_kill": ({"kill_id": "kill_1", "at": 9, "by": "host:0"}, 1, None),
    "revoke_grants_of": (PRINCIPAL_AT, 1, [("gr_1",)]),
    "revoke_api_key": ({"api_key": "ck_1", "at": 10}, 1, None),
    "revoke_api_keys_of": (PRINCIPAL_AT, 1, [("ck_1",)]),
    "remove_principal": ({"principal": "pr_1", "at": 10}, 1, None),
    "advance_head": (HEAD, 1, [(2, 9)]),
    "move_epoch": ({"of_epoch": 1, "was": "active", "to": "deactivated", "at": None}, 1, None),
    "order_destruction": ({"of_epoch": 1, "at": 9}, 1, None),
    "add_canary": ({"of_epoch": 1, "canary": b"c"}, 0, None),
    "end_epoch": ({"of_epoch": 1, "was": "active", "to": "destroyed"}, 1, None),
    "reseal_field_key": ({"key_id": KEY, "was": 1, "to": 2, "resealed": b"n"}, 1, None),
    "move_field_key": ({"key_id": KEY, "was": "active", "to": "deactivated"}, 1, None),
    "end_field_key": ({"key_id": KEY, "was": "active", "to": "destroyed"}, 1, None),
    "reseal_page": ({"page_id": PAGE_ID, "was": 1, "to": 2, "holds": 3, "resealed": b"n"}, 1, None),
    "drop_page": ({"page_id": PAGE_ID, "was": 1}, 1, None),
    "pack_key": ({"key_id": KEY, "was": 1, "into": PAGE_ID}, 1, None),
    "drop_index": (SWEPT, 1, None),
    "drop_reference": (SWEPT, 1, None),
    "drop_suppression": (SWEPT, 1, None),
    "drop_answers": (SWEPT, 1, None),
    "take_job": ({"job": "job_1", "by": PROCESS, "at": 9, "until": 90}, 1, None),
    "advance_job": (PROGRESS, 1, None),
    "release_job": (PROGRESS, 1, None),
    "steer_job": ({"job": "job_1", "was": "running", "to": "cancelled", "at": 9, "with_error": ""}, 1, None),
    "drop_process": ({"process": PROCESS}, 1, None),
    "drop_other_processes": ({"process": NIL}, 1, None),
    "drop_dead_processes": ({"before": 61}, 1, None),
    "note_load": ({"new_progress": "{}"}, 1, None),
    "revoke_every_api_key": ({"at": 10}, 1, None),
    "revoke_every_grant": ({}, 1, None),
    "remove_data_key": ({"data_key": KEY, "was": 2, "of_page": b"", "single": 1}, 0, None),  # another epoch's
    "drop_references_of": ({"data_key": KEY}, 1, None),
    "drop_subject_of": ({"data_key": NIL}, 0, None),
    "note_listed": ({"of_subject": SUBJECT, "now_listed": 2}, 1, None),
    "drop_directory_removal": ({"of_ref": REF}, 1, None),
    "drop_claim": ({"of_token": TOKEN, "of_key": KEY}, 1, None),
    "drop_arrivals": ({"of_transfer": "xfer_1", "through": TOKEN}, 1, None),
    "rehash_password": ({**OPERATOR, "was": 1, "rehashed": "$2"}, 1, None),
    "confirm_totp": ({**OPERATOR, "used": 7}, 1, None),
    "use_totp": ({**OPERATOR, "used": 7}, 0, None),  # it is not confirmed
    "drop_confirmed_totp": (OPERATOR, 0, None),
    "drop_totp_of": (OPERATOR, 1, None),
    "drop_password_of": (OPERATOR, 1, None),
    "use_recovery_code": ({"of_digest": DIGEST, "at": 9}, 1, None),
    "drop_recovery_codes_before": ({**OPERATOR, "at": 9}, 1, None),
    "use_passkey": ({"passkey": "pk_1", "counted": 3, "at": 9}, 1, None),
    "drop_passkey": ({"passkey": "pk_1"}, 1, None),
    "drop_passkeys_of": (OPERATOR, 1, None),
    "drop_challenges": ({"at": 50}, 1, None),
    "revoke_session": ({"session": "cs_1", "at": 9}, 1, None),
    "revoke_sessions_of": ({**OPERATOR, "but_session": "", "at": 9}, 1, None),
    "step_up_session": (
        {"session": "cs_1", "at": 9, "by": "passkey", "from_network": "192.0.2.0/24"},
        1,
        None,
    ),
    "note_session_seen": ({"session": "cs_1", "seen": 9}, 1, None),
    "drop_sessions": ({"before": 50}, 1, None),
    "revoke_every_session": ({"at": 9}, 1, None),
    "drop_every_password": ({}, 1, None),
    "drop_every_totp": ({}, 1, None),
    "drop_every_recovery_code": ({}, 1, None),
    "drop_every_passkey": ({}, 1, None),
    "end_holder_key": ({"of_principal": "pr_1", "of_jkt": "j", "at": 9}, 1, None),
    "revoke_holder_key": ({"of_principal": "pr_1", "of_jkt": "j", "at": 9}, 1, None),
    "revoke_every_holder_key": ({"at": 9}, 1, None),
    "revoke_grants_of_holder": ({"of_agent": "pr_1", "of_jkt": "j"}, 1, None),
    "end_erasure": (
        {"of_erasure": "er_1", "removed": 2, "what": "{}", "at": 9, "had": 7},
        1,
        None,
    ),
    "open_fence": ({"of_erasure": "er_1", "at": 9, "by": "host:0"}, 0, None),  # its keys are not removed
    "drop_suppressions_of": ({"of_erasure": "er_1"}, 1, None),
    "suspend_keys_of": ({"of_tenant": "main", "of_subject": SUBJECT}, 1, None),
    "mark_subject": ({"of_subject": SUBJECT, "by_erasure": "er_1"}, 1, None),
    "drop_references_to": ({"of_subject": SUBJECT}, 1, None),
    "suspend_period": (OF_PERIOD, 1, None),
    "end_period": (OF_PERIOD, 0, None),  # it is active
    "drop_claims_of_period": ({**IN_PERIOD, "most": 10}, 1, None),
    "drop_claims_of": ({"data_key": KEY}, 1, None),
    "drop_dead_entry": ({"of_epoch": 1, "found_by": REF}, 0, None),  # something lies under its token
    "drop_keys_of_period": ({**IN_PERIOD, "of_due": "2028-12", "most": 10}, 0, None),
    "drop_pages_of_period": (OF_PERIOD, 1, None),
    "suspend_dates": ({**OF_CLASS, "until": 9}, 0, None),
    "set_due": ({**OF_CLASS, "of_subject": SUBJECT, "to": 9}, 0, None),  # its period says
    "drop_events_of": ({"data_key": KEY}, 1, None),
    "confirm_hold": ({"hold_id": "hold_1", "by": "host:0", "at": 9}, 1, None),
    "wake_held": ({"of_tenant": "main", "at": 9}, 0, None),  # the job waits for nothing
    "ask_release": ({"hold_id": "hold_1", "by": "host:0", "at": 9, "why": "over"}, 1, None),
    "release_hold": ({"hold_id": "hold_1", "by": "host:0", "at": 9}, 0, None),  # nobody asked
    "keep_hold": ({"hold_id": "hold_1"}, 0, None),
    "close_review": ({"review_id": "rev_1", "at": 9}, 1, None),
    "decide_review_item": (
        {"of_review": "rev_1", "place": 1, "to": "expired", "by": "schedule", "at": 9, "why": None},
        1,
        None,
    ),
    "set_access": (
        {"of_principal": "pr_1", "seen": 1, "to_roles": "[]", "to_permissions": "[]", "to_ceiling": None},
        1,
        None,
    ),
    "note_turn": ({"of_turn": 2, "new_steps": "{}", "new_evidence": "{}", "at": 9}, 1, None),
}


def statements(store: Store) -> dict[str, Statement | StatementFamily]:
    """Every statement and family of a store, by name."""
    found: dict[str, Statement | StatementFamily] = {}
    parts = (store.custody, store.record, store.values, store.requests, store.turning, store.work)
    for part in (
        *(*parts, store.indexes, store.crossing, store.granting, store.operators, store.approving),
        *(store.oversight, store.forgetting, store.expiring, store.reporting),
    ):
        for name, thing in vars(part).items():
            if isinstance(thing, Statement | StatementFamily):
                assert name not in found
                found[name] = thing
    return found


def plain(rows: list[Row]) -> list[tuple[Any, ...]]:
    """Rows as tuples, with bytes as bytes."""
    return [tuple(bytes(x) if isinstance(x, memoryview) else x for x in row) for row in rows]


def insert_all(store: Store, session: Session) -> None:
    named = statements(store)
    for name, row in ROWS.items():
        statement = named[name]
        assert isinstance(statement, Statement)
        session.run_many(statement, [row])


@pytest.fixture
def filled(store: Store) -> Store:
    """A database with one row in every table."""
    session = store.session()
    session.begin()
    insert_all(store, session)
    session.commit()
    session.close()
    return store


def test_every_statement_is_tried(store: Store) -> None:
    tried = {*ROWS, *QUERIES, *FAMILIES, *UPDATES, *CARRIERS}
    on_server = set() if store.is_file else {"finish", "charge_grants"}  # below
    assert len(tried) == len(ROWS) + len(QUERIES) + len(FAMILIES) + len(UPDATES) + len(CARRIERS)
    assert tried == set(statements(store)) - on_server


def test_every_table_but_those_of_counts_has_its_row(filled: Store) -> None:
    counts = ("counters", "issued", "key_uses")
    for table in filled.tables.metadata.sorted_tables:
        assert len(filled.read(table.select())) == (0 if table.info["name"] in counts else 1)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_the_same_both_ways(filled: Store, name: str) -> None:
    """On the committer's connection, as text, and through the engine, as Core."""
    statement = statements(filled)[name]
    assert isinstance(statement, Statement)
    params, expected = QUERIES[name]
    session = filled.session()
    session.begin()
    assert plain(session.rows(statement, params)) == expected
    session.rollback()
    session.close()
    assert plain(filled.read(statement, params)) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_gives_the_same_both_ways(filled: Store, name: str) -> None:
    family = statements(filled)[name]
    assert isinstance(family, StatementFamily)
    keys, params, expected = FAMILIES[name]
    session = filled.session()
    session.begin()
    assert plain(session.family(family, keys, **params)) == expected
    assert session.family(family, [], **params) == []
    session.rollback()
    session.close()
    assert plain(filled.read_keys(family, keys, **params)) == expected
    assert filled.read_keys(family, [], **params) == []


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_changes_what_it_should(filled: Store, name: str) -> None:
    statement = statements(filled)[name]
    assert isinstance(statement, Statement)
    params, count, returned = UPDATES[name]
    session = filled.session()
    session.begin()
    if returned is None:
        assert session.run(statement, params) == count
    else:
        assert plain(session.rows(statement, params)) == returned
    session.commit()
    session.begin()
    again = session.run(statement, params) if returned is None else len(session.rows(statement, params))
    repeatable = (
        *("add_issued", "add_rekeyed", "add_to_counter", "charge_grant", "place_index_entry"),
        "use_grant_block",
        *(
            "rehash_password",
            "use_passkey",
            "step_up_session",
            "end_holder_key",
        ),  # under the operator's own row
        *("take_job", "note_turn", "note_load"),  # by whoever holds the row of the job, or the cell
    )
    assert again == (1 if name in repeatable else 0)
    session.rollback()
    session.close()


def test_counters_add_up(filled: Store) -> None:
    record, params = filled.record, UPDATES["add_to_counter"][0]
    session = filled.session()
    session.begin()
    session.run(record.add_to_counter, params)
    session.run(record.add_to_counter, {**params, "by": 4})
    assert plain(session.rows(record.counter, {k: v for k, v in params.items() if k != "by"})) == [(7,)]
    session.rollback()
    session.close()


def test_what_was_issued_adds_up_by_key_version(filled: Store) -> None:
    custody, of = filled.custody, {"tenant": "main", "field": "customer.name"}
    session = filled.session()
    session.begin()
    for change in ({}, {"issued": 4, "last_at": 11}, {"key_version": 2, "issued": 1}):
        session.run(custody.add_issued, {**ISSUED, **change, "most": 7})
    assert plain(session.rows(custody.issued, of)) == [(0, 7, 11), (2, 1, 9)]
    assert session.run(custody.add_issued, {**ISSUED, "issued": 1, "most": 7}) == 0
    assert plain(session.rows(custody.issued, of)) == [(0, 7, 11), (2, 1, 9)]
    session.rollback()
    session.close()


def test_a_date_moves_only_to_a_later_one(filled: Store) -> None:
    session = filled.session()
    session.begin()
    for to, moved in ((7, 1), (6, 0), (7, 0), (8, 1)):
        assert session.run(filled.custody.move_due, {"data_key": KEY, "to": to}) == moved
    session.rollback()
    session.close()


def test_what_does_not_live_is_not_counted(filled: Store) -> None:
    """A key or a period that is gone takes its values with it; a grant that is over, nobody can use."""
    tokens, keys, grants = (
        filled.custody.living_tokens,
        filled.custody.living_keys,
        filled.record.living_grants,
    )
    t, main = filled.tables, {"tenant": "main"}
    asked = ((tokens, main | {"field": "customer.name"}), (keys, main | {"class": "customer"}))
    for table, state in itertools.product((t.data_keys, t.due_periods), KeyState):
        with filled.engine.begin() as connection:
            connection.execute(table.update().values(state=state.value))
        for statement, params in asked:
            assert filled.read(statement, params) == [(1 if state in PROCESSES else 0,)]
        with filled.engine.begin() as connection:
            connection.execute(table.update().values(state="active"))
    assert filled.read(tokens, {"tenant": "other", "field": "customer.name"}) == [(0,)]
    assert filled.read(keys, {"tenant": "main", "class": "other"}) == [(0,)]
    assert filled.read(grants, main | {"at": 50}) == filled.read(grants, {"tenant": "other", "at": 5}) == []
    for over in ({"state": "revoked"}, {"uses": 10}):
        with filled.engine.begin() as connection:
            connection.execute(t.grants.update().values(**{"state": "active", "uses": 0} | over))
        assert filled.read(grants, main | {"at": 5}) == []


def test_keys_end_below_a_version_and_only_those_that_protect(filled: Store) -> None:
    states = {1: "active", 2: "suspended", 3: "compromised", 4: "active", 5: "destroyed"}
    f, row = filled.tables.field_keys, ROWS["insert_field_key"]
    session = filled.session()
    session.begin()
    rows = [row | {"id": bytes([n]) * 16, "version": n, "state": s} for n, s in states.items()]
    session.run_many(filled.custody.insert_field_key, [r for r in rows if r["version"] > 1])
    assert session.run(filled.custody.end_field_keys, ENDED | {"below": 4}) == 2
    session.commit()
    session.close()
    found = {r[0]: r[1] for r in filled.read(f.select().with_only_columns(f.c.version, f.c.state))}
    assert found == states | {1: "deactivated", 2: "deactivated"}


@pytest.mark.parametrize("name", ["insert_due_period", "insert_data_key"])
def test_what_is_inserted_if_absent_is_left_as_it_is(filled: Store, name: str) -> None:
    statement = statements(filled)[name]
    assert isinstance(statement, Statement)
    session = filled.session()
    session.begin()
    session.run_many(
        statement, [{**ROWS[name], "state": "destroyed", **({"id": NIL} if "id" in ROWS[name] else {})}]
    )
    assert plain(session.rows(filled.custody.data_key_slot, SLOT)) == [KEY_ROW]
    session.rollback()
    session.close()


KEPT = (
    *(
        "insert_due_period",
        "insert_data_key",
        "insert_idempotency",
        "insert_process",
        "insert_grant_try",
        "insert_subject_event",
    ),
    *("insert_directory_removal", "insert_arrival"),
)


def test_an_answer_replaces_the_expired_one_that_was_seen_and_no_other(filled: Store) -> None:
    session, row = filled.session(), ROWS["insert_idempotency"] | {"sealed": b"s", "expires_at": 9}
    asked = {"epoch": 1, "ref": REF}
    session.begin()
    assert session.run_many(filled.requests.insert_idempotency, [row]) == 0
    assert plain(session.rows(filled.requests.answer, asked)) == [(DIGEST, b"r", 5)]
    assert session.run_many(filled.requests.insert_idempotency, [row | {"replaces": 5}]) == 1
    assert plain(session.rows(filled.requests.answer, asked)) == [(DIGEST, b"s", 9)]
    assert session.run(filled.requests.drop_expired_answers, {"at": 8, "most": 10}) == 0
    session.rollback()
    session.close()


REPLACED: dict[str, dict[str, Any]] = {
    "insert_password": {"hash": "$2", "version": 2},
    "insert_totp": {"sealed": b"u"},
}


@pytest.mark.parametrize("name", REPLACED)
def test_what_an_operator_has_one_of_is_replaced(filled: Store, name: str) -> None:
    statement, table = statements(filled)[name], filled.tables.passwords
    assert isinstance(statement, Statement)
    if name == "insert_totp":
        table = filled.tables.totp
    session = filled.session()
    session.begin()
    assert session.run_many(statement, [ROWS[name] | REPLACED[name]]) == 1
    session.commit()
    session.close()
    [row] = filled.read(table.select())
    assert dict(zip(table.columns.keys(), plain([row])[0], strict=True)) == ROWS[name] | REPLACED[name]


@pytest.mark.parametrize("name", [n for n in ROWS if n not in KEPT and n not in REPLACED])
def test_every_other_insert_refuses_what_is_there(filled: Store, name: str) -> None:
    statement = statements(filled)[name]
    assert isinstance(statement, Statement)
    session = filled.session()
    session.begin()
    with pytest.raises(session.integrity_error):
        session.run_many(statement, [ROWS[name]])
    assert session.rollback()
    session.close()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("insert_subject", {"id": NIL, "key": NIL}),
        ("insert_subject_ref", {"ref": NIL, "subject": NIL}),
        ("insert_api_key", {"id": "ck_2", "principal": "pr_2"}),
        ("insert_grant", {"id": "gr_2", "agent_id": "pr_2"}),
        ("insert_grant", {"id": "gr_2", "created_by": ""}),
        ("insert_grant", {"id": "gr_2", "uses": 11}),
        ("insert_grant", {"id": "gr_2", "uses": -1}),
        ("insert_grant_subject", {"grant": "gr_2"}),
        ("insert_head", {"id": 2}),
        ("insert_tenant", {"id": "tn_2"}),
        ("insert_principal", {"id": "pr_2"}),
        ("insert_field_key", {"id": NIL}),
    ],
)
def test_constraints_hold(filled: Store, name: str, change: dict[str, Any]) -> None:
    statement = statements(filled)[name]
    assert isinstance(statement, Statement)
    session = filled.session()
    session.begin()
    with pytest.raises(session.integrity_error):
        session.run_many(statement, [{**ROWS[name], **change}])
    session.rollback()
    session.close()


def test_no_grant_is_charged_beyond_its_uses(filled: Store) -> None:
    session = filled.session()
    session.begin()
    session.run(filled.record.charge_grant, {"grant_id": "gr_1", "by": 10, "to_tat": 0})
    with pytest.raises(session.integrity_error):
        session.run(filled.record.charge_grant, {"grant_id": "gr_1", "by": 1, "to_tat": 0})
    session.rollback()
    session.close()


def test_reads_outside_the_ledger_take_no_lock(filled: Store) -> None:
    """A reader goes on while another connection holds the rows that the ledger would lock."""
    session = filled.session()
    session.begin()
    assert session.family(filled.record.grants, ["gr_1"])
    session.run(filled.record.charge_grant, {"grant_id": "gr_1", "by": 1, "to_tat": 0})
    assert plain(filled.read_keys(filled.record.grants, ["gr_1"])) == [GRANT]
    session.rollback()
    session.close()


def test_on_postgresql_the_ledger_locks_what_it_decides_on(filled: Store) -> None:
    record = filled.record
    for family in (
        record.grants,
        record.principals,
        record.principals_by_name,
        record.api_keys,
        filled.custody.index_entries,
        filled.requests.held,
    ):
        locks = "FOR UPDATE" in family.sized(4).sql
        assert locks == (filled.engine.dialect.name == "postgresql")
        assert "FOR UPDATE" not in str(family.sized(4).element)


@pytest.mark.parametrize("size", [1, 2, 3, 511, 512, 513, 1_200])
def test_a_family_takes_any_number_of_keys(filled: Store, size: int) -> None:
    keys = [f"pr_{number}" for number in range(size, 0, -1)]
    assert plain(filled.read_keys(filled.record.principals, keys)) == [PRINCIPAL]
    chunks = list(filled.record.principals.chunks(keys))
    assert len(chunks) == -(-size // 512)
    assert all(len(params).bit_count() == 1 for _, params in chunks)


def test_an_insert_is_found_by_the_name_of_its_table(store: Store) -> None:
    for name in ROWS:
        assert store.insert(name.removeprefix("insert_")) is statements(store)[name]
    for name in ("nothing", "", "head; DROP TABLE x"):
        with pytest.raises(KeyError):
            store.insert(name)


def test_a_read_that_fails_says_only_that(store: Store) -> None:
    with pytest.raises(CoatcheckError) as failure:
        store.read(store.record.counter, {"principal": object(), "kind": "x", "day": "x"})
    assert failure.value.code == "database_unavailable"
    assert failure.value.__cause__ is None
    assert "SELECT" not in f"{failure.value!r} {failure.value}"


@pytest.mark.parametrize("name", CARRIERS)
def test_rows_are_carried_into_the_next_epoch_once(filled: Store, name: str) -> None:
    """Those that are there, and not again where the next epoch has its row already."""
    family = filled.family(name)
    fills, tables = name.startswith("fill"), filled.tables
    table, owner = {
        "index": (tables.blind_index, TOKEN),
        "reference": (tables.subject_refs, SUBJECT),
        "suppression": (tables.suppressions, "er_1"),
    }[name.partition("_")[2]]
    session = filled.session()
    params = {"of_epoch": 1, "to_epoch": 2, **({"as_version": 7} if fills else {})}
    for pairs in ([(REF, TOKEN), (NIL, KEY)], [(REF, TOKEN)], [(REF, SUBJECT)] * 3):
        session.begin()
        session.run_pairs(family, pairs, params)
        session.commit()
    session.close()
    rows = plain(filled.read(table.select().where(table.c.epoch == 2)))
    version = 7 if fills else 1
    assert sorted(rows) == sorted([(2, TOKEN, owner, version), (2, SUBJECT, owner, version)])
    with pytest.raises(KeyError):
        filled.family("carry_nothing")


EVENTS: Final = {
    "leaves": [b"l" * 32, b"m" * 32], "bodies": [b"{1}", b"{2}"], "places": [1], "salts": [b"s" * 32],
    "items": [b"{}"],
}  # fmt: skip


class TestAtOnce:
    """A group's charge, head, events and items in two statements."""

    @pytest.fixture
    def session(self) -> Iterator[ServerSession]:
        url = postgresql()
        store = Store(url, SystemClock())
        first = store.session()
        first.begin()
        insert_all(store, first)
        first.run(Statement(delete(store.tables.audit), store.engine.dialect), {})
        first.run(Statement(delete(store.tables.audit_items), store.engine.dialect), {})
        first.commit()
        first.close()
        session = store.session()
        assert isinstance(session, ServerSession)
        self.store = store
        yield session
        session.close()
        store.close()
        give_back(url)

    def test_finish(self, session: ServerSession) -> None:
        session.begin()
        with session.together():
            session.send(self.store.record.finish, {**HEAD, **EVENTS})
            session.commit()
        head = self.store.read(self.store.record.head)[0]
        assert tuple(head[1:]) == (2, 1, 1, 1, 1, 9)
        rows = self.store.read(self.store.record.audit_range, {"first": 1, "end": 3})
        assert plain(rows) == [(1, b"m" * 32, b"{2}", b"s" * 32, b"{}")]

    @pytest.mark.parametrize(
        "member", ["seen_write_epoch", "seen_read_epoch", "seen_fence", "seen_schema", "at"]
    )
    def test_finish_under_another_head(self, session: ServerSession, member: str) -> None:
        before = self.store.read(self.store.record.head)
        session.begin()
        with pytest.raises(psycopg.errors.DivisionByZero) as found, session.together():  # noqa: PT012
            session.send(self.store.record.finish, {**HEAD, **EVENTS, member: 4})
            session.commit()
        assert session.overtaken(found.value)
        assert session.rollback()
        assert self.store.read(self.store.record.head) == before
        assert self.store.read(self.store.record.audit_range, {"first": 1, "end": 9}) == []

    def test_charges(self, session: ServerSession) -> None:
        session.begin()
        session.send(self.store.record.charge_grants, {"grants": ["gr_1"], "by": [4], "tats": [7]})
        session.commit()
        [row] = self.store.read_keys(self.store.record.grants, ["gr_1"])
        assert (row[14], row[17]) == (4, 7)

    def test_a_charge_beyond_the_budget_is_none(self, session: ServerSession) -> None:
        session.begin()
        with pytest.raises(psycopg.errors.CheckViolation):
            session.send(self.store.record.charge_grants, {"grants": ["gr_1"], "by": [11], "tats": [0]})
        assert session.rollback()

    @pytest.mark.parametrize("count", [1, 100])
    def test_rows_by_copy(self, session: ServerSession, count: int) -> None:
        table = self.store.tables.tokens
        rows = [
            {
                "id": bytes([1, number] * 8),
                "tenant": "main",
                "field": "é",
                "created_at": 2**62,
                "surrogate": None,
            }
            for number in range(count)
        ]
        session.begin()
        assert session.run_many(self.store.custody.insert_token, rows) == count
        session.commit()
        found = self.store.read(table.select().where(table.c.field == "é").order_by(table.c.id))
        assert plain(found) == [tuple(row.values()) for row in rows]
