"""RTL in Verilator against golden model and simulator: mismatches, cycles, seconds, with and without random pauses."""

import rtnerf
from benchmarks.options import load_scene, presets_for, print_result, scene_parser
from nerf.contract.memory import MemoryTiming

KEPT = [
    "pixels",
    "pixel_mismatches",
    "value_mismatches",
    "cycle_mismatches",
    "transaction_mismatches",
    "transactions",
    "cycles_rtl",
    "cycles_sim",
    "samples",
    "samples_shaded",
    "cubes_loaded",
    "dram_read_bytes",
    "psnr_vs_float_db",
    "seconds_build",
    "seconds_rtl",
    "seconds_sim",
]


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("benchmarks.cosimulation", __doc__)
    parser.add_argument("--views", type=int, nargs="+", default=[0, 2, 7], help="indices of views")
    options = parser.parse_args()
    model, cameras = load_scene(options)
    runs = []
    for config in presets_for(model):
        job = rtnerf.prepare(model, config)
        for index in options.views:
            full, crop = cameras.camera(index, 32), cameras.camera(index, 200).cropped(92, 92, 16, 16)
            for window, camera, pause in (("32x32", full, 0), ("16x16 of 200x200", crop, 0.2)):
                result = job.cosimulate(camera, timing=MemoryTiming(pause=pause)).record()
                run = {"config": config.name, "view": index, "window": window, "pause": pause}
                runs.append(run | {key: result[key] for key in KEPT})
    print_result(options, runs=runs)


if __name__ == "__main__":
    main()
