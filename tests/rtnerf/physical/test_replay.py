"""A netlist small enough to count its changes by hand; a unit of `tiny` against the RTL it was mapped from."""

import gzip
import importlib.util
import json
import random

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module, Value
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from nerf.contract.config import load_config
from rtl.memory.write_master import WriteMaster
from rtl.parts.shared_module import text_of
from rtnerf.physical.cells import VOLTAGE
from rtnerf.physical.circuit import circuit_of
from rtnerf.physical.replay import replay
from rtnerf.physical.synthesis import map_unit
from rtnerf.physical.units import Unit

needs_pyosys = pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="pyosys is not installed")

INTERNAL = {"XOR2x1": {"Y": 0.2}, "INVx1": {"Y": 0.05}, "DFFHQx4": {"Q": 0.5, "CLK": 0.3, "D": 0.1}}
CLK, A, X, Y, Q = range(2, 7)


def cell(kind, **pins):
    return {"type": kind, "connections": {pin: [bit] for pin, bit in pins.items()}}


@pytest.fixture
def counter(compact):
    """``x = a ^ q``, ``y = !x``, and ``q`` follows ``x``: it changes in every cycle after one with ``a``."""
    module = {
        "ports": {
            "clk": {"direction": "input", "bits": [CLK]},
            "a": {"direction": "input", "bits": [A]},
            "y": {"direction": "output", "bits": [Y]},
        },
        "cells": {
            "exclusive": cell("XOR2x1", A=A, B=Q, Y=X),
            "inverter": cell("INVx1", A=X, Y=Y),
            "register": cell("DFFHQx4", CLK=CLK, D=X, Q=Q),
        },
    }
    return circuit_of(module, compact.library, INTERNAL)


# a    0 1 1 0 0
# q    0 0 1 0 0   of the cycle before: x
# x    0 1 0 0 0
# y    1 0 1 1 1
CHANGES = {"a": [(0, 0), (1, 1), (3, 0)], "y": [(0, 1), (1, 0), (2, 1)]}


def test_changes_by_hand(counter):
    found = replay(counter, CHANGES, 5)
    assert (found.mismatches, found.compared) == (0, 5)
    (a,), (y,) = counter.ports["a"][1], counter.ports["y"][1]
    ((x, q),) = counter.flops
    # In cycle 3 a and q change together, and so does not x.
    assert found.changes[[a, q, x, y]].tolist() == [[2, 2]] * 4
    assert found.register_changes.tolist() == [0, 0, 1, 1, 0]


def test_energy_by_hand(counter, compact):
    half = VOLTAGE**2 / 2
    pin = {
        (kind, name): float(np.mean(pin.capacitance)) * half
        for kind in INTERNAL
        for name, pin in compact.library.cells[kind].pins.items()
    }
    energy = replay(counter, CHANGES, 5).energy_fj
    a = pin["XOR2x1", "A"]
    gates = pin["INVx1", "A"] + pin["DFFHQx4", "D"] + 0.2 + 0.05
    # Cycle 1: a, x, y, and the input of the register; cycle 2: x and y, and the register; cycle 3: a and the register.
    assert energy[:, 0, 0] == pytest.approx([0, a + gates, gates, a, 0])
    register = pin["XOR2x1", "B"] + 0.5
    assert energy[:, 1, 0] == pytest.approx([0, 0.1, register + 0.1, register, 0])
    assert np.array_equal(energy[:, :, 0], energy[:, :, 1])
    assert counter.costs.clock == pytest.approx(2 * (pin["DFFHQx4", "CLK"] + 0.3))


def test_a_net_that_changes_twice_counts_in_the_upper_figure_only(compact):
    # y = a ^ !!a: the way through the inverters is two steps longer, y falls back.
    module = {
        "ports": {"a": {"direction": "input", "bits": [A]}, "y": {"direction": "output", "bits": [Y]}},
        "cells": {
            "first": cell("INVx1", A=A, Y=X),
            "second": cell("INVx1", A=X, Y=Q),
            "exclusive": cell("XOR2x1", A=A, B=Q, Y=Y),
        },
    }
    circuit = circuit_of(module, compact.library, INTERNAL)
    found = replay(circuit, {"a": [(0, 0), (1, 1)], "y": [(0, 0)]}, 2)
    (y,) = circuit.ports["y"][1]
    assert found.mismatches == 0
    assert found.changes[y].tolist() == [0, 2]
    assert found.energy_fj[1, 0, 1] == pytest.approx(found.energy_fj[1, 0, 0] + 2 * 0.2)


def test_a_wrong_output_is_seen(counter):
    found = replay(counter, {**CHANGES, "y": [(0, 1), (1, 0), (3, 1)]}, 5)
    assert (found.mismatches, found.first_mismatch) == (1, 2)


CYCLES, RESET = 400, 2


def recorded(component):
    """Drive a component at random, a reset first; return what stood at its ports in each cycle."""
    m = Module()
    m.domains.sync = domain = ClockDomain()
    m.submodules.component = component
    ports = {"__".join(map(str, path)): (member, Value.cast(value)) for path, member, value in
             component.signature.flatten(component)}  # fmt: skip
    found = {name: [] for name in ("rst", *ports)}
    source = random.Random(1)

    async def bench(ctx):
        for cycle in range(CYCLES):
            driven = {"rst": int(cycle < RESET)}
            ctx.set(domain.rst, driven["rst"])
            for name, (member, value) in ports.items():
                if member.flow == In:
                    driven[name] = source.getrandbits(len(value))
                    ctx.set(value, driven[name])
            for name in found:
                value = driven[name] if name in driven else ctx.get(ports[name][1].as_unsigned())
                found[name].append((cycle, value))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


@needs_pyosys
def test_a_netlist_does_what_its_rtl_does(compact, cache):
    # It has a memory of 4,096 bits, counters, and a state machine.
    component = WriteMaster(load_config("tiny"))
    unit = Unit("write_master", 1, text_of(component, "unit"), {})
    written = (map_unit(unit, compact, cache) / "netlist.json.gz").read_bytes()
    circuit = circuit_of(json.loads(gzip.decompress(written))["modules"]["unit"], compact.library)
    assert len(circuit.memories.shapes) == 1
    found = replay(circuit, recorded(component), CYCLES, compared_from=RESET)
    assert (found.mismatches, found.first_mismatch) == (0, None)
    assert found.register_changes.sum() > CYCLES
