"""RTL in Verilator against the golden model: mismatches, cycles, seconds, with and without back-pressure."""

from cosim.run import cosimulate
from nerf.contract.config import load_config
from tests.benchmarks.options import load_scene, print_result, scene_parser

KEPT = [
    "pixels",
    "pixel_mismatches",
    "transaction_mismatches",
    "transactions",
    "cycles_rtl",
    "samples",
    "samples_shaded",
    "cubes_loaded",
    "dram_read_bytes",
    "psnr_vs_float_db",
    "seconds_build",
    "seconds_simulation",
]


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("tests.benchmarks.cosimulation", __doc__)
    parser.add_argument("--views", type=int, nargs="+", default=[0, 2, 7], help="indices of views")
    options = parser.parse_args()
    model, cameras = load_scene(options)
    config = load_config("tiny")
    runs = []
    for index in options.views:
        full, crop = cameras.camera(index, 32), cameras.camera(index, 200).cropped(92, 92, 16, 16)
        for name, camera, pause in (
            ("32x32", full, 0.0),
            ("16x16 of 200x200", crop, 0.0),
            ("16x16, pauses", crop, 0.2),
        ):
            result = cosimulate(model, camera, config, pause=pause).as_dict()
            runs.append({"view": index, "window": name, "pause": pause} | {key: result[key] for key in KEPT})
    print_result(options, config=config.name, memory="cocotbext-axi", runs=runs)


if __name__ == "__main__":
    main()
