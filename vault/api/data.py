"""tokenize and detokenize, encrypt and decrypt."""

from __future__ import annotations

from vault.api.route import Route
from vault.services.decrypt import DecryptAnswer, DecryptBody, decrypt
from vault.services.detokenize import DetokenizeBody, ValuesAnswer, detokenize
from vault.services.encrypt import CiphertextsAnswer, EncryptBody, encrypt
from vault.services.rehearse import CheckAnswer, CheckBody, rehearse
from vault.services.rekey import RekeyAnswer, RekeyBody, rekey
from vault.services.tokenize import ColumnAnswer, ItemsAnswer, TokenizeBody, tokenize
from vault.services.verify import VerifyAnswer, VerifyBody, verify

_VALUE_CODES = (
    "value_empty",
    "value_length",
    "value_alphabet",
    "value_calendar",
    "value_checksum",
    "value_format",
    "value_script",
)
_BATCH_CODES = ("batch_too_large", "field_unknown", "operation_unsupported", "subject_invalid")
_GRANT_CODES = (
    "grant_invalid",
    "budget_exhausted",
    "scope_denied",
    "purpose_mismatch",
    "outside_window",
    "network_denied",
    "delegation_denied",
    "grant_suspended",
    "rate_limited",
    "proof_replayed",
    "limit_invalid",
    "erased",
    "integrity_failed",
)

ROUTES = (
    Route(
        "POST",
        "tokenize",
        "Values become tokens, all or none; or, with `on_error` = `report`, with errors in their places.",
        lambda call: tokenize(call.cell, call.request, call.body, call.written),
        (ColumnAnswer, ItemsAnswer),
        body=TokenizeBody,
        batch=True,
        sealed=True,
        column="values",
        permission="tokenize:FIELD",
        codes=(
            *_BATCH_CODES,
            "items_mismatch",
            "subject_erased",
            "subject_required",
            "subjects_unenforceable",
            "budget_exhausted",
            "token_space_exhausted",
            "domain_too_small",
            *_VALUE_CODES,
        ),
    ),
    Route(
        "POST",
        "tokenize/check",
        "Which values tokenize would refuse, and why; nothing is made, kept or counted.",
        lambda call: rehearse(call.cell, call.request, call.body),
        CheckAnswer,
        body=CheckBody,
        batch=True,
        unrepeatable="it changes nothing",
        permission="tokenize:FIELD",
        codes=(*_BATCH_CODES, "items_mismatch"),
    ),
    Route(
        "POST",
        "detokenize",
        "Tokens become values or masked values, under a grant.",
        lambda call: detokenize(call.cell, call.request, call.body),
        ValuesAnswer,
        body=DetokenizeBody,
        who=("grant",),
        batch=True,
        codes=(
            *_BATCH_CODES,
            *_GRANT_CODES,
            "token_unknown",
            "key_version_required",
            "key_version_unknown",
            "subjects_unenforceable",
            "items_mismatch",
            "pair_required",
            "domain_too_small",
            *_VALUE_CODES,
        ),
    ),
    Route(
        "POST",
        "verify",
        "Whether a candidate is the value of a token, under a grant; each token can be tried a few times.",
        lambda call: verify(call.cell, call.request, call.body),
        VerifyAnswer,
        body=VerifyBody,
        who=("grant",),
        codes=(
            "field_unknown",
            "operation_unsupported",
            "subject_invalid",
            *_GRANT_CODES,
            "token_unknown",
            "key_version_required",
            "key_version_unknown",
            "subjects_unenforceable",
            "domain_too_small",
            *_VALUE_CODES,
        ),
    ),
    Route(
        "POST",
        "rekey",
        "Vaultless tokens of one key version become tokens of the newest; no value is shown.",
        lambda call: rekey(call.cell, call.request, call.body, call.written),
        RekeyAnswer,
        body=RekeyBody,
        batch=True,
        column="tokens",
        permission="rekey:FIELD",
        codes=(*_BATCH_CODES, "key_version_unknown", "domain_too_small", *_VALUE_CODES),
    ),
    Route(
        "POST",
        "encrypt",
        "Values become ciphertexts that the caller keeps.",
        lambda call: encrypt(call.cell, call.request, call.body),
        CiphertextsAnswer,
        body=EncryptBody,
        batch=True,
        sealed=True,
        permission="encrypt:FIELD",
        codes=(*_BATCH_CODES, "subject_erased", "subject_required", "record_invalid", *_VALUE_CODES),
    ),
    Route(
        "POST",
        "decrypt",
        "Ciphertexts become values or masked values, under a grant.",
        lambda call: decrypt(call.cell, call.request, call.body),
        DecryptAnswer,
        body=DecryptBody,
        who=("grant",),
        batch=True,
        codes=(*_BATCH_CODES, *_GRANT_CODES, "ciphertext_invalid", "record_invalid", "pair_required"),
    ),
)
