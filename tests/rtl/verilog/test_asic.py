"""Memories for silicon equal what Amaranth means by them, from blank rows on: proved by Yosys."""

import re

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from rtl.verilog.asic import at_power_up, chip, is_macro, with_macros, without_reset, without_start
from rtl.verilog.export import parts_of
from tests.rtl.verilog.test_memory import DEPTH, FROM_BLANK, KINDS, WIDTH, Holder, proves


def silicon(holder):
    logic, kinds = parts_of(holder, "other")
    memories, macros = with_macros(kinds, macro_bits=DEPTH * WIDTH - 1)
    models = [kind.text(name, is_set=False) for name, kind in macros.items()]
    return "\n".join([without_start(logic), *memories, *models])


@pytest.mark.parametrize("name", ["written", "transparent", "at once", "in parts", "table"])
def test_a_memory_for_silicon_means_the_same(name, tmp_path):
    assert proves(KINDS[name], tmp_path, write=silicon, proof=FROM_BLANK)


@pytest.mark.parametrize(
    ("name", "written", "wrong"),
    [
        ("transparent", "write_address == read_0_address", "1'b1"),
        ("transparent", ".read_0_enable(read_1_enable)", ".read_0_enable(read_0_enable)"),
        ("table", "2: row = 4'hf", "2: row = 4'he"),
    ],
)
def test_a_wrong_memory_is_found(name, written, wrong, tmp_path):
    def change(text):
        assert written in text
        return text.replace(written, wrong)

    assert not proves(KINDS[name], tmp_path, change, silicon, FROM_BLANK)


def kinds_of(name):
    return parts_of(Holder(**KINDS[name]), "other")[1]


def test_macros_have_one_read_and_one_write_and_no_content():
    memories, macros = with_macros(kinds_of("transparent"), macro_bits=1)
    (macro,) = macros.values()
    assert (macro.reads, macro.parts, macro.rows, macro.blank) == (("sync",), 1, (), 0)
    assert memories[0].count(f"ram_{DEPTH}x{WIDTH} copy_") == 2
    assert "initial" not in macro.text("m", is_set=False)
    for name, macro_bits in (("table", 1), ("at once", 1), ("written", DEPTH * WIDTH)):
        (kind,) = kinds_of(name).values()
        assert not is_macro(kind, macro_bits)
        assert not with_macros({name: kind}, macro_bits)[1]


def test_what_silicon_does_not_start_with_is_listed():
    found = at_power_up(kinds_of("structure") | {"rom": kinds_of("table").popitem()[1]}, ["b", "a"])
    assert found == {
        "memories_with_content": list(kinds_of("structure")),
        "roms": ["rom"],
        "registers_without_reset": ["a", "b"],
    }


class Registers(wiring.Component):
    o: Out(2)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = Module()
        held, unset = Signal(init=1), Signal(name="unset", reset_less=True)
        inner.d.sync += [held.eq(~held), unset.eq(held)]
        m.d.comb += self.o.eq(unset)
        return m


def test_registers_without_reset_are_found_and_nothing_is_set_at_the_start():
    assert without_reset(Registers()) == ["inner.unset"]
    text = parts_of(Registers(), "top")[0]
    assert re.search(r"^  reg unset = 1'h0;$", text, re.MULTILINE)
    assert re.search(r"^  reg unset ;$", without_start(text), re.MULTILINE)


def test_the_chip_has_no_probes():
    ports = [
        {"name": "clk", "direction": "input", "width": 1},
        {"name": "axi", "direction": "output", "width": 4},
        {"name": "probe_x__fire", "direction": "output", "width": 1},
    ]
    text = chip(ports)
    assert text.startswith("module rtnerf_chip(input clk, output [3:0] axi);")
    assert "probe" not in text
