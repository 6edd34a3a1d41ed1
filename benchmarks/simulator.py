"""The simulator against the RTL: equal in every cycle, how much faster, and how its cost grows.

Parts: ``exact`` (views x configurations x memories, every probed transfer), ``speed`` (simulated cycles a second beside
Verilator, one run after the other on the same crop, records off), ``growth`` (one core, frames of 100 to 800 pixels).
With ``--beside``, instead of all of them, whole frames in this checkout and in others, in turns, in seconds of the
processor: the first one of a view finds its samples, the next one has them at hand.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import rtnerf
from benchmarks.options import load_scene, presets_for, print_result, scene_parser
from cosim.cycles import compare_cycles
from cosim.run import run_rtl
from nerf.contract.memory import MEMORY_TIMINGS
from sim.simulate import simulate

PARTS = ("exact", "speed", "growth")
HERE = Path(__file__).resolve().parents[1]
FRAME_SIZE = 800
TURNS = 2
"""Runs of each checkout, of which the fastest counts."""


def exact(model, cameras, views, engine):
    """Compare every transfer of small frames and of crops."""
    for config in presets_for(model):
        job = rtnerf.prepare(model, config)
        for number, index in enumerate(views):
            camera = cameras.camera(index, 12) if number % 2 else cameras.camera(index, 200).cropped(96, 90, 10, 10)
            view = job.view(camera)
            for memory in ("ideal", "slow"):
                timing = MEMORY_TIMINGS[memory]
                rtl = run_rtl(job.scene.data, view, config, engine, timing=timing)
                found = compare_cycles(rtl.trace, job.decoded, view, config, timing)
                yield {
                    "config": config.name,
                    "view": index,
                    "memory": memory,
                    "cycles_rtl": found.cycles_rtl,
                    "cycles_sim": found.cycles_sim,
                    "streams": len(found.mismatches),
                    "transactions": len(rtl.trace),
                    "transaction_mismatches": sum(found.mismatches.values()),
                    "first_difference": found.first,
                }


def speed(model, cameras, views):
    """Measure both on the same crop; builds, encoding and golden values are not counted on either side."""
    for config in presets_for(model):
        job = rtnerf.prepare(model, config)
        view = job.view(cameras.camera(views[0], 200).cropped(92, 92, 16, 16))
        simulate(job.decoded, view, config)
        rtl = run_rtl(job.scene.data, view, config, record=False)
        started = time.perf_counter()
        cycles = simulate(job.decoded, view, config).cycles
        seconds = time.perf_counter() - started
        assert cycles == rtl.counters["cycles"]
        yield {
            "config": config.name,
            "cycles": cycles,
            "verilator_cycles_per_second": cycles / rtl.seconds_run,
            "simulator_cycles_per_second": cycles / seconds,
            "ratio": rtl.seconds_run / seconds,
        }


def growth(model, cameras, views, config="edge"):
    """Measure whole frames, encoding and golden values included."""
    rtnerf.prepare(model, config).simulate(cameras.camera(views[0], 8), "fixed")
    for size in (100, 200, 400, 800):
        started = time.process_time()
        result = rtnerf.prepare(model, config).simulate(cameras.camera(views[0], size))
        seconds = time.process_time() - started
        yield {
            "config": config,
            "size": size,
            "cycles": result.cycles,
            "samples": result.samples,
            "samples_shaded": result.shaded,
            "processor_seconds": seconds,
            "microseconds_per_sample": 1e6 * seconds / result.samples,
            "resident_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        }


def alone(model, cameras, index, name):
    """Measure a frame twice in the checkout that Python finds, which may know nothing of values at hand."""
    import sim.simulate as simulator

    job = rtnerf.prepare(model, name)
    simulate(job.decoded, job.view(cameras.camera(index, 8)), job.config)
    view = job.view(cameras.camera(index, FRAME_SIZE))
    seconds, more = [], {}
    for _ in range(2):
        started = time.process_time()
        if not more and hasattr(simulator, "Values"):
            more = {"values": simulator.Values(job.decoded, view)}
        cycles = simulate(job.decoded, view, job.config, **more).cycles
        seconds.append(time.process_time() - started)
    return {"cycles": cycles, "first_processor_seconds": seconds[0], "processor_seconds": seconds[1]}


def beside(options):
    """Measure this checkout and others in turns; a frame has as many cycles as the hardware of its checkout takes."""
    checkouts = {"this": HERE} | {Path(path).name: Path(path).resolve() for path in options.beside}
    given = [f"--{name}={Path(getattr(options, name)).resolve()}" for name in ("model", "transforms")
             if getattr(options, name)]  # fmt: skip
    for name in options.configs:
        runs = {checkout: [] for checkout in checkouts}
        for _ in range(TURNS):
            for checkout, folder in checkouts.items():
                command = [sys.executable, __file__, *given, f"--views={options.views[0]}", f"--alone={name}"]
                environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
                runs[checkout].append(json.loads(done.stdout))
        best = {checkout: min(each, key=lambda run: run["processor_seconds"]) for checkout, each in runs.items()}
        rates = {checkout: run["cycles"] / run["processor_seconds"] for checkout, run in best.items()}
        yield {"config": name, "view": options.views[0], "size": FRAME_SIZE, **best, "cycles_per_second": rates}


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("benchmarks.simulator", __doc__)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--views", type=int, nargs="+", default=[0, 2, 7], help="indices of views")
    parser.add_argument("--engine", default="verilator", help="of the part exact")
    parser.add_argument("--beside", nargs="*", help="folders of other checkouts")
    parser.add_argument("--configs", nargs="+", default=["tiny", "edge"], help="presets, with --beside")
    parser.add_argument("--alone", help="one preset, in the checkout that Python finds")
    options = parser.parse_args()
    if options.beside is not None:
        print_result(options, beside=list(beside(options)))
        return
    model, cameras = load_scene(options)
    if options.alone:
        json.dump(alone(model, cameras, options.views[0], options.alone), sys.stdout)
        return
    results = {}
    if "exact" in options.part:
        results["exact"] = list(exact(model, cameras, options.views, options.engine))
    if "speed" in options.part:
        results["speed"] = list(speed(model, cameras, options.views))
    if "growth" in options.part:
        results["growth"] = list(growth(model, cameras, options.views))
    print_result(options, **results)
    if any(run["transaction_mismatches"] for run in results.get("exact", [])):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
