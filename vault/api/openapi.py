"""The OpenAPI 3.1 document and a page to read it, made from the table of routes. Nothing is loaded from
elsewhere: the page is plain HTML without scripts."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

import vault
from vault.api.problems import TYPE_PREFIX
from vault.api.route import Route
from vault.codes import CODES
from vault.services.intake import MEDIA_TYPE

_REF: Final = "#/components/schemas/{name}"
COMMON: Final = (
    "body_malformed",
    "member_unknown",
    "member_duplicate",
    "member_missing",
    "body_too_large",
    "media_type_unsupported",
    "request_timeout",
)
EVERYWHERE: Final = (
    "misdirected_region",
    "request_malformed",
    "proxy_required",
    "parameter_invalid",
    "method_not_allowed",
    "too_busy",
    "database_unavailable",
    "key_unavailable",
    "draining",
    "internal",
)


_MEDIA_TYPES: Final = {False: "application/json", True: "application/x-www-form-urlencoded"}
CREDENTIALS = {"key": "service key", "session": "session", "grant": "grant"}


def credentials_of(route: Route) -> list[str]:
    """The kinds of credential that a route takes: a session wherever a service key is taken."""
    return [name for name in CREDENTIALS if name in route.who or (name == "session" and "key" in route.who)]


def codes_of(route: Route) -> list[str]:
    """All codes that a route may answer with."""
    codes = [*route.codes, *EVERYWHERE]
    if route.who:
        codes += ["credential_missing", "credential_invalid"]
    if "key" in route.who:
        codes += ["permission_denied", "network_denied"]
    if route.who != ("grant",) and route.who:
        codes += ["insufficient_user_authentication"]
    if "grant" in route.who:
        codes += ["grant_invalid"]
    if {"key", "grant"} & set(route.who):  # a keyed grant's proof, or one of an access token
        codes += ["proof_invalid", "proof_expired"]
    if "{" in route.path:
        codes += ["not_found"]
    if route.body is not None:
        codes += COMMON
    if route.sealed:
        codes += ["sealed_invalid"]
    # A route that takes no Idempotency-Key says so to whoever sends one.
    codes += ["idempotency_conflict" if route.repeatable else "operation_unsupported"]
    return sorted(set(codes))


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document."""
    types = [t for route in routes for t in (route.body, route.rows, *_answers(route)) if t is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    _close(components, types)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, by_type)
        paths.setdefault(f"/v1/{{region}}/{route.path}", {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Coatcheck",
            "version": vault.__version__,
            "description": "A value goes in, a ticket comes out, and a grant brings the value back.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _problem_schema()},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "a service key, ck_..."},
                "session": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a session: cs_...",
                },
                "grant": {"type": "http", "scheme": "bearer", "description": "a grant's credential, cg_..."},
                "keyed": {"type": "http", "scheme": "grant", "description": "a keyed grant's id, gr_..."},
                "proof": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "DPoP",
                    "description": "the holder's proof for this request: docs/spec/grant-proof.md",
                },
            },
        },
    }


def _close(components: dict[str, Any], types: Sequence[Any]) -> None:
    """Says of every type that forbids unknown members that it does; msgspec leaves it out."""
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(types))
    seen: set[type[msgspec.Struct]] = set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple):
            waiting += part
        elif isinstance(part, msgspec.inspect.StructType):
            if part.cls not in seen:
                seen.add(part.cls)
                waiting += [field.type for field in part.fields]
        elif isinstance(part, msgspec.inspect.Type):
            waiting += [getattr(part, name) for name in part.__struct_fields__]
    for struct in seen:
        if struct.__struct_config__.forbid_unknown_fields:
            components[struct.__name__]["additionalProperties"] = False


def _answers(route: Route) -> tuple[Any, ...]:
    return route.answer if isinstance(route.answer, tuple) else (route.answer,)


_SCHEMES: Final[dict[str, list[dict[str, list[str]]]]] = {
    "key": [{"key": []}],
    "session": [{"session": []}],
    "grant": [{"grant": []}, {"keyed": [], "proof": []}],
}


def _operation(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ["region", *re.findall(r"{(\w+)}", route.path)]
    ]
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in route.query.items()
    ]
    if route.repeatable:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "For safe retries: within a day, the same request under the same key "
                "is answered again and not done again.",
                "schema": {"type": "string", "pattern": "^[ -~]{1,128}$"},
            }
        )
    answers = [schemas[answer] for answer in _answers(route)]
    answer = answers[0] if len(answers) == 1 else {"anyOf": answers}
    if route.rows is not None:
        rows = {"type": "array", "items": schemas[route.rows]}
        following = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        answer = {
            "type": "object",
            "properties": {"items": rows, "next": following},
            "required": ["items", "next"],
            "additionalProperties": False,
        }
    responses: dict[str, Any] = {
        str(route.status): {
            "description": "Done.",
            "content": {
                "application/json": {"schema": answer},
                **{kind: {"schema": {"type": "string"}} for kind in _texts(route)},
            },
        }
    }
    by_status: dict[str, list[str]] = {}
    for code in codes_of(route):
        by_status.setdefault(str(CODES[code].status), []).append(code)
    if route.batch:
        by_status.setdefault("422", [])
    for status, codes in sorted(by_status.items()):
        responses[status] = {
            "description": "Refused: " + ", ".join(codes),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}_{route.path}").strip("_"),
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
        "security": [scheme for who in credentials_of(route) for scheme in _SCHEMES[who]],
    }
    notes = [f"Permission: `{route.permission}`."] if route.permission else []
    if route.unrepeatable:
        notes.append(f"It takes no Idempotency-Key: {route.unrepeatable}.")
    if notes:
        operation["description"] = " ".join(notes)
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {_MEDIA_TYPES[route.form]: {"schema": schemas[route.body]}},
        }
        if route.sealed:
            operation["requestBody"]["content"][MEDIA_TYPE.decode()] = {"schema": _sealed_schema()}
    return operation


def _texts(route: Route) -> tuple[str, ...]:
    """The media types of a route's answer besides JSON."""
    return ("text/csv", "text/html") if route.printed else ("text/csv",) if route.sheet else ()


def _sealed_schema() -> dict[str, Any]:
    members = {name: {"type": "string"} for name in ("suite", "kid", "enc_ct")}
    return {
        "type": "object",
        "title": "Sealed",
        "description": "The JSON body, sealed to the key of `intake-key`.",
        "properties": members,
        "required": [*members],
        "additionalProperties": False,
    }


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "title": "Problem",
        "description": "RFC 9457. Further members are facts of the code.",
        "properties": {
            "type": {"type": "string", "enum": [TYPE_PREFIX + code for code in sorted(CODES)]},
            "code": {"type": "string", "enum": sorted(CODES)},
            "title": text,
            "status": {"type": "integer"},
            "retry": {"type": "string", "enum": sorted({row.retry for row in CODES.values()})},
            "request": text,
        },
        "required": ["type", "code", "title", "status", "retry", "request"],
    }


def page(routes: Sequence[Route]) -> str:
    """The document as a page."""
    rows = []
    for route in routes:
        who = " or ".join(CREDENTIALS[name] for name in credentials_of(route)) or "none"
        codes = ", ".join(f"<code>{html.escape(code)}</code>" for code in codes_of(route))
        rows.append(
            f"<section><h2><code>{route.method} /v1/{{region}}/{html.escape(route.path)}</code></h2>"
            f"<p>{html.escape(route.summary)}</p>"
            f"<p>Credential: {who}. Permission: <code>{html.escape(route.permission or 'none')}</code></p>"
            f"<p>Refusals: {codes}</p></section>"
        )
    style = "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}h2{font-size:1rem}"
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Coatcheck API</title>"
        f"<style>{style}</style></head><body><h1>Coatcheck API {vault.__version__}</h1>"
        '<p>Machine-readable: <a href="/openapi.json">openapi.json</a></p>' + "".join(rows) + "</body></html>"
    )
