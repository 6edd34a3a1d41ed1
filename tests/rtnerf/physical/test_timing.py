import numpy as np
import pytest

from rtnerf.physical.cells import Arc, Cell, Pin, Table
from rtnerf.physical.netlist import UNCONNECTED, Netlist
from rtnerf.physical.timing import Timer


def linear(base, by_transition, by_load):
    """A table that is exact everywhere: base + by_transition * row + by_load * column."""
    rows, columns = np.array([0.0, 10.0, 50.0]), np.array([0.0, 5.0])
    return Table(rows, columns, base + by_transition * rows[:, None] + by_load * columns[None, :])


RISES, FALLS = linear(10, 0.5, 2), linear(20, 0.1, 3)
SLOPES = (linear(4, 0, 1), linear(6, 0, 2))
LATE = (linear(30, 0, 1), linear(40, 0, 1))
SETUP = (linear(7, 0, 0.5), linear(9, 0, 0.25))


def gate(name, sense, inputs=("A",)):
    arcs = tuple(Arc(pin, "logic", sense, (RISES, FALLS), SLOPES) for pin in inputs)
    pins = {pin: Pin(pin, "input", (1.0, 2.0)) for pin in inputs}
    return Cell(name, 1.0, pins | {"Y": Pin("Y", "output", arcs=arcs)})


FLOP = Cell(
    "FLOP",
    4.0,
    {
        "CK": Pin("CK", "input", is_clock=True),
        "D": Pin("D", "input", (3.0, 3.0), arcs=(Arc("CK", "setup", "both", SETUP),)),
        "Q": Pin("Q", "output", arcs=(Arc("CK", "clock", "both", LATE, SLOPES),)),
    },
    flip_flop=(("IQ", "IQN"), {"clocked_on": "CK", "next_state": "D"}),
)
CELLS = {"INV": gate("INV", "negative"), "BUF": gate("BUF", "positive"), "XOR": gate("XOR", "both", "AB"), "FLOP": FLOP}


def netlist(outputs=(), inputs=(0,), **rows):
    """Cells by kind, each with the nets of its pins; net 0 is the clock."""
    nets = 1 + max(net for table in rows.values() for row in table for net in row)
    return Netlist(
        "example",
        {kind: CELLS[kind] for kind in rows},
        {kind: np.array(table, np.int32) for kind, table in rows.items()},
        {kind: [f"{kind.lower()}_{number}" for number in range(len(table))] for kind, table in rows.items()},
        np.array(inputs, np.int32),
        np.array(outputs, np.int32),
        [f"net_{number}" for number in range(nets)],
    )


def test_an_inverter_between_two_registers():
    # flop 1 -> net 1 -> inverter -> net 2 -> flop 2. Loads: net 1 has 1 (rise) or 2 (fall), net 2 has 3.
    timing = Timer(netlist(INV=[[1, 2]], FLOP=[[0, UNCONNECTED, 1], [0, 2, UNCONNECTED]])).timing()
    # Rise at net 1: 30 + 1, slope 4 + 1; falls at net 2: 20 + 0.1 * 5 + 3 * 3; set-up 9 + 0.25 * (6 + 2 * 3).
    rise = 31 + 20 + 0.5 + 9 + 9 + 0.25 * 12
    # Fall at net 1: 40 + 2, slope 6 + 2 * 2; rises at net 2: 10 + 0.5 * 10 + 2 * 3; set-up 7 + 0.5 * (4 + 3).
    fall = 42 + 10 + 5 + 6 + 7 + 0.5 * 7
    assert timing.register.delay_ps == pytest.approx(max(rise, fall))
    assert (timing.register.start, timing.register.end) == ("net_1", "flop_1")
    assert [step.edge for step in timing.register.steps] == ["fall", "rise"]
    assert timing.register.delay_ps == pytest.approx(fall)
    assert timing.arriving is None
    assert timing.leaving is None


def test_a_buffer_keeps_the_edge_and_an_exclusive_or_takes_both():
    flops = [[0, UNCONNECTED, 1], [0, 2, UNCONNECTED]]
    # The falling edge starts last, and a buffer's falling edge is its slower one.
    buffer = Timer(netlist(BUF=[[1, 2]], FLOP=flops)).timing()
    assert buffer.register.delay_ps == pytest.approx(42 + 20 + 0.1 * 10 + 9 + 9 + 0.25 * 12)
    inputs = Timer(netlist(XOR=[[1, 1, 2]], FLOP=flops)).timing()
    # Both pins hang on net 1: 4 at its falling edge.
    assert inputs.register.delay_ps == pytest.approx(44 + 20 + 0.1 * 14 + 9 + 9 + 0.25 * 12)


def test_the_slower_way_decides_and_transitions_go_on_apart():
    # net 1 -> inverter -> inverter -> net 3 joins net 1 in a gate.
    rows = {"INV": [[1, 2], [2, 3]], "XOR": [[1, 3, 4]], "FLOP": [[0, UNCONNECTED, 1], [0, 4, UNCONNECTED]]}
    path = Timer(netlist(**rows)).timing().register
    assert [step.net for step in path.steps] == ["net_1", "net_2", "net_3", "net_4"]
    arrivals = [step.arrival_ps for step in path.steps]
    assert arrivals == sorted(arrivals)


def test_ports_are_apart_from_registers():
    # Port 1 -> inverter -> port 2 and a register; the register's output is port 3.
    rows = {"INV": [[1, 2]], "FLOP": [[0, 2, 3]]}
    timing = Timer(netlist(inputs=(0, 1), outputs=(2, 3), **rows), input_transition=10, port_load=5).timing()
    assert timing.register is None
    assert timing.through.delay_ps == pytest.approx(max(10 + 5 + 2 * 8, 20 + 1 + 3 * 8))
    assert timing.leaving.delay_ps == pytest.approx(40 + 5)
    assert timing.arriving.delay_ps == pytest.approx(20 + 1 + 24 + 9 + 0.25 * (6 + 2 * 8))
    assert (timing.arriving.start, timing.arriving.end) == ("net_1", "net_3")


def test_beyond_a_table_its_last_slope_goes_on():
    # Load 5 is the last column; a port load of 100 lies beyond, and tables are linear.
    timing = Timer(netlist(outputs=(2,), INV=[[1, 2]], FLOP=[[0, UNCONNECTED, 1]]), port_load=100).timing()
    assert timing.leaving.delay_ps == pytest.approx(max(31 + 20 + 0.5 + 300, 42 + 10 + 5 + 200))


def test_a_loop_is_refused():
    with pytest.raises(ValueError, match=r"^example must have logic without a loop$"):
        Timer(netlist(INV=[[1, 2], [2, 1]], FLOP=[[0, 1, UNCONNECTED]]))
