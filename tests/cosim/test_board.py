"""A board in Verilator, at the end of a pipe: its picture is the integer model's."""

from dataclasses import replace

import pytest

from cosim import toolchain
from cosim.board import BoardError, render_on_board, simulated_board
from nerf.prepared import Prepared
from tests.cosim.test_accelerator import FOLDER
from tests.golden.models import look_at, small_model
from tests.sizes import SMALL

CONFIG = replace(SMALL, name="small-board", interpolated_components=1)
CAMERA = look_at((2.2, 1.0, 0.8), width=6, height=5)

needs_verilator = pytest.mark.skipif(
    toolchain.find_verilator() is None or toolchain.find_compiler() is None,
    reason="Verilator or the C++ compiler is not installed",
)


@pytest.mark.full
@pytest.mark.simulator
@needs_verilator
def test_a_board_renders():
    job = Prepared(small_model(), CONFIG)
    with simulated_board(CONFIG, FOLDER) as port:
        # Two frames, the second of another view, as a host would.
        for camera in (CAMERA, replace(CAMERA, width=5)):
            frame = render_on_board(job, camera, port)
            assert frame.mismatches == 0
            assert frame.pixels.any()
            assert frame.counters["cycles"] > 1000
        other = Prepared(small_model(), replace(CONFIG, tile=4))
        with pytest.raises(BoardError, match=r"^board: config_digest must be 0x"):
            render_on_board(other, CAMERA, port)


class Silent:
    """A line on which nothing comes."""

    def read(self, count):
        return b""

    def write(self, data):
        pass


def test_a_board_that_does_not_answer_is_told():
    with pytest.raises(BoardError, match=r"^board: the accelerator must send 1 bytes, not 0 before the time is over$"):
        render_on_board(Prepared(small_model(), CONFIG), CAMERA, Silent())
