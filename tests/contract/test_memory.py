"""What lies where in memory."""

import pytest

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import place
from nerf.contract.registers import LIST_ENTRY_BYTES, View, list_stride
from nerf.contract.scene_image import PAGE, RECORD_BYTES


@pytest.mark.parametrize(("cubes", "pages"), [(0, 0), (1, 1), (256, 1), (257, 2), (8000, 32)])
def test_a_cube_list_is_whole_pages_with_room_for_all_cubes(cubes, pages):
    assert list_stride(cubes) == pages * PAGE
    assert list_stride(cubes) >= cubes * LIST_ENTRY_BYTES


@pytest.mark.parametrize(("height", "rows"), [(1, 1), (64, 1), (65, 2), (800, 13), (8192, 128)])
def test_there_is_a_list_for_every_row_of_tiles(height, rows):
    cubes = 1000
    view = View({"window_width": 33, "window_height": height})
    regions = place(RECORD_BYTES * cubes, view, AcceleratorConfig(tile=64))
    assert regions.frame_bytes == 8 * 33 * height
    assert regions.list_bytes == rows * list_stride(cubes)
    assert regions.frame_base % PAGE == regions.list_base % PAGE == 0
    assert RECORD_BYTES * cubes <= regions.frame_base
    assert regions.frame_base + regions.frame_bytes <= regions.list_base
    assert regions.end == regions.list_base + regions.list_bytes
