"""Units joined at their ports: the same paths as in one piece, and the boundaries that they cross."""

from typing import ClassVar

import numpy as np
import pytest

from rtl.verilog.export import TOP
from rtnerf.physical import whole
from rtnerf.physical.boundaries import boundaries
from rtnerf.physical.netlist import UNCONNECTED, Child, Netlist, Port
from rtnerf.physical.timing import Timer
from rtnerf.physical.units import Unit
from tests.rtnerf.physical.test_timing import CELLS


def part(name, nets, ports, children=(), **rows):
    """A unit's netlist: cells by kind, ports and children with their nets."""
    own = {port: Port(direction, np.array(bits, np.int32)) for port, (direction, *bits) in ports.items()}
    return Netlist(
        name,
        {kind: CELLS[kind] for kind in rows},
        {kind: np.array(table, np.int32) for kind, table in rows.items()},
        {kind: [f"{kind.lower()}_{number}" for number in range(len(table))] for kind, table in rows.items()},
        np.array([bit for port in own.values() if port.direction == "input" for bit in port.nets], np.int32),
        np.array([bit for port in own.values() if port.direction == "output" for bit in port.nets], np.int32),
        [f"net_{number}" for number in range(nets)],
        ports=own,
        children=[
            Child(child, module, {port: np.array(bits, np.int32) for port, bits in connected.items()})
            for child, module, connected in children
        ],
    )


class Joined:
    """A design of a register, twice an inverter from in to out, once straight through, and a register."""

    by_module: ClassVar = {
        TOP: Unit("top", 1, "", {"child_1": "gate", "child_2": "wire"}),
        "gate": Unit("first", 1, "", {}),
        "wire": Unit("straight", 1, "", {}),
    }
    parts: ClassVar = {
        "top": part(
            "top", 6, {"clk": ("input", 0), "x": ("input", 5)},
            [
                ("first", "child_1", {"i": [1], "o": [2]}),
                ("straight", "child_2", {"i": [2], "o": [3]}),
                ("second", "child_1", {"i": [3], "o": [4]}),
            ],
            FLOP=[[0, UNCONNECTED, 1], [0, 4, UNCONNECTED]],
        ),
        "first": part("first", 2, {"i": ("input", 0), "o": ("output", 1)}, INV=[[0, 1]]),
        "straight": part("straight", 1, {"i": ("input", 0), "o": ("output", 0)}),
    }  # fmt: skip

    def netlist_of(self, unit):
        return self.parts[unit.name]


@pytest.fixture
def joined():
    design = Joined()
    return whole.join(design, design.netlist_of)


def test_a_joined_path_is_as_long_as_in_one_piece(joined):
    flat = part(
        "flat", 4, {"clk": ("input", 0)},
        FLOP=[[0, UNCONNECTED, 1], [0, 3, UNCONNECTED]], INV=[[1, 2], [2, 3]],
    )  # fmt: skip
    one, other = Timer(flat).timing().register, Timer(joined.netlist).timing().register
    assert other.delay_ps == one.delay_ps
    assert [step.arrival_ps for step in other.steps] == [step.arrival_ps for step in one.steps]
    assert [step.cell for step in other.steps] == ["flop_0", "first.inv_0", "second.inv_0"]
    assert other.end == "flop_1"
    assert joined.units == ["top", "first", "straight", "second"]
    assert {kind: owners.tolist() for kind, owners in joined.owners.items()} == {"FLOP": [0, 0], "INV": [1, 3]}
    assert joined.netlist.counts == {"FLOP": 2, "INV": 2}


def test_boundaries_are_counted_where_the_way_leaves_a_unit(joined):
    timer = Timer(joined.netlist)
    owners = np.concatenate([joined.owners[kind] for kind in joined.netlist.nets])
    # From the top into one inverter, into the other, and back.
    assert [n for n in boundaries(timer, owners).tolist() if n >= 0] == [3]


def test_a_net_between_units_that_drives_much_is_a_tree_of_buffers(joined):
    flops = [[0, UNCONNECTED, 1], *[[0, 1, UNCONNECTED]] * 64]
    fan = part("fan", 2, {"clk": ("input", 0)}, FLOP=flops)
    # 64 pins of 3: within a unit all of it counts; between units 3 * (1 + log4(64)).
    assert Timer(fan, port_load=3.0).timing().register.steps[0].arrival_ps == 40 + 3 * 64
    fan.between = np.array([1], np.int32)
    assert Timer(fan, port_load=3.0).timing().register.steps[0].arrival_ps == 40 + 3 * 4
