"""tokenize and detokenize."""

from __future__ import annotations

from vault.api.route import Route
from vault.services.detokenize import DetokenizeBody, ValuesAnswer, detokenize
from vault.services.tokenize import ColumnAnswer, ItemsAnswer, TokenizeBody, tokenize

_VALUE_CODES = (
    "value_empty",
    "value_length",
    "value_alphabet",
    "value_checksum",
    "value_format",
    "domain_too_small",
)

ROUTES = (
    Route(
        "POST",
        "tokenize",
        "Values become tokens, all or none.",
        lambda call: tokenize(call.cell, call.request, call.body),
        (ColumnAnswer, ItemsAnswer),
        body=TokenizeBody,
        batch=True,
        unrepeatable="not built yet",
        permission="tokenize:FIELD",
        codes=(
            "field_unknown",
            "items_mismatch",
            "batch_too_large",
            "subject_required",
            "subject_invalid",
            "subjects_unenforceable",
            *_VALUE_CODES,
        ),
    ),
    Route(
        "POST",
        "detokenize",
        "Tokens become values or masked values, under a grant, all or none.",
        lambda call: detokenize(call.cell, call.request, call.body),
        ValuesAnswer,
        body=DetokenizeBody,
        who=("grant",),
        batch=True,
        unrepeatable="not built yet",
        codes=(
            "grant_invalid",
            "budget_exhausted",
            "scope_denied",
            "purpose_mismatch",
            "outside_window",
            "operation_unsupported",
            "token_unknown",
            "key_version_required",
            "key_version_unknown",
            "erased",
            "subject_invalid",
            "subjects_unenforceable",
            "items_mismatch",
            "batch_too_large",
            "integrity_failed",
            *_VALUE_CODES,
        ),
    ),
)
