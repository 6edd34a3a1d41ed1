"""Visit the live cubes front to back.

Per axis: from the camera's own cube away from it, first up, then down; the axes are nested, z outermost. A ray moves
away from the camera's cube on every axis, so this is a front-to-back order for every ray at once, without sorting.
"""

from collections.abc import Iterator

from nerf.contract.scene_image import BEAT, Scene, unpack_row


def axis_order(start: int, count: int) -> list[int]:
    """Return the visiting order of ``count`` cubes along one axis from the camera's cube ``start`` (-1 to count)."""
    return [*range(max(start, 0), count), *range(min(start, count) - 1, -1, -1)]


def walk(scene: Scene, start: tuple[int, int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (x, y, z, rank) of the live cubes, front to back; the rank is the index of the cube's record."""
    cubes = scene.cubes
    for z in axis_order(start[2], cubes[2]):
        for y in axis_order(start[1], cubes[1]):
            offset = scene.rows_offset + (z * cubes[1] + y) * BEAT
            bits, rank = unpack_row(int.from_bytes(scene.data[offset : offset + BEAT], "little"))
            for x in axis_order(start[0], cubes[0]):
                if bits >> x & 1:
                    yield x, y, z, rank + (bits & (1 << x) - 1).bit_count()
