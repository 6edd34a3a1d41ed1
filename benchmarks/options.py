"""What the benchmarks share: the options that choose a scene, and the machine in the result."""

import argparse
import json
import os
import platform
import sys

import numpy as np

from nerf.cameras import Cameras, load_cameras
from nerf.checkpoint import load_model
from nerf.contract.config import PRESETS, AcceleratorConfig
from nerf.model import TensorfModel
from nerf.pictures import on_background, premultiplied
from nerf.scenes.builtin import get_scene

CLOCK_HZ = 1e9
"""Assumed, of the accelerator."""


def scene_parser(module: str, text: str) -> argparse.ArgumentParser:
    """Return a parser with ``--model`` and ``--transforms``; the default is the embedded scene."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=text)
    parser.add_argument("--model", help="checkpoint (default: the embedded model)")
    parser.add_argument("--transforms", help="transforms_*.json (default: the embedded cameras)")
    return parser


def load_scene(options: argparse.Namespace) -> tuple:
    """Return (model, cameras) of the options."""
    return load_model(options.model), load_cameras(options.transforms)


def ground_truth(cameras: Cameras, index: int, options: argparse.Namespace) -> np.ndarray:
    """Return the picture of a view in the size of the options; that of the embedded scene is drawn."""
    if options.transforms:
        return cameras.ground_truth(index, options.size, options.size)
    return on_background(premultiplied(get_scene("lattice").picture(cameras.camera(index, options.size))))


def presets_for(model: TensorfModel) -> list[AcceleratorConfig]:
    """Return the presets that shade as the model does; not `cloud`, whose RTL takes too long to simulate."""
    return [config for config in PRESETS.values() if config.shading == model.shading and config.name != "cloud"]


def print_result(options: argparse.Namespace, **values) -> None:
    """Print a result as JSON, with what made it."""
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    command = ["python", "-m", f"benchmarks.{os.path.basename(sys.argv[0]).removesuffix('.py')}", *sys.argv[1:]]
    model = os.path.basename(options.model) if options.model else "embedded"
    json.dump(
        {"command": " ".join(map(os.path.basename, command)), "model": model, **machine, **values}, sys.stdout, indent=1
    )
    print()
