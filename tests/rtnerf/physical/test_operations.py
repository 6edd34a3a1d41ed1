"""Energy of an operation, on a netlist small enough to count."""

import numpy as np
import pytest

from rtnerf.physical.cells import VOLTAGE
from rtnerf.physical.netlist import Netlist
from rtnerf.physical.operations import _gates, _settled, energy_of, net_energies


@pytest.fixture
def chain(compact):
    # A xor B, and an inverter behind it: nets a, b, x, y.
    cells = {name: compact.library.cells[name] for name in ("XOR2x1", "INVx1")}
    nets = {"a": 0, "b": 1, "x": 2, "y": 3}
    pins = {"XOR2x1": {"A": "a", "B": "b", "Y": "x"}, "INVx1": {"A": "x", "Y": "y"}}
    rows = {kind: np.array([[nets[pins[kind][pin]] for pin in cell.pins]], np.int32) for kind, cell in cells.items()}
    names = {kind: ["g"] for kind in cells}
    return Netlist("chain", cells, rows, names, np.array([0, 1], np.int32), np.array([3], np.int32), list(nets))


INTERNAL = {"XOR2x1": {"Y": 0.2}, "INVx1": {"Y": 0.05}}


def test_a_net_costs_what_it_drives_and_what_drives_it(chain, compact):
    cells = compact.library.cells
    costs = net_energies(chain, INTERNAL)
    load = float(np.mean(cells["INVx1"].pins["A"].capacitance))
    assert costs[2] == pytest.approx(load * VOLTAGE**2 / 2 + 0.2)
    assert costs[3] == pytest.approx(0.05)
    assert costs[0] == pytest.approx(float(np.mean(cells["XOR2x1"].pins["A"].capacitance)) * VOLTAGE**2 / 2)


def test_values_settle_and_changes_are_counted(chain):
    gates = _gates(chain)
    a, b = 0b0011, 0b0101
    before, _ = _settled(gates, np.zeros((4, 1), np.uint64))
    after, changes = _settled(gates, np.array([[a], [b], *before[2:]], np.uint64))
    low = np.uint64(0b1111)
    assert (after[2, 0] & low, after[3, 0] & low) == (a ^ b, ~(a ^ b) & 0b1111)
    # In two of the four cases both change, once.
    assert changes.tolist() == [0, 0, 2, 2]


def test_more_changes_cost_more(chain):
    low, high = energy_of(chain, INTERNAL)
    assert 0 < low < high < net_energies(chain, INTERNAL).sum()
