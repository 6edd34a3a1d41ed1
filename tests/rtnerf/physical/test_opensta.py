import importlib.util

import pytest

from rtnerf.physical.synthesis import choose, netlist_of
from rtnerf.physical.timing import Timer
from tests.rtnerf.physical import helpers_opensta as opensta

UNITS = (
    "compositor", "density", "tile_buffer", "cube_list", "tree_server", "read_master", "write_master", "controller",
    "cube_sequencer", "tile_scheduler",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(opensta.STA is None, reason="OpenSTA is not installed: apt-get install opensta (as root)"),
    pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="pyosys is not installed"),
]


@pytest.mark.parametrize("name", UNITS)
def test_longest_path_is_opensta_s(design, compact, cache, tmp_path, name):
    (unit,) = choose(design.units, [name])
    netlist = netlist_of(unit, compact, cache)
    bounds = {"input_transition": compact.input_transition, "port_load": compact.port_load}
    register = Timer(netlist, **bounds).timing().register
    reference = opensta.longest_path(netlist, compact.library, tmp_path, **bounds)
    assert register.delay_ps == pytest.approx(reference, rel=0.02)
