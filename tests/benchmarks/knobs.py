"""What each knob of ``rtnerf tune`` does to quality and work.

PSNR is that of the integer pipeline (L2) against ground truth, its loss that against L0 of the untuned model; samples
are of a frame, cycles of the first view.
"""

import argparse
from pathlib import Path

import numpy as np

from nerf import uniform
from nerf.checkpoint import load_model
from nerf.contract.config import load_config
from nerf.encode import encode_model
from nerf.golden.frame import decode_scene, render_frame
from nerf.integer import camera_view
from nerf.metrics import psnr
from nerf.tuning import RECOMMENDED, Knobs, describe, tune
from sim.lpddr4 import Lpddr4
from sim.simulate import simulate
from tests.benchmarks.options import load_scene, print_result, scene_parser

CLOCK_HZ = 1e9
ROWS = {
    "none": Knobs(),
    **{f"tight occupancy, alpha {value:g}": Knobs("tight", value) for value in (1e-4, 3e-4, 1e-3)},
    **{f"step ratio {value:g}": Knobs(step_ratio=value) for value in (0.6, 0.75, 1.0)},
    **{f"shading threshold {value:g}": Knobs(shading_threshold=value) for value in (1e-3, 2e-3, 4e-3)},
    **{f"pruned density {value:g}": Knobs(prune_density=value) for value in (0.05, 0.1, 0.2)},
    **{f"pruned appearance {value:g}": Knobs(prune_appearance=value) for value in (0.1, 0.2, 0.3)},
    **{f"factor bits {value}": Knobs(factor_bits=value) for value in (7, 6)},
    "recommended": RECOMMENDED,
}


def measure(model, cameras, options: argparse.Namespace, reference_db: float) -> dict:
    """Encode a model, render and simulate it."""
    config = load_config(options.config)
    encoded = encode_model(model, config)
    decoded = decode_scene(encoded.scene, config)
    quality, samples, shaded = [], [], []
    for index in options.views:
        frame = render_frame(decoded, camera_view(encoded.scene, cameras.camera(index, options.size)))
        quality.append(psnr(frame.rgb, cameras.ground_truth(index, options.size, options.size)))
        samples.append(len(frame.samples))
        shaded.append(len(frame.shaded))
    view = camera_view(encoded.scene, cameras.camera(options.views[0], options.cycles_size))
    cycles = simulate(decoded, view, config, Lpddr4(), CLOCK_HZ).cycles
    return {
        "psnr_db": round(float(np.mean(quality)), 3),
        "loss_db": round(reference_db - float(np.mean(quality)), 3),
        "samples": round(np.mean(samples)),
        "samples_shaded": round(np.mean(shaded)),
        "factor_bytes": encoded.size_table()["total"]["hybrid_bytes"],
        "cycles": cycles,
        "fps": round(CLOCK_HZ / cycles, 2),
        **describe(model),
    }


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("tests.benchmarks.knobs", __doc__)
    parser.add_argument("--views", type=int, nargs="+", default=[2, 7, 13], help="indices of views")
    parser.add_argument("--size", type=int, default=200, help="width and height in pixels")
    parser.add_argument("--cycles-size", type=int, default=200, help="the same, of the simulated frame")
    parser.add_argument("--config", default="edge", help="of the accelerator")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="settings of the knobs")
    parser.add_argument("--beside", nargs="*", default=[], help="other models, measured as they are")
    options = parser.parse_args()
    model, cameras = load_scene(options)
    reference_db = float(
        np.mean(
            [
                psnr(
                    uniform.render(model, cameras.camera(index, options.size)).rgb,
                    cameras.ground_truth(index, options.size, options.size),
                )
                for index in options.views
            ]
        )
    )
    models = {name: tune(model, ROWS[name]) for name in options.rows}
    models |= {Path(path).name: load_model(path) for path in options.beside}
    print_result(
        options,
        size_px=options.size,
        views=options.views,
        cycles_size_px=options.cycles_size,
        config=options.config,
        clock_hz=CLOCK_HZ,
        psnr_reference_db=round(reference_db, 3),
        rows={name: measure(each, cameras, options, reference_db) for name, each in models.items()},
    )


if __name__ == "__main__":
    main()
