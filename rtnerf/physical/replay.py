"""A unit's netlist driven with what stood at the ports of the RTL: whether outputs are the same, what changes cost.

All gates have the same delay, one step, and flip-flops none. So a net may change several times in a cycle; that it
stands otherwise at the end than at the start is one change of the lower count, all its changes are the upper one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rtnerf.base.compiled import compiled, inlined
from rtnerf.physical.circuit import ONE, Circuit, Memories, grouped

Changes = Mapping[str, Sequence[tuple[int, int]]]
"""Of each port the cycles, rising, in which it has another value than before, and the value."""


class Replay(NamedTuple):
    """What came out.

    Parameters
    ----------
    energy_fj : float array (cycles, 2, 2)
        Combinational and registers' changes, the lower and the upper figure; without clock.
    changes : int array (nets, 2)
        Of each net, the lower and the upper count.
    register_changes : int array (cycles,)
        Flip-flops that change.
    compared : int
        Bits of outputs, cycle by cycle.
    mismatches : int
        Of them, those that differ.
    first_mismatch : int or None
        Its cycle.
    """

    energy_fj: np.ndarray
    changes: np.ndarray
    register_changes: np.ndarray
    compared: int
    mismatches: int
    first_mismatch: int | None


def replay(circuit: Circuit, changes: Changes, cycles: int, compared_from: int = 0) -> Replay:
    """Run a unit from its start on, all registers 0, with the inputs of some cycles.

    Parameters
    ----------
    circuit : Circuit
    changes : mapping
        Of every port but the clock; the first in cycle 0. What inputs and outputs were in a cycle, before its edge.
    cycles : int
    compared_from : int
        Cycle from which on the outputs are compared: a unit whose registers do not begin with 0 is reset first.
    """
    inputs, outputs = (
        _events({name: nets for name, (way, nets) in circuit.ports.items() if way == kind}, changes, cycles)
        for kind in ("input", "output")
    )
    expected = np.unique(np.concatenate([np.zeros(0, np.int64), *_nets(circuit, "output")]))
    place = np.zeros(circuit.nets, np.int64)
    place[expected] = np.arange(len(expected))
    outputs = outputs._replace(nets=place[outputs.nets])
    is_flop = np.zeros(circuit.nets, bool)
    is_flop[circuit.flops[:, 1]] = True
    flops_of, first_flop = grouped(circuit.flops[:, 0], circuit.nets)
    costs = np.stack([circuit.costs.combinational, circuit.costs.registers], 1)
    energy, counts = np.zeros((cycles, 2, 2)), np.zeros((circuit.nets, 2), np.int64)
    registers, wrong = np.zeros(cycles, np.int64), np.zeros(cycles, np.int64)
    _run(
        circuit.gates, circuit.first_reader, circuit.readers, circuit.flops, first_flop, flops_of, is_flop,
        circuit.memories, circuit.memories.bits.copy(), costs, inputs, outputs, expected,
        np.zeros(len(expected), np.uint8), _new_state(circuit.nets, len(circuit.gates.output)), energy, counts,
        registers, wrong,
    )  # fmt: skip
    wrong[:compared_from] = 0
    bad = np.flatnonzero(wrong)
    return Replay(
        energy, counts, registers, (cycles - compared_from) * len(expected), int(wrong.sum()),
        int(bad[0]) if len(bad) else None,
    )  # fmt: skip


class _Events(NamedTuple):
    """Bits that change: where each cycle's begin, nets, and values."""

    first: np.ndarray
    nets: np.ndarray
    values: np.ndarray


def _nets(circuit: Circuit, kind: str) -> list[np.ndarray]:
    return [nets for way, nets in circuit.ports.values() if way == kind]


def _events(ports: Mapping[str, np.ndarray], changes: Changes, cycles: int) -> _Events:
    """Return the changes of ports bit by bit; in cycle 0 all bits."""
    parts = [np.zeros((0, 3), np.int64)]
    for name, nets in ports.items():
        times = np.array([cycle for cycle, _ in changes[name]], np.int64)
        size = -(-len(nets) // 8)
        bits = np.frombuffer(b"".join(value.to_bytes(size, "little") for _, value in changes[name]), np.uint8)
        bits = np.unpackbits(bits.reshape(-1, size), axis=1, bitorder="little")[:, : len(nets)]
        moved = np.ones(bits.shape, bool)
        moved[1:] = bits[1:] != bits[:-1]
        row, column = np.nonzero(moved & (times < cycles)[:, None])
        parts.append(np.stack([times[row], nets[column], bits[row, column]], 1).astype(np.int64))
    table = np.concatenate(parts)
    table = table[np.argsort(table[:, 0], kind="stable")]
    first = np.searchsorted(table[:, 0], np.arange(cycles + 1))
    return _Events(first, np.ascontiguousarray(table[:, 1]), table[:, 2].astype(np.uint8))


@inlined
def _number(nets, first, bits, values):
    """Return the number that some nets stand for, the lowest bit first."""
    found = 0
    for bit in range(bits):
        found |= np.int64(values[nets[first + bit]]) << bit
    return found


@compiled
def _edge(memories: Memories, bits: np.ndarray, values: np.ndarray, nets: np.ndarray, news: np.ndarray) -> int:
    """Read and write all memories; return how many nets get a value, with nets and values at the front of arrays."""
    reads, writes, count = memories.reads, memories.writes, 0
    for read in range(len(reads.rows)):
        memory, address, abits, data, width, enable, _ = reads.rows[read]
        if not values[reads.nets[enable]]:
            continue
        base, _, words = memories.shapes[memory]
        word = _number(reads.nets, address, abits, values)
        for bit in range(width):
            value = bits[base + word * width + bit] if word < words else np.uint8(0)
            own = 0
            for write in range(len(writes.rows)):
                if writes.rows[write, 0] != memory:
                    continue
                row = writes.rows[write]
                if (
                    memories.forwards[read, own]
                    and values[writes.nets[row[5] + bit]]
                    and _number(writes.nets, row[1], row[2], values) == word
                ):
                    value = values[writes.nets[row[3] + bit]]
                own += 1
            if reads.nets[data + bit] > ONE:
                nets[count], news[count] = reads.nets[data + bit], value
                count += 1
    for write in range(len(writes.rows)):
        memory, address, abits, data, width, enable, _ = writes.rows[write]
        base, _, words = memories.shapes[memory]
        word = _number(writes.nets, address, abits, values)
        for bit in range(width):
            if values[writes.nets[enable + bit]] and word < words:
                bits[base + word * width + bit] = values[writes.nets[data + bit]]
    return count


class _State(NamedTuple):
    """Of each net the value, that at the start of the cycle, and the cycle in which it was met last; and work space.

    ``counts`` (2,): nets that were met in this cycle, and waves in all; ``marked_in``: of each gate the last wave.
    """

    values: np.ndarray
    before: np.ndarray
    met_in: np.ndarray
    met: np.ndarray
    moving: np.ndarray
    next_nets: np.ndarray
    next_values: np.ndarray
    marked_in: np.ndarray
    marked: np.ndarray
    counts: np.ndarray


def _new_state(nets: int, gates: int) -> _State:
    values = np.zeros(nets, np.uint8)
    values[ONE] = 1
    met, moving, next_nets = (np.zeros(nets, np.int64) for _ in range(3))
    marked_in, marked = (np.zeros(gates, np.int64) for _ in range(2))
    return _State(
        values, values.copy(), np.full(nets, -2), met, moving, next_nets, np.zeros(nets, np.uint8), marked_in, marked,
        np.zeros(2, np.int64),
    )  # fmt: skip


@compiled
def _settle(gates, first_reader, readers, state, pending, cycle, costs, energy, changes):
    """Let the first nets of ``next_nets`` take their values, then gate after gate, until nothing changes."""
    values, counts = state.values, state.counts
    while pending:
        counts[1] += 1
        moved = marked = 0
        for place in range(pending):
            net = state.next_nets[place]
            if values[net] == state.next_values[place]:
                continue
            if state.met_in[net] != cycle:
                state.met_in[net], state.before[net] = cycle, values[net]
                state.met[counts[0]] = net
                counts[0] += 1
            values[net] = state.next_values[place]
            state.moving[moved] = net
            moved += 1
            changes[net, 1] += 1
            energy[0, 1] += costs[net, 0]
            energy[1, 1] += costs[net, 1]
        for place in range(moved):
            net = state.moving[place]
            for at in range(first_reader[net], first_reader[net + 1]):
                gate = readers[at]
                if state.marked_in[gate] != counts[1]:
                    state.marked_in[gate] = counts[1]
                    state.marked[marked] = gate
                    marked += 1
        pending = _evaluate(gates, state, marked)


@inlined
def _evaluate(gates, state, marked):
    """Leave the nets that the first gates of ``marked`` change, with their values; return how many."""
    pending = 0
    for place in range(marked):
        gate = state.marked[place]
        output = 0
        for pin in range(gates.pins[gate]):
            output |= np.int64(state.values[gates.inputs[gate, pin]]) << pin
        new = np.uint8(gates.table[gate] >> np.uint64(output) & np.uint64(1))
        if new != state.values[gates.output[gate]]:
            state.next_nets[pending], state.next_values[pending] = gates.output[gate], new
            pending += 1
    return pending


@compiled
def _clocked(flops, first_flop, flops_of, memories, bits, state, all_flops):
    """Leave the nets that flip-flops and memories change at the edge, with their values; return how many."""
    values = state.values
    pending = _edge(memories, bits, values, state.next_nets, state.next_values)
    if all_flops:
        for flop in range(len(flops)):
            if values[flops[flop, 0]] != values[flops[flop, 1]]:
                state.next_nets[pending], state.next_values[pending] = flops[flop, 1], values[flops[flop, 0]]
                pending += 1
        return pending
    # Where the input has not changed, the output is what it is.
    for place in range(state.counts[0]):
        net = state.met[place]
        for at in range(first_flop[net], first_flop[net + 1]):
            output = flops[flops_of[at], 1]
            if values[output] != values[net]:
                state.next_nets[pending], state.next_values[pending] = output, values[net]
                pending += 1
    return pending


@compiled
def _run(gates, first_reader, readers, flops, first_flop, flops_of, is_flop, memories, bits, costs, inputs, outputs,
         expected, wanted, state, energy, changes, registers, wrong):  # fmt: skip
    for gate in range(len(gates.output)):
        state.marked[gate] = gate
    _settle(
        gates, first_reader, readers, state, _evaluate(gates, state, len(gates.output)), -1, costs, energy[0], changes
    )
    # What it takes to get there is no cycle's.
    changes[:], energy[:] = 0, 0
    for cycle in range(len(wrong)):
        pending = 0
        if cycle > 0:
            pending = _clocked(flops, first_flop, flops_of, memories, bits, state, cycle == 1)
        state.counts[0] = 0
        for at in range(inputs.first[cycle], inputs.first[cycle + 1]):
            state.next_nets[pending], state.next_values[pending] = inputs.nets[at], inputs.values[at]
            pending += 1
        _settle(gates, first_reader, readers, state, pending, cycle, costs, energy[cycle], changes)
        for place in range(state.counts[0]):
            net = state.met[place]
            if state.values[net] != state.before[net]:
                changes[net, 0] += 1
                energy[cycle, 0, 0] += costs[net, 0]
                energy[cycle, 1, 0] += costs[net, 1]
                registers[cycle] += is_flop[net]
        for at in range(outputs.first[cycle], outputs.first[cycle + 1]):
            wanted[outputs.nets[at]] = outputs.values[at]
        for place in range(len(expected)):
            wrong[cycle] += wanted[place] != state.values[expected[place]]
