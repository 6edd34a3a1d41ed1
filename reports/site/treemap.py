"""Parts of a whole as rectangles of their areas."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 1000, 460
LETTER, LINE = 7.2, 17
"""Of the labels: the width of a letter and the height of a line."""
HUES = 168, 205, 34, 265, 8, 90
"""One after the other, in degrees; every round is paler."""


def treemap(parts: Mapping[str, float], unit: str) -> str:
    """Return parts of a whole as SVG, the largest first; each says what it is, in its place or where the pointer is."""
    whole = sum(parts.values())
    order = sorted(((value, name) for name, value in parts.items() if value > 0), reverse=True)
    style = (
        "<style>.part{stroke:var(--paper,#fff);stroke-width:2}.part:hover{fill-opacity:1}.label{font-size:13px}</style>"
    )
    boxes = zip(order, tiles(order), strict=True)
    drawn = [_part(place, *one, whole, unit, box) for place, (one, box) in enumerate(boxes)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 24}" fill="currentColor">{style}'
        f'<text class="label" x="1" y="14">{_number(whole)} {html.escape(unit)} in all</text>'
        f'<g transform="translate(0 24)">{"".join(drawn)}</g></svg>'
    )


def _number(value: float) -> str:
    """At least three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _part(place: int, value: float, name: str, whole: float, unit: str, box: tuple[float, float, float, float]) -> str:
    x, y, width, height = box[0] * WIDTH, box[1] * HEIGHT, box[2] * WIDTH, box[3] * HEIGHT
    room = max(int((width - 8) / LETTER), 1)
    lines = textwrap.wrap(f"{name.replace('_', ' ')} {value / whole:.1%}", room, break_long_words=False)
    fits = max(map(len, lines)) <= room and len(lines) * LINE < height - 4
    top = y + (height - LINE * len(lines)) / 2 + 13
    label = "".join(
        f'<tspan x="{x + width / 2:.1f}" y="{top + LINE * at:.1f}">{html.escape(line)}</tspan>'
        for at, line in enumerate(lines if fits else [])
    )
    told = html.escape(f"{name}: {_number(value)} {unit}, {value / whole:.1%}")
    opacity = max(0.62 - 0.13 * (place // len(HUES)), 0.2)
    fill = f"hsl({HUES[place % len(HUES)]} 45% 52% / {opacity:.2f})"
    return (
        f'<g><title>{told}</title><rect class="part" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{fill}"/><text class="label" text-anchor="middle">{label}</text></g>'
    )


def tiles(parts: Sequence[tuple[float, str]]) -> list[tuple[float, float, float, float]]:
    """Return rectangles (x, y, width, height) that fill the unit square by the sizes of parts, the largest first."""
    found = [(0.0, 0.0, 0.0, 0.0)] * len(parts)
    pending = [(range(len(parts)), (0.0, 0.0, 1.0, 1.0))]
    while pending:
        place, (x, y, width, height) = pending.pop()
        sizes = [parts[index][0] for index in place]
        if len(sizes) <= 1:
            for index in place:
                found[index] = (x, y, width, height)
            continue
        # Cut across the longer side, where the halves are nearest to equal.
        cut = min(range(1, len(sizes)), key=lambda index: abs(2 * sum(sizes[:index]) - sum(sizes)))
        share = sum(sizes[:cut]) / sum(sizes)
        if width >= height:
            halves = (x, y, width * share, height), (x + width * share, y, width * (1 - share), height)
        else:
            halves = (x, y, width, height * share), (x, y + height * share, width, height * (1 - share))
        pending += [(place[:cut], halves[0]), (place[cut:], halves[1])]
    return found
