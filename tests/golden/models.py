"""Small models for benches: a soft blob with texture, in every shape that the hardware takes."""

import math
from dataclasses import replace

import numpy as np
import torch

from nerf.cameras import Camera
from nerf.contract.network import NetworkSize
from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel

NETWORK = NetworkSize()


def small_model(
    grid=(18, 13, 22),
    seed=0,
    components=(4, 6),
    mask="ball",
    thin=(12, 9, 15),
    box=((-1.0, -0.7, -1.2), (1.0, 0.7, 1.2)),
    network=NETWORK,
) -> TensorfModel:
    """A model with random smooth factors; ``mask`` is ``ball``, ``empty``, ``one`` (vertex), ``full`` or None."""
    generator = torch.Generator().manual_seed(seed)

    def factors(count, scale):
        planes, lines = [], []
        for (first, second), line in zip(PLANE_AXES, LINE_AXES, strict=True):
            plane = torch.randn(count, grid[second], grid[first], generator=generator) * scale
            planes.append(plane * (torch.rand(count, grid[second], grid[first], generator=generator) < 0.7))
            lines.append(torch.randn(count, grid[line], generator=generator) * scale)
        return planes, lines

    density_planes, density_lines = factors(components[0], 1.6)
    # One component pair lifts the density, so that the picture is neither empty nor solid.
    for plane, line in zip(density_planes, density_lines, strict=True):
        plane[0] = plane[0].abs() + 1
        line[0] = line[0].abs() + 1
    app_planes, app_lines = factors(components[1], 0.7)

    def layer(outputs, inputs):
        weight = torch.randn(outputs, inputs, generator=generator) / math.sqrt(inputs)
        return weight, torch.randn(outputs, generator=generator) * 0.1

    shape = tuple(reversed(thin))
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    masks = {
        "ball": x**2 + y**2 + z**2 < 0.8,
        "empty": np.zeros(shape, bool),
        "full": np.ones(shape, bool),
        "one": np.zeros(shape, bool),
        None: None,
    }
    masks["one"][shape[0] // 2, shape[1] // 2, shape[2] // 2] = True
    aabb = torch.tensor(box)
    return TensorfModel(
        aabb=aabb,
        density_planes=density_planes,
        density_lines=density_lines,
        app_planes=app_planes,
        app_lines=app_lines,
        basis=torch.randn(network.features, 3 * components[1], generator=generator) * 0.3,
        mlp=[layer(outputs, inputs) for _, inputs, outputs in network.layers[1:]],
        mask=masks[mask],
        mask_aabb=aabb,
        feature_bands=network.feature_bands,
        view_bands=network.view_bands,
        near=0.1,
        far=6.0,
    )


def look_at(position, target=(0.0, 0.0, 0.0), width=16, height=16, focal=None) -> Camera:
    """A camera at ``position`` that looks at ``target``, z up."""
    position, target = np.array(position, float), np.array(target, float)
    back = position - target
    back /= np.linalg.norm(back)
    up = np.array([0.0, 0.0, 1.0]) if abs(back[2]) < 0.99 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    c2w = np.eye(4)
    c2w[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    c2w[:3, 3] = position
    return Camera(c2w, focal or 1.2 * width, width, height)


EDGE_CASES = {
    "outside": (small_model, {}, look_at((2.5, 1.2, 1.0))),
    "inside the box": (small_model, {}, look_at((0.1, 0.05, 0.2), (1.0, 0.4, 0.3))),
    "along an axis": (small_model, {}, look_at((0.0, -3.0, 0.0), width=17, height=17)),
    "along an axis, from above": (small_model, {}, look_at((0.0, 0.0, 3.0), width=17, height=17)),
    "all rays miss": (small_model, {}, look_at((3.0, 0.0, 0.0), (6.0, 0.0, 0.0))),
    "empty occupancy": (small_model, {"mask": "empty"}, look_at((2.5, 1.2, 1.0))),
    "one occupied vertex": (small_model, {"mask": "one"}, look_at((2.5, 1.2, 1.0))),
    "no mask": (small_model, {"mask": None}, look_at((2.5, 1.2, 1.0))),
    "one pixel": (small_model, {}, look_at((2.5, 1.2, 1.0), width=1, height=1)),
    "wide": (small_model, {}, look_at((2.0, -1.5, 1.0), width=37, height=9)),
    "own focal lengths and principal point": (
        small_model,
        {},
        replace(look_at((2.5, 1.2, 1.0), width=20, height=12), focal=22.0, focal_y=30.0, centre=(13.25, 4.5)),
    ),
    "smallest grid": (small_model, {"grid": (2, 3, 5), "thin": (2, 3, 4), "mask": "full"}, look_at((2.5, 1.2, 1.0))),
}
"""Views that must render like the reference: name to (model factory, its arguments, camera)."""


def plain_model(colour, features):
    """A model whose colours are features, or harmonics of them; some below 0, some above 1."""
    model = small_model(components=(4, 6))
    basis = torch.randn(features, model.basis.shape[1], generator=torch.Generator().manual_seed(2)) * 0.5
    return replace(model, colour=colour, basis=basis, mlp=[])
