"""What travels between the blocks: `rtl.payloads` as records of integers, each with its ``valid``.

Positions are whole grid positions in the format POSITION; the cube of a sample is ``x >> CUBE_SHIFT`` and so on.
"""

import numpy as np

from rtnerf.base.compiled import merged


def stream(*fields: str) -> np.dtype:
    """Return the record of a stream with some payload fields."""
    return np.dtype([("valid", np.int64), *((field, np.int64) for field in fields)])


VISIT = stream("x", "y", "z", "rank", "last")
FOOTPRINT = stream("x", "y", "z", "rank", "first_x", "first_y", "last_x", "last_y", "last")
RECTANGLE = stream("x", "y", "z", "rank", "first_x", "first_y", "last_x", "last_y", "tile", "last")
"""``tile``: the tile's place."""
CUBE = stream("x", "y", "z")
SAMPLE = stream(
    *("pixel", "x", "y", "z", "value", "last"),
    *("paired", "second_pixel", "second_x", "second_y", "second_z", "second_value"),
)
"""A sample, or a pair of a cube's, of an even and an odd column. ``value``: its alpha, known beforehand, then
the weight of a visible one; ``paired``: there is a second one."""
RAY = stream("pixel", "live")
BLOCK_REQUEST = stream("line", "pair", "group", "slot", "index")
DECODE_JOB = stream("appearance", "line", "pair", "group", "slot", "form", "mask", "count", "skip")
VECTOR = stream("appearance", "block_last")
"""A decoded vector on its way into a cube buffer, which always takes it."""
READ_REQUEST = stream("address", "last_beat")
READ_BEAT = stream("client", "address", "last")
"""``address``: byte address of the beat in memory, where its data are found."""
BURST = stream("client", "address", "last_beat")
"""A read burst on the bus."""
WRITE = stream("address")
WRITE_DATA = stream("bytes", "last")
"""A beat of a burst; ``bytes``: those that are enabled."""
ANSWER = stream()
"""The memory's answer to a write."""
SUM, PREFIX, SEARCH = range(3)
"""Modes of a request of the tree, as `rtl.payloads.Mode`."""
TREE_REQUEST = stream("mode", "total", "bits", "k")
"""``total``: the sum of the 16 values of a request in the mode SUM, known beforehand."""
TREE_RESPONSE = stream("total", "index")
SHADE_JOB = stream("pixel", "weight", "last")
PRODUCTS = stream("vector")
COLOURED = stream("pixel", "weight", "last")
PIXEL = stream("x", "y", "ends_row")


def new(kind: np.dtype) -> np.void:
    """Return one record of zeros, which jitted functions change in place."""
    return np.zeros(1, kind)[0]


@merged
def copy_sample(source, target) -> None:
    """Copy a `SAMPLE`, ``valid`` apart."""
    target.pixel = source.pixel
    target.x = source.x
    target.y = source.y
    target.z = source.z
    target.value = source.value
    target.last = source.last
    target.paired = source.paired
    if source.paired:
        target.second_pixel = source.second_pixel
        target.second_x = source.second_x
        target.second_y = source.second_y
        target.second_z = source.second_z
        target.second_value = source.second_value


@merged
def second_alone(sample) -> None:
    """Make a pair the second of its samples."""
    sample.pixel = sample.second_pixel
    sample.x = sample.second_x
    sample.y = sample.second_y
    sample.z = sample.second_z
    sample.value = sample.second_value
    sample.paired = 0


_TILE = "x", "y", "last_x", "last_y", "place", "entries"
TILE = np.dtype([(name, np.int64) for name in _TILE])
"""A tile: first window pixel, its last column and row (size minus one), its place on chip (its number modulo
``tiles``), and how many entries the list of its row has."""
BLANK = stream(*_TILE)
"""A tile that no cube meets, to be put out."""
STROBE = np.dtype([("set", np.int64)])
"""A combinational pulse: set by one block's step, read and cleared by that of a block that steps later in the cycle."""
