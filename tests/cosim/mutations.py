"""A planted change of one cycle, in any block of the RTL or of the simulator, must make the comparison of cycles fail.

Of the RTL, each output of each block is held back by a cycle (`tests.cosim.late`); of the simulator, a copy of the
source is edited. Every mutant renders the same small frame, and `cosim.cycles.compare_cycles` judges it.

    python -m tests.cosim.mutations [--only NAME ...] [--jobs N] [--json FILE]

The exit status is 1 if a mutant survives, or if RTL and simulator differ without one.
"""

import argparse
import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cosim import cxxrtl
from cosim.cycles import FRAME, CycleComparison, compare_cycles
from cosim.wrapper import Transaction
from nerf.cameras import load_cameras
from nerf.checkpoint import load_model
from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import MemoryTiming, place
from nerf.contract.registers import STATUS_CODE_SHIFT, View
from nerf.golden.frame import DecodedScene
from nerf.prepared import Prepared
from sim.simulate import simulate
from tests.cosim.late import late_design

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "simulation"
CONFIG = AcceleratorConfig(
    "small", tile=4, mlp_batch=2, ray_units=2, sample_lanes=2, density_lanes=2, sample_queue=4, buffer_window=4,
    cube_queue=4, shading="deferred",
)  # fmt: skip
"""Every block there is, queues and buffers often full, several tiles in a few pixels, batches that are not full."""
WINDOW = (1, 14, 9, 4)
"""Of a picture of 32 pixels: three tiles, at the edge of the object and in front of it."""
TIMING = MemoryTiming()
WATCHDOG_CYCLES = 10_000_000
TIMEOUT_SECONDS = 1800

NONE = "none"
"""The name of no mutant: RTL and simulator as they are, but built as the mutants are."""

SIMULATOR: dict[str, tuple[str, dict[str, str]]] = {
    NONE: ("machine", {}),
    "memory": ("memory", {"now + state.latency": "now + state.latency + 1"}),
    # Grants in every other cycle only.
    "read_master": (
        "read_master",
        {
            "if not burst.valid and state.waiting:": "if not burst.valid and state.waiting and now & 1:",
            "return now + 1 if moved else NEVER": "return now + 1",
        },
    ),
    # Waits for the answer to the burst before.
    "write_master": ("write_master", {"UNANSWERED_LIMIT = 15": "UNANSWERED_LIMIT = 1"}),
    "tree_server": ("tree_server", {"LATENCY = 5": "LATENCY = 6"}),
    "tile_buffer": ("tile_buffer", {"ADDING = 5": "ADDING = 6"}),
    "mlp_engine": ("mlp_engine", {"OUTPUT_CYCLES = (9, 12, 9)": "OUTPUT_CYCLES = (9, 12, 10)"}),
    # Looks up and hands on in every other cycle only.
    "appearance": (
        "appearance",
        {"    if o_job.valid:": "    if now & 1:\n        return now + 1\n    if o_job.valid:"},
    ),
    # Gives a cube back when its last vector has left the buffer.
    "appearance_interpolator": (
        "interpolator",
        {"(state.number or room)": "(state.number or room) and not (stages & 1 and state.steps == 3)"},
    ),
    "density_interpolator": (
        "interpolator",
        {"has_current and not here": "has_current and not here and not (stages & 1 and state.steps == 1)"},
    ),
    "visible_samples": (
        "wiring",
        {
            "VISIBLE_SAMPLES = queue.STATE, lambda its: queue.new(": (
                "VISIBLE_SAMPLES = queue.STATE, lambda its: queue.new(-1 + "
            )
        },
    ),
    "density_samples": (
        "wiring",
        {
            "DENSITY_SAMPLES = queue.STATE, lambda its: queue.new(": (
                "DENSITY_SAMPLES = queue.STATE, lambda its: queue.new(-1 + "
            )
        },
    ),
    # Takes nothing in when it hands on.
    "queue": ("queue", {"if i.valid and has_room:": "if i.valid and has_room and not moved:"}),
    # Announces a cube one cycle later.
    "cube_sequencer": (
        "cube_sequencer",
        {
            "if state.announcing and not o_cube.valid:": "if state.announcing == 2 and not o_cube.valid:",
            "o_cube.valid = 1": "o_cube.valid = min(state.announcing, 1)",
            "state.announcing = 1": "state.announcing = min(state.announcing + 1, 2)",
        },
    ),
    # Leaves a cycle between the samples of a pair.
    "serialiser": ("serialiser", {"second_alone(i)": "second_alone(i)\n        return now + 2"}),
    "compositor": ("compositor", {"LAST_STAGE = 8": "LAST_STAGE = 4"}),
    "product_buffer": ("product_buffer", {"STAGES = 16": "STAGES = 32"}),
    "density": ("density", {"LAST_STAGE = 64": "LAST_STAGE = 32"}),
    "hybrid_decoder": ("hybrid_decoder", {"LOAD_ENTRIES = 8": "LOAD_ENTRIES = 7"}),
    "block_fetch": ("block_fetch", {"HEADER_DELAY = 3": "HEADER_DELAY = 4"}),
    # Begins to examine a cube's blocks, or goes on with it, one cycle later.
    "appearance_loader": ("cube_loader", {"state.until = at\n": "state.until = at + state.appearance\n"}),
    "density_loader": ("cube_loader", {"state.until = at\n": "state.until = at + 1 - state.appearance\n"}),
    # Merges in every other cycle only.
    "sample_generator": ("sample_generator", {"moved = _merge(": "moved = now & 1 == 0 or _merge("}),
    # Begins to march a cycle after the march before.
    "sample_lane": (
        "sample_lane",
        {"AHEAD and not stages & MARCH:": "AHEAD and not stages & (MARCH | SCALED):"},
    ),
    # Takes a record in with its second beat, not in the cycle behind.
    "record_reader": ("record_reader", {"state.whole = 1": "state.windows_held += 1"}),
    # Hands on an entry when the next one is dropped.
    "cube_list": ("cube_list", {'state["list_queue"] = config.list_queue': 'state["list_queue"] = 16'}),
    "projector": ("projector", {"DIVIDED = 15": "DIVIDED = 16"}),
    "occupancy_walker": ("occupancy_walker", {'state["row_queue"] = config.row_queue': 'state["row_queue"] = 7'}),
    "ray_setup": ("ray_setup", {"CYCLES = 119": "CYCLES = 120"}),
    # Asks for the tables without the cycle of checks.
    "scene_loader": (
        "scene_loader",
        {"state.phase = CHECKS_HEADER": "_request_tables(state, scene, scene_base, request)"},
    ),
    # Sets up the rays of a tile when the one before it has been put out.
    "tile_scheduler": ("tile_scheduler", {"state.held != state.tiles": "state.held == 0"}),
    # Starts the scene loader without the cycle of the reset.
    "frame_controller": ("frame_controller", {"state.phase = RESETS": "load.set, state.phase = 1, LOADING"}),
}
"""Per block of the simulator (and per file that is part of one, or of two): the file to edit, and what becomes what."""

MODELLED = ("uniform_sampler", "product_buffer")
"""Blocks of the simulator without a mutant: the RTL of `CONFIG` does not have them, so no comparison can see them."""


@dataclass(frozen=True)
class Outcome:
    """What the comparison made of a mutant.

    Parameters
    ----------
    mutant : str
    mismatches : int
        Transfers that differ.
    cycles_rtl, cycles_sim : int
        Of the frame.
    first : str or None
        The first difference; None: there is none, the mutant has survived.
    """

    mutant: str
    mismatches: int
    cycles_rtl: int
    cycles_sim: int
    first: str | None


def outcome(mutant: str, comparison: CycleComparison) -> Outcome:
    """Judge a comparison: a difference is a transfer in another cycle, or else another end of the frame."""
    lengths = comparison.cycles_rtl, comparison.cycles_sim
    first = comparison.first and comparison.first.partition(";")[0]
    if first is None and lengths[0] != lengths[1]:
        first = f"the frame ends in cycle {lengths[0]} in the RTL and in cycle {lengths[1]} in the simulator"
    return Outcome(mutant, sum(comparison.mismatches.values()), *lengths, first)


@functools.cache
def frame() -> tuple[DecodedScene, View]:
    """Return the scene and the view that all mutants render."""
    job = Prepared(replace(load_model(), shading=CONFIG.shading), CONFIG)
    return job.decoded, job.view(load_cameras().camera(0, 32).cropped(*WINDOW))


# ---- The RTL ----


def render(strap: int) -> tuple[list[Transaction], np.ndarray]:
    """Return trace and memory of the RTL with one late output, or with none (0)."""
    decoded, view = frame()
    text, sidecar, *_ = late_design(CONFIG)
    image = np.frombuffer(decoded.scene.data, np.uint8)
    memory = np.zeros(1 << 24, np.uint8)
    memory[: len(image)] = image
    result = cxxrtl.run(
        cxxrtl.build(text, sidecar, FOLDER), sidecar, memory, view, place(len(image), view, CONFIG),
        timing=TIMING, strap=strap, watchdog_cycles=WATCHDOG_CYCLES, timeout_seconds=TIMEOUT_SECONDS,
    )  # fmt: skip
    if code := result.registers["status"] >> STATUS_CODE_SHIFT:
        raise RuntimeError(f"strap {strap}: the frame must end without an error, not with code {code}")
    return result.trace, memory


def rtl_mutant(name: str, picture: np.ndarray) -> Outcome:
    """Compare the RTL, one output late, with the simulator; the memory must be left as by the RTL as it is."""
    trace, memory = render(late_design(CONFIG)[-1].index(name) + 1)
    if not np.array_equal(memory, picture):
        raise RuntimeError(f"{name}: a late output must change no pixel")
    return outcome(f"rtl.{name}", compare_cycles(trace, *frame(), CONFIG, TIMING))


# ---- The simulator ----

_COMPARE = """\
import pickle
from cosim.cycles import compare_cycles
with open("frame", "rb") as given, open("comparison", "wb") as result:
    pickle.dump(compare_cycles(*pickle.load(given)), result)
"""


def plant(folder: Path, name: str, edits: Mapping[str, str]) -> Path:
    """Copy the package ``sim`` into a folder and edit one of its files, which is returned; it is compiled anew."""
    shutil.copytree(ROOT / "sim", folder / "sim", ignore=shutil.ignore_patterns("__pycache__"))
    (path,) = (folder / "sim").glob(f"**/{name}.py")
    text = path.read_text()
    for old, new in edits.items():
        if text.count(old) != 1:
            raise ValueError(f"{name}.py must have {old!r} once, not {text.count(old)} times")
        text = text.replace(old, new)
    path.write_text(text)
    return path


def simulator_mutant(name: str, trace: list[Transaction]) -> Outcome:
    """Compare a trace of the RTL with an edited simulator, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="rtnerf-") as place:
        folder = Path(place)
        plant(folder, *SIMULATOR[name])
        (folder / "frame").write_bytes(pickle.dumps((trace, *frame(), CONFIG, TIMING)))
        # The folder that it runs in comes first on the path: the edited package hides the other.
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(
            [sys.executable, "-c", _COMPARE], cwd=folder, env=environment, timeout=TIMEOUT_SECONDS, check=True
        )
        return outcome(f"sim.{name}", pickle.loads((folder / "comparison").read_bytes()))


def simulated_trace() -> list[Transaction]:
    """Return a trace as the RTL would give it, from the simulator as it is; without payloads."""
    simulation = simulate(*frame(), CONFIG, TIMING, record=True)
    return [
        Transaction(0, FRAME, 0),
        *(Transaction(cycle, name, 0) for name, cycles in simulation.transfers.items() for cycle in cycles.tolist()),
        Transaction(simulation.cycles, FRAME, 1),
    ]


# ---- All ----


def mutants() -> list[str]:
    """Return the names of all mutants."""
    return [f"rtl.{name}" for name in late_design(CONFIG)[-1]] + [f"sim.{name}" for name in SIMULATOR]


def run(names: Collection[str], jobs: int) -> Iterator[Outcome]:
    """Try mutants, some simulators at a time."""
    trace, picture = render(0)
    late, edited = ([name[4:] for name in names if name.startswith(side)] for side in ("rtl.", "sim."))
    yield from (rtl_mutant(name, picture) for name in late)
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda name: simulator_mutant(name, trace), edited)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=mutants(), default=mutants(), metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1, help="simulators at a time")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    outcomes = []
    for result in run(options.only, options.jobs):
        print(f"{result.mutant}: {result.first or 'no difference'}", flush=True)
        outcomes.append(result)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in outcomes], indent=2) + "\n")
    wrong = [result.mutant for result in outcomes if (result.first is None) != result.mutant.endswith(f".{NONE}")]
    print(f"{len(outcomes)} mutants, {len(wrong)} not as they should be: {', '.join(wrong) or NONE}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
