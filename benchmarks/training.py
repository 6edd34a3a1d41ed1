"""Rays a second of processor time that training takes, of this checkout and of others beside it, in turns on one core.

Every checkout trains on the same rays from the same model (``--model``, its grid stays) or from noise (the default
schedule, shortened). Compilation is not counted: the first steps are left out.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
WARMING = 10  # Steps.


def alone(options: argparse.Namespace) -> dict:
    """Train with the checkout that Python finds, and tell the speed and the error on the way."""
    from dataclasses import replace

    import numpy as np
    import torch

    from nerf.cameras import load_cameras
    from nerf.checkpoint import load_model
    from nerf.train.settings import TrainingSettings
    from nerf.train.training import Dataset, train

    torch.set_num_threads(1)
    cameras = load_cameras(options.transforms)
    views = range(0, len(cameras), max(1, len(cameras) // options.views))
    rays = np.concatenate([np.concatenate(cameras.camera(view, options.size).rays(), axis=1) for view in views])
    rgb = np.concatenate([cameras.truth(view, options.size).reshape(-1, 3) for view in views])
    settings, start = TrainingSettings(steps=options.steps, batch_rays=options.rays), None
    if options.model:
        start = replace(load_model(options.model), shading_threshold=settings.shading_threshold)
        settings = replace(settings, mask_at=(), upsample_at=())
    seen = []
    train(
        Dataset(torch.from_numpy(rays), torch.from_numpy(rgb), cameras.background),
        settings,
        lambda done, _, psnr_db, *more: seen.append((done, time.process_time(), round(psnr_db, 2))),
        start=start,
    )
    first, last = next(one for one in seen if one[0] >= WARMING), seen[-1]
    rate = options.rays * (last[0] - first[0]) / (last[1] - first[1])
    return {"rays_per_second": round(rate), "psnr_db": [one[2] for one in seen]}


def main() -> None:
    """Read the options, run every checkout in turns, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--transforms", required=True, help="transforms_train.json or a folder of a capture")
    parser.add_argument("--model", help="what to go on from; default: noise")
    parser.add_argument("--size", type=int, default=200, help="width of the pictures, in pixels")
    parser.add_argument("--views", type=int, default=10, help="pictures that are read")
    parser.add_argument("--rays", type=int, default=1024, help="rays in a step")
    parser.add_argument("--steps", type=int, default=60, help="steps of a run, of which the first ten do not count")
    parser.add_argument("--beside", nargs="*", default=[], help="folders of other checkouts")
    parser.add_argument("--turns", type=int, default=2, help="runs of each, of which the fastest counts")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        json.dump(alone(options), sys.stdout)
        return
    checkouts = {"this": HERE} | {str(path): Path(path).resolve() for path in options.beside}
    paths = [
        f"--{name}={Path(value).resolve()}" for name in ("transforms", "model") if (value := getattr(options, name))
    ]
    numbers = [f"--{name}={getattr(options, name)}" for name in ("size", "views", "rays", "steps")]
    command = [sys.executable, __file__, "--alone", *paths, *numbers]
    runs: dict[str, list[dict]] = {name: [] for name in checkouts}
    for _ in range(options.turns):
        for name, folder in checkouts.items():
            environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
            runs[name].append(json.loads(done.stdout))
    best = {name: max(each, key=lambda run: run["rays_per_second"]) for name, each in runs.items()}
    speed = best["this"]["rays_per_second"]
    ratios = {name: round(speed / run["rays_per_second"], 2) for name, run in best.items() if name != "this"}
    json.dump(
        {"steps": options.steps, "size_px": options.size, "times_as_fast_as": ratios, **best}, sys.stdout, indent=1
    )
    print()


if __name__ == "__main__":
    main()
