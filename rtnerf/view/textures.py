"""A scene image as textures of integers, laid out as ``march.glsl`` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES, reciprocal_table, sigmoid_table, sine_table
from nerf.contract.scene_image import BEAT, ENTRY, RECORD_BYTES, Scene, unpack_network, unpack_row

RECORDS_WIDTH = 2048
"""Texels in a row of the records: as wide as every device can."""
_TEXEL_INPUTS = 16
"""Inputs of a network's output in a texel."""


class Table(IntEnum):
    """Rows of the texture of tables."""

    ALPHA = 0
    ALPHA_DIFFERENCE = 1
    SINE = 2
    SIGMOID = 3
    RECIPROCAL = 4


class Texture(NamedTuple):
    """Integers of a texture.

    Parameters
    ----------
    format : str
        Internal format of WebGL2.
    size : tuple of int
        Width and height, then depth or layers if there are some.
    data : bytes
    """

    format: str
    size: tuple[int, ...]
    data: bytes


class Factors(NamedTuple):
    """Dense factors of one kind, as `nerf.golden.hybrid_decoder.Factors`.

    ``planes``: three int8 arrays (second, first, components); ``lines``: three int8 arrays (positions, components).
    """

    planes: Sequence[np.ndarray]
    lines: Sequence[np.ndarray]


def textures(scene: Scene, config: AcceleratorConfig, density: Factors, appearance: Factors) -> dict[str, Texture]:
    """Return the textures of a scene by the names of their samplers."""
    planes, lines = (
        _quads([array for pair in zip(first, second, strict=True) for array in pair])
        for first, second in ((density.planes, appearance.planes), (density.lines, appearance.lines))
    )
    return {
        "ranks": _texture("R32I", _ranks(scene)),
        "records": _texture("RGBA32UI", _records(scene)),
        "planes": _texture("RGBA8I", planes),
        "lines": _texture("RGBA8I", lines),
        "weights": _texture("RGBA32I", _weights(scene, config)),
        "tables": _texture("R32I", _tables(scene)),
    }


def _texture(kind: str, array: np.ndarray) -> Texture:
    size = array.shape[-2::-1] if kind.startswith("RGBA") else array.shape[::-1]
    return Texture(kind, size, array.tobytes())


def _quads(factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return factors as layers of four components each, padded to the largest: int8 (layers, [height,] width, 4)."""
    shape = np.max([factor.shape[:-1] for factor in factors], axis=0)
    layers = []
    for factor in factors:
        padding = [(0, most - size) for most, size in zip(shape, factor.shape, strict=False)]
        padded = np.pad(factor, [*padding, (0, 0)])
        layers.append(np.moveaxis(padded.reshape(*shape, -1, 4), -2, 0))
    return np.concatenate(layers).astype(np.int8)


def _ranks(scene: Scene) -> np.ndarray:
    """Return the index of each cube's record, -1 where it is not live: int32 (z, y, x)."""
    x, y, z = scene.cubes
    words = np.frombuffer(scene.data, "u1", y * z * BEAT, scene.rows_offset).reshape(-1, BEAT)
    ranks = np.full((y * z, x), -1, np.int32)
    for row, word in enumerate(words):
        bits, first = unpack_row(int.from_bytes(word.tobytes(), "little"))
        live = [column for column in range(x) if bits >> column & 1]
        ranks[row, live] = first + np.arange(len(live))
    return ranks.reshape(z, y, x)


def _records(scene: Scene) -> np.ndarray:
    """Return the records as they are in the image: uint32 (rows, `RECORDS_WIDTH`, 4)."""
    words = np.frombuffer(scene.data, "<u4", scene.live_cubes * RECORD_BYTES // 4, scene.records_offset)
    row = 4 * RECORDS_WIDTH
    return np.pad(words, (0, -len(words) % row or row * (not len(words)))).reshape(-1, RECORDS_WIDTH, 4)


def _weights(scene: Scene, config: AcceleratorConfig) -> np.ndarray:
    """Return the network: int32 (outputs of all layers, each filled up to a multiple of 4, texels, 4).

    The first texel of an output is its bias, multiplier and shift. Byte j of channel c of those behind it is the weight
    of input ``4 * j + c`` among the texel's 16.
    """
    weights, packed = unpack_network(config.stages, scene.data[scene.tables_offset + 8 * ALPHA_ENTRIES :])
    texels = -(-max(layer.inputs for layer in config.network.layers) // _TEXEL_INPUTS)
    rows = []
    for layer, entries in zip(weights, packed, strict=True):
        outputs, inputs = layer.shape
        fill = (0, -outputs % 4)
        bytes_ = np.pad(layer, [fill, (0, texels * _TEXEL_INPUTS - inputs)]).reshape(-1, texels, 4, 4)
        texel = np.ascontiguousarray(bytes_.swapaxes(2, 3)).view("<i4")[..., 0]
        entry = np.zeros((len(texel), 1, 4), np.int32)
        entry[:, :, 2] = 1
        for channel, name in enumerate(ENTRY.names or ()):
            entry[:outputs, 0, channel] = entries.view(ENTRY)[name]
        rows.append(np.concatenate([entry, texel], axis=1))
    return np.concatenate(rows)


def _tables(scene: Scene) -> np.ndarray:
    """Return the tables, a row each, filled up to the longest: int32."""
    alpha = np.frombuffer(scene.data, "<i4", 2 * ALPHA_ENTRIES, scene.tables_offset).reshape(-1, 2)
    tables: Mapping[Table, np.ndarray] = {
        Table.ALPHA: alpha[:, 0],
        Table.ALPHA_DIFFERENCE: alpha[:, 1],
        Table.SINE: sine_table(),
        Table.SIGMOID: sigmoid_table(),
        Table.RECIPROCAL: reciprocal_table(),
    }
    filled = np.zeros((len(Table), max(map(len, tables.values()))), np.int32)
    for row, table in tables.items():
        filled[row, : len(table)] = table
    return filled
