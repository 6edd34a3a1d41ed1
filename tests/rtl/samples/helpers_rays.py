"""Scenes and cameras for the benches of the blocks between the camera registers and the samples."""

import random
from types import SimpleNamespace

import numpy as np

from nerf.contract.registers import AXES, CAMERA_TABLE, View, view_registers
from nerf.contract.scene_image import cubes_of


def scene_stub(grid: tuple[int, int, int], seed: int) -> SimpleNamespace:
    """Return what `view_registers` needs of a scene: a grid and the host header, in random proportions."""
    chance = random.Random(f"scene {seed}")
    unit = [chance.uniform(0.8, 1.25) * 3.0 / max(grid) for _ in AXES]
    host = {f"unit_{axis}": unit[k] for k, axis in enumerate(AXES)}
    host |= {f"low_{axis}": -unit[k] * (grid[k] - 1) / 2 for k, axis in enumerate(AXES)}
    step = chance.uniform(0.4, 0.9) * sum(unit) / 3
    host |= {
        "step": step,
        "near": chance.choice((0.0, 0.3, 2.0)),
        "far": 6.0,
        "shading_threshold": 1e-3,
        "exchanged": 0,
    }
    host["sample_count"] = int(1.7 * float(np.linalg.norm(np.array(unit) * grid)) / step) + 2
    return SimpleNamespace(grid=grid, cubes=cubes_of(grid), host=host, forward_facing=False)


def camera(scene: SimpleNamespace, seed: int, width: int, height: int, kind: str | None = None) -> View:
    """Return the registers of a camera ``outside`` or ``inside`` the box, or ``parallel`` to an axis."""
    chance = random.Random(f"camera {seed}")
    kind = kind or ("outside", "inside", "parallel")[seed % 3]
    size = np.array([scene.host[f"unit_{axis}"] * n for axis, n in zip(AXES, scene.grid, strict=True)])
    pose = np.eye(4)
    if kind == "parallel":
        # A permutation of the axes: with an odd width the middle column's rays do not move along one axis.
        order = chance.sample(range(3), 3)
        pose[:3, :3] = np.eye(3)[order] * [chance.choice((-1, 1)) for _ in AXES]
        position = pose[:3, 2] * size * chance.choice((0.1, 1.0))
        position += pose[:3, 0] * size * chance.uniform(-0.2, 0.2)
    else:
        random_matrix = np.array([[chance.gauss(0, 1) for _ in range(3)] for _ in range(3)])
        pose[:3, :3] = np.linalg.qr(random_matrix)[0]
        if kind == "outside":
            position = pose[:3, 2] * float(np.linalg.norm(size)) * chance.uniform(0.6, 1.2)
        else:
            position = size * [chance.uniform(-0.45, 0.45) for _ in AXES]
    pose[:3, 3] = position
    focal = chance.uniform(0.5, 2.0) * width
    # The middle of the picture, for the parallel rays, or near it.
    centre = None if kind == "parallel" else (chance.uniform(0.4, 0.6) * width, chance.uniform(0.4, 0.6) * height)
    return view_registers(scene, pose, (focal, chance.uniform(0.8, 1.25) * focal), width, height, centre=centre)


def view_constants(view: View) -> dict:
    """Return a view's registers as the constant of `rtl.payloads.ViewRegisters`."""
    return {
        register.name: dict(zip(AXES, view.vector(register.name).tolist(), strict=True))
        if register.vector
        else view.values[register.name]
        for register in CAMERA_TABLE
        if register.names[0] in view.values
    }
