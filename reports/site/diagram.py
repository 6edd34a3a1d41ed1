"""The accelerator as a diagram: its blocks by stage and the streams between them, read from the RTL's own wiring."""

from __future__ import annotations

import gc
import html
import warnings
from collections.abc import Mapping

from amaranth.hdl import Fragment, Module, UnusedElaboratable, Value
from amaranth.lib import wiring

from nerf.contract.config import AcceleratorConfig
from rtl.accelerator import Accelerator

STAGES = ("control", "samples", "factors", "shading", "memory")
WIDTH, BOX, LANE, MARGIN = 1000, 34, 116, 30
"""Of the drawing: its width, the height of a block, the height of a stage, the space left of it."""


class Shell(wiring.Component):
    """The ports of a block and nothing inside."""

    def elaborate(self, platform) -> Module:
        """Return nothing."""
        return Module()


class Wiring(Accelerator):
    """The accelerator with shells in place of its blocks, whose ``stages`` it keeps by name."""

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        self.stages: dict[str, str] = {}
        self.shells: dict[str, Shell] = {}

    def block(self, name: str, component: wiring.Component) -> Shell:
        """Return the shell of a block."""
        stage = type(component).__module__.split(".")[1]
        self.stages[name] = stage if stage in STAGES else "factors"
        self.shells[name] = Shell(component.signature)
        return self.shells[name]


def streams(config: AcceleratorConfig) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Return the stage of each block by name, and the streams: from, to, and the port where each ends."""
    top = Wiring(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)  # Of the blocks that shells stand for.
        fragment = Fragment.get(top, None)
        gc.collect()
    ports: dict[int, tuple[str, str]] = {}
    for name, shell in top.shells.items():
        for path, _, value in shell.signature.flatten(shell):
            if path[-1] == "valid":
                port = ".".join(str(part) for part in path[:-1])
                ports |= {id(signal): (name, port) for signal in Value.cast(value)._rhs_signals()}
    found = set()
    for statement in fragment.statements["comb"]:
        ends, starts = (
            [ports[id(signal)] for signal in signals if id(signal) in ports]
            for signals in (statement._lhs_signals(), statement._rhs_signals())
        )
        found |= {(start, end, port) for end, port in ends for start, _ in starts if start != end}
    return top.stages, sorted(found)


def diagram(config: AcceleratorConfig, busy: Mapping[str, float]) -> str:
    """Return the diagram as SVG.

    Parameters
    ----------
    config : AcceleratorConfig
    busy : mapping
        Share of a frame's cycles in which a block is busy, by name, 0..1; a block that is not there stays pale.
    """
    stages, found = streams(config)
    lanes = {stage: [name for name, its in stages.items() if its == stage] for stage in STAGES}
    place: dict[str, tuple[float, float, float]] = {}
    rows, y, parts = 5, 0.0, []
    for stage, names in lanes.items():
        lines = [names[start : start + rows] for start in range(0, len(names), rows)]
        parts.append(f'<text class="stage" x="4" y="{y + 16}">{stage}</text>')
        for line in lines:
            step = (WIDTH - MARGIN) / len(line)
            for column, name in enumerate(line):
                width = min(step - 24, 170)
                place[name] = (MARGIN + (column + 0.5) * step, y + 28 + BOX / 2, width)
            y += LANE - 40
        y += 40
    edges = [_edge(place[start], place[end], f"{start} to {end}.{port}") for start, end, port in found]
    boxes = [_box(name, *place[name], busy.get(name)) for name in place]
    style = (
        "<style>.edge{fill:none;stroke:currentColor;stroke-opacity:.28;stroke-width:1.4}.edge:hover{stroke-opacity:1;"
        "stroke-width:3}.box{stroke:currentColor;stroke-opacity:.5}.name{font-size:13px;text-anchor:middle}"
        ".stage{font-size:13px;font-style:italic;opacity:.6}.ground{fill:var(--paper,#fff)}"
        ".far{stroke-dasharray:3 4}</style>"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 Z" fill="currentColor" fill-opacity=".5"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" fill="currentColor">{style}'
        + "".join([*parts, *edges, *boxes])
        + "</svg>"
    )


def _box(name: str, x: float, y: float, width: float, share: float | None) -> str:
    fill = f"hsl(168 60% 42% / {0.06 + 0.74 * (share or 0):.2f})"
    told = html.escape(name if share is None else f"{name}: busy {share:.1%}")
    place = f'x="{x - width / 2:.1f}" y="{y - BOX / 2:.1f}" width="{width:.1f}" height="{BOX}" rx="6"'
    return (
        f'<g><title>{told}</title><rect class="ground" {place}/><rect class="box" {place} fill="{fill}"/>'
        f'<text class="name" x="{x:.1f}" y="{y + 4.5:.1f}">{name.replace("_", " ")}</text></g>'
    )


def _edge(start: tuple[float, float, float], end: tuple[float, float, float], told: str) -> str:
    """A curve from a block to another, from the sides that face each other."""
    (x, y, width), (to_x, to_y, to_width) = start, end
    if abs(y - to_y) < 1:
        way = 1 if to_x > x else -1
        points = [(x + way * width / 2, y), (to_x - way * to_width / 2, to_y)]
        bend = 0.0 if abs(to_x - x) < 230 else -30.0
        controls = [(points[0][0] + way * 20, y + bend), (points[1][0] - way * 20, to_y + bend)]
    else:
        way = 1 if to_y > y else -1
        points = [(x, y + way * BOX / 2), (to_x, to_y - way * BOX / 2)]
        controls = [(x, y + way * 45), (to_x, to_y - way * 45)]
    (a, b), (c, d), (e, f), (g, h) = points[0], *controls, points[1]
    curve = f"M{a:.0f} {b:.0f} C{c:.0f} {d:.0f} {e:.0f} {f:.0f} {g:.0f} {h:.0f}"
    far = " far" if abs(y - to_y) > 2 * LANE else ""
    return f'<path class="edge{far}" d="{curve}" marker-end="url(#tip)"><title>{html.escape(told)}</title></path>'
