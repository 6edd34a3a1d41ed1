"""Area, memory and clock of the RTL, unit by unit, in one library or several; what the compact library errs by.

What is kept in `build/synthesis` is not made again. The result is `reports/results/synthesis.json`, which a test holds
five units of `tiny` to, and ``--check`` all. ``--embed`` makes nothing anew: it writes what `rtnerf simulate` needs of
that file into `rtnerf.physical`.
"""

import argparse
import json
import os
import sys

from nerf.contract.config import load_config
from rtnerf.base.files import write_bytes
from rtnerf.base.folders import ROOT, kept_folder
from rtnerf.physical.kept import SYNTHESISED, short_record
from rtnerf.physical.libraries import load_technology
from rtnerf.physical.synthesis import synthesize

CACHE = kept_folder("synthesis")
RESULTS = ROOT / "reports" / "results" / "synthesis.json"
SHAPE = ("name", "words", "bits", "reads", "writes")
"""Of a memory; what it costs follows."""
COMPARED, TOLERANCE = ("cells", "area_um2", "flip_flops", "memory_bits", "delay_ps"), 0.03
"""What must not get worse, and by how much it may."""


def rounded(value: object, digits: int = 5) -> object:
    """Return a result with its numbers in a few digits, without what only a single run is asked for."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in ("slack", "library_digest")}
        # Of a unit; of areas and energies by cause it is a number or a range.
        if isinstance(memories := value.get("memories"), list) and all(isinstance(memory, dict) for memory in memories):
            kept["memories"] = [{key: memory[key] for key in SHAPE} for memory in memories]
        return {key: rounded(item, digits) for key, item in kept.items()}
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def errors(compact: dict, full: dict) -> dict[str, dict[str, float]]:
    """Return area and delay of each unit in one library, relative to those in another."""
    return {
        name: {
            key: compact["units"][name][key] / unit[key] - 1
            for key in ("area_um2", "delay_ps")
            if unit[key] and compact["units"][name][key]
        }
        for name, unit in full["units"].items()
        if name in compact["units"]
    }


def worse(units: dict, kept: dict) -> list[str]:
    """Return what units need more of than those that are kept, by more than `TOLERANCE`."""
    return [
        f"{name}: {key} {unit[key]:.5g}, kept {kept[name][key] or 0:.5g}"
        for name, unit in units.items()
        if name in kept
        for key in COMPARED
        if (unit[key] or 0) > (1 + TOLERANCE) * (kept[name][key] or 0)
    ]


def check(runs: dict) -> None:
    """Say which units got worse than in the kept results, and fail."""
    kept = json.loads(RESULTS.read_text())["runs"]
    found = [
        f"{name}: {line}"
        for name, run in runs.items()
        for line in worse(run["units"], kept.get(name, {"units": {}})["units"])
    ]
    if found:
        raise SystemExit("\n".join(["these units got worse:", *found]))


def embed() -> None:
    """Write the whole configurations among the results into `rtnerf.physical`, each in the first library."""
    results = json.loads(RESULTS.read_text())
    first: dict[str, dict] = {}
    for run in results["runs"].values():
        if "clock_mhz" in run:
            first.setdefault(run["config_digest"], short_record(run))
    content = {"made_by": results["command"], "runs": list(first.values())}
    write_bytes(SYNTHESISED, (json.dumps(content, indent=1) + "\n").encode())


def told(done: int, total: int, name: str) -> None:
    """Say which unit is done."""
    print(f"{done} of {total}: {name}", file=sys.stderr)


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthesis", description=__doc__)
    parser.add_argument("--config", nargs="+", default=["tiny"], help="presets")
    parser.add_argument("--library", nargs="+", default=["compact"], help="libraries by name")
    parser.add_argument("--unit", nargs="+", default=[], help="only these units")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="units at a time")
    parser.add_argument("--embed", action="store_true", help="only write the kept results into the package")
    parser.add_argument("--check", action="store_true", help="fail where a unit is worse than kept by more than 3 %%")
    options = parser.parse_args()
    if options.embed:
        embed()
        return
    runs = {
        f"{config} {library}": synthesize(
            load_config(config),
            load_technology([library], CACHE),
            options.unit,
            cache=CACHE,
            workers=options.workers,
            progress=told,
        )
        for config in options.config
        for library in options.library
    }
    compared = {
        config: errors(runs[f"{config} compact"], runs[f"{config} asap7"])
        for config in options.config
        if {"compact", "asap7"} <= set(options.library)
    }
    command = " ".join(["python -m benchmarks.synthesis", *sys.argv[1:]])
    json.dump({"command": command, "runs": rounded(runs), "compact_errors": rounded(compared, 3)}, sys.stdout, indent=1)
    print()
    if options.check:
        check(runs)


if __name__ == "__main__":
    main()
