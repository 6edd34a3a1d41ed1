"""Bytes of memory, counted in Verilog: a design that says how much it has."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import load_config
from rtl.verilog.export import design, verilog_of
from rtl.verilog.on_chip_memory import memory_bytes


class Store(wiring.Component):
    address: In(4)
    data: Out(12)

    def __init__(self, depth, inner=0):
        self._depth, self._inner = depth, inner
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = Memory(shape=12, depth=self._depth, init=range(self._depth))
        port = store.read_port()
        m.d.comb += port.addr.eq(self.address)
        values = [port.data]
        for number in range(self._inner):
            m.submodules[f"inner_{number}"] = inner = Store(8)
            m.d.comb += inner.address.eq(self.address)
            values.append(inner.data)
        result = Signal(12)
        m.d.comb += result.eq(sum(values)[:12])
        m.d.sync += self.data.eq(result)
        return m


class Top(wiring.Component):
    address: In(4)
    data: Out(12)

    def elaborate(self, platform):
        m = Module()
        m.submodules.one = one = Store(16)
        m.submodules.two = two = Store(10, inner=2)
        m.d.comb += [one.address.eq(self.address), two.address.eq(self.address)]
        m.d.sync += self.data.eq(one.data ^ two.data)
        return m


def test_every_memory_counts_where_it_is_built_in():
    assert memory_bytes(verilog_of(Top(), "top"), "top") == {"one": 16 * 12 // 8, "two": (10 + 2 * 8) * 12 // 8}


def test_the_accelerator_says_what_its_blocks_hold():
    held = design(load_config("tiny"))[1]["on_chip_memory_bytes"]
    # 8 x 8 plane blocks and 8 line blocks, three pairs, 16 components, and three groups of them for appearance.
    assert held["density_buffer"] == 3 * (8 * 8 * 16 + 8 * 16) * 16
    assert held["appearance_buffer"] == 3 * held["density_buffer"]
    assert held["mlp_engine"] > 150 * 128 + 128 * 128 + 27 * 144


@pytest.mark.full
def test_the_sums_of_two_tiles_fit_on_the_chip():
    held = design(load_config("edge-deferred"))[1]["on_chip_memory_bytes"]
    # By pixel 144 sums of 14 bits, one of 21 bits and whether there is any, for two tiles; the rest is small.
    assert 0 <= held["product_buffer"] - 2 * 32**2 * (144 * 14 + 22) // 8 < 2048
    assert sum(held.values()) < 1_500_000
