"""What stands still during a frame, and what is kept by pixel."""

from typing import Any, NamedTuple

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import rows_of_tiles
from nerf.contract.registers import View
from nerf.golden.frame import DecodedScene
from rtnerf.base.compiled import merged
from sim.control import registers
from sim.parts.activity import NEVER
from sim.samples import cube_list
from sim.samples.marches import Marches

SCENE_BASE = 0
"""Address of the scene image in memory."""


class Frame(NamedTuple):
    """What stands still during a frame, and arrays by pixel."""

    scene: Any
    camera: Any
    image: np.ndarray
    lists: Any
    """Of cubes, in memory."""
    uniform: bool
    """Rays are sampled uniformly, not cube by cube; modelled only."""
    deferred: bool
    """Shading is."""
    pairs: bool
    """There are two density lanes."""
    marches: Marches
    tiles: np.ndarray
    """By place of a tile: its first window pixel, x and y; int64 (tiles, 2)."""
    tile_live: np.ndarray
    """By pixel, as the arrays below: (place of its tile * tile + row) * tile + column."""
    rays_from: np.ndarray
    """By place of a tile: the cycle from which its rays are there."""
    transmittance: np.ndarray
    terminated_from: np.ndarray


def new_frame(
    decoded: DecodedScene, view: View, config: AcceleratorConfig, marches: Marches, uniform: bool = False
) -> Frame:
    """Return the constants of a frame: registers, scene, and the marches of its view."""
    pixels = config.tiles * config.tile**2
    lists = cube_list.new_lists(decoded.scene.live_cubes, rows_of_tiles(view, config))
    if uniform:
        lists.counts[:], lists.last[:] = 1, (view.window_width - 1) // config.tile
    return Frame(
        scene=registers.scene_registers(decoded.scene),
        camera=registers.view_registers(view),
        image=np.frombuffer(decoded.scene.data, np.uint8),
        lists=lists,
        uniform=uniform,
        deferred=config.shading == "deferred",
        pairs=config.density_lanes == 2,
        marches=marches,
        tiles=np.zeros((config.tiles, 2), np.int64),
        tile_live=np.zeros(pixels, np.int64),
        rays_from=np.full(config.tiles, NEVER, np.int64),
        transmittance=np.zeros(pixels, np.int64),
        terminated_from=np.zeros(pixels, np.int64),
    )


@merged
def take_tile(frame, tile, size: int) -> None:
    """Take note of a tile's place in the window, and of which of its rays meet the box; they are not set up yet."""
    frame.rays_from[tile.place] = NEVER
    frame.tiles[tile.place, 0], frame.tiles[tile.place, 1] = tile.x, tile.y
    for row in range(tile.last_y + 1):
        for column in range(tile.last_x + 1):
            pixel = (tile.y + row) * frame.camera.window_width + tile.x + column
            frame.tile_live[(tile.place * size + row) * size + column] = frame.marches.live[pixel]
