"""The table of codes: for each a status, an exit class, a sentence and a next step.

A code is interface: it is the RFC 9457 `type` of a problem document, the code in an audit event, the
word that the command line prints, and a row of the reference. Codes are never renamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """Exit classes of the command line."""

    OK = 0
    USAGE = 2
    BAD_INPUT = 3
    NOT_AUTHENTICATED = 4
    DENIED = 5
    UNKNOWN = 6
    CONFLICT = 7
    PARTIAL = 8
    UNAVAILABLE = 9
    INTEGRITY = 10
    CONFIG = 11
    INTERNAL = 70


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table of codes."""

    status: int  # HTTP status; 0 = never leaves the host
    exit: Exit
    sentence: str
    # never | after_seconds | with_new_grant | after_approval | after_step_up | elsewhere
    retry: str = "never"
    hint: str = ""


def _rows(status: int, exit_: Exit, /, retry: str = "never", **sentences: str) -> dict[str, Code]:
    rows = {}
    for code, text in sentences.items():
        sentence, _, hint = text.partition(" | ")
        rows[code] = Code(status, exit_, sentence, retry, hint)
    return rows


CODES: Final[dict[str, Code]] = {
    # what a caller sent
    **_rows(
        400,
        Exit.BAD_INPUT,
        body_malformed="The body is not what this route takes. | `pointer` names the place, if there is one.",
        member_unknown="The body has a member that this route does not know.",
        member_duplicate="The body names a member twice.",
        member_missing="The body lacks a member that this route needs.",
        parameter_invalid="A parameter of the query or the head is unknown, repeated or out of range.",
        request_malformed="The request is not HTTP/1.1 that this service takes.",
        grant_type_unsupported="That grant type is not one of the token endpoint's.",
        scope_invalid="The scope is not permissions that the client holds.",
        target_invalid="A token for that resource is not to be had here.",
        assertion_invalid="The subject token or the actor token is none that is taken here.",
        details_invalid="`authorization_details` is one entry of the type `coatcheck_grant`.",
    ),
    **_rows(408, Exit.BAD_INPUT, request_timeout="The request took too long to arrive."),
    **_rows(
        413,
        Exit.BAD_INPUT,
        body_too_large="The body is larger than this route takes. | See [limits] in coatcheck.toml.",
        batch_too_large="The batch has more items than this service takes at once. | Split the batch.",
    ),
    **_rows(
        422,
        Exit.BAD_INPUT,
        field_unknown="There is no such field in this tenant's schema. | GET fields lists them.",
        operation_unsupported="That operation or setting is not available here.",
        value_empty="The value is empty.",
        value_length="The value has a length that the field's template does not take.",
        value_alphabet="The value has a character that the field's template does not take.",
        value_checksum="The value's check digit is wrong.",
        value_format="The value does not have the shape of the field's template.",
        value_calendar="The value is not a date of the calendar.",
        value_script="The value mixes scripts or uses one that the field does not take.",
        domain_too_small=(
            "Too few values have this shape for format-preserving encryption to hide one among them."
        ),
        token_space_exhausted="The field's surrogates are used up.",
        subject_required="The field needs a data subject.",
        record_required="The field needs a record.",
        key_version_required="The token must be presented with the key_version that tokenize returned.",
        key_version_unknown="The field has no key of that version.",
        purpose_required="A purpose must be named.",
        subject_invalid="A subject is 1 to 256 bytes of UTF-8 in NFC, without control characters.",
        file_malformed="The file is not one of records with the same fields, in UTF-8.",
        record_invalid="A record is 1 to 256 bytes of UTF-8, without control characters.",
        items_mismatch="Lists that belong together differ in length.",
        pair_required="`equals` compares two tokens of one field.",
        name_invalid="A name does not have the form that names have here.",
        event_unknown="No retention class of the schema counts from that event.",
        purpose_unknown="There is no such purpose in this tenant's schema.",
        agent_unknown="There is no such agent in this tenant.",
        validity_invalid="The period of validity is empty, in the past or out of bounds.",
        limit_invalid="A limit is out of bounds.",
        permission_unknown="There is no such permission or role.",
        sealed_invalid="The sealed body cannot be opened. | It is for one key, region, route and principal.",
        holder_unknown="The grant is bound to no valid key of its agent. | `agent keys` lists them.",
        subjects_unenforceable=(
            "Nothing ties this field's tokens to a person, as limits to subjects and accounting need."
        ),
        widening_refused="A grant can be narrowed, never widened.",
        schema_refused="The schema cannot be applied. | `refusals` says why, one line each.",
        policy_refused="The policies cannot be applied. | `refusals` says why, one line each.",
        review_involved=(
            "The reviewer, and the deputy too, gave or has some of what is to be reviewed. | "
            "Name a deputy who did neither, or review less."
        ),
        reviewer_unfit="That is nobody who may review: it needs the permission `review:decide`.",
        duties_conflict=(
            "Nobody holds both of these: whoever has keys made or destroyed does not decide who sees data."
        ),
        retention_unkeepable="The field's protection cannot keep its retention class.",
        transfer_unsupported="It cannot be done here. | It needs that cell, or `region.REGION.key`.",
        region_refused="The other region refused the transfer, for a reason that is not known here.",
        template_invalid="The template does not exist or its parameters are wrong.",
        password_unfit="A password has 12 to 256 characters, and none that cannot be typed.",
        password_foreseen=(
            "The password is one of those that are tried first. | "
            "Take several words, or one from a password manager."
        ),
        code_invalid="The code is not the one of this moment. | See that the device has the right time.",
        passkey_invalid="The passkey's answer cannot be taken. | Ask for new options, then try again.",
        passkeys_unavailable=(
            "Passkeys need to know the address that browsers use. | See [identities] in coatcheck.toml."
        ),
    ),
    # who the caller is
    **_rows(
        401,
        Exit.NOT_AUTHENTICATED,
        credential_missing="A credential is needed.",
        credential_invalid="The credential is not valid.",
        login_refused="Name, password and code are not right together.",
    ),
    **_rows(
        401,
        Exit.NOT_AUTHENTICATED,
        retry="after_step_up",
        insufficient_user_authentication=(
            "That needs a person who has just proved a second factor. | "
            "`coatcheck login` again, or POST sessions/step-up."
        ),
    ),
    **_rows(
        401,
        Exit.NOT_AUTHENTICATED,
        retry="with_new_grant",
        grant_invalid="The grant is not valid: unknown, expired or revoked.",
        proof_invalid="The proof is not one for this request by the grant's holder.",
        proof_expired="The proof is too old, or was made later than now. | Make one for each request.",
    ),
    # what the caller may do
    **_rows(
        403,
        Exit.DENIED,
        permission_denied="The caller lacks the permission for this.",
        scope_denied="The grant does not cover this.",
        policy_denied=(
            "A policy of the tenant refuses this. | `policies` names those that do; none: nothing permits it."
        ),
        review_denied="Nobody reviews what it gave or has; another decides on this item.",
        purpose_mismatch="The purpose is not the grant's.",
        outside_window="The grant is not valid at this time.",
        network_denied="The credential may not be used from this address.",
        delegation_denied="The grantor may not give this: it is out of bounds, or the chain is broken.",
        plain_delivery_denied="Plain delivery is not allowed for this purpose.",
        self_approval="Nobody grants to itself, or approves what is its own.",
        approval_denied="A person was asked to approve this, and has denied it.",
        residency_refused=(
            "The value may not leave its region for that one. | Both the cell and the field's schema name "
            "the regions that values may be transferred into."
        ),
        proxy_required="This listener answers its proxies only. | See [listen] in coatcheck.toml.",
    ),
    **_rows(
        403,
        Exit.DENIED,
        retry="with_new_grant",
        budget_exhausted="The budget does not cover this request.",
    ),
    **_rows(
        423,
        Exit.DENIED,
        retry="after_seconds",
        grant_suspended="The grant is suspended. | Only a person can let it go on.",
    ),
    **_rows(
        403,
        Exit.DENIED,
        retry="after_approval",
        approval_required=(
            "A person must approve this. | Ask somebody to open the link in `approval`, and do not ask again "
            "before they have answered."
        ),
    ),
    # what there is
    **_rows(
        404,
        Exit.UNKNOWN,
        token_unknown="There is no such token here.",
        not_found="There is no such thing here.",
    ),
    **_rows(410, Exit.UNKNOWN, erased="The value has been erased."),
    **_rows(405, Exit.BAD_INPUT, method_not_allowed="The method is not allowed here."),
    **_rows(406, Exit.BAD_INPUT, not_acceptable="Answers are application/json."),
    **_rows(
        415,
        Exit.BAD_INPUT,
        media_type_unsupported="Bodies are application/json. | Send `Content-Type: application/json`.",
    ),
    **_rows(
        409,
        Exit.CONFLICT,
        name_taken="That name is in use.",
        proof_replayed="The proof was used before. | Make a new proof for each request, with a new `jti`.",
        idempotency_conflict=(
            "The Idempotency-Key was used for another request. | Take a new key for a new request."
        ),
        job_differs=(
            "Another job to this output was begun and has not ended. | Finish it, or remove what it left."
        ),
        key_in_use="Something still needs the key. | The facts say what.",
        key_lasts=(
            "A key of that kind is never rotated while something that it made lives. | "
            "It goes with what it made: with the field's rows, or when its due period ends."
        ),
        grant_ended="The grant has ended: it was revoked, or its time is over.",
        version_conflict="The thing changed meanwhile. | Read it again, then repeat.",
        job_running=(
            "A job of that kind is under way, or was begun and has not ended. | "
            "`coatcheck jobs list` shows it; wait for it, or resume it."
        ),
        subject_erased=(
            "The person was erased, and nothing is kept of them any more. | "
            "`coatcheck subject reopen` lets them be entered anew, with a reason."
        ),
        hold_active="A legal hold is in force. | `held_by` names it; it ends when it is released.",
        last_admin="Nobody would be left who can create principals.",
        review_over="The item was decided, or the review's time is over.",
        plan_changed="The plan is not the one that was shown. | Plan again, then apply with its digest.",
    ),
    **_rows(
        421,
        Exit.UNAVAILABLE,
        retry="elsewhere",
        misdirected_region="This service does not host that region. | Ask the service at `url`, if one is "
        "named, with a credential of that region; nothing was passed on to it.",
    ),
    # what fails around us
    **_rows(
        429,
        Exit.UNAVAILABLE,
        retry="after_seconds",
        rate_limited=(
            "Too much was asked in too short a time. | `retry_after` says how long to wait; a passkey is "
            "never made to wait."
        ),
    ),
    **_rows(
        503,
        Exit.UNAVAILABLE,
        retry="after_seconds",
        too_busy="Too much is going on. | Try again in a moment.",
        key_unavailable="The key store cannot be reached.",
        database_unavailable="The database cannot be reached or cannot write.",
        database_right_missing="The service lacks a right in the database. | The log names the table; "
        "docs/how-to/run-on-postgresql.md has the rights that a service needs.",
        outcome_unknown="The database went away during the commit; whether it took place is not known. | "
        "Ask again with the same Idempotency-Key, or look before asking again.",
        audit_unavailable="The audit log cannot be written, so nothing was done.",
        draining="The service is shutting down.",
        directory_unavailable="The directory cannot be reached. | Tokens and values do not need it.",
        region_unavailable="The other region cannot be reached. | The transfer waits and goes on.",
        issuer_unavailable="The keys of the token's issuer cannot be read.",
    ),
    **_rows(422, Exit.INTEGRITY, ciphertext_invalid="The ciphertext cannot be opened here."),
    **_rows(
        500,
        Exit.INTEGRITY,
        integrity_failed="Stored data is not what was written. | Run `coatcheck audit verify`.",
    ),
    **_rows(500, Exit.INTERNAL, internal="Something went wrong here; it is logged under the request's id."),
    # the host
    **_rows(
        0,
        Exit.CONFIG,
        config_invalid="The configuration is not valid.",
        extra_missing="This needs an optional part. | Install it: `pip install 'coatcheck[EXTRA]'`.",
        migration_required="The database has another version than this program.",
        host_permissions="A file or folder on this host cannot be used as it is.",
        not_initialised="There is no cell here yet. | Run `coatcheck init` first.",
        already_initialised="There is a cell here already. | Nothing was changed.",
        no_backup="There is no whole backup of this cell in that folder.",
    ),
    **_rows(
        0,
        Exit.CONFLICT,
        cell_locked="Another process holds the cell.",
        cell_incomplete=(
            "A restore or a copy into this cell has not ended. | Run the same command again; it goes on."
        ),
        cases_wrong="Cases came out otherwise than they expect.",
        source_changed=(
            "What is loaded into this cell is not what it was begun with. | "
            "`--again` empties it and begins anew."
        ),
        values_not_kept=(
            "The request was done before, and its values are not given again. | "
            "Ask under another Idempotency-Key; that is another use."
        ),
    ),
    **_rows(0, Exit.UNAVAILABLE, address_in_use="The address is in use."),
    **_rows(0, Exit.UNAVAILABLE, service_unreachable="The service cannot be reached."),
    **_rows(0, Exit.USAGE, usage="The command was not understood."),
    **_rows(
        0,
        Exit.INTEGRITY,
        audit_broken="The audit log is not intact.",
        erasure_refuted="An attack recovered what it should not have, or a control failed.",
        certificate_invalid="The certificate cannot be relied on. | `reason` says why.",
        backup_invalid="The backup cannot be used; nothing was changed. | `reason` says why.",
        copy_differs="The copy is not what the source holds. | `--again` empties it and begins anew.",
    ),
}
