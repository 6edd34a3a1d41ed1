"""Simulate a frame: cycles, what every block did in them, and the bytes that went over the bus."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import MemoryTiming, place
from nerf.contract.registers import View
from nerf.golden.frame import DecodedScene
from rtnerf.base.processes import worker_pool
from sim.clock import new_clock, settle_all
from sim.frame import new_frame
from sim.machine import run
from sim.memory import memory
from sim.memory.dram import Dram
from sim.parts.activity import NAMES
from sim.parts.clients import Reader
from sim.result import Simulation
from sim.wiring import BLOCKS, PROBES, new_blocks, new_wires

READERS = tuple(reader.name.lower() for reader in Reader)
ROWS = {"hits": "row_hits", "misses": "row_misses", "conflicts": "row_conflicts", "refreshes": "refreshes"}
WATCHDOG_CYCLES = 1 << 44
WINDOWS = 512
"""Most windows that a frame's activity is recorded in."""
_PIXELS = tuple(PROBES).index("pixels")
FIRST_WINDOW = 256
"""Cycles of a window to begin with; where there are too many, two and two become one."""


def simulate(
    decoded: DecodedScene,
    view: View,
    config: AcceleratorConfig,
    timing: MemoryTiming | Dram | None = None,
    clock_hz: float = 1e9,
    uniform: bool = False,
    record: bool = False,
    elapsed: int = 0,
    end: int = WATCHDOG_CYCLES,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Simulate a frame.

    Parameters
    ----------
    decoded : DecodedScene
    view : View
    config : AcceleratorConfig
    timing : MemoryTiming or Dram
        By default the default `MemoryTiming`.
    clock_hz : float
        Of the accelerator; the times of an LPDDR4 memory are in nanoseconds.
    uniform : bool
        Sample rays uniformly, not cube by cube: modelled only.
    record : bool
        Keep the cycle of every transfer on the probed streams.
    elapsed : int
        Cycles that the memory had been running for when the frame started: they decide its random pauses.
    end : int
        Stop before this cycle of the frame.
    progress : callable, optional
        ``progress(done, all)``, in pixels.
    """
    timing = timing or MemoryTiming()
    regions = place(len(decoded.scene.data), view, config)
    blocks = new_blocks(config, memory.new(timing, elapsed, clock_hz), regions, view)
    wires, clock = new_wires(), new_clock(True)
    frame = new_frame(decoded, view, config, uniform)
    trace, finished = clock["trace"], wires["finished"]["set"]
    now = run(0, 1, blocks, wires, frame, clock)  # The cycle of the start is not one of the frame's.
    settle_all(clock, now)
    clock["spent"] = 0
    entries: list[np.ndarray] = []
    spent, window = [clock["spent"].copy()], FIRST_WINDOW
    moved = np.zeros(len(PROBES), np.int64)
    while now < end and not finished:
        now = run(now, min(window * len(spent), end), blocks, wires, frame, clock)
        moved += _taken(trace, entries if record else None)
        if progress is not None:
            progress(int(moved[_PIXELS]), view.window_width * view.window_height)
        if now == window * len(spent) or finished:
            settle_all(clock, now)
            spent.append(clock["spent"].copy())
            if len(spent) > WINDOWS:
                spent, window = spent[::2], 2 * window
    if now >= WATCHDOG_CYCLES:
        raise RuntimeError("the simulated accelerator has come to a standstill")
    settle_all(clock, now)
    banks = blocks["memory"]["banks"]
    return Simulation(
        config=config,
        timing=timing,
        clock_hz=clock_hz,
        cycles=now - 1,
        activity=_activity(clock["spent"]),
        generated=int(blocks["uniform_sampler" if uniform else "sample_generator"]["samples"]),
        samples=int(blocks["compositor"]["composited"]),
        shaded=int(blocks["tile_buffer"]["shaded"]),
        read_bytes=dict(zip(READERS, blocks["memory"]["read_bytes"].tolist(), strict=True)),
        written_bytes=int(blocks["memory"]["written_bytes"]),
        moved=dict(zip(PROBES, moved.tolist(), strict=True)),
        tiles=int(blocks["tile_scheduler"]["set_up_tiles"]),
        rows={name: int(banks[field]) for name, field in ROWS.items()} if isinstance(timing, Dram) else {},
        steps=int(clock["steps"]),
        doing={name: NAMES[blocks[name]["activity"]] for name in BLOCKS.names or ()},
        transfers=_transfers(entries) if record else None,
        window=window,
        windows=np.diff(np.array(spent), axis=0),
    )


def _activity(spent: np.ndarray) -> dict[str, dict[str, int]]:
    """Return the cycles that each block spent in each activity."""
    return {
        name: dict(zip(NAMES, row, strict=True)) for name, row in zip(BLOCKS.names or (), spent.tolist(), strict=True)
    }


def _transfers(entries: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the cycles of what was kept, by probe."""
    table = np.concatenate(entries)
    return {name: table[table[:, 1] == index, 0] for index, name in enumerate(PROBES)}


def _taken(trace: np.void, kept: list[np.ndarray] | None) -> np.ndarray:
    """Empty the trace; return its transfers by probe, after keeping them where they are to be kept."""
    found = trace["entries"][: trace["count"]]
    if kept is not None:
        kept.append(found.copy())
    trace["count"] = 0
    return np.bincount(found[:, 1], minlength=len(PROBES))


def simulate_all(
    decoded: DecodedScene,
    views: Sequence[View],
    config: AcceleratorConfig,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options,
) -> list[Simulation]:
    """Simulate the frames of some views, each from a fresh start, in worker processes: the same for any number of them.

    ``options`` are those of `simulate`; ``progress(done, all)`` is called in pixels, of several processes in frames.
    """
    run: Callable[..., Simulation] = partial(simulate, decoded, config=config, **options)
    tell = progress or (lambda done, total: None)
    if workers > 1 and len(views) > 1:
        found = []
        with worker_pool(min(workers, len(views))) as pool:
            for outcome in pool.map(run, views):
                found.append(outcome)
                tell(len(found), len(views))
        return found
    return [
        run(view, progress=lambda done, total, before=number: tell(before * total + done, len(views) * total))
        for number, view in enumerate(views)
    ]
