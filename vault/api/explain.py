"""Explaining templates and fields."""

from __future__ import annotations

from vault.api.route import Call, Route, number
from vault.schema.explain import Explanation
from vault.services.explain import TemplateQuestion, explain_field, explain_template


def _question(call: Call) -> TemplateQuestion:
    return TemplateQuestion(
        parameters=call.query.get("parameters"),
        protection=call.query.get("protection"),
        surrogate=call.query.get("surrogate"),
        max_rows=number(call.query, "max_rows"),
        per_day=number(call.query, "per_day"),
    )


ROUTES = (
    Route(
        "GET",
        "templates/{name}/explain",
        "A template of the catalogue: domain, chances of a guess, what stays visible, advice.",
        lambda call: explain_template(call.cell, call.request, call.path["name"], _question(call)),
        Explanation,
        slow=True,
        query={
            "parameters": "the template's, as they stand in its spelling: `keep_first=6,keep_last=4`",
            "protection": "`vaultless`, `vaulted` or `encrypted`; without it the one that is advised",
            "surrogate": "the spelling of the surrogates that tokens would be",
            "max_rows": "how many of them there would be",
            "per_day": "a budget of values a day",
        },
        codes=("not_found", "template_invalid"),
    ),
    Route(
        "GET",
        "fields/{name}/explain",
        "The same of a field, under the protection and budget that it has.",
        lambda call: explain_field(call.cell, call.request, call.path["name"]),
        Explanation,
        slow=True,
        codes=("not_found",),
    ),
)
