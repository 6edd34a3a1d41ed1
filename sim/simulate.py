"""Simulate a frame: cycles, what every block did in them, and the bytes that went over the bus."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import MemoryTiming, place
from nerf.contract.registers import View
from nerf.golden.frame import DecodedScene
from rtnerf.base.processes import worker_pool
from sim.clock import new_clock, new_windows, settle_all
from sim.control import registers
from sim.frame import Frame, new_frame
from sim.machine import run_windows
from sim.memory import memory
from sim.memory.dram import Dram
from sim.parts.activity import NAMES
from sim.parts.clients import Reader
from sim.result import Simulation
from sim.samples.marches import Marches, new_marches, with_room
from sim.wiring import BLOCKS, PROBES, new_blocks, new_wires

READERS = tuple(reader.name.lower() for reader in Reader)
ROWS = {"hits": "row_hits", "misses": "row_misses", "conflicts": "row_conflicts", "refreshes": "refreshes"}
WATCHDOG_CYCLES = 1 << 44
WINDOWS_AT_ONCE = 32
"""Windows between one and the next time that progress is told."""
_PIXELS = tuple(PROBES).index("pixels")


class Values:
    """What no configuration changes in the frames of a view: samples and their alphas, as far as they were looked up.

    Parameters
    ----------
    decoded : DecodedScene
    view : View
    """

    def __init__(self, decoded: DecodedScene, view: View) -> None:
        self.marches = new_marches(
            decoded, view, registers.scene_registers(decoded.scene), registers.view_registers(view)
        )

    def with_room(self) -> Marches:
        """Return them with room for those that a cycle may add."""
        self.marches = with_room(self.marches)
        return self.marches


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
    values: Values | None = None,
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
    values : Values, optional
        Of the same scene and view: with those of frames before, in whatever configuration, they are at hand.
    """
    timing = timing or MemoryTiming()
    values = values or Values(decoded, view)
    regions = place(len(decoded.scene.data), view, config)
    blocks = new_blocks(config, memory.new(timing, elapsed, clock_hz), regions, view)
    wires, clock, windows = new_wires(), new_clock(record), new_windows()
    frame = new_frame(decoded, view, config, values.marches, uniform)
    trace = clock["trace"]

    def tell() -> None:
        if progress is not None:
            progress(int(trace["moved"][_PIXELS]), view.window_width * view.window_height)

    now, entries = _run(frame, values, blocks, wires, clock, windows, end, tell)
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
        moved=dict(zip(PROBES, trace["moved"].tolist(), strict=True)),
        tiles=int(blocks["tile_scheduler"]["set_up_tiles"]),
        rows={name: int(banks[field]) for name, field in ROWS.items()} if isinstance(timing, Dram) else {},
        steps=int(clock["steps"]),
        doing={name: NAMES[blocks[name]["activity"]] for name in BLOCKS.names or ()},
        transfers=_transfers(entries) if record else None,
        window=int(windows["length"]),
        windows=np.diff(windows["spent"][: windows["count"] + 1], axis=0),
    )


def _run(
    frame: Frame, values: Values, blocks, wires, clock, windows, end: int, tell: Callable[[], None]
) -> tuple[int, list[np.ndarray]]:
    """Run a frame to its last cycle or to ``end``; return the cycle, and the transfers if they are recorded."""
    trace, finished = clock["trace"], wires["finished"]["set"]
    # The cycle of the start is not one of the frame's.
    now = run_windows(0, 1, blocks, wires, frame, clock, windows, 1)
    settle_all(clock, now)
    clock["spent"] = 0
    entries: list[np.ndarray] = []
    while now < end and not finished:
        now = run_windows(now, end, blocks, wires, frame, clock, windows, WINDOWS_AT_ONCE)
        frame = frame._replace(marches=values.with_room())
        if trace["recording"]:
            entries.append(trace["entries"][: trace["count"]].copy())
            trace["count"] = 0
        tell()
    if now >= WATCHDOG_CYCLES:
        raise RuntimeError("the simulated accelerator has come to a standstill")
    return now, entries


def _activity(spent: np.ndarray) -> dict[str, dict[str, int]]:
    """Return the cycles that each block spent in each activity."""
    return {
        name: dict(zip(NAMES, row, strict=True)) for name, row in zip(BLOCKS.names or (), spent.tolist(), strict=True)
    }


def _transfers(entries: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the cycles of what was kept, by probe."""
    table = np.concatenate(entries)
    return {name: table[table[:, 1] == index, 0] for index, name in enumerate(PROBES)}


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
