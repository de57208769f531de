"""From the path behind `/v1` to a resource: its routes by method, and the ids in the path.

Litestar (2.25) mounts one ASGI application at `/v1`; its own routing gives ASGI handlers no path
parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vault.api.route import Route

_PARAMETER: Final = "{}"


@dataclass(frozen=True, slots=True)
class Resource:
    """One path with its routes.

    Attributes:
        names: `METHOD path` by method, for metrics and logs.
        allow: the Allow header's value.
        parameters: the names of the path's parameters, in order.
    """

    routes: Mapping[str, Route]
    names: Mapping[str, str]
    allow: bytes
    parameters: tuple[str, ...]


class Router:
    """Finds resources.

    Args:
        routes: the table of routes. A path has at most one parameter a segment.

    Attributes:
        plain: the resources whose paths have no parameters, by path.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        by_path: dict[str, list[Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, []).append(route)
        self.plain: dict[str, Resource] = {}
        self._shapes: dict[tuple[str, ...], Resource] = {}
        for path, those in by_path.items():
            segments = path.split("/")
            parameters = tuple(part[1:-1] for part in segments if part.startswith("{"))
            resource = Resource(
                routes={route.method: route for route in those},
                names={route.method: f"{route.method} {path}" for route in those},
                allow=b", ".join(sorted(route.method.encode() for route in those)),
                parameters=parameters,
            )
            if parameters:
                shape = tuple(_PARAMETER if part.startswith("{") else part for part in segments)
                self._shapes[shape] = resource
            else:
                self.plain[path] = resource

    def find(self, path: str) -> tuple[Resource, Mapping[str, str]] | None:
        """The resource of a path behind the region, and its parameters; None if there is none."""
        resource = self.plain.get(path)
        if resource is not None:
            return resource, {}
        segments = path.split("/")
        if not all(segments):
            return None
        for shape, candidate in self._shapes.items():
            if len(shape) == len(segments) and all(
                part in (_PARAMETER, segment) for part, segment in zip(shape, segments, strict=True)
            ):
                values = [
                    segment for part, segment in zip(shape, segments, strict=True) if part == _PARAMETER
                ]
                return candidate, dict(zip(candidate.parameters, values, strict=True))
        return None
