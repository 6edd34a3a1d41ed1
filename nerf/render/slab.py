"""Which samples of a ray can lie in a box, by the distances at which it passes the box's faces (slab test)."""

import math

import numpy as np

from rtnerf.base.compiled import allocating, compiled, inlined

_PARALLEL = 1e-30  # Stands for a direction of 0 in the slab test.


@allocating
def reciprocals(directions):
    """One over each direction, float64 (R, 3); of 0 a number so large that the slab test holds."""
    result = np.empty(directions.shape, np.float64)
    for ray in range(len(directions)):
        for axis in range(3):
            along = np.float64(directions[ray, axis])
            result[ray, axis] = 1 / (along if along != 0 else _PARALLEL)
    return result


@compiled
def rounding(rays):
    """How far, in samples, float32 may move a sample of any of the rays, with room."""
    reach = 0.0
    for ray in range(len(rays.origins)):
        far = (rays.first[ray] + rays.step * np.float64(rays.samples)) * rays.lengths[ray]
        for axis in range(3):
            reach = max(reach, far + abs(np.float64(rays.origins[ray, axis])))
    return 0.01 + 1e-6 * reach / rays.step


@inlined
def numbers_inside(low, high, rays, inverse, slack, ray):
    """Numbers of a ray's samples that can lie in a box, ``slack`` more or less: (first, last), none if first > last."""
    enter, leave = -math.inf, math.inf
    for axis in range(3):
        one = (low[axis] - rays.origins[ray, axis]) * inverse[ray, axis]
        other = (high[axis] - rays.origins[ray, axis]) * inverse[ray, axis]
        enter = max(enter, min(one, other))
        leave = min(leave, max(one, other))
    begin = max((enter - rays.first[ray]) / rays.step - slack, 0.0)
    end = min((leave - rays.first[ray]) / rays.step + slack, rays.samples - 1.0)
    if enter > leave or begin > end:
        return 0, -1
    return math.ceil(begin), math.floor(end)
