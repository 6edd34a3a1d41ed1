"""Real-time frames: what models made from a reference take in hardware, and what they lose.

Cycles are of whole frames in the simulator, with LPDDR4 memory, in `edge` or, for models with deferred shading, in
`edge-deferred`. PSNR is of L2 against ground truth, its loss against L0 of the reference.
"""

import argparse
import os

import rtnerf
from benchmarks.options import CLOCK_HZ, ground_truth, load_scene, print_result, scene_parser
from nerf.cameras import Cameras
from nerf.checkpoint import load_model
from nerf.contract.config import PRESETS
from nerf.metrics import psnr
from nerf.model import TensorfModel
from nerf.render import uniform


def measure(model: TensorfModel, cameras: Cameras, options: argparse.Namespace, truths, references) -> list[dict]:
    """Simulate every view in one size, and render it with integers in the other."""
    config = PRESETS["edge-deferred" if model.shading == "deferred" else "edge"]
    job = rtnerf.prepare(model, config)
    rows = []
    for index, truth, reference_db in zip(options.views, truths, references, strict=True):
        frame = job.simulate(cameras.camera(index, options.frame_size), clock_hz=CLOCK_HZ)
        quality = psnr(job.render(cameras.camera(index, options.size), "integer").rgb, truth)
        unit = frame.bottleneck
        rows.append(
            {
                "view": index,
                "config": config.name,
                "multipliers": config.multipliers,
                "cycles": frame.cycles,
                "fps": round(frame.fps_at_clock, 1),
                "busiest": unit,
                "busy_share": round(frame.activity[unit]["busy"] / frame.cycles, 3),
                "gigabytes_per_second": round(frame.moved_bytes * CLOCK_HZ / frame.cycles / 1e9, 2),
                "samples": frame.samples,
                "samples_shaded": frame.shaded,
                "psnr_db": round(quality, 3),
                "loss_db": round(reference_db - quality, 3),
            }
        )
    return rows


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("benchmarks.frames", __doc__)
    parser.add_argument("--views", type=int, nargs="+", default=[0, 3, 7], help="indices of views")
    parser.add_argument("--size", type=int, default=200, help="width and height of the renders, in pixels")
    parser.add_argument("--frame-size", type=int, default=800, help="the same, of the simulated frames")
    parser.add_argument("--made", nargs="*", default=[], help="models made from the reference, which is --model")
    options = parser.parse_args()
    model, cameras = load_scene(options)
    truths = [ground_truth(cameras, index, options) for index in options.views]
    references = [
        psnr(uniform.render(model, cameras.camera(index, options.size)).rgb, truth)
        for index, truth in zip(options.views, truths, strict=True)
    ]
    models = {"reference": model} | {os.path.basename(path): load_model(path) for path in options.made}
    print_result(
        options,
        size_px=options.size,
        frame_size_px=options.frame_size,
        clock_hz=CLOCK_HZ,
        memory="LPDDR4-2400",
        psnr_reference_db=[round(quality, 3) for quality in references],
        frames={name: measure(each, cameras, options, truths, references) for name, each in models.items()},
    )


if __name__ == "__main__":
    main()
