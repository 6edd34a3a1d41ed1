"""Memories and registers of silicon begin with anything: the picture is the same."""

import pytest

from cosim import run, toolchain
from cosim.simulation import Simulation
from rtl.verilog.asic import asic
from rtl.verilog.export import design
from rtnerf.physical.memories import MACRO_BITS
from tests.cosim.test_accelerator import TINY, render
from tests.golden.models import EDGE_CASES

pytestmark = [
    pytest.mark.full,
    pytest.mark.simulator,
    pytest.mark.skipif(toolchain.find_verilator() is None, reason="verilator is not installed"),
]


@pytest.mark.parametrize("seed", [1, 2])
def test_any_content_at_power_up_gives_the_same_picture(seed, monkeypatch):
    made = asic(TINY, MACRO_BITS)
    sidecar = design(TINY)[1]
    monkeypatch.setattr(run, "design", lambda config: (f"{made.logic}\n{made.models}", sidecar))
    plain = Simulation.run

    def at_random(self, *arguments, plusargs=(), **options):
        random = ["+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
        return plain(self, *arguments, plusargs=[*plusargs, *random], **options)

    monkeypatch.setattr(Simulation, "run", at_random)
    model, arguments, camera = EDGE_CASES["inside the box"]
    assert render(model(**arguments), camera).samples > 0
