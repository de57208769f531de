"""A validator for the part of JSON Schema (2020-12) that the OpenAPI document uses; more is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NOTES: Final = {"title", "description", "default", "examples", "$ref"}
_CHECKED: Final = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "oneOf",
    "minimum", "maximum", "minLength", "maxLength", "pattern", "prefixItems", "maxItems", "minItems",
}  # fmt: skip


class Validator:
    """Validates against schemas of one document.

    Args:
        document: where `#/...` references lead.
    """

    def __init__(self, document: Any) -> None:
        self._document = document

    def resolve(self, reference: str) -> Any:
        """What a reference leads to.

        Raises:
            KeyError: nowhere.
        """
        place = self._document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part.replace("~1", "/").replace("~0", "~")]
        return place

    def faults(self, schema: Any, value: Any, place: str = "$") -> Iterator[str]:
        """Where a value is not what a schema says."""
        if schema in (True, {}):
            return
        if "$ref" in schema:
            yield from self.faults(self.resolve(schema["$ref"]), value, place)
        unknown = schema.keys() - _CHECKED - _NOTES
        assert not unknown, f"keywords that are not checked: {unknown}"
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                fitting = sum(not list(self.faults(option, value, place)) for option in schema[keyword])
                if fitting == 0 or (keyword == "oneOf" and fitting > 1):
                    yield f"{place}: fits {fitting} of {keyword}"
        yield from self._scalars(schema, value, place)
        if isinstance(value, dict):
            yield from self._members(schema, value, place)
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.faults(schema.get("items", {}), item, f"{place}[{index}]")

    def _scalars(self, schema: Any, value: Any, place: str) -> Iterator[str]:
        kinds = schema.get("type")
        if kinds is not None:
            names = [kinds] if isinstance(kinds, str) else kinds
            if not any(isinstance(value, _TYPES[name]) for name in names) or (
                isinstance(value, bool) and "boolean" not in names
            ):
                yield f"{place}: is not of type {kinds}"
        if "enum" in schema and value not in schema["enum"]:
            yield f"{place}: is not one of the enum"
        if "const" in schema and value != schema["const"]:
            yield f"{place}: is not the constant"
        number = isinstance(value, int) and not isinstance(value, bool)
        if number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{place}: is out of bounds"
        if isinstance(value, str):
            if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
                yield f"{place}: has another length"
            if "pattern" in schema and re.search(schema["pattern"], value) is None:
                yield f"{place}: does not match"

    def _members(self, schema: Any, value: dict[str, Any], place: str) -> Iterator[str]:
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{place}: lacks {name}"
        for name, member in value.items():
            inner = properties.get(name, schema.get("additionalProperties", {}))
            if inner is False:
                yield f"{place}: has {name}"
            else:
                yield from self.faults(inner, member, f"{place}.{name}")
