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
def test_the_widest_resets_and_enables_go_by_the_global_network(monkeypatch):
    from rtnerf.physical import ecp5_recipe

    monkeypatch.setattr(ecp5_recipe, "WIDE_NET", 2)
    monkeypatch.setattr(ecp5_recipe, "GLOBAL_NETS", 2)

    def flip_flop(reset, enable):
        return {"type": "TRELLIS_FF", "connections": {"LSR": [reset], "CE": [enable], "Q": [12]}}

    cells = {str(number): flip_flop(5 if number < 3 else 6, 7 if number < 4 else 8) for number in range(6)}
    cells["6"] = flip_flop("0", 9)
    cells |= {
        "ff": {"type": "TRELLIS_FF", "connections": {"Q": [3]}},
        "lut": {"type": "LUT4", "connections": {"A": [5]}},
    }
    module = {"cells": cells, "netnames": {}}
    ecp5_recipe.use_global_network(module)
    # Enable 7 of four and reset 5 of three are the widest; reset 6 of three is one too many.
    assert [cells[str(number)]["connections"]["CE"] for number in range(7)] == [[13]] * 4 + [[8]] * 2 + [[9]]
    assert [cells[str(number)]["connections"]["LSR"] for number in range(7)] == [[14]] * 3 + [[6]] * 3 + [["0"]]
    assert cells["lut"]["connections"] == {"A": [5]}
    buffers = [cell["connections"] for cell in cells.values() if cell["type"] == "DCCA"]
    assert buffers == [{"CLKI": [7], "CE": ["1"], "CLKO": [13]}, {"CLKI": [5], "CE": ["1"], "CLKO": [14]}]
    assert [net["bits"] for net in module["netnames"].values()] == [[13], [14]]

    monkeypatch.setattr(ecp5_recipe, "GLOBAL_NETS", 9)
    monkeypatch.setattr(ecp5_recipe, "WIDE_NET", 4)
    module = {"cells": {str(number): flip_flop(5, 7) for number in range(3)}, "netnames": {}}
    ecp5_recipe.use_global_network(module)
    assert not module["netnames"]
