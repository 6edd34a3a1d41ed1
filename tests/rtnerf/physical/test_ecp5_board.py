"""The steps to a bitstream: Yosys itself on a small design, stand-ins for router and packer."""

import json
import sys
from pathlib import Path

import pytest

from nerf.contract.config import load_config
from rtnerf.base.errors import InputError
from rtnerf.physical import ecp5_board
from rtnerf.physical.ecp5_board import route
from tests.rtnerf.physical.test_synthesis import needs_pyosys

SMALL = """\
module rtnerf_serial(input clk, rst, from_computer, output to_computer, busy);
  reg [7:0] held;
  always @(posedge clk) held <= rst ? 0 : {held, from_computer};
  assign {to_computer, busy} = held[7:6];
endmodule
"""
# A clock that comes with speed grade and seed.
ROUTER = """
import json, sys
of = lambda name: sys.argv[sys.argv.index(name) + 1]
assert "ulx3s" in json.load(open(of("--json")))["modules"] and "LOCATE" in open(of("--lpf")).read()
open(of("--textcfg"), "w").write("routed")
clock = {"1": 70.0, "2": 50.0, "3": 60.0}[of("--seed")] - (20 if of("--speed") == "6" else 0)
json.dump({"fmax": {"clk": {"achieved": clock}}}, open(of("--report"), "w"))
"""
PACKER = "import sys; open(sys.argv[-1], 'w').write('bits of ' + sys.argv[-2])"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.setattr(ecp5_board, "find_nextpnr", lambda: ([sys.executable, "-c", ROUTER], "0"))
    monkeypatch.setattr(ecp5_board, "find_ecppack", lambda: [sys.executable, "-c", PACKER])
    monkeypatch.setattr(ecp5_board, "serial_verilog", lambda config, divisor: SMALL)


@needs_pyosys
def test_a_small_design_becomes_a_bitstream(tools, tmp_path):
    told = []
    found = route(load_config("nano"), cache=tmp_path, workers=2, progress=lambda *step: told.append(step))
    assert (found["fmax_mhz"], found["fmax_mhz_of_seeds"]) == (60, [70, 50, 60])
    assert found["fmax_mhz_on_board"] == 50
    assert Path(found["bitstream"]).read_text() == "bits of routed_6_1.config"
    assert (found["dsps"], found["block_rams"]) == (0, 0)
    assert 8 <= found["flip_flops"] <= 40
    assert told[0][:2] == (0, 6)
    assert told[-1][:2] == (6, 6)
    json.dumps(found)


@needs_pyosys
def test_a_design_that_does_not_fit_is_refused(tools, tmp_path, monkeypatch):
    monkeypatch.setitem(ecp5_board.AVAILABLE, "luts", 3)
    with pytest.raises(InputError, match=r"^config must need at most the 3 luts of an LFE5U-85F, not \d+$"):
        route(load_config("nano"), cache=tmp_path)


@needs_pyosys
def test_a_reset_of_many_flip_flops_gets_a_buffer(monkeypatch):
    from rtnerf.physical import ecp5_recipe

    monkeypatch.setattr(ecp5_recipe, "WIDE_RESET", 2)

    def flip_flop(reset):
        return {"type": "TRELLIS_FF", "connections": {"LSR": [reset], "Q": [9]}}

    cells = {"a": flip_flop(5), "b": flip_flop(5), "c": flip_flop(6), "d": flip_flop("0")}
    cells |= {"e": {"type": "TRELLIS_FF", "connections": {"Q": [8]}}, "f": {"type": "LUT4", "connections": {"A": [5]}}}
    module = {"cells": cells, "netnames": {}}
    ecp5_recipe.buffer_resets(module)
    resets = [cells[name]["connections"].get("LSR") for name in "abcde"]
    assert resets == [[10], [10], [6], ["0"], None]
    assert cells["f"]["connections"] == {"A": [5]}
    (buffer,) = (cell for cell in cells.values() if cell["type"] == "DCCA")
    assert buffer["connections"] == {"CLKI": [5], "CE": ["1"], "CLKO": [10]}
    assert [net["bits"] for net in module["netnames"].values()] == [[10]]
