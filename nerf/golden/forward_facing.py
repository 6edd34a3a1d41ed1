"""Rays of forward-facing models as integers: the accelerator's formats, but made by the host.

The accelerator's ray units have no rays of normalised device coordinates; every value behind the rays is computed as it
does. Rays differ in length there, which the density's law takes in: a `relu` of it grows with the length, and the
logarithm of a `softplus`, where it is not opaque anyway, by the length's.
"""

from __future__ import annotations

import math

import numpy as np

from nerf.contract.formats import ALPHA_STEP_BITS, FRACTION_BITS, POSITION, SINE_FRACTION, STEP
from nerf.contract.registers import CAMERA_TABLE, View, background_word
from nerf.contract.scene_image import Scene, exchanged_axes
from nerf.golden.ray_setup import Rays

SHORTEST = 2.0
"""Length of the shortest ray, from z = -1 to z = 1: the one that the scene's alpha table is made for."""


def picture_registers(
    scene: Scene, window: tuple[int, int, int, int], termination: float, background: tuple[int, int, int]
) -> View:
    """Return the registers of a view that do not make rays; the others are 0. As `view_registers`."""
    *_, width, height = window
    nothing = {register.name: np.zeros(len(register.names)) for register in CAMERA_TABLE}
    return View.of(
        nothing
        | {
            "window_width": width,
            "window_height": height,
            "sample_limit": scene.host["sample_count"] - 1,
            "termination": termination,
            "shading_threshold": scene.host["shading_threshold"],
            "background": background_word(background),
        }
    )


def quantised_rays(scene: Scene, origins: np.ndarray, directions: np.ndarray) -> tuple[Rays, np.ndarray]:
    """Round rays to the accelerator's formats.

    Parameters
    ----------
    scene : Scene
    origins, directions : float array (n, 3)
        In normalised device coordinates: the first sample, and the way from it to the last place.

    Returns
    -------
    Rays, law
        ``law``: multiplier and offset of each ray, int64 (n, 2), see `nerf.golden.frame.render_rays`. A ray whose first
        sample or step does not fit its format is not live.
    """
    host = scene.host
    axes = list(exchanged_axes(int(host["exchanged"])))
    low, unit = (np.array([host[f"{name}_{axis}"] for axis in "xyz"]) for name in ("low", "unit"))
    first = (origins[:, axes].astype(np.float64) - low) / unit
    step = directions[:, axes].astype(np.float64) / (unit * (host["sample_count"] - 1))
    length = np.linalg.norm(directions.astype(np.float64), axis=1)
    live = np.all(np.abs(first) < 1 << POSITION.integer, axis=1) & np.all(np.abs(step) < 1 << STEP.integer, axis=1)
    towards = directions[:, axes] / length[:, None]
    rays = Rays(
        # Down: a first sample that roundings of the floats put before the box stays before it.
        np.floor(np.where(live[:, None], first, 0) * (1 << POSITION.fraction)).astype(np.int64),
        STEP.quantise(step),
        np.zeros((len(first), 3), np.int64),  # Of no use: no cube is looked for.
        np.floor(towards * (1 << SINE_FRACTION) + 0.5).astype(np.int64),
        live,
    )
    longer = length / SHORTEST
    law = np.empty((len(length), 2), np.int64)
    if host["relu"]:
        law[:, 0], law[:, 1] = np.rint(scene.density_multiplier * longer), scene.density_offset
    else:
        entries = math.ldexp(1.0, ALPHA_STEP_BITS + FRACTION_BITS)
        law[:, 0], law[:, 1] = scene.density_multiplier, np.rint(scene.density_offset + np.log(longer) * entries)
    return rays, law
