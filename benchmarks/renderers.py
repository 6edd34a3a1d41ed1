"""Processor seconds of the uniform (L0), the object-order (L1) and the integer renderer (L2) side by side, on one core.

Run ``python -m benchmarks.renderers`` from the checkout; ``--help`` lists the options. Prints
JSON: per view the three times, their ratios and how far the pictures of L1 and L0 are apart.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch

from benchmarks.options import load_scene, print_result, scene_parser
from nerf.metrics import psnr
from nerf.render import cubes, uniform
from rtnerf.api import prepare


def best_seconds(function, repeats):
    """Least processor time of ``repeats`` calls, so that other work does not count, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def compare(job, camera, termination, repeats):
    """Render one view three ways. Returns a dictionary of numbers."""
    model = job.floats
    seconds_uniform, expected = best_seconds(lambda: uniform.render(model, camera), repeats)
    seconds_cubes, actual = best_seconds(lambda: cubes.render(model, camera, termination), repeats)
    seconds_integer, _ = best_seconds(lambda: job.render(camera, "integer", termination), repeats)
    quality = psnr(actual.rgb, expected.rgb)
    return {
        "seconds_uniform": round(seconds_uniform, 4),
        "seconds_cubes": round(seconds_cubes, 4),
        "seconds_integer": round(seconds_integer, 4),
        "speedup": round(seconds_uniform / seconds_cubes, 2),
        "speedup_integer": round(seconds_uniform / seconds_integer, 2),
        "psnr_cubes_vs_uniform_db": None if math.isinf(quality) else round(quality, 2),
        "max_abs_difference": float(np.abs(actual.rgb - expected.rgb).max()),
        "statistics_uniform": expected.statistics,
        "statistics_cubes": actual.statistics,
    }


def main():
    """Read the options, run, print."""
    parser = scene_parser("benchmarks.renderers", __doc__)
    parser.add_argument("--views", type=int, nargs="+", default=[0, 1], help="indices of views")
    parser.add_argument("--size", type=int, default=200, help="width and height in pixels")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many runs counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, cameras = load_scene(options)
    job = prepare(model)
    for pipeline in ("cubes", "integer"):
        job.render(cameras.camera(0, 8), pipeline)  # Compiles.
    views = []
    for index in options.views:
        camera = cameras.camera(index, options.size)
        for termination in (0.0, 1e-3):
            numbers = compare(job, camera, termination, options.repeats)
            views.append({"view": index, "termination": termination} | numbers)
    print_result(options, size_px=options.size, threads=1, torch=torch.__version__, views=views)


if __name__ == "__main__":
    main()
