"""What a memory gives of a row that is written in the same cycle does not matter, but where the RTL hands it on itself.

A macro promises nothing for it, nor does a block memory of an FPGA.
"""

import re

import pytest

from cosim import run, toolchain
from nerf.contract.config import load_config
from rtl.verilog.asic import asic
from rtl.verilog.export import design
from tests.cosim.test_accelerator import DEFERRED, TINY, deferred_model, render, under_full
from tests.golden.models import EDGE_CASES, small_model

pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif(toolchain.find_verilator() is None, reason="verilator is not installed"),
]
READ = re.compile(r"(read_\d+)_data <= (rows\[\1_address\]);")


def spoilt(models: str) -> str:
    """Return memories that read a row inverted while it is written."""
    changed = READ.sub(r"\1_data <= |write_enable && write_address == \1_address ? ~\2 : \2;", models)
    assert changed != models
    return changed


@pytest.mark.parametrize("config", [TINY, *under_full(DEFERRED, load_config("nano"))], ids=lambda config: config.name)
def test_a_row_is_not_read_while_it_is_written(config, monkeypatch):
    made = asic(config, macro_bits=1)
    sidecar = design(config)[1]
    monkeypatch.setattr(run, "design", lambda config: (f"{made.logic}\n{spoilt(made.models)}", sidecar))
    model = deferred_model() if config.shading == "deferred" else small_model()
    _, _, camera = EDGE_CASES["inside the box"]
    assert render(model, camera, config).samples > 0
