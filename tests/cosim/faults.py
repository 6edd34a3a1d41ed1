"""Faults of the image, the bus and the host, planted in frames of the RTL: what comes of each.

The hardware may report an error, or put out the right picture; where values without a checksum are damaged, it may put
out the picture that the golden model gives for the damaged image. It must not hang, reach outside the image and the
regions that its registers give, report a wrong cause, or put out a wrong picture with a clean status.

    python -m tests.cosim.faults [--faults N] [--seed S] [--jobs N] [--json FILE]

The exit status is 1 if something else came of a fault.
"""

import argparse
import json
import os
import platform
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from cosim import cxxrtl
from cosim.simulation import SimulationError
from nerf.contract.config import load_config
from nerf.contract.memory import MemoryTiming, place
from nerf.contract.registers import CAMERA_REGISTERS, CONTROL_START, STATUS_CODE_SHIFT, ErrorCode
from nerf.contract.scene_image import BEAT, HEADER, HEADER_WORDS, RECORD_BYTES, Scene
from nerf.golden.frame import decode_scene, render_frame
from nerf.prepared import Prepared
from rtnerf.base.errors import InputError
from rtnerf.base.files import write_bytes
from tests.golden.models import look_at, small_model

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "simulation"
CONFIG = load_config("tiny")
CAMERA = look_at((2.5, 1.2, 1.0), width=4, height=4)
LIST_BEATS = 40
"""Of the lists, about as many as the frame reads."""
WATCHDOG_CYCLES = 20_000_000
TIMEOUT_SECONDS = 1800

RIGHT, DAMAGED = "right picture", "picture of the damaged image"
HANG, ASTRAY, WRONG, MISTAKEN = "hang", "access out of range", "wrong picture", "wrong cause"
BAD = (HANG, ASTRAY, WRONG, MISTAKEN)

Code = ErrorCode
CAUSES = {
    "header": {Code.SCENE_HEADER, Code.CONFIG},
    "host header": set(),
    "rows": {Code.ROW},
    "records": {Code.RECORD},
    "tables": {Code.TABLES},
    "block headers": {Code.BLOCK_HEADER},
    "payload": {Code.BLOCK_PAYLOAD},
}
"""Sections of the image, and what the hardware may say of damage there."""
SUMMED = ("header", "tables")
"""Sections whose checksum is a sum of words."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a frame.

    Parameters
    ----------
    kind : str
        ``flip in records``, ``truncated``, ...: the line of the table that it counts in.
    causes : set of ErrorCode
        What the hardware may report.
    image : bytes or None
        The damaged image; None: it is whole.
    settings : dict
        Of `cosim.cxxrtl.run`.
    memory_bytes : int or None
        Where the memory ends; None: behind everything.
    """

    kind: str
    causes: set[ErrorCode]
    image: bytes | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    memory_bytes: int | None = None


class Campaign:
    """A frame, and the faults that are planted in it."""

    def __init__(self) -> None:
        self.job = Prepared(small_model(), CONFIG)
        self.view = self.job.view(CAMERA)
        self.scene = self.job.scene
        self.regions = place(len(self.scene.data), self.view, CONFIG)
        self.right = self.job.frame(CAMERA).pixels
        scene = self.scene
        headers = min(*scene.density_headers, *scene.appearance_headers)
        self.sections = {
            "header": (0, 4 * HEADER_WORDS),
            "host header": (4 * HEADER_WORDS, scene.rows_offset),
            "rows": (scene.rows_offset, scene.records_offset),
            "records": (scene.records_offset, scene.records_offset + RECORD_BYTES * scene.live_cubes),
            "tables": (scene.tables_offset, scene.tables_offset + BEAT * scene.tables_beats),
            "block headers": (headers, scene.payload_offset),
            "payload": (scene.payload_offset, scene.payload_offset + scene.payload_bytes),
        }

    @cached_property
    def rtl(self) -> tuple[Path, dict[str, Any]]:
        """Library and sidecar of the design."""
        text, sidecar = cxxrtl.design(CONFIG)
        return cxxrtl.build(text, sidecar, FOLDER), sidecar

    # ---- Faults ----

    def flips(self, rng: np.random.Generator, section: str) -> Fault:
        """One or two bits; sums, unlike cyclic codes, are sure to find only what lies in one word."""
        first, end = self.sections[section]
        unit = 4 if section in SUMMED else 8
        place = first + unit * int(rng.integers((end - first) // unit))
        data = bytearray(self.scene.data)
        for bit in rng.choice(8 * unit, int(rng.integers(1, 3)), replace=False).tolist():
            data[place + bit // 8] ^= 1 << bit % 8
        return Fault(f"flips in {section}", CAUSES[section], bytes(data))

    def truncation(self, rng: np.random.Generator) -> Fault:
        """From a byte on, the image is blank: all zeros or all ones."""
        start = int(rng.integers(len(self.scene.data)))
        blank = bytes([int(rng.choice([0, 255]))]) * (len(self.scene.data) - start)
        return Fault("truncated image", set().union(*CAUSES.values()), self.scene.data[:start] + blank)

    def list_flip(self, rng: np.random.Generator) -> Fault:
        """A bit of the cube lists, which the hardware has written itself."""
        flip = (int(rng.integers(LIST_BEATS)), int(rng.integers(8 * BEAT)))
        return Fault("flip in cube lists", {Code.LIST}, settings={"flip": flip})

    def short_memory(self, rng: np.random.Generator) -> Fault:
        """A memory that ends inside the pixels or the lists: what lies behind is answered with an error."""
        end = int(rng.integers(self.regions.frame_base, self.regions.list_base + BEAT * LIST_BEATS))
        return Fault("memory that ends early", {Code.BUS}, memory_bytes=end - end % BEAT)

    def bus_error(self, rng: np.random.Generator) -> Fault:
        """A read burst that is answered with an error."""
        return Fault("read error", {Code.BUS}, settings={"fail_read": int(rng.integers(600))})

    def slow_memory(self, rng: np.random.Generator) -> Fault:
        """Answers that come after up to thousands of cycles, slowly, with pauses on all channels."""
        timing = MemoryTiming(
            latency=int(2 ** rng.uniform(0, 12)), beat_interval=int(rng.integers(1, 9)),
            pause=float(rng.uniform(0.01, 0.9)), seed=int(rng.integers(1, 1 << 32)),
        )  # fmt: skip
        return Fault("slow memory", set(), settings={"timing": timing})

    def abort(self, rng: np.random.Generator) -> Fault:
        """An abort at any time, and then a whole frame."""
        settings = {"abort_after": int(2 ** rng.uniform(0, 15)), "render_again": True}
        return Fault("abort, then a frame", set(), settings=settings)

    def writes(self, rng: np.random.Generator) -> Fault:
        """Registers written while the frame runs, a second start among them."""
        names = [*CAMERA_REGISTERS, "scene_low", "frame_low", "list_low"]
        meanwhile = [
            (int(2 ** rng.uniform(0, 12)), str(rng.choice(names)), int(rng.integers(1 << 32))) for _ in range(6)
        ]
        meanwhile.append((int(rng.integers(1, 1000)), "control", CONTROL_START))
        return Fault("registers written while busy", set(), settings={"meanwhile": meanwhile})

    def faults(self, count: int, seed: int) -> Iterator[Fault]:
        """Yield faults, all kinds in turn."""
        rng = np.random.default_rng(seed)
        kinds: list[Callable[[np.random.Generator], Fault]] = [
            *(partial(self.flips, section=section) for section in self.sections),
            self.truncation, self.list_flip, self.short_memory, self.bus_error, self.slow_memory, self.abort,
            self.writes,
        ]  # fmt: skip
        for number in range(count):
            yield kinds[number % len(kinds)](rng)

    # ---- What comes of them ----

    def outcome(self, fault: Fault) -> str:
        """Render with a fault, and say what came of it."""
        image = np.frombuffer(fault.image or self.scene.data, np.uint8)
        regions = self.regions
        memory = np.zeros(regions.end, np.uint8)
        memory[: len(image)] = image
        settings = {"timing": MemoryTiming(), **fault.settings}
        try:
            found = cxxrtl.run(
                *self.rtl, memory[: fault.memory_bytes], self.view, regions, record=False,
                watchdog_cycles=WATCHDOG_CYCLES, timeout_seconds=TIMEOUT_SECONDS, **settings,
            )  # fmt: skip
        except SimulationError as error:
            return ASTRAY if "must stay in" in str(error) else HANG
        pixels = memory[regions.frame_base :][: regions.frame_bytes].copy().view("<u2").reshape(self.right.shape)
        memory[regions.frame_base : regions.end] = 0
        if not np.array_equal(memory[: len(image)], image) or memory[len(image) :].any():
            return ASTRAY
        code = ErrorCode(found.registers["status"] >> STATUS_CODE_SHIFT)
        if code:
            return f"error {code.name}" if code in fault.causes else MISTAKEN
        if np.array_equal(pixels, self.right):
            return RIGHT
        return DAMAGED if fault.kind == "flips in payload" and self._is_golden(fault, pixels) else WRONG

    def _is_golden(self, fault: Fault, pixels: np.ndarray) -> bool:
        """Whether the golden model makes these pixels of the damaged image, once the host's checksum is made anew."""
        assert fault.image is not None
        header = np.frombuffer(fault.image, HEADER, 1).copy()
        header["crc"] = zlib.crc32(fault.image[4 * HEADER_WORDS :])
        header["checksum"] = 0
        header["checksum"] = -int(header.view("<u4").sum(dtype=np.uint64)) & 0xFFFFFFFF
        try:
            scene = Scene(header.tobytes() + fault.image[4 * HEADER_WORDS :])
            return np.array_equal(render_frame(decode_scene(scene, CONFIG), self.view).pixels, pixels)
        except InputError:
            return False


def run(campaign: Campaign, count: int, seed: int, jobs: int = 1) -> dict[str, Counter[str]]:
    """Plant faults; return how many of each kind came to what."""
    table: dict[str, Counter[str]] = {}
    assert campaign.outcome(Fault("none", set())) == RIGHT
    faults = list(campaign.faults(count, seed))
    with ThreadPoolExecutor(jobs) as pool:
        for fault, outcome in zip(faults, pool.map(campaign.outcome, faults), strict=True):
            table.setdefault(fault.kind, Counter())[outcome] += 1
            if outcome in BAD:
                print(f"{outcome}: {replace(fault, image=None)}", flush=True)
    return table


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", type=int, default=3010)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = run(Campaign(), options.faults, options.seed, options.jobs)
    bad = sum(row[outcome] for row in table.values() for outcome in BAD)
    for kind, row in table.items():
        print(f"{kind}: " + ", ".join(f"{count} {outcome}" for outcome, count in row.most_common()))
    print(f"{options.faults} faults, {bad} with a bad end")
    if options.json:
        result = {
            "command": f"python -m tests.cosim.faults --faults {options.faults} --seed {options.seed}",
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "config": CONFIG.name,
            "faults": options.faults,
            "bad": bad,
            "outcomes": table,
        }
        write_bytes(options.json, (json.dumps(result, indent=1) + "\n").encode())
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
