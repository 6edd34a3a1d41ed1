"""Samples in both languages, and strobes as streams, for the tests of the blocks between samples and pixels."""

import random
from collections import deque
from collections.abc import Callable

import numpy as np

from nerf.golden.sample_generator import CUBE_SHIFT
from rtl.payloads import AXES
from sim.parts.streams import new, stream
from tests.rtl.shading.helpers_shading import fields, samples_in

LOCAL_SHIFT = 8
"""Position bits below those of a sample's place in its cube."""
MORE_STALLS = ((0.9, 0.1), (0.1, 0.9))


def position(cube: dict[str, int], local: dict[str, int]) -> tuple[int, ...]:
    """Return the grid position of a place in a cube."""
    return tuple((cube[axis] << CUBE_SHIFT) + (local[axis] << LOCAL_SHIFT) for axis in AXES)


def sample_fields(sample, value: str | None = None) -> tuple[int, ...]:
    """Return the payload of the simulator's `SAMPLE` for the hardware's, a dictionary or a constant of its layout.

    ``value``: the name of the field that `SAMPLE` calls so. A marker has no other field. Of a transfer of two lanes
    those of a pair, or of the one sample that it has.
    """
    if not isinstance(sample, dict):
        sample = fields(sample)
    if sample.get("last", 0):
        return (0, 0, 0, 0, 0, 1)
    first, *more = (
        (one.get("pixel", 0), *position(one["cube"], one["local"]), one.get(value, 0) if value else 0)
        for one in samples_in(sample)
    )
    return (*first, 0, 1, *more[0]) if more else (*first, 0)


def modelled(payload: tuple[int, ...]) -> tuple[int, ...]:
    """Return a `SAMPLE` payload with nothing but the marker, if it is one."""
    return (0, 0, 0, 0, 0, 1) if payload[5] else payload


def random_samples(
    chance: random.Random, count: int, run: int, pixels: int = 64, cubes: int = 3, lasts: float = 0.1, **more
) -> list[dict]:
    """Return samples in runs of about ``run`` of one cube, and markers between them.

    ``more``: further fields, as functions of no arguments.
    """
    samples = []
    cube = dict.fromkeys(AXES, 0)
    for _ in range(count):
        if chance.random() * run < 1:
            cube = {axis: chance.randrange(cubes) for axis in AXES}
        local = {axis: chance.randrange(1024) for axis in AXES}
        fields = {name: draw() for name, draw in more.items()}
        samples.append({"pixel": chance.randrange(pixels), "cube": cube, "local": local, **fields, "last": 0})
        if chance.random() < lasts:
            samples.append({"pixel": 0, "last": 1})
    return samples


def cubes_of(samples: list[dict]) -> list[dict[str, int]]:
    """Return the cubes of samples, each change once."""
    cubes: list[dict[str, int]] = []
    for sample in samples:
        if not sample["last"] and (not cubes or cubes[-1] != sample["cube"]):
            cubes.append(sample["cube"])
    return cubes


class StrobeQueue:
    """`tests.rtl.shading.helpers_shading.record` in Python: what a strobe brings can be read from the next cycle on."""

    def __init__(self, *fields: str) -> None:
        self.o = new(stream(*(fields or ("one",))))
        self.held: deque[tuple[int, ...]] = deque()

    def push(self, *values: int) -> None:
        """Take what a strobe brings in this cycle."""
        self.held.append(values)

    def offer(self) -> None:
        """Begin a cycle."""
        if self.held and not self.o["valid"]:
            for name, value in zip(self.o.dtype.names[1:], self.held.popleft(), strict=True):
                self.o[name] = value
            self.o["valid"] = 1


def watched(activities: list[int], state: np.void, offer: Callable[[int], None] | None = None):
    """Return an ``offer`` that notes what the block did in the cycle before: the same whether or not it was stepped."""

    def watch(now: int) -> None:
        activities.append(int(state["activity"]))
        if offer is not None:
            offer(now)

    return watch


def registers(kind: np.dtype, **values: int) -> np.void:
    """Return a record of registers, some of them set."""
    record = np.zeros(1, kind)[0]
    for name, value in values.items():
        record[name] = value
    return record
