"""Decode every factor block of a scene image into dense factors."""

from dataclasses import dataclass

import numpy as np

from nerf.contract.blocks import POINTER_UNIT, BlockError, decode, unpack_header
from nerf.contract.config import COMPONENTS, CUBE
from nerf.contract.scene_image import Scene
from rtnerf.base.errors import InputError


@dataclass(frozen=True)
class Factors:
    """Dense factors of one kind, padded to whole blocks and one further position.

    Parameters
    ----------
    planes : three int8 arrays (second, first, components)
    lines : three int8 arrays (positions, components)
    """

    planes: tuple[np.ndarray, ...]
    lines: tuple[np.ndarray, ...]


def decode_block(scene: Scene, kind: str, factor: str, pair: int, index: int) -> np.ndarray:
    """Return one block, int8 (16 positions, 16 components), by its index (component group included).

    Raises `InputError` for a block that no encoder writes.
    """
    try:
        header = unpack_header(scene.block_header(kind, factor, pair, index))
        start = scene.payload_offset + header.pointer * POINTER_UNIT
        return decode(header, scene.data[start : start + header.payload_bytes])
    except BlockError as error:
        raise InputError(f"scene must be whole, not an image with a corrupt block ({error})") from None


def decode_factors(scene: Scene, kind: str, groups: int) -> Factors:
    """Decode all blocks of ``density`` or ``appearance``, which has so many component groups."""
    planes, lines = [], []
    for pair in range(3):
        counts = scene.block_counts(pair)
        first, second = counts["plane"]
        cut = _decode_all(scene, kind, "plane", pair, first * second, groups)
        cut = cut.reshape(second, first, groups, CUBE, CUBE, COMPONENTS).transpose(0, 3, 1, 4, 2, 5)
        plane = cut.reshape(second * CUBE, first * CUBE, groups * COMPONENTS)
        planes.append(np.pad(plane, [(0, 1), (0, 1), (0, 0)]))
        cut = _decode_all(scene, kind, "line", pair, counts["line"][0], groups)
        line = cut.transpose(0, 2, 1, 3).reshape(-1, groups * COMPONENTS)
        lines.append(np.pad(line, [(0, 1), (0, 0)]))
    return Factors(tuple(planes), tuple(lines))


def _decode_all(scene: Scene, kind: str, factor: str, pair: int, count: int, groups: int) -> np.ndarray:
    cut = [decode_block(scene, kind, factor, pair, index) for index in range(count * groups)]
    return np.stack(cut).reshape(count, groups, 16, COMPONENTS)
