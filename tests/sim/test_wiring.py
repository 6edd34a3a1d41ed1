"""The wiring of the simulator: what the run hands to each block is what the wiring says."""

import ast
import inspect

import pytest

from sim import machine
from sim.parts.clients import Reader, TreeUser
from sim.parts.streams import TILE
from sim.wiring import BLOCKS, FLAGS, PROBE, PROBES, WHEN_CLEARED, WHEN_SET, WIRES, WIRING, Block

CLIENTS = {client.name: client for client in (*Reader, *TreeUser)}


def ends(wire, client=None):
    """Return the blocks at the ends of a wire, or of the record of one client."""
    blocks = set()
    for end in (wire.producers, wire.consumers):
        several = end if isinstance(end, tuple) else (end,)
        blocks |= {several[client]} if client is not None and len(several) > 1 else set(several)
    return blocks


def handed_on():
    """Return, by block, the wires that its calls name in the run: each with its client, if that is named too."""
    named = {block: set() for block in Block}
    for call in ast.walk(ast.parse(inspect.getsource(machine))):
        if not (isinstance(call, ast.Call) and len(call.args) > 1 and ast.unparse(call.args[1]).startswith("b.")):
            continue
        wires = named[Block[ast.unparse(call.args[1])[2:].upper()]]
        arguments = [node for argument in call.args for node in ast.walk(argument)]
        subscripts = [node for node in arguments if isinstance(node, ast.Subscript)]
        wires |= {(node.value.attr, CLIENTS[node.slice.attr]) for node in subscripts}
        inner = {node.value for node in subscripts}
        for node in arguments:
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "w" and node not in inner:
                wires.add((node.attr, None))
    return named


def test_the_run_hands_to_each_block_the_wires_that_end_at_it():
    named = handed_on()
    # If rays are sampled uniformly, the controller's start of the walk becomes that of the tiles, beside its step.
    named[Block.FRAME_CONTROLLER].add(("listed", None))
    for block, wires in named.items():
        for name, client in wires:
            assert block in ends(WIRING[name], client), (block, name, client)
        assert {name for name, _ in wires} == {name for name, wire in WIRING.items() if block in ends(wire)}, block


@pytest.mark.parametrize("name", WIRING)
def test_a_change_of_a_flag_concerns_the_other_end(name):
    wire = WIRING[name]
    for number in range(WIRES[name].shape[0] if wire.each else 1):
        place = (WIRES.fields[name][1] + number * wire.kind.itemsize) // 8
        holders = {block for block in Block if place in FLAGS[block]}
        told = {block for block in Block if (int(WHEN_SET[place].max()) | int(WHEN_CLEARED[place])) >> block & 1}
        assert told <= holders
        if holders:
            assert holders == ends(wire, number if wire.each else None)
        assert (PROBE[place] >= 0) == wire.probed == (name in PROBES)


def test_states_and_wires_are_whole_words():
    assert BLOCKS.names == tuple(block.name.lower() for block in Block)
    assert [int(block) for block in Block] == list(range(len(Block)))
    for name in WIRES.names:
        kind = WIRING[name].kind
        assert all(field.itemsize == 8 for field, _ in kind.fields.values())
        assert kind.names[0] in ("valid", "set") or kind == TILE
