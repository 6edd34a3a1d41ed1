"""Registers and surroundings for the tests of the blocks between the camera registers and the samples."""

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np

from nerf.contract.registers import AXES, View
from nerf.contract.scene_image import BEAT
from sim.control.registers import SCENE, VIEW
from sim.parts.streams import TILE

MEMORY_QUEUE = 16
"""Bursts that the memory of `tests.rtl.memory.helpers_memory` takes in before it answers the first."""


def view_record(view: View) -> np.void:
    """Return the camera registers that a view has; the others are 0."""
    record = np.zeros(1, VIEW)[0]
    for name in VIEW.names:
        if VIEW[name].shape:
            record[name] = [view.values.get(f"{name}_{axis}", 0) for axis in AXES]
        else:
            record[name] = view.values.get(name, 0)
    return record


def scene_record(**words) -> np.void:
    """Return scene registers, some of them set."""
    record = np.zeros(1, SCENE)[0]
    for name, value in words.items():
        record[name] = value
    return record


def tile_record(tile: dict[str, int]) -> np.void:
    """Return the record of a tile."""
    record = np.zeros(1, TILE)[0]
    for name, value in tile.items():
        record[name] = value
    return record


def sleeper(step: Callable[[int], int], records: Sequence[np.ndarray | np.void]) -> Callable[[int], int]:
    """Return a step that is left out until its block asked for it or one of its records has changed."""
    state = SimpleNamespace(wake=0, seen=[])

    def maybe(now: int) -> int:
        if now >= state.wake or state.seen != [record.tobytes() for record in records]:
            state.wake = step(now)
            assert state.wake > now, "a step must name a later cycle"
            state.seen = [record.tobytes() for record in records]
        return state.wake

    return maybe


class ReadMemory:
    """`tests.rtl.memory.helpers_memory.ReadMemory` on a `READ_REQUEST` and a `READ_BEAT`, cycle for cycle.

    In a cycle: `offer`, then `take` before the client's step, and `finish` behind it.
    """

    def __init__(self, request: np.void, beat: np.void, client: int, seed: int = 0, latency: int = 0) -> None:
        chance = random.Random(f"memory {seed}")
        self.request, self.beat, self.client = request, beat, client
        self.delays = [chance.randint(latency // 2, latency) for _ in range(64)]
        self.waiting: list[tuple[int, int]] = []
        self.current: tuple[int, int] | None = None
        self.taken: tuple[int, int] | None = None
        self.number = self.waited = self.done = 0

    def offer(self, now: int) -> None:
        """Offer the next beat of the burst at the queue's end if its delay is over."""
        if self.current is not None and self.waited == self.delays[self.number]:
            address, last_beat = self.current
            self.beat["valid"], self.beat["client"] = 1, self.client
            self.beat["address"] = address + BEAT * self.done
            self.beat["last"] = self.done == last_beat

    def take(self) -> None:
        """Take a request in."""
        self.taken = None
        if self.request["valid"] and len(self.waiting) != MEMORY_QUEUE - 1:
            self.taken = int(self.request["address"]), int(self.request["last_beat"])
            self.request["valid"] = 0

    def finish(self) -> None:
        """Go on to the next cycle."""
        if self.current is not None:
            if self.waited != self.delays[self.number]:
                self.waited += 1
            elif not self.beat["valid"]:
                self.done += 1
                if self.beat["last"]:
                    self.current = None
                    self.done = self.waited = 0
                    self.number = (self.number + 1) % len(self.delays)
        if self.current is None and self.waiting:
            self.current = self.waiting.pop(0)
        if self.taken is not None:
            self.waiting.append(self.taken)
