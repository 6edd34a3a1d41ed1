"""A whole frame of integers: what the accelerator must return, and every sample on the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import CHANNEL, FRACTION_BITS, POSITION, PRODUCT, UNIT, round_shift
from nerf.contract.registers import View
from nerf.contract.scene_image import MASK_WINDOW, RECORD_BYTES, Scene, unpack_record
from nerf.golden.compositor import composite
from nerf.golden.density import alpha, table_position
from nerf.golden.hybrid_decoder import Factors, decode_factors
from nerf.golden.interpolator import product, products
from nerf.golden.mlp_engine import Network, alpha_table, load_network, shade
from nerf.golden.occupancy_walker import walk
from nerf.golden.product_buffer import mean_products, weighted_product
from nerf.golden.ray_setup import Rays, set_up
from nerf.golden.sample_generator import CUBE_SHIFT, mask_cell, occupied, sample_position
from nerf.golden.tile_buffer import output_pixel, weighted_colour
from rtnerf.base.compiled import allocating, compiled

BAND = 4
"""Rows of a picture that are rendered at a time."""
_POSITION_FRACTION = POSITION.fraction

SAMPLE_FIELDS = ("pixel", "index", "x", "y", "z", "total", "alpha", "weight", "transmittance")
"""Columns of `Frame.samples`: window pixel (row * width + column), lattice index, position, density sum, ...,
transmittance behind the sample."""


@dataclass(frozen=True)
class DecodedScene:
    """A scene image, decoded once for many frames."""

    scene: Scene
    shading: str
    """As in the configuration."""
    density: Factors
    appearance: Factors
    network: Network
    alpha_table: np.ndarray
    rank: np.ndarray
    """Record index of each cube, int64 (z, y, x); -1 where the cube is not live."""
    windows: np.ndarray
    """Mask windows by rank, bool (n, 6, 6, 6)."""
    bases: np.ndarray
    """Window bases by rank, int64 (n, 3)."""


@dataclass(frozen=True)
class Frame:
    """Everything that a rendered window is made of.

    Parameters
    ----------
    pixels : uint16 array (height, width, 4)
        Red, green, blue, opacity.
    samples : int64 array (n, 9)
        Composited samples, pixel by pixel, front to back; columns `SAMPLE_FIELDS`.
    visible : int64 array (v,)
        Rows of ``samples`` that are visible.
    shaded : int64 array (m, 2)
        What the network runs on, by window pixel and weight: the visible samples, or with deferred shading the rays
        that have some, with the sums of their weights.
    products : integer array (m, products of a sample)
    colours : int64 array (m, 3)
    """

    pixels: np.ndarray
    samples: np.ndarray
    visible: np.ndarray
    shaded: np.ndarray
    products: np.ndarray
    colours: np.ndarray

    @property
    def rgb(self) -> np.ndarray:
        """Picture, float32 (height, width, 3) in 0..1."""
        return (self.pixels[..., :3] / np.float32(CHANNEL.high)).astype(np.float32)


def decode_scene(scene: Scene, config: AcceleratorConfig) -> DecodedScene:
    """Decode factors, tables and occupancy of a scene image."""
    cubes = scene.cubes
    rank = np.full(cubes[::-1], -1, np.int64)
    for x, y, z, index in walk(scene, (-1, -1, -1)):
        rank[z, y, x] = index
    windows = np.zeros((scene.live_cubes, MASK_WINDOW, MASK_WINDOW, MASK_WINDOW), bool)
    bases = np.zeros((scene.live_cubes, 3), np.int64)
    for index in range(scene.live_cubes):
        offset = scene.records_offset + index * RECORD_BYTES
        windows[index], bases[index] = unpack_record(
            int.from_bytes(scene.data[offset : offset + RECORD_BYTES], "little")
        )
    return DecodedScene(
        scene,
        config.shading,
        decode_factors(scene, "density", config.groups["density"]),
        decode_factors(scene, "appearance", config.groups["appearance"]),
        load_network(scene, config),
        alpha_table(scene),
        rank,
        windows,
        bases,
    )


def render_frame(decoded: DecodedScene, view: View) -> Frame:
    """Render a window. The result does not depend on the order in which the cubes are visited."""
    return render_rays(decoded, view, *registered_rays(decoded.scene, view))


def registered_rays(scene: Scene, view: View) -> tuple[Rays, np.ndarray]:
    """Return the rays of a window's pixels, row by row, and of each its law, see :func:`render_rays`."""
    height, width = view.window_height, view.window_width
    row, column = np.divmod(np.arange(height * width, dtype=np.int64), width)
    law = np.full((height * width, 2), (scene.density_multiplier, scene.density_offset), np.int64)
    return set_up(column, row, view, scene.grid), law


def render_rays(decoded: DecodedScene, view: View, rays: Rays, law: np.ndarray) -> Frame:
    """Render the rays of a window's pixels, row by row.

    ``law``: multiplier and offset from a density sum to a table position, int64 (n, 2), of each ray. Of ``view`` the
    registers count that do not make rays.
    """
    scene = decoded.scene
    height, width = view.window_height, view.window_width
    samples, transmittance = _march(
        rays.position,
        rays.step,
        rays.live,
        view.sample_limit,
        np.array(scene.grid, np.int64),
        decoded.rank,
        decoded.windows,
        decoded.bases,
        np.array(scene.mask_scale, np.int64),
        np.array(scene.mask_offset, np.int64),
        decoded.density.planes,
        decoded.density.lines,
        law,
        decoded.alpha_table,
        view.termination,
    )
    visible = np.flatnonzero(samples[:, SAMPLE_FIELDS.index("weight")] > view.shading_threshold)
    shaded = samples[visible][:, [SAMPLE_FIELDS.index("pixel"), SAMPLE_FIELDS.index("weight")]]
    deferred = decoded.shading == "deferred"
    factors, dropped = decoded.appearance, 0 if deferred else PRODUCT.fraction
    interpolated = _products(factors.planes, factors.lines, samples[visible, 2:5], dropped)
    if deferred:
        shaded, interpolated = _composite_products(shaded, interpolated)
        interpolated = round_shift(interpolated, PRODUCT.fraction)
    pixel, weight = shaded.T
    colours = shade(decoded.network, interpolated, rays.direction[pixel])
    total = np.zeros((height * width, 3), np.int64)
    np.add.at(total, pixel, weighted_colour(weight[:, None], colours))
    pixels = output_pixel(total, transmittance, view.background).reshape(height, width, 4).astype(np.uint16)
    return Frame(pixels, samples, visible, shaded, interpolated, colours)


def render_bands(decoded: DecodedScene, view: View, rays: Rays, law: np.ndarray, rows: int = BAND) -> Iterator[Frame]:
    """Yield what :func:`render_rays` returns in bands of rows: the same pixels, with the memory of a band."""
    for top in range(0, view.window_height, rows):
        height = min(rows, view.window_height - top)
        part = slice(top * view.window_width, (top + height) * view.window_width)
        yield render_rays(decoded, View({**view.values, "window_height": height}), rays.part(part), law[part])


def _composite_products(visible: np.ndarray, products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and weights (m, 2), and mean products, of the rays of visible samples in their order."""
    pixels, first = np.unique(visible[:, 0], return_index=True)
    weight = np.add.reduceat(visible[:, 1], first) if len(first) else first
    total = np.add.reduceat(weighted_product(visible[:, 1:], products), first) if len(first) else products
    return np.stack([pixels, weight], axis=1), mean_products(total, weight)


@compiled
def _pair_products(
    plane: np.ndarray, line: np.ndarray, first: np.ndarray, second: np.ndarray, along: np.ndarray, dropped: int,
    start: int, out: np.ndarray,
) -> None:  # fmt: skip
    for n in range(len(first)):
        row = out[n][start : start + plane.shape[2]]
        products(plane, line, first[n], second[n], along[n], row)
        for component in range(len(row)):
            row[component] = (row[component] + (1 << dropped >> 1)) >> dropped


def _products(
    planes: Sequence[np.ndarray], lines: Sequence[np.ndarray], positions: np.ndarray, dropped: int
) -> np.ndarray:
    """Return the products of samples (n, 3), int32 (n, products of a sample), rounded to so many fraction bits less."""
    x, y, z = (np.ascontiguousarray(positions[:, axis]) for axis in range(3))
    starts = np.cumsum([0, *(plane.shape[2] for plane in planes)])
    out = np.empty((len(positions), starts[-1]), np.int32)
    for plane, line, axes, start in zip(planes, lines, ((x, y, z), (x, z, y), (y, z, x)), starts[:-1], strict=True):
        _pair_products(plane, line, *axes, dropped, start, out)
    return out


@compiled
def density_sum(planes: Sequence[np.ndarray], lines: Sequence[np.ndarray], x: int, y: int, z: int) -> int:
    """Return the density products of a sample, summed over all components and 3 pairs."""
    total = 0
    for component in range(planes[0].shape[2]):
        total += product(planes[0], lines[0], x, y, z, component)
        total += product(planes[1], lines[1], x, z, y, component)
        total += product(planes[2], lines[2], y, z, x, component)
    return total


@allocating
def _march(
    position: np.ndarray, step: np.ndarray, live: np.ndarray, limit: int, grid: np.ndarray, rank: np.ndarray,
    windows: np.ndarray, bases: np.ndarray, mask_scale: np.ndarray, mask_offset: np.ndarray,
    planes: Sequence[np.ndarray], lines: Sequence[np.ndarray],
    law: np.ndarray, table: np.ndarray, termination: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Walk every ray's lattice; return the composited samples and each pixel's remaining transmittance."""
    samples = np.empty((1024, 9), np.int64)
    count = 0
    remaining = np.empty(len(position), np.int64)
    top = (grid - 1) << _POSITION_FRACTION
    point = np.empty(3, np.int64)
    for pixel in range(len(position)):
        transmittance = 1 << UNIT
        entered = False
        for index in range(limit if live[pixel] else 0):
            inside = True
            for axis in range(3):
                point[axis] = sample_position(position[pixel, axis], step[pixel, axis], index)
                inside &= 0 <= point[axis] <= top[axis]
            if not inside:
                if entered:
                    break
                continue
            entered = True
            cube = rank[point[2] >> CUBE_SHIFT, point[1] >> CUBE_SHIFT, point[0] >> CUBE_SHIFT]
            if cube < 0 or not occupied(
                windows[cube],
                bases[cube],
                mask_cell(point[0], mask_scale[0], mask_offset[0]),
                mask_cell(point[1], mask_scale[1], mask_offset[1]),
                mask_cell(point[2], mask_scale[2], mask_offset[2]),
            ):
                continue
            total = density_sum(planes, lines, point[0], point[1], point[2])
            at = table_position(total, law[pixel, 0], law[pixel, 1])
            opacity = alpha(at, table[at >> FRACTION_BITS, 0], table[at >> FRACTION_BITS, 1])
            weight, transmittance = composite(transmittance, opacity)
            if count == len(samples):
                grown = np.empty((2 * count, 9), np.int64)
                grown[:count] = samples
                samples = grown
            row = samples[count]
            row[0], row[1], row[2], row[3], row[4] = pixel, index, point[0], point[1], point[2]
            row[5], row[6], row[7], row[8] = total, opacity, weight, transmittance
            count += 1
            if transmittance < termination:
                break
        remaining[pixel] = transmittance
    return samples[:count].copy(), remaining
