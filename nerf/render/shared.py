"""Compiled sums of samples by the ray that they belong to, and which samples of a ray share a colour."""

import numpy as np

from rtnerf.base.compiled import allocating, compiled


@allocating
def sharing(records, rays, most, all_of_a_ray):
    """Tell which samples have a weight below ``most``, those of one ray together at most ``all_of_a_ray``."""
    spent = np.zeros(rays, np.float32)
    shared = np.zeros(len(records.ray), np.bool_)
    for sample in range(len(records.ray)):
        ray, weight = records.ray[sample], records.weight[sample]
        if weight < most and spent[ray] + weight <= all_of_a_ray:
            spent[ray] += weight
            shared[sample] = True
    return shared


@allocating
def slots(ray, rays):
    """Number the rays that occur, in ascending order: (those rays, the number of each sample's)."""
    number = np.zeros(rays, np.int64)
    for sample in range(len(ray)):
        number[ray[sample]] = 1
    occur = np.flatnonzero(number)
    for place in range(len(occur)):
        number[occur[place]] = place
    slot = np.empty(len(ray), np.int64)
    for sample in range(len(ray)):
        slot[sample] = number[ray[sample]]
    return occur, slot


@compiled
def accumulate(sums, ray, weight, values):
    """Add weighted values (n, C) to the rows of ``sums``, float64 (R, C), that they belong to."""
    for sample in range(len(ray)):
        row, share, value = sums[ray[sample]], weight[sample], values[sample]
        for channel in range(len(value)):
            row[channel] += share * value[channel]
