import importlib.util
import json

import pytest

from benchmarks.synthesis import COMPARED, RESULTS, SHAPE, rounded, worse
from rtnerf.physical.netlist import from_json
from rtnerf.physical.synthesis import measure, netlist_of, summary
from rtnerf.physical.units import Design
from rtnerf.physical.words import KINDS

FIVE = ("compositor", "cube_list", "appearance", "write_master", "cube_sequencer")
"""Units that are mapped in seconds."""

needs_pyosys = pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="pyosys is not installed")

# A register, a memory of 2,048 bits that it addresses, an adder behind both, and a register.
ADDER = r"""module \rtnerf
  cell \rtnerf.sum \sum
  end
end
module \rtnerf.sum
  wire width 1 input 1 \clk
  wire width 8 input 2 \i
  wire width 8 output 3 \o
  wire width 8 \held
  wire width 8 \total
  wire width 8 \read
  memory width 8 size 256 \large
  cell $dff \r1
    parameter \WIDTH 8
    parameter \CLK_POLARITY 1
    connect \D \i
    connect \Q \held
    connect \CLK \clk
  end
  cell $add \a
    parameter \A_SIGNED 0
    parameter \B_SIGNED 0
    parameter \A_WIDTH 8
    parameter \B_WIDTH 8
    parameter \Y_WIDTH 8
    connect \A \held
    connect \B \read
    connect \Y \total
  end
  cell $dff \r2
    parameter \WIDTH 8
    parameter \CLK_POLARITY 1
    connect \D \total
    connect \Q \o
    connect \CLK \clk
  end
  cell $memrd_v2 \reads
    parameter \MEMID "\\large"
    parameter \ABITS 8
    parameter \WIDTH 8
    parameter \CLK_ENABLE 1'1
    parameter \CLK_POLARITY 1'1
    parameter \TRANSPARENCY_MASK 1'0
    parameter \COLLISION_X_MASK 1'0
    parameter \ARST_VALUE 8'00000000
    parameter \SRST_VALUE 8'00000000
    parameter \INIT_VALUE 8'xxxxxxxx
    parameter \CE_OVER_SRST 1'0
    connect \CLK \clk
    connect \EN 1'1
    connect \ARST 1'0
    connect \SRST 1'0
    connect \ADDR \held
    connect \DATA \read
  end
  cell $memwr_v2 \writes
    parameter \MEMID "\\large"
    parameter \ABITS 8
    parameter \WIDTH 8
    parameter \CLK_ENABLE 1'1
    parameter \CLK_POLARITY 1'1
    parameter \PORTID 0
    parameter \PRIORITY_MASK 0'
    connect \CLK \clk
    connect \EN 8'11111111
    connect \ADDR \i
    connect \DATA \held
  end
end
"""


# Two equal parts, one behind the other: a register, and its content plus 3 on the way out.
PARTS = r"""module \rtnerf
  cell \rtnerf.pair \pair
  end
end
module \rtnerf.pair
  wire width 1 input 1 \clk
  wire width 8 input 2 \i
  wire width 8 output 3 \o
  wire width 8 \between
  cell \part_step \first
    connect \clk \clk
    connect \i \i
    connect \o \between
  end
  cell \part_step \second
    connect \clk \clk
    connect \i \between
    connect \o \o
  end
end
module \part_step
  wire width 1 input 1 \clk
  wire width 8 input 2 \i
  wire width 8 output 3 \o
  wire width 8 \held
  cell $dff \r
    parameter \WIDTH 8
    parameter \CLK_POLARITY 1
    connect \D \i
    connect \Q \held
    connect \CLK \clk
  end
  cell $add \a
    parameter \A_SIGNED 0
    parameter \B_SIGNED 0
    parameter \A_WIDTH 8
    parameter \B_WIDTH 8
    parameter \Y_WIDTH 8
    connect \A \held
    connect \B 8'00000011
    connect \Y \o
  end
end
"""


@pytest.fixture(scope="module")
def adder(tmp_path_factory, compact):
    (unit,) = (unit for unit in Design(ADDER).units if unit.name == "sum")
    return measure(unit, compact, tmp_path_factory.mktemp("synthesis"))


@needs_pyosys
def test_a_small_unit_by_hand(adder):
    assert adder["flip_flops"] == 16
    assert adder["memory_bits"] == 2048
    (memory,) = adder["memories"]
    assert (memory["words"], memory["bits"], memory["reads"], memory["writes"]) == (256, 8, 1, 1)
    assert memory["missing"] == []
    # The way out of the memory is 300 ps and an addition; the registers are no part of it.
    assert 300 < adder["delay_ps"] < 700
    assert adder["path"]["from"].startswith("read[")
    assert adder["path"]["to"].startswith("o[")
    # 16 flip-flops of 0.3645 um2, and gates.
    assert 16 * 0.36 < adder["area_um2"] < 30
    # What a register or the memory reaches: the sum, and address and data of the memory.
    assert sum(adder["slack"]) == 8 + 8 + 8
    # The gates are those of the sum.
    area = adder["area_by_kind_um2"]
    assert adder["operations"] == {"add 8": 1}
    assert area["adders"] == pytest.approx(adder["area_um2"] - area["registers"])
    assert sum(area.values()) == pytest.approx(adder["area_um2"] + adder["memory_area_um2"])


@needs_pyosys
def test_parts_are_mapped_once_and_timed_together(tmp_path, compact):
    (pair,) = (unit for unit in Design(PARTS).units if unit.name == "pair")
    measured = measure(pair, compact, tmp_path)
    assert measured["flip_flops"] == 16
    assert measured["operations"] == {"add 8": 2}
    # Both parts have the same cells, and the longest path leads through the first into the second.
    assert measured["cells"] % 2 == 0
    assert (measured["path"]["from"][:10], measured["path"]["to"][:11]) == ("first.held", "second.held")
    assert measured["leaving_ps"] > 0
    netlist = netlist_of(pair, compact, tmp_path)
    between = {netlist.net_names[net].partition("[")[0] for net in netlist.between}
    assert between == {"clk", "i", "first.o", "o"}


@needs_pyosys
def test_what_is_kept_is_not_made_again(tmp_path, compact, adder, monkeypatch):
    (unit,) = (unit for unit in Design(ADDER).units if unit.name == "sum")
    first = measure(unit, compact, tmp_path)
    monkeypatch.setattr("rtnerf.physical.synthesis.run_supervised", lambda *_, **__: pytest.fail("made again"))
    assert measure(unit, compact, tmp_path) == first
    # The measurement is made again, from the netlist that is kept.
    (measurement,) = (path for path in tmp_path.glob("unit-*") if path.is_symlink())
    measurement.unlink()
    assert measure(unit, compact, tmp_path) == first


def test_cells_that_are_left_over_are_refused(compact):
    cell = {"type": "$add", "connections": {}, "parameters": {}}
    with pytest.raises(ValueError, match=r"^\$add is left over$"):
        from_json({"cells": {"a": cell}, "ports": {}, "netnames": {}}, "unit", compact.library, None)


def test_sums_count_every_instance():
    unit = {
        "cells": 5,
        "flip_flops": 2,
        "area_um2": 3.0,
        "memory_area_um2": 4.0,
        "memory_bits": 16,
        "delay_ps": 500.0,
        "area_by_kind_um2": dict.fromkeys(KINDS, 0.5),
    }
    found = summary({"one": {"instances": 1, **unit}, "many": {"instances": 3, **unit, "delay_ps": 800.0}})
    assert found["slowest"] == "many"
    assert found["clock_mhz"] == pytest.approx(1250)
    assert found["clock_mhz_with_wires"] == pytest.approx(1000)
    assert (found["cells"], found["flip_flops"], found["memory_bytes"]) == (20, 8, 8)
    assert found["area_mm2"] == pytest.approx(28e-6)
    assert found["area_by_kind_mm2"] == pytest.approx(dict.fromkeys(KINDS, 2e-6))


@needs_pyosys
@pytest.mark.slow
@pytest.mark.parametrize("name", FIVE)
def test_no_unit_got_worse(design, compact, cache, name):
    kept = json.loads(RESULTS.read_text())["runs"]["tiny compact"]["units"]
    (unit,) = (unit for unit in design.units if unit.name == name)
    assert worse({name: measure(unit, compact, cache)}, kept) == []


def test_what_got_worse_is_named():
    kept = dict.fromkeys(COMPARED, 100)
    better, worse_by_a_little = dict.fromkeys(COMPARED, 50), {**kept, "cells": 102.9, "delay_ps": None}
    assert worse({"one": better, "two": worse_by_a_little}, {"one": kept, "two": kept}) == []
    assert worse({"one": {**kept, "delay_ps": 104}}, {"one": kept}) == ["one: delay_ps 104, kept 100"]
    assert worse({"one": kept}, {"one": {**kept, "delay_ps": None}}) == ["one: delay_ps 100, kept 0"]


def test_the_compact_library_is_close_to_the_full_one():
    kept = json.loads(RESULTS.read_text())
    compared = kept["compact_errors"]["tiny"]
    units = kept["runs"]["tiny asap7"]["units"]
    assert compared.keys() == units.keys()
    for name, error in compared.items():
        # A single flip-flop more or less is a tenth of what has twenty.
        assert abs(error.get("area_um2", 0)) <= (0.10 if units[name]["area_um2"] > 20 else 0.20), name
        assert abs(error.get("delay_ps", 0)) <= 0.15, name


def test_a_result_is_kept_in_a_few_digits_and_memories_by_their_shape():
    memory = {**dict.fromkeys(SHAPE, 1), "read_pj": 0.123456789}
    found = rounded({"memories": [memory], "slack": [1], "by_kind": {"memories": 1.23456789}, "range": [0.123456789]})
    assert found == {"memories": [dict.fromkeys(SHAPE, 1)], "by_kind": {"memories": 1.2346}, "range": [0.12346]}
    assert rounded({"memories": [0.123456789, 2.0]}, 3) == {"memories": [0.123, 2.0]}
    assert rounded({"memories": []}) == {"memories": []}
