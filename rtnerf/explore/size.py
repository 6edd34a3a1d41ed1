"""The smallest queues and buffers that keep the cycles of some frames, or lose at most a share of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nerf.contract.config import POWERS, AcceleratorConfig
from rtnerf.explore.evaluate import frames_of
from rtnerf.explore.points import Point
from rtnerf.physical.inventory import macros_mm2, on_chip_bytes

QUEUES = (
    "tiles", "sample_queue", "payload_queue", "buffer_window", "density_window_scale", "row_queue", "list_queue",
    "record_queue", "ray_queue", "lane_queue", "cube_queue", "header_queue", "job_queue", "write_bursts",
)  # fmt: skip
"""Fields of a configuration that decide how far blocks run ahead, and change no pixel."""

Tell = Callable[[int, int, str], None]
"""Takes the number of queues done, of all, and the last one's name."""


@dataclass(frozen=True)
class Sizing:
    """A configuration before and after.

    Parameters
    ----------
    before, after : AcceleratorConfig
    views : tuple of int
    cycles_before, cycles_after : list of int
        Of each view.
    simulations : int
        That it took.
    """

    before: AcceleratorConfig
    after: AcceleratorConfig
    views: tuple[int, ...]
    cycles_before: list[int]
    cycles_after: list[int]
    simulations: int

    def record(self) -> dict[str, Any]:
        """What a result file says of it."""
        sizes = {name: [getattr(config, name) for config in (self.before, self.after)] for name in QUEUES}
        return {
            "views": self.views,
            "cycles_before": self.cycles_before,
            "cycles_after": self.cycles_after,
            "queues": sizes,
            "config_parameters": asdict(self.after),
            "config_digest": self.after.digest,
            "on_chip_bytes": [on_chip_bytes(config) for config in (self.before, self.after)],
            "memory_mm2": [macros_mm2(config) for config in (self.before, self.after)],
            "simulations": self.simulations,
        }


def size_queues(point: Point, loss: float, tell: Tell) -> Sizing:
    """Find the smallest queues of a point, one after the other, those with the most bytes first.

    Of each the smallest depth is tried, then by halves what lies between; what is kept has been simulated with all that
    was chosen before. A configuration that needs another cycle than allowed is given up in that cycle.

    Parameters
    ----------
    point : Point
        Its views are those whose cycles are kept.
    loss : float
        Share of a view's cycles that may be lost, 0: none.
    """
    frames = list(frames_of(point))
    cycles = before = [frame.cycles for frame in frames]
    limits = [int(count * (1 + loss)) for count in before]
    simulations = len(frames)
    order = sorted(QUEUES, key=lambda name: on_chip_bytes(_with(point.config, name, POWERS[name][0])))
    config = point.config
    for number, name in enumerate(order):
        tell(number, len(order), name)
        low, high = POWERS[name][0], getattr(config, name)
        middle = low
        while low < high:
            found = _within(replace(point, config=_with(config, name, middle)), limits)
            simulations += len(point.subject.views)
            if found is None:
                low = 2 * middle
            else:
                cycles, high, config = found, middle, _with(config, name, middle)
            middle = _between(low, high)
    tell(len(order), len(order), "")
    return Sizing(point.config, config, point.subject.views, before, cycles, simulations)


def check(point: Point, config: AcceleratorConfig, views: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (view, cycles, cycles in another configuration) of some views."""
    others = replace(point, subject=replace(point.subject, views=tuple(views)))
    pairs = zip(frames_of(others), frames_of(replace(others, config=config)), strict=True)
    return [(view, one.cycles, other.cycles) for view, (one, other) in zip(views, pairs, strict=True)]


def _within(point: Point, limits: list[int]) -> list[int] | None:
    """Return the cycles of the views of a point, or None where one takes more than its limit."""
    found = []
    # The end is the first cycle that is not simulated; the start counts for none.
    for frame, limit in zip(frames_of(point, (limit + 2 for limit in limits)), limits, strict=True):
        if frame.cycles > limit:
            return None
        found.append(frame.cycles)
    return found


def _with(config: AcceleratorConfig, name: str, value: int) -> AcceleratorConfig:
    values: dict[str, Any] = {name: value}
    return replace(config, **values)


def _between(low: int, high: int) -> int:
    """Return the power of two in the middle of two."""
    return 1 << (low.bit_length() + high.bit_length() - 2) // 2
