"""L1, the object-order renderer: the samples of L0, visited cube by cube, front to back.

The order needs no sorting. On each axis the cubes are taken by distance from the camera's own cube;
along a ray each coordinate moves one way only, so nested loops over the three orders meet a ray's
cubes in the order of the ray. Where rays converge, as those of forward-facing models may, the orders are
turned round. Source: Li et al., "RT-NeRF", ICCAD 2022 (view-dependent order).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from nerf.cameras import Camera
from nerf.model import TensorfModel
from nerf.render import shared, walk
from nerf.render.forward_facing import device_centre, device_projection, device_rays
from nerf.render.interpolation import VECTOR
from nerf.render.opacity import Density
from nerf.render.shading import Shading
from nerf.render.uniform import Rendering, camera_rays, first_distance
from rtnerf.base.errors import InputError

CUBE_EDGE = 8
"""Edge of a cube in cells of the factor grid: the accelerator has smaller ones, a processor would meet too many."""

_BATCH = 1024  # Samples shaded at a time: their network inputs stay in the cache.
_SHARING = 1e-3  # Samples with weights below the termination, or this if it is less, share a colour of their ray,
_SHARED = 4  # while their sum is at most so many times as much.
_MARGIN = 1e-4  # In cells: cubes are widened so that rounding loses no sample of theirs.


@dataclass(frozen=True, eq=False)
class CubeGrid:
    """The cubes of a model.

    Parameters
    ----------
    edge : int
        Cells of the factor grid along each edge; the last cube of an axis may have fewer.
    live : bool array (nz, ny, nx)
        Whether an occupied cell of the mask overlaps the cube.
    bounds : three float64 arrays (n, 2)
        Lower and upper face of the cubes along x, y, z, in scene units.
    """

    edge: int
    live: np.ndarray
    bounds: tuple[np.ndarray, np.ndarray, np.ndarray]


def cube_grid(model: TensorfModel, edge: int = CUBE_EDGE) -> CubeGrid:
    """Divide a model's box into cubes and find the live ones.

    Raises :class:`rtnerf.base.errors.InputError` for an edge below 1 cell.
    """
    if edge < 1:
        raise InputError(f"cube edge must be at least 1 cell, not {edge}")
    faces, bounds = [], []
    for axis, vertices in enumerate(model.grid_size):
        first = np.arange(0, vertices - 1, edge)
        faces.append(np.stack([first, np.minimum(first + edge, vertices - 1)], axis=1))
        lower, upper = model.aabb[:, axis].double().tolist()
        bounds.append(lower + faces[axis] * ((upper - lower) / (vertices - 1)))
    if model.mask is None:
        counts = tuple(len(axis_faces) for axis_faces in reversed(faces))
        return CubeGrid(edge, np.ones(counts, dtype=bool), tuple(bounds))
    # Set vertices in any block of the mask, from a summed volume.
    summed = np.zeros(tuple(length + 1 for length in model.mask.shape), dtype=np.int64)
    summed[1:, 1:, 1:] = model.mask.astype(np.int64).cumsum(0).cumsum(1).cumsum(2)
    ranges = [_vertex_range(model, axis, faces[axis], bounds[axis]) for axis in (2, 1, 0)]
    (z0, z1), (y0, y1), (x0, x1) = ranges

    def corner(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return summed[np.ix_(z, y, x)]

    total = (
        corner(z1, y1, x1) - corner(z0, y1, x1) - corner(z1, y0, x1) - corner(z1, y1, x0)
        + corner(z0, y0, x1) + corner(z0, y1, x0) + corner(z1, y0, x0) - corner(z0, y0, x0)
    )  # fmt: skip
    return CubeGrid(edge, total > 0, tuple(bounds))


def mask_cells(mask: np.ndarray) -> np.ndarray:
    """Whether each cell between the vertices of a mask (Z, Y, X) has one set; zero outside.

    Returns bool (Z + 1, Y + 1, X + 1): the cells around the mask count, the first is number -1.
    """
    padded = np.pad(mask, 1)
    for axis in range(3):
        length = padded.shape[axis] - 1
        padded = padded.take(range(length), axis) | padded.take(range(1, length + 1), axis)
    return padded


@torch.no_grad()
def render(
    model: TensorfModel,
    camera: Camera,
    termination: float = 1e-3,
    edge: int = CUBE_EDGE,
    progress: Callable[[int, int], None] | None = None,
) -> Rendering:
    """Render the camera's window cube by cube, on one core (plus PyTorch's for the network).

    ``progress(done, all)`` is called after each layer of cubes and each batch of samples that are shaded, two halves of
    the work, each of which counts as many as there are rays.

    Parameters: ``termination`` ends a ray below it, 0 = never, and samples of a ray with weights below it, and below
    0.001, share one colour, that of their mean, while these weights add up to at most four times as much; ``edge`` of
    the cubes in cells. Statistics: besides the common ones ``cubes``, ``cubes_live``, ``cubes_visited`` (live and
    in view), ``meetings`` (of a ray with a cube), ``rays_stopped``; ``samples`` counts those in live
    cubes only. Raises :class:`rtnerf.base.errors.InputError` for a transmittance outside 0..1.
    """
    if not 0 <= termination < 1:
        raise InputError(f"termination must be in 0..1, not {termination}")
    grid = cube_grid(model, edge)
    rays = _rays(model, camera)
    records, (acc, depth), counts = walk.walk(
        _walked(model, grid),
        rays,
        _eye(model, camera),
        _mask(model),
        _density_factors(model),
        Density(
            np.float32(model.density_shift),
            model.density_activation == "softplus",
            np.float32(model.distance_scale),
            np.float32(model.shading_threshold),
            float(termination),
        ),
        _half(progress, 0, len(rays.origins)),
    )
    shade = Shading(model, rays.directions / rays.lengths[:, None])
    tell = _told(_half(progress, 1, len(rays.origins)), len(records.ray))
    if model.shading == "deferred":
        rgb, colours = _shade_rays(model, shade, records, rays, tell)
    else:
        small = min(termination, _SHARING)
        light = shared.sharing(records, len(rays.origins), small, _SHARED * small)
        one_each, in_common = (walk.Records(*(part[which] for part in records)) for which in (~light, light))
        rgb, colours = _shade_rays(model, shade, in_common, rays, tell)
        rgb += _shade_samples(model, shade, one_each, rays, tell)
        colours += len(one_each.ray)
    rgb = np.clip(rgb + (1 - acc[:, None]) * (np.array(camera.background) / 255), 0, 1).astype(np.float32)
    depth = (depth + (1 - acc) * rays.directions[:, 2]).astype(np.float32)
    statistics = {
        "rays": len(rays.origins),
        "samples": int(counts[walk.SAMPLES]),
        "samples_occupied": int(counts[walk.EVALUATED]),
        "samples_shaded": len(records.ray),
        "colours": colours,
        "cubes": grid.live.size,
        "cubes_live": int(grid.live.sum()),
        "cubes_visited": int(counts[walk.CUBES_VISITED]),
        "meetings": int(counts[walk.MEETINGS]),
        "rays_stopped": int(counts[walk.STOPPED]),
    }
    _, _, width, height = camera.window
    return Rendering(rgb.reshape(height, width, 3), depth.reshape(height, width), statistics)


def _half(progress: Callable[[int, int], None] | None, half: int, rays: int) -> Callable[[int, int], None]:
    """Return what is told of the first half of the work, 0, or the second, 1, and tells it in rays of twice as many."""

    def tell(done: int, of: int) -> None:
        if progress is not None:
            progress(half * rays + rays * done // of, 2 * rays)

    return tell


def _told(tell: Callable[[int, int], None], samples: int) -> Callable[[int], None]:
    """Return what is told how many more of so many samples are shaded."""
    done = 0

    def tell_more(more: int) -> None:
        nonlocal done
        done += more
        tell(done, samples)

    if not samples:
        tell(1, 1)
    return tell_more


def _shade_samples(
    model: TensorfModel, shade: Shading, records: walk.Records, rays: walk.Rays, tell: Callable[[int], None]
) -> np.ndarray:
    """Colour of the recorded samples, added up by ray: (R, 3)."""
    rgb = np.zeros(rays.directions.shape)
    for ray, weight, products in _products(model, records, rays):
        shared.accumulate(rgb, ray, weight, shade(products, ray))
        tell(len(ray))
    return rgb


def _shade_rays(
    model: TensorfModel, shade: Shading, records: walk.Records, rays: walk.Rays, tell: Callable[[int], None]
) -> tuple[np.ndarray, int]:
    """Colour of rays from the mean appearance products of their recorded samples: (R, 3), and how many rays have some.

    As :func:`nerf.render.uniform.shade_rays`, with memory only for rays that have samples.
    """
    directions = rays.directions
    shaded, slot = shared.slots(records.ray, len(directions))
    composited = np.zeros((len(shaded), model.basis.shape[1]))
    total = np.zeros((len(shaded), 1))
    start = 0
    for ray, weight, products in _products(model, records, rays):
        owner = slot[start : start + len(ray)]
        shared.accumulate(composited, owner, weight, products)
        shared.accumulate(total, owner, weight, np.ones((len(ray), 1), np.float32))
        start += len(ray)
        tell(len(ray))
    rgb = np.zeros(directions.shape)
    for start in range(0, len(shaded), _BATCH):
        part = slice(start, start + _BATCH)
        mean = (composited[part] / total[part]).astype(np.float32)
        rgb[shaded[part]] = total[part] * shade(mean, shaded[part])
    return rgb, len(shaded)


def _products(model: TensorfModel, records: walk.Records, rays: walk.Rays) -> Iterator[tuple[np.ndarray, ...]]:
    """Rays, weights and appearance products of the recorded samples, in batches."""
    factors = _factors(model, model.app_planes, model.app_lines)
    for start in range(0, len(records.ray), _BATCH):
        ray, z, weight = (values[start : start + _BATCH] for values in records)
        yield ray, weight, walk.appearance_products(ray, z, rays, factors)


def _rays(model: TensorfModel, camera: Camera) -> walk.Rays:
    """The rays of a view; distances of a forward-facing model are those of the uniform renderer but for rounding."""
    rays = device_rays(camera) if model.forward_facing else camera_rays(camera)
    origins, directions = (np.ascontiguousarray(part) for part in np.split(rays.numpy(), 2, axis=1))
    if model.forward_facing:
        first, lengths = np.zeros(len(rays), np.float32), torch.linalg.vector_norm(rays[:, 3:], dim=-1).numpy()
        step = 1 / (model.sample_count - 1)
    else:
        first, lengths, step = first_distance(model, rays).numpy(), np.ones(len(rays), np.float32), model.step
    return walk.Rays(origins, directions, lengths, first, np.float32(step), model.sample_count)


def _eye(model: TensorfModel, camera: Camera) -> walk.Eye:
    focal, centre = np.array([camera.focal, camera.focal_y]), np.array(camera.centre, np.float64)
    if model.forward_facing:
        position, towards = device_centre(camera)
        return walk.Eye(device_projection(camera), focal, centre, camera.window, position, towards)
    return walk.Eye(camera.from_world, focal, centre, camera.window, camera.position, False)


def _walked(model: TensorfModel, grid: CubeGrid) -> walk.Cubes:
    margins = [(_MARGIN * float(unit)) * np.array([-1.0, 1.0]) for unit in model.unit]
    x, y, z = (bounds + margin for bounds, margin in zip(grid.bounds, margins, strict=True))
    return walk.Cubes(grid.live, (x, y, z), grid.edge)


def _mask(model: TensorfModel) -> walk.Mask:
    vertices = np.ones((1, 1, 1), dtype=bool) if model.mask is None else model.mask
    lower, upper = (model.aabb if model.mask is None else model.mask_aabb).numpy()
    return walk.Mask(vertices, mask_cells(vertices), lower, np.float32(1) / (upper - lower) * np.float32(2))


def _density_factors(model: TensorfModel) -> walk.Factors:
    """The density's factors, with components of zeros up to as many for each pair, whole vectors."""
    most = -(-max(model.density_components) // VECTOR) * VECTOR
    planes, lines = model.density_planes, model.density_lines
    return _factors(
        model,
        [functional.pad(plane, (0, 0, 0, 0, 0, most - len(plane))) for plane in planes],
        [functional.pad(line, (0, 0, 0, most - len(line))) for line in lines],
    )


def _factors(model: TensorfModel, planes: list[torch.Tensor], lines: list[torch.Tensor]) -> walk.Factors:
    lower, upper = model.aabb.numpy()
    yx, zx, zy = (np.ascontiguousarray(plane.permute(1, 2, 0).numpy()) for plane in planes)
    z, y, x = (np.ascontiguousarray(line.T.numpy()) for line in lines)
    return walk.Factors((yx, zx, zy), (z, y, x), walk.Box(lower, upper, (2.0 / model.extent).numpy()))


def _vertex_range(
    model: TensorfModel, axis: int, faces: np.ndarray, bounds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First vertex, and the one after the last, of the mask cells that cubes overlap on an axis."""
    assert model.mask is not None
    vertices = model.mask.shape[2 - axis]
    same_box = torch.equal(model.mask_aabb[:, axis], model.aabb[:, axis])
    if same_box and vertices == model.grid_size[axis]:
        # The two grids are one, and a sample's positions in them are the same bits: no margin.
        first, last = faces.T
    else:
        lower, upper = model.mask_aabb[:, axis].double().tolist()
        position = (bounds - lower) * ((vertices - 1) / (upper - lower))
        first = np.floor(position[:, 0] - _MARGIN).astype(np.int64)
        last = np.ceil(position[:, 1] + _MARGIN).astype(np.int64)
    return np.clip(first, 0, vertices), np.clip(last + 1, 0, vertices)
