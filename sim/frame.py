"""What stands still during a frame, and what is kept by pixel."""

from typing import Any, NamedTuple

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import rows_of_tiles
from nerf.contract.registers import View
from nerf.golden.frame import DecodedScene
from nerf.golden.ray_setup import set_up
from rtnerf.base.compiled import compiled
from sim.control import registers
from sim.parts.activity import NEVER
from sim.samples import cube_list

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
    rank: np.ndarray
    windows: np.ndarray
    bases: np.ndarray
    planes: tuple[np.ndarray, ...]
    lines: tuple[np.ndarray, ...]
    alpha_table: np.ndarray
    rays: np.ndarray
    """First sample, step and inverse step of all window pixels, int64 (pixels, 3, 3)."""
    live: np.ndarray
    tile_position: np.ndarray
    """These and the following by pixel: (place of its tile * tile + row) * tile + column."""
    tile_step: np.ndarray
    tile_inverse: np.ndarray
    tile_live: np.ndarray
    rays_from: np.ndarray
    """By place of a tile: the cycle from which its rays are there."""
    transmittance: np.ndarray
    terminated_from: np.ndarray


def new_frame(decoded: DecodedScene, view: View, config: AcceleratorConfig, uniform: bool = False) -> Frame:
    """Return the constants of a frame: registers, scene, and the rays of all pixels."""
    row, column = np.divmod(np.arange(view.window_height * view.window_width, dtype=np.int64), view.window_width)
    rays = set_up(column, row, view, decoded.scene.grid)
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
        rank=decoded.rank,
        windows=decoded.windows,
        bases=decoded.bases,
        planes=decoded.density.planes,
        lines=decoded.density.lines,
        alpha_table=decoded.alpha_table,
        rays=np.stack([rays.position, rays.step, rays.inverse], axis=1),
        live=rays.live.astype(np.int64),
        tile_position=np.zeros((pixels, 3), np.int64),
        tile_step=np.zeros((pixels, 3), np.int64),
        tile_inverse=np.zeros((pixels, 3), np.int64),
        tile_live=np.zeros(pixels, np.int64),
        rays_from=np.full(config.tiles, NEVER, np.int64),
        transmittance=np.zeros(pixels, np.int64),
        terminated_from=np.zeros(pixels, np.int64),
    )


@compiled
def take_tile(frame, tile, size: int) -> None:
    """Copy the rays of a tile from those of the window; they are not set up yet."""
    frame.rays_from[tile.place] = NEVER
    for row in range(tile.last_y + 1):
        for column in range(tile.last_x + 1):
            pixel = (tile.y + row) * frame.camera.window_width + tile.x + column
            at = (tile.place * size + row) * size + column
            frame.tile_live[at] = frame.live[pixel]
            for axis in range(3):
                frame.tile_position[at, axis] = frame.rays[pixel, 0, axis]
                frame.tile_step[at, axis] = frame.rays[pixel, 1, axis]
                frame.tile_inverse[at, axis] = frame.rays[pixel, 2, axis]
