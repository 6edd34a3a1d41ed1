"""Configurations drawn at random over the whole space: each is generated, linted, and exact in RTL.

    python -m tests.cosim.configurations [--count N] [--seed N] [--jobs N] [--json FILE]

Every field but `colours` is drawn, with the rules of `AcceleratorConfig`; sizes that only multiply what the compiler
has to read, up to `LARGEST`. A small model with a network of the drawn sizes is rendered, and every value and every
cycle compared.
The exit status is 1 if a configuration differs.
"""

import argparse
import json
import os
import platform
import random
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from cosim.run import cosimulate
from cosim.simulation import lint
from cosim.toolchain import find_verilator
from nerf.contract.config import MOST_BANDS, POWERS, SHADINGS, AcceleratorConfig
from nerf.contract.memory import MemoryTiming
from nerf.prepared import Prepared
from rtl.verilog.export import TOP, design
from rtnerf.base.errors import InputError
from rtnerf.base.files import write_bytes
from tests.golden.models import look_at, small_model

FOLDER = Path(__file__).parents[2] / "build" / "simulation"
LARGEST = {"mlp_lanes": 64, "hidden": 128, "ray_units": 8, "sample_lanes": 4, "sample_queue": 1024}
"""Larger ones are tried in presets: hours in a compiler, and the same modules in greater number."""
RANGES = {
    "address_width": (24, 64), "features": (24, 32), "feature_bands": (0, MOST_BANDS), "view_bands": (0, MOST_BANDS),
    "mlp_batch": (1, 3),
}  # fmt: skip
COMPONENTS = {"density_components": (16, 64), "appearance_components": (48, 96)}
CAMERA = look_at((2.2, 1.0, 0.8), width=21, height=6, focal=40)
"""Several tiles of the smaller sizes."""


def configurations(seed: int) -> Iterator[AcceleratorConfig]:
    """Yield configurations without end, the same for a seed."""
    draw = random.Random(seed)
    number = 0
    while True:
        values: dict[str, int | str] = {"shading": draw.choice(SHADINGS)}
        for name, (low, high) in POWERS.items():
            highest = min(high, LARGEST.get(name, high))
            values[name] = 1 << draw.randint(low.bit_length() - 1, highest.bit_length() - 1)
        for name, (low, high) in RANGES.items():
            values[name] = draw.randint(low, high)
        for name, (low, high) in COMPONENTS.items():
            values[name] = draw.randrange(low, high + 1, 16)
        if values["shading"] == "deferred":
            values["appearance_lanes"] = draw.choice((1, int(values["appearance_components"]) // 16))
        try:
            yield AcceleratorConfig(f"random_{number}", **values)
            number += 1
        except InputError:
            continue


def outcome(config: AcceleratorConfig, seed: int) -> str:
    """Return ``exact``, or what differs."""
    text, _ = design(config)
    if find_verilator() is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{TOP}.v"
            path.write_text(text, encoding="utf-8")
            lint(path, TOP)
    job = Prepared(small_model(network=config.network), config)
    timing = MemoryTiming(latency=9, pause=51 / 256, seed=seed)
    result = cosimulate(job, CAMERA, engine="cxxrtl", timing=timing, build_dir=FOLDER)
    if result.error != "NONE":
        return f"ended with {result.error}"
    if result.first_difference is not None or result.pixel_mismatches or result.cycles_rtl != result.cycles_sim:
        return str(result.first_difference or f"{result.pixel_mismatches} pixels, {result.cycles_rtl} cycles")
    return "exact"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    drawn = list(islice(configurations(options.seed), options.count))
    rows = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for config, found in zip(drawn, pool.map(lambda each: outcome(each, options.seed), drawn), strict=True):
            print(f"{config.name}: {found}", flush=True)
            rows.append({**asdict(config), "outcome": found})
    different = sum(row["outcome"] != "exact" for row in rows)
    print(f"{options.count} configurations, {different} not exact")
    if options.json:
        result = {
            "command": f"python -m tests.cosim.configurations --count {options.count} --seed {options.seed}",
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "largest": LARGEST,
            "different": different,
            "configurations": rows,
        }
        write_bytes(options.json, (json.dumps(result, indent=1) + "\n").encode())
    return int(different > 0)


if __name__ == "__main__":
    raise SystemExit(main())
