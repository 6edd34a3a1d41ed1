"""Where a model is occupied, in the accelerator's integers: live cubes, their mask windows, which factors are read."""

import math

import numpy as np
import torch

from nerf.contract import scene_image as image
from nerf.contract.config import CUBE
from nerf.contract.formats import MASK_OFFSET, MASK_SCALE, POSITION
from nerf.contract.scene_image import MASK_WINDOW, PAIRS
from nerf.model import TensorfModel
from rtnerf.base.errors import require


def mask_map(model: TensorfModel) -> tuple[list[int], list[int]]:
    """Return per axis (scale, offset): mask cell = ((position * scale >> 24) + offset) >> 16, zero border included."""
    box, per_world = model.mask_aabb.double(), _mask_cells_per_length(model)
    scale = mask_cells_per_cell(model)
    offset = [float(model.aabb[0, k] - box[0, k]) * per_world[k] + 1 for k in range(3)]
    return (
        [round(value * 2**MASK_SCALE.fraction) for value in scale],
        [math.floor(value * 2**MASK_OFFSET.fraction + 0.5) for value in offset],
    )


def mask_cells_per_cell(model: TensorfModel) -> list[float]:
    """Mask cells along a factor cell, by axis."""
    return [float(unit) * cells for unit, cells in zip(model.unit, _mask_cells_per_length(model), strict=True)]


def _mask_cells_per_length(model: TensorfModel) -> list[float]:
    box = model.mask_aabb.double()
    vertices = (2, 2, 2) if model.mask is None else tuple(reversed(model.mask.shape))
    return [(vertices[k] - 1) / float(box[1, k] - box[0, k]) for k in range(3)]


def _mask_cells(model: TensorfModel) -> np.ndarray:
    """Occupied cells of the mask with a border of zero vertices: bool (Z + 1, Y + 1, X + 1)."""
    vertices = np.ones((2, 2, 2), bool) if model.mask is None else model.mask
    cells = np.pad(vertices, 2 if model.mask is None else 1)
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        cells = cells[tuple(low)] | cells[tuple(high)]
    if model.mask is None:
        cells = np.ones((3, 3, 3), bool)
    return cells


def mask_windows(model: TensorfModel) -> tuple[list[np.ndarray], dict[tuple[int, int, int], tuple[int, int, int]]]:
    """Return the mask windows of the live cubes and, by cube (x, y, z) in row order, their bases."""
    cells = _mask_cells(model)
    require(
        max(cells.shape) <= 1 << image.MASK_CELL_BITS,
        "mask",
        f"at most {(1 << image.MASK_CELL_BITS) - 1} vertices a side",
        cells.shape,
    )
    scale, offset = mask_map(model)
    spans = []
    for k in range(3):
        span = []
        for cube in range(image.cubes_of(model.grid_size)[k]):
            low, high = (position << POSITION.fraction for position in (cube * CUBE, (cube + 1) * CUBE))
            high = min(high - 1, model.grid_size[k] - 1 << POSITION.fraction)
            first, last = (
                ((u * scale[k] >> MASK_SCALE.fraction) + offset[k]) >> MASK_OFFSET.fraction for u in (low, high)
            )
            assert last - first < MASK_WINDOW, "nerf.refine.for_its_mask sees to it"
            span.append((min(max(first, 0), cells.shape[2 - k]), last))
        spans.append(span)
    windows, bases = [], {}
    for z, (z_first, z_last) in enumerate(spans[2]):
        for y, (y_first, y_last) in enumerate(spans[1]):
            slab = cells[z_first : z_last + 1, y_first : y_last + 1]
            if not slab.any():
                continue
            for x, (x_first, x_last) in enumerate(spans[0]):
                part = slab[:, :, x_first : x_last + 1]
                if part.any():
                    window = np.zeros((MASK_WINDOW,) * 3, bool)
                    window[tuple(slice(n) for n in part.shape)] = part
                    windows.append(window)
                    bases[x, y, z] = (x_first, y_first, z_first)
    return windows, bases


def pack_rows(live: dict, grid: tuple[int, int, int]) -> bytes:
    """Return the rows section of a scene image: the live cubes, given by (x, y, z) in row order."""
    cubes = image.cubes_of(grid)
    bits = np.zeros((cubes[2], cubes[1]), object)
    for x, y, z in live:
        bits[z, y] |= 1 << x
    rows, rank = bytearray(), 0
    for row in bits.reshape(-1):
        rows += image.pack_row(int(row), rank).to_bytes(image.BEAT, "little")
        rank += int(row).bit_count()
    return bytes(rows)


def shadow(live: dict, grid: tuple[int, int, int], axes: tuple[int, ...]) -> np.ndarray:
    """Factor positions along the axes that a live cube reads: bool, one dimension an axis."""
    positions = np.zeros([grid[axis] for axis in axes], bool)
    for cube in {tuple(cube[axis] for axis in axes) for cube in live}:
        positions[tuple(slice(CUBE * c, CUBE * c + CUBE + 1) for c in cube)] = True
    return positions


def read_cells(model: TensorfModel) -> np.ndarray:
    """Factor cells with an occupied point, bool (z, y, x), as many along each axis as factor positions.

    The last cell of an axis is its last position alone.
    """
    cells = _mask_cells(model)
    scale, offset = mask_map(model)
    for k in range(3):
        low = np.arange(model.grid_size[k], dtype=np.int64) << POSITION.fraction
        high = np.minimum(low + (1 << POSITION.fraction) - 1, low[-1])
        first, last = (((u * scale[k] >> MASK_SCALE.fraction) + offset[k]) >> MASK_OFFSET.fraction for u in (low, high))
        padded = np.insert(cells, cells.shape[2 - k], False, axis=2 - k)
        reached = (np.minimum(first + step, last) for step in range(int((last - first).max()) + 1))
        outside = padded.shape[2 - k] - 1
        parts = [padded.take(np.where((at >= 0) & (at < outside), at, outside), axis=2 - k) for at in reached]
        cells = np.logical_or.reduce(parts)
    return cells


def read_factors(
    planes: list[torch.Tensor], lines: list[torch.Tensor], cells: np.ndarray
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return planes (C, N[second], N[first]) and lines (C, N) with 0 where no cell of `read_cells` reads them."""

    def masked(factor: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        seen: np.ndarray = np.any(cells, axis=tuple(2 - axis for axis in range(3) if axis not in axes))
        for axis in range(seen.ndim):  # A cell reads its own position and the next.
            following = [slice(None)] * seen.ndim
            own = list(following)
            following[axis], own[axis] = slice(1, None), slice(None, -1)
            seen = seen.copy()
            seen[tuple(following)] |= seen[tuple(own)].copy()
        return factor * torch.from_numpy(seen)

    return (
        [masked(plane, (first, second)) for plane, (first, second, _) in zip(planes, PAIRS, strict=True)],
        [masked(line, (axis,)) for line, (_, _, axis) in zip(lines, PAIRS, strict=True)],
    )
