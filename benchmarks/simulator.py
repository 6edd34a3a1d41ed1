"""The simulator against the RTL: equal in every cycle, how much faster, and how its cost grows.

Parts: ``exact`` (views x configurations x memories, every probed transfer), ``speed`` (simulated cycles a second beside
Verilator, one run after the other on the same crop, records off), ``growth`` (one core, frames of 100 to 800 pixels).
"""

import resource
import time

import rtnerf
from benchmarks.options import load_scene, presets_for, print_result, scene_parser
from cosim.cycles import compare_cycles
from cosim.run import run_rtl
from nerf.contract.memory import MEMORY_TIMINGS
from sim.simulate import simulate

PARTS = ("exact", "speed", "growth")


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


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("benchmarks.simulator", __doc__)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--views", type=int, nargs="+", default=[0, 2, 7], help="indices of views")
    parser.add_argument("--engine", default="verilator", help="of the part exact")
    options = parser.parse_args()
    model, cameras = load_scene(options)
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
