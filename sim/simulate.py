"""Simulate a frame: cycles, what every block did in them, and the bytes that went over the bus."""

from dataclasses import dataclass

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import MemoryTiming
from nerf.contract.registers import View
from nerf.contract.scene_image import PAGE
from nerf.golden.frame import DecodedScene
from sim import machine, memory
from sim.activity import NAMES

READERS = ("header and tables", "occupancy rows", "cube records", "block headers", "block payloads")
"""What the clients of the read master read, by their number."""
WATCHDOG_CYCLES = 1 << 44


@dataclass(frozen=True)
class Simulation:
    """What a frame took.

    Parameters
    ----------
    cycles : int
        From the start of the frame to its end.
    activity : dict
        Per block, the cycles spent on each of `sim.activity.NAMES`; they add up to ``cycles + 1``, as both the first
        and the last cycle count.
    samples, shaded : int
        Composited, and shaded.
    read_bytes : dict
        By reader.
    written_bytes : int
    transfers : dict of int64 arrays, or None
        Cycle of each transfer on each probed stream, if they were recorded.
    steps : int
        Cycles that were simulated one by one; nothing happened in the others.
    doing : dict
        What each block did in the last cycle.
    """

    cycles: int
    activity: dict[str, dict[str, int]]
    samples: int
    shaded: int
    read_bytes: dict[str, int]
    written_bytes: int
    transfers: dict[str, np.ndarray] | None
    steps: int
    doing: dict[str, str]


def simulate(
    decoded: DecodedScene,
    view: View,
    config: AcceleratorConfig,
    timing: MemoryTiming | None = None,
    record: bool = False,
    elapsed: int = 0,
    end: int | None = None,
) -> Simulation:
    """Simulate a frame.

    Parameters
    ----------
    decoded : DecodedScene
    view : View
    config : AcceleratorConfig
    timing : MemoryTiming
    record : bool
        Keep the cycle of every transfer on the probed streams.
    elapsed : int
        Cycles that the memory had been running for when the frame started: they decide its random pauses.
    end : int, optional
        Stop before this cycle of the frame.
    """
    frame_base = len(decoded.scene.data) + -len(decoded.scene.data) % PAGE
    blocks = machine.new_blocks(config, memory.new(timing or MemoryTiming(), elapsed), frame_base, view)
    wires = machine.new_wires()
    frame = machine.new_frame(decoded, view, config)
    clock = machine.new_clock()
    trace = np.zeros(1, machine.TRACE)[0]
    trace["recording"] = record
    parts = []
    now, last = 0, WATCHDOG_CYCLES if end is None else end
    while now < last and not wires.finished["set"]:
        now = machine.run(now, last, blocks, wires, frame, clock, trace)
        parts.append(trace["entries"][: trace["count"]].copy())
        trace["count"] = 0
    if now >= WATCHDOG_CYCLES:
        raise RuntimeError("the simulated accelerator has come to a standstill")
    machine.settle_all(clock, now)
    transfers = None
    if record:
        entries = np.concatenate(parts)
        transfers = {name: entries[entries[:, 1] == index, 0] for index, name in enumerate(machine.PROBES)}
    return Simulation(
        cycles=now - 1,
        activity={
            name: dict(zip(NAMES, row, strict=True))
            for name, row in zip(blocks._fields, clock["spent"].tolist(), strict=True)
        },
        samples=int(blocks.compositor["composited"]),
        shaded=int(blocks.tile_buffer["shaded"]),
        read_bytes=dict(zip(READERS, blocks.memory["read_bytes"].tolist(), strict=True)),
        written_bytes=int(blocks.memory["written_bytes"]),
        transfers=transfers,
        steps=int(clock["steps"]),
        doing={name: NAMES[state["activity"]] for name, state in zip(blocks._fields, blocks, strict=True)},
    )
