"""Area, memory and clock of the RTL, unit by unit, in one library or several; what the compact library errs by.

What is kept in `build/synthesis` is not made again. The result is `reports/results/synthesis.json`, which a test holds
five units of `tiny` to.
"""

import argparse
import json
import os
import sys

from nerf.contract.config import load_config
from rtnerf.base.folders import kept_folder
from rtnerf.physical.libraries import load_technology
from rtnerf.physical.synthesis import synthesize

CACHE = kept_folder("synthesis")


def rounded(value: object, digits: int = 5) -> object:
    """Return a result with its numbers in a few digits, without what only a single run is asked for."""
    if isinstance(value, dict):
        left_out = {"slack", "library_digest"}
        # An area by that name stays, the list of a unit's memories does not.
        left_out |= {"memories"} - {key for key, item in value.items() if isinstance(item, float)}
        return {key: rounded(item) for key, item in value.items() if key not in left_out}
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


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthesis", description=__doc__)
    parser.add_argument("--config", nargs="+", default=["tiny"], help="presets")
    parser.add_argument("--library", nargs="+", default=["compact"], help="libraries by name")
    parser.add_argument("--unit", nargs="+", default=[], help="only these units")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="units at a time")
    options = parser.parse_args()
    runs = {
        f"{config} {library}": synthesize(
            load_config(config),
            load_technology([library], CACHE),
            options.unit,
            cache=CACHE,
            workers=options.workers,
            progress=lambda done, total, name: print(f"{done} of {total}: {name}", file=sys.stderr),
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


if __name__ == "__main__":
    main()
