"""What each knob of ``rtnerf tune`` does to quality and work.

PSNR is against ground truth, its loss against L0 of the untuned model; samples are of a frame, the mean of the views;
cycles are of the first view.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import rtnerf
from benchmarks.options import CLOCK_HZ, ground_truth, load_scene, print_result, scene_parser
from nerf.checkpoint import load_model
from nerf.metrics import psnr
from nerf.model import TensorfModel
from nerf.render import uniform
from nerf.train.tuning import RECOMMENDED, Knobs, describe, tune

ROWS = {
    "none": Knobs(),
    **{f"tight occupancy, alpha {value:g}": Knobs("tight", value) for value in (1e-4, 3e-4, 5e-4, 1e-3)},
    **{f"step ratio {value:g}": Knobs(step_ratio=value) for value in (0.6, 0.75, 1.0)},
    **{f"shading threshold {value:g}": Knobs(shading_threshold=value) for value in (1e-3, 2e-3, 4e-3)},
    **{f"pruned density {value:g}": Knobs(prune_density=value) for value in (0.05, 0.1, 0.2)},
    **{f"pruned appearance {value:g}": Knobs(prune_appearance=value) for value in (0.1, 0.2, 0.3)},
    **{f"factor bits {value}": Knobs(factor_bits=value) for value in (7, 6)},
    "recommended": RECOMMENDED,
}


def models(model: TensorfModel, options: argparse.Namespace) -> Iterator[tuple[str, TensorfModel]]:
    """Tune the model in every way that was asked for, then load the others."""
    for name in options.rows:
        yield name, tune(model, ROWS[name])
    for path in options.beside:
        yield Path(path).name, load_model(path)


def mean_psnr(pictures: list, cameras, options: argparse.Namespace) -> float:
    """Return the mean PSNR of pictures of the views against ground truth."""
    truths = [ground_truth(cameras, index, options) for index in options.views]
    return float(np.mean([psnr(picture.rgb, truth) for picture, truth in zip(pictures, truths, strict=True)]))


def measure(model: TensorfModel, cameras, options: argparse.Namespace, reference_db: float) -> dict:
    """Render (L1), encode and simulate a model."""
    job = rtnerf.prepare(model, options.config)
    pictures = [job.render(cameras.camera(index, options.size), "cubes") for index in options.views]
    quality = mean_psnr(pictures, cameras, options)
    samples, shaded = (
        round(np.mean([picture.statistics[name] for picture in pictures]))
        for name in ("samples_occupied", "samples_shaded")
    )
    frame = job.simulate(cameras.camera(options.views[0], options.cycles_size), clock_hz=CLOCK_HZ)
    return {
        "psnr_db": round(quality, 3),
        "loss_db": round(reference_db - quality, 3),
        "samples": samples,
        "samples_shaded": shaded,
        "factor_bytes": job.encoded.size_table()["total"]["hybrid_bytes"],
        "cycles": frame.cycles,
        "fps": round(frame.fps_at_clock, 2),
        **describe(model),
    }


def main() -> None:
    """Read the options, run, print."""
    parser = scene_parser("benchmarks.knobs", __doc__)
    parser.add_argument("--views", type=int, nargs="+", default=[0, 2, 7], help="indices of views")
    parser.add_argument("--size", type=int, default=200, help="width and height in pixels")
    parser.add_argument("--cycles-size", type=int, default=200, help="the same, of the simulated frame")
    parser.add_argument("--config", default="edge", help="of the accelerator")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="settings of the knobs")
    parser.add_argument("--beside", nargs="*", default=[], help="other models, measured as they are")
    options = parser.parse_args()
    model, cameras = load_scene(options)
    references = [uniform.render(model, cameras.camera(index, options.size)) for index in options.views]
    reference_db = mean_psnr(references, cameras, options)
    print_result(
        options,
        size_px=options.size,
        views=options.views,
        cycles_size_px=options.cycles_size,
        config=options.config,
        clock_hz=CLOCK_HZ,
        psnr_reference_db=round(reference_db, 3),
        rows={name: measure(each, cameras, options, reference_db) for name, each in models(model, options)},
    )


if __name__ == "__main__":
    main()
