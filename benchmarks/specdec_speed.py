"""What the commands of `specdec` take that do not decode: help, predictions, advice, and a million requests served.

Run ``python -m benchmarks.specdec_speed --json FILE`` from the checkout. Each command is started ``--repeats`` times,
and the first of a kind once more, uncounted, so that what Python and numba compile is there. The least processor time
counts, that of starting Python included: other work on the machine adds little to it, but much to the time that passes,
which stands beside.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rtnerf.base.files import write_json
from specdec.cost.ranks import ranks_of_one
from specdec.trees.shape import greedy_shape

SECONDS = {"--help": 0.3, "predict": 0.6, "advise": 0.6, "serve": 10.0}
"""What each may take."""

LOADS = 0.5, 0.74, 1.11, 1.65, 2.46, 3.66, 5.46, 8.13, 12.1, 18.0, 26.9, 40.0
"""Requests a second, of the sweep 0.5:40:12 in docs/serving.md."""

CONTROLLERS = "off", "smartspec:profile"


def commands(folder: Path, requests: int) -> list[list[str]]:
    """Return what is timed; files of the predictions are made in a folder."""
    machine = ["--target", "llama-3.1-8b", "--hardware", "h100"]
    found = [["--help"], ["predict", "--help"]]
    for nodes in (64, 1000):
        acceptance = [ranks_of_one(0.8).tolist()] * 30
        shape = greedy_shape(acceptance, nodes)
        tree, rates = folder / f"tree{nodes}.json", folder / "rates.json"
        tree.write_text(json.dumps([list(path) for path in shape.paths if path]))
        rates.write_text(json.dumps(acceptance))
        files = ["--tree", str(tree), "--acceptance", str(rates)]
        found.append(["predict", *files, *machine, "--draft", "llama-68m", "--batch", "1,8,64"])
        advice = [*machine, "--method", "eagle3", "--al", "3.2@4", "--batch", "1,8,64", "--context", "1000,32000"]
        found.append(["advise", *advice, "--nodes", str(nodes)])
    for load in LOADS:
        for controller in CONTROLLERS:
            found.append(["serve", "--rate", f"{load:g}", "--controller", controller, "--requests", str(requests)])
    return found


def timed(command: list[str], repeats: int) -> tuple[float, float]:
    """Return the least processor time of a command and the least time that passed, in seconds."""
    words = [sys.executable, "-m", "rtnerf", "specdec", *command]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    processor, passed = [], []
    for _ in range(repeats):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        passed.append(time.perf_counter() - started)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(processor), min(passed)


def main() -> None:
    """Read the options, run, write; exit code 1 if a command takes too long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.specdec_speed", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="the result file")
    parser.add_argument("--repeats", type=int, default=3, help="of each command")
    parser.add_argument("--requests", type=int, default=1_000_000, help="that are served")
    options = parser.parse_args()
    rows, started = [], set()
    with TemporaryDirectory() as folder:
        for command in commands(Path(folder), options.requests):
            if command[0] not in started:
                started.add(command[0])
                timed(command, 1)
            processor, passed = timed(command, options.repeats)
            limit = SECONDS["--help" if "--help" in command else command[0]]
            named = " ".join(word.replace(f"{folder}/", "") for word in command)
            row = {"command": named, "processor_s": processor, "passed_s": passed, "limit_s": limit}
            rows.append(row | {"holds": processor <= limit})
            print(f"{processor:6.2f} s, at most {limit:g}; {passed:6.2f} s passed: {named}", flush=True)
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    write_json(options.json, {"command": "python -m benchmarks.specdec_speed", **machine, "commands": rows})
    sys.exit(not all(row["holds"] for row in rows))


if __name__ == "__main__":
    main()
