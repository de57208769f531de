"""A plot of the batch benchmark: values a second by size of the batch, both axes logarithmic, as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Final

WIDTH: Final = 760
HEIGHT: Final = 420
LEFT: Final = 70
RIGHT: Final = 230
TOP: Final = 40
BOTTOM: Final = 50
COLOURS: Final = ("#1b6ca8", "#c4572e", "#3a7d44", "#7a4fa3")
GREY: Final = "#555"


def plot(title: str, ours: Mapping[str, Sequence[tuple[int, float]]], levels: Mapping[str, float]) -> str:
    """The picture.

    Args:
        ours: by what is tokenized: (values of a batch, values a second).
        levels: by name, what takes one value at a time: values a second.
    """
    sizes = [size for line in ours.values() for size, _ in line]
    rates = [rate for line in ours.values() for _, rate in line] + list(levels.values())
    decades = (0, math.ceil(math.log10(max(sizes))))
    powers = (math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates))))

    def x(size: float) -> float:
        return LEFT + math.log10(size) / decades[1] * (WIDTH - LEFT - RIGHT)

    def y(rate: float) -> float:
        share = (math.log10(rate) - powers[0]) / (powers[1] - powers[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, title, weight="bold"),
    ]
    for power in range(powers[0], powers[1] + 1):
        at = y(10**power)
        parts.append(_line(LEFT, at, WIDTH - RIGHT, at, "#ddd"))
        parts.append(_text(LEFT - 8, at + 4, _short(10**power), "end"))
    for power in range(decades[1] + 1):
        at = x(10**power)
        parts.append(_text(at, HEIGHT - BOTTOM + 18, _short(10**power), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "values of a batch", "middle"))
    labels = []
    for name, rate in levels.items():
        parts.append(_line(LEFT, y(rate), WIDTH - RIGHT, y(rate), GREY, "4 3"))
        labels.append((y(rate), name, GREY))
    for (name, points), colour in zip(ours.items(), COLOURS, strict=False):
        path = " ".join(f"{x(size):.1f},{y(rate):.1f}" for size, rate in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        labels.append((y(points[-1][1]), name, colour))
    free = 0.0
    for at, name, colour in sorted(labels):
        free = max(at, free + 15)
        parts.append(_text(WIDTH - RIGHT + 8, free + 4, name, colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", colour: str = "#222", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">'
        f"{html.escape(text)}</text>"
    )


def _short(number: int) -> str:
    for factor, sign in ((10**6, "M"), (10**3, "k")):
        if number >= factor:
            return f"{number // factor}{sign}"
    return str(number)
